"""What all tests share: a state folder of their own, so that no test adds to the record of predictions of whoever runs them."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("others", max_examples=2000)
settings.load_profile(os.environ.get("EVENTDRILL_EXAMPLES", "same"))
"""The same examples each time, so that a change is not held up by what it has nothing to do with; `make examples` looks for others."""

LONG = {
    "test_calibrate_there_kafka",
    "test_foreign",
    "test_foreign_secured",
    "test_lab_clocks",
    "test_lab_disks",
    "test_lab_kafka",
    "test_lab_killed",
    "test_loadgen_actions",
    "test_loadgen_chain",
    "test_loadgen_conformance",
    "test_loadgen_conformance_groups",
    "test_loadgen_external",
    "test_loadgen_fleet",
    "test_loadgen_java_external",
    "test_loadgen_java_groups",
    "test_loadgen_java_kafka",
    "test_loadgen_java_outbox",
    "test_loadgen_members_kafka",
    "test_loadgen_outside",
    "test_loadgen_planted_kafka",
    "test_loadgen_process_faults",
    "test_loadgen_producer_transactions",
    "test_loadgen_share_groups",
    "test_loadgen_workers",
    "test_planted_differences",
    "test_two_clients",
    "test_workflows_capacity",
    "test_workflows_gameday",
    "test_workflows_sweep",
}
"""Modules whose live tests take minutes; `make live` runs them too, `make test` stays under twenty minutes without them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long ones among the live tests."""
    for item in items:
        if item.path.stem in LONG and item.get_closest_marker("live"):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A state folder of the tests' own, and tables as wide as in a file: processes of xdist are told a terminal's width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("COLUMNS", raising=False)
        yield
