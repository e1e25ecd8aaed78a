"""Looks for a random scenario that notices each rule when it is left out, and writes `tests/noticed_by.json`: `python tests/find_noticing.py`."""

import json
import sys
from pathlib import Path

from plain_rules import Rules
from test_sim_differential import MUTATIONS, NOTICED_BY, ONCE_DIFFERED, compare, notices, simulated


def find(most: int) -> dict[str, int]:
    """Return by rule the first scenario that notices its absence, of those that once differed and `most` others; what was known and still holds stays."""
    found = {
        rule: number
        for rule, number in NOTICED_BY.items()
        if rule in MUTATIONS and notices(number, Rules(**{rule: False}))
    }
    for number in (*ONCE_DIFFERED, *range(most)):
        missing = [rule for rule in MUTATIONS if rule not in found]
        if not missing:
            break
        simulated.cache_clear()
        if compare(number)[0] is None:
            found |= {rule: number for rule in missing if compare(number, Rules(**{rule: False}))[0] is not None}
    return found


if __name__ == "__main__":
    noticing = find(int(sys.argv[1]) if len(sys.argv) > 1 else 600)
    Path(__file__).with_name("noticed_by.json").write_text(json.dumps(dict(sorted(noticing.items())), indent=0) + "\n")
    if never := sorted({*MUTATIONS} - {*noticing}):
        sys.exit(f"no scenario notices that these are left out: {', '.join(never)}")
