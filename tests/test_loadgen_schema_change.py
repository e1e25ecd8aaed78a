"""A schema change is in the plan of every event; its proof says how many carried the version, and who failed on them."""

import numpy as np

import eventdrill as ed
from loadgen.lab.applied import Applied
from loadgen.lab.proofs import shown
from loadgen.refuse import cannot
from scenarios.files import load_scenario


def test_the_proof_of_a_schema_change_counts_what_its_group_could_not_decode() -> None:
    """Ten seconds at 200/s; every event of version 2 fails in billing, none in fulfilment."""
    data = ed.simulate("schema-break").data
    planned = data.plan.faults[0]
    of_version = int(np.count_nonzero(data.plan.schema_version == 2))

    proof = shown(Applied(planned, "shop", planned.begin_ns), data.plan, (), data.operations)

    assert 1800 < of_version < 2200
    assert proof == f"{of_version} events of version 2, {of_version} of them failed a try of billing"


def test_the_live_driver_takes_a_schema_change() -> None:
    assert cannot(load_scenario("schema-break").scenario) == []
