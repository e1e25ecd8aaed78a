"""The JSON Schema that editors use, the template that people start from, and the profiles that simulations stand on."""

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are a package of their own
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenario_text import GOOD, changed
from scenarios import shipped
from scenarios.errors import ScenarioError
from scenarios.files import load_text, scenario_text
from scenarios.profiles import (
    IDEAL,
    KNOTS,
    Measured,
    OneLeader,
    Profile,
    SharedCores,
    load_profile,
    measured,
    profile_text,
    save_profile,
)
from scenarios.schema import json_schema
from scenarios.template import template
from scenarios.yaml_text import read_yaml

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TEXTS = {
    "small": GOOD,
    "template": template(),
    **{n: shipped.scenario_path(n).read_text("utf-8") for n in shipped.scenario_names()},
}


def test_the_schema_is_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", TEXTS)
def test_valid_scenarios_fit_the_schema_also_as_they_are_written_back(name: str) -> None:
    written = scenario_text(load_text(TEXTS[name]).scenario)

    for text in (TEXTS[name], written):
        assert [error.message for error in VALIDATOR.iter_errors(read_yaml(text, name).value)] == []


@pytest.mark.parametrize(
    "change",
    [
        ("duration: 60s", "duration: 60"),
        ("members: 3", "membrs: 3"),
        ("members: 3", "members: 0"),
        ("fault: broker_crash", "fault: broker_crsh"),
        ("spacing: even", "spacing: evn"),
        ("key: {zipf: {values: 1000, exponent: 0.5}}", "key: {zipf: {values: 1000}}"),
        ("work: 1ms", "work: {normal: 1ms}"),
        ("work: 1ms", "work: {lognormal: {mean: 1ms}}"),
        ("commit: {every: 1s}", "commit: sometimes"),
        ("scenario: small\n", ""),
    ],
)
def test_what_the_loader_refuses_by_form_the_schema_refuses_too(change: tuple[str, str]) -> None:
    assert list(VALIDATOR.iter_errors(read_yaml(changed(change), "x").value))
    with pytest.raises(ScenarioError):
        load_text(changed(change))


def described(part: Any) -> bool:
    return "description" in part or "$ref" in part or any(described(form) for form in part.get("anyOf", ()))


def test_every_part_of_a_scenario_is_described_for_editors() -> None:
    for name, model in SCHEMA["$defs"].items():
        assert model.get("description") or name.startswith("_"), name
    assert SCHEMA["properties"]["duration"]["description"] == "How long the load runs."
    assert described(SCHEMA["$defs"]["Group"]["properties"]["work"])


# ---- the template ---------------------------------------------------------------------------------------------------


def test_the_template_takes_a_name_and_is_valid() -> None:
    assert load_text(template("my-first.drill")).scenario.scenario == "my-first.drill"
    with pytest.raises(
        ScenarioError, match=r"init: '\.\./x' is no name for a scenario; use letters, digits, `\.`, `_` and `-`"
    ):
        template("../x")


# ---- profiles -------------------------------------------------------------------------------------------------------


def test_ideal_needs_no_file_and_takes_no_time() -> None:
    assert load_profile("ideal") is IDEAL
    assert IDEAL.is_ideal()


def test_a_profile_is_saved_with_its_meaning_and_read_back_as_the_same(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    profile = Profile(
        profile="lab",
        about="A laptop: two cores # and a fan",
        measured_on={"date": "2026-11-24", "cores": 2},
        send=measured(generator.integers(0, 10**6, 1000), scale_sd=0.1),
        produce=measured(generator.integers(10**5, 10**7, 1000)),
        load_slope=0.25,
        cores=SharedCores(count=2, taken=0.4, request_us=160.5, event_us=90, scale_sd=0.15),
        one_leader=OneLeader(
            **{
                name: measured(generator.integers(10**5, 10**7, 1000))
                for name in ("produce", "produce_leader", "fetch")
            }
        ),
    )
    path = tmp_path / "lab.yaml"

    save_profile(profile, path)

    text = path.read_text("utf-8")
    assert load_profile(path) == profile
    assert load_profile(str(path)) == profile
    assert "# Times in microseconds." in text
    assert "cores: {count: 2, taken: 0.4, request_us: 160.5, event_us: 90.0, scale_sd: 0.15}" in text
    assert "# Intended time to the client's `produce` call (pacing of the driver).\nsend:" in text
    assert [file.name for file in tmp_path.iterdir()] == ["lab.yaml"]


def test_a_wrong_profile_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        "profile: lab\nsned: {quantiles_us: [1]}\nproduce: {quantiles_us: [3, 2]}\nload_slope: -1\n", "utf-8"
    )

    with pytest.raises(ScenarioError) as caught:
        load_profile(path)
    assert str(caught.value).splitlines() == [
        f"{path}:2: sned is no field here; did you mean 'send'?",
        f"{path}:3: produce.quantiles_us is [3, 2]; it has at least 18 entries",
        f"{path}:4: load_slope is -1; it is at least 0",
    ]
    with pytest.raises(
        ScenarioError, match=r"idela: there is no profile of this name, and no such file; did you mean 'ideal'\?"
    ):
        load_profile("idela")


def test_cores_of_which_nothing_is_left_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("profile: lab\ncores: {count: 2, taken: 2.5}\n", "utf-8")

    with pytest.raises(
        ScenarioError, match=r"2: cores has 2.5 of 2 cores taken, which leaves none; write less for taken"
    ):
        load_profile(path)


def test_a_measured_distribution_keeps_its_quantiles_in_order() -> None:
    quantiles = tuple(float(n) for n in range(len(KNOTS)))
    assert Measured(quantiles_us=quantiles).quantile_ns(np.array([0.0, 0.01, 1.0])).tolist() == [0, 1_000, 17_000]
    with pytest.raises(ValueError, match="has quantiles that fall or are negative; they rise from 0 or more"):
        Measured(quantiles_us=tuple(reversed(quantiles)))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_any_sample_of_times_makes_a_profile_that_reads_back_as_the_same(samples_ns: list[int]) -> None:
    profile = Profile(profile="any", send=measured(np.array(samples_ns)))

    text = profile_text(profile)

    assert Profile.model_validate(read_yaml(text, "x").value, by_alias=True, by_name=False) == profile
