"""Random crash loops for random scenarios."""

import random
from typing import Any


def add(choose: random.Random, scenario: dict[str, Any]) -> None:
    """Let some groups die of what they cannot handle."""
    for group in scenario["groups"].values():
        if "failures" in group and choose.random() < 0.3:
            group["failures"].pop("dead_letter", None)
            restart = {"after": choose.choice(["10ms", "50ms"]), "factor": choose.choice([1, 2])}
            group["failures"] |= {"then": "crash", "restart": {**restart, "most": choose.choice(["60ms", "200ms"])}}
