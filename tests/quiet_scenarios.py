"""Random scenarios of the kind that needs no kernel: those of `random_scenarios` without anything that fails or takes turns."""

import random
from typing import Any

from random_scenarios import _profile, _scenario
from scenarios.errors import ScenarioError
from scenarios.files import load_text
from scenarios.plan import Plan, make_plan
from scenarios.profiles import NO_CORES, Profile
from scenarios.yaml_text import write_yaml

_LEFT_OUT = ("workers", "in_hand", "ordered_by", "dedupe", "emits", "calls", "autoscaler", "share_group", "client")
_OF_FETCHES = (
    "fetch.min.bytes", "fetch.max.wait.ms", "fetch.wait.max.ms", "fetch.max.bytes", "fetch.message.max.bytes",
    "max.partition.fetch.bytes", "isolation.level",
)  # fmt: skip


def quiet_case(number: int) -> tuple[Plan, Profile] | None:
    """Return the plan and profile of a number; None where what is left is no scenario."""
    choose = random.Random(number)
    raw = _scenario(choose, number)
    for name in ("faults", "actions", "dependencies"):
        raw.pop(name, None)
    for producer in raw["producers"].values():
        producer.pop("client", None)
        producer.pop("poison", None)
        if str(producer.get("settings", {}).get("acks")) == "0":
            producer["settings"]["acks"] = 1
    for topic in raw["topics"].values():
        for name in ("retention.ms", "retention.bytes", "cleanup.policy"):
            topic.get("settings", {}).pop(name, None)
    for group in raw["groups"].values():
        _quieten(group)
    try:
        plan = make_plan(load_text(write_yaml(raw), f"quiet {number}").scenario)
        return plan, _profile(choose).model_copy(update={"cores": NO_CORES})
    except ScenarioError:
        return None


def _quieten(group: dict[str, Any]) -> None:
    for name in _LEFT_OUT:
        group.pop(name, None)
    for name in _OF_FETCHES:
        group.get("settings", {}).pop(name, None)
    if group.get("commit") == "transaction":
        group["commit"] = "after_batch"
    if not isinstance(group.get("reads", "poll"), str):
        group.pop("reads")
    failures = group.get("failures")
    if failures and failures.get("then") in ("crash", "release"):
        group.pop("failures")
    elif failures:
        failures.pop("transient", None)
        failures.get("retry", {}).pop("where", None)
