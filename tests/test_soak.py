"""The soak: its scenario can be driven, and a process that grows is noticed."""

from dataclasses import replace
from types import ModuleType

import pytest

from benchmark_files import benchmark
from loadgen.refuse import cannot
from rundata.tables import Gauge
from runs import clean_run
from scenarios.files import load_text
from scenarios.lint import warnings
from scenarios.yaml_text import write_yaml

MIB = 1 << 20


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    return benchmark("soak.py")


def test_an_hour_has_a_fault_in_each_minute_and_can_be_driven(soak: ModuleType) -> None:
    loaded = load_text(write_yaml(soak.scenario(60, 1500)), "the soak", ())

    assert cannot(loaded.scenario) == []
    assert len(loaded.scenario.faults) == 60
    assert [str(each.path) for each in warnings(loaded)] == []


def test_a_process_that_grows_is_noticed_and_one_that_breathes_is_not(soak: ModuleType) -> None:
    """Ten seconds: between 2 and 4 s one has 100 MiB, and 122 MiB from 8 s on; another one goes from 100 to 120, and a broker is Kafka's."""
    times = [n * 500_000_000 for n in range(20)]
    sizes = {"leaks": (100, 122), "breathes": (100, 120), "broker 1": (100, 200)}
    gauges = tuple(
        Gauge(at, "own_bytes", name, float((early if at < 5 * 10**9 else late) * MIB))
        for name, (early, late) in sizes.items()
        for at in times
    )

    assert soak.growth(replace(clean_run(), gauges=gauges)) == ["leaks grew from 100.0 MiB to 122.0 MiB"]
