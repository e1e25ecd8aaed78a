"""Drives the shipped scenarios on a private Kafka, and writes what came of each into docs/driven-scenarios.md.

`python benchmarks/library/run.py [NAME...]`, by default all, which takes half an hour. Each run leaves a record beside this file, and the
page is made of the latest record of each scenario; `--page` makes only the page.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadgen.refuse import cannot
from scenarios import shipped
from scenarios.files import load_scenario

HERE = Path(__file__).parent
RECORDS = HERE / "driven.json"
PAGE = HERE.parent.parent / "docs" / "driven-scenarios.md"
OUTCOMES = {0: "all held", 1: "something did not hold", 3: "says nothing"}
HEAD = """\
# The shipped scenarios on a real Kafka

Each was driven as it is shipped, with `eventdrill drive NAME --on local`, on a private cluster of three brokers; made by
`python benchmarks/library/run.py`, a row is the latest run of its scenario. *All held* means that every expectation and every check held.
A run *says nothing* where the driver or the host was the limit; the reason stands beside it.

"""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*")
    asked.add_argument("--page", action="store_true")
    options = asked.parse_args()
    records: dict[str, Any] = json.loads(RECORDS.read_text()) if RECORDS.exists() else {}
    for name in [] if options.page else options.names or shipped.scenario_names():
        records[name] = driven(name)
        print(json.dumps({name: records[name]}), flush=True)
        RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    PAGE.write_text(page(records), "utf-8")
    return 0


def driven(name: str) -> dict[str, Any]:
    """Drive a scenario and return what there is to tell of it."""
    if refused := cannot(load_scenario(name).scenario, implementation="apache-kafka"):
        return {"refused": refused}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "eventdrill", "drive", name, "--on", "local", "--json"]
        said = subprocess.run([*command, "--out", f"{folder}/run"], capture_output=True, text=True, check=False)
    record: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "exit_code": said.returncode,
        "seconds": round(time.monotonic() - began),
    }
    if not said.stdout.strip():
        return record | {"error": said.stderr.strip().splitlines()[-3:]}
    document = json.loads(said.stdout)
    return record | {
        "expect": [{key: each[key] for key in ("text", "value", "held")} for each in document["expect"]],
        "checks": {n: c["examples"][:1] for n, c in document["checks"].items() if not c["valid"]},
        "invalid": document["valid"]["reasons"],
        "version": document["run"]["brokers"]["version"],
    }


def page(records: Mapping[str, Any]) -> str:
    rows = [f"| `{name}` | {' | '.join(_cells(records.get(name)))} |" for name in shipped.scenario_names()]
    return HEAD + "\n".join(["| scenario | came out as | in detail | date |", "|---|---|---|---|", *rows]) + "\n"


def _cells(record: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if record is None:
        return "not driven yet", "", ""
    if "refused" in record:
        return "refused", "; ".join(record["refused"]), ""
    if "error" in record:
        return "did not run", " ".join(record["error"]), record["date"]
    wrong = [f"`{each['text']}` was {_value(each['value'])}" for each in record["expect"] if not each["held"]]
    wrong += [f"check {name}: {'; '.join(examples)}" for name, examples in record["checks"].items()]
    held = [f"`{each['text']}`: {_value(each['value'])}" for each in record["expect"] if each["held"]]
    detail = ["; ".join(record["invalid"]), "; ".join(wrong), ", ".join(held)]
    return OUTCOMES[record["exit_code"]], ". ".join(part for part in detail if part), record["date"]


def _value(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
