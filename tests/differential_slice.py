"""Compares a slice of the random scenarios and keeps a record: `python tests/differential_slice.py FIRST COUNT RECORD`.

The record has a line of JSON for each slice: which cases, of which state of the sources, how many were equal, which differ, and in how many
each rule fired. Slices of several days, or of several machines, add up to as many cases as one wants.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

from sim.compiled import cache_folder
from test_sim_differential import compare


def compare_slice(first: int, count: int, record: Path) -> list[int]:
    """Compare `count` cases from `first` on, add a line to the record, and return those that differ."""
    differ: dict[int, str] = {}
    fired_in: Counter[str] = Counter()
    began = time.perf_counter()
    for number in range(first, first + count):
        try:
            difference, fired = compare(number)
        except Exception as error:  # a case that cannot be run is told like one that differs
            difference, fired = repr(error), Counter()
        fired_in.update(fired.keys())
        if difference is not None:
            differ[number] = difference.splitlines()[0][:300]
            print(f"case {number}: {differ[number]}", flush=True)
    line = {
        "first": first,
        "count": count,
        "equal": count - len(differ),
        "differ": differ,
        "kernel": cache_folder().name,
        "seconds": round(time.perf_counter() - began, 1),
        "fired_in": dict(sorted(fired_in.items())),
    }
    with record.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return [*differ]


if __name__ == "__main__":
    chosen, how_many, where = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    if wrong := compare_slice(chosen, how_many, where):
        sys.exit(f"{len(wrong)} of {how_many} cases from {chosen} on differ: {', '.join(map(str, wrong))}")
    print(f"{how_many} cases from {chosen} on are equal")
