"""Scenario files: YAML 1.2 read exactly, single fields changed, text that reads back as the same."""

# ruff: noqa: E501 -- messages stand here whole, as people see them

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scenario_text import GOOD, complaints, small
from scenarios import shipped
from scenarios.errors import ScenarioError, format_path
from scenarios.files import load_scenario, load_text, problems, scenario_text
from scenarios.schema import Brokers
from scenarios.template import template
from scenarios.yaml_text import plain_value, read_yaml, write_yaml


def said(*arguments: object) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(*arguments)  # type: ignore[arg-type]  # what people pass by mistake
    return str(caught.value)


def test_a_shipped_scenario_is_found_by_name() -> None:
    loaded = load_scenario("leader-crash")

    assert loaded.scenario.scenario == "leader-crash"
    assert loaded.source == "leader-crash"
    assert loaded.text == shipped.scenario_path("leader-crash").read_text("utf-8")


def test_every_shipped_scenario_is_valid_and_says_what_it_is_about() -> None:
    assert "leader-crash" in shipped.scenario_names()
    for name in shipped.scenario_names():
        assert load_scenario(name).scenario.scenario == name
        assert len(shipped.about(name)) > 20


def test_a_file_of_the_user_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("leader-crash").write_text(GOOD, "utf-8")

    assert load_scenario("leader-crash").scenario.scenario == "small"


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one.yaml").write_text(GOOD, "utf-8")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"scenario: x\nabout: \xe9t\xe9\n")
    empty = tmp_path / "empty.yaml"
    empty.write_text("# nothing\n", "utf-8")

    assert said("leadr-crash") == "leadr-crash: there is no such file; did you mean 'leader-crash'?"
    assert said(str(folder)) == f"{folder}: is a folder; name a file; in it there is one.yaml"
    assert said(str(latin)) == f"{latin}:2: byte 0xe9 is not UTF-8; save the file as UTF-8"
    assert said(str(empty)) == f"{empty}:1: the file is empty"
    assert said("a\0b").endswith("cannot be read: embedded null byte")


def test_a_file_that_is_no_mapping_says_what_it_should_be() -> None:
    line = "small.yaml:1: is [1]; it is a mapping of fields, such as {field: value}"

    assert complaints("- 1\n") == [line]


def test_a_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())

    assert load_scenario(path).scenario == small()


def test_words_of_yaml_1_1_are_words_and_leading_zeros_are_decimal() -> None:
    value = read_yaml("on: off\nyes: no\n010: 010\nhex: 0x10\nthousands: 1_000\nday: 2026-01-01\nnone: ~\n", "x").value

    assert value == {
        "on": "off", "yes": "no", "010": 10, "hex": 16, "thousands": "1_000", "day": "2026-01-01", "none": None
    }  # fmt: skip


def test_a_version_keeps_its_digits() -> None:
    assert small(("nodes: 3}", "nodes: 3, version: 4.10}")).brokers.version == "4.10"
    assert small(("nodes: 3}", "nodes: 3, version: 4.2.1}")).brokers.version == "4.2.1"


def test_aliases_stand_for_what_they_name() -> None:
    shared = small(
        ("settings: {min.insync.replicas: 2}", "settings: &two {min.insync.replicas: 2}"),
        ("1, replication: 3}", "1, replication: 3, settings: *two}"),
    )

    assert shared.topics["orders.dlq"].settings == {"min.insync.replicas": 2}


def test_aliases_that_grow_without_end_are_refused() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdef", "bcdefg", strict=True)]

    assert complaints("\n".join(lines)) == [
        "small.yaml:1: the aliases of this file make more than 200,000 values of it"
    ]


def test_an_alias_to_what_holds_it_is_refused() -> None:
    assert complaints("a: &a [*a]\n") == ["small.yaml:1: the alias *a refers to no finished anchor; there is a"]


def test_nesting_without_end_is_refused() -> None:
    assert complaints("[" * 100_000) == ["small.yaml:1: this is nested more than 32 levels deep"]
    assert complaints("- " * 100_000) == ["small.yaml:1: this is nested more than 32 levels deep"]


def test_a_file_of_another_yaml_is_refused() -> None:
    assert complaints("%YAML 1.0\n---\na: 1\n") == [
        "small.yaml:1: is not YAML 1.2: version minor part can only be 2 or 1, got (1, 0)"
    ]


def test_a_file_without_end_is_refused() -> None:
    assert complaints("#" * 2_000_000) == ["small.yaml: the file is longer than 1 MiB; split it up"]


# ---- --set ----------------------------------------------------------------------------------------------------------


def test_assignments_change_single_fields_and_the_text_with_them() -> None:
    loaded = load_text(
        GOOD,
        "small.yaml",
        [
            "groups.fulfilment.members=6",
            "topics['orders.dlq'].partitions=3",
            'producers.shop.settings["linger.ms"]=0',
            "faults[0].for=20s",
            "producers.shop.arrivals=5/s",
            "groups.analytics.failures={then: stop}",
            "brokers.settings['broker.session.timeout.ms']=6000",
            "owner=team",
        ],
    )

    scenario = loaded.scenario
    assert scenario.groups["fulfilment"].members == 6
    assert scenario.topics["orders.dlq"].partitions == 3
    assert scenario.producers["shop"].settings["linger.ms"] == 0
    assert scenario.faults[0].for_ns == 20_000_000_000
    assert scenario.producers["shop"].arrivals[0].rate == (5.0, 5.0)
    assert scenario.brokers.settings == {"broker.session.timeout.ms": 6000}
    assert scenario.owner == "team"
    assert load_text(loaded.text).scenario == scenario


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("members", "--set members: is not PATH=VALUE, such as groups.fulfilment.members=6 or topics['orders.dlq'].partitions=3"),
        ("groups.fulfillment.members=6", "--set groups.fulfillment.members=6: groups has no 'fulfillment'; did you mean 'fulfilment'?"),
        ("faults[2].for=6s", "--set faults[2].for=6s: faults has 2 entries, so there is no [2]; they count from 0"),
        ("groups[0].members=6", "--set groups[0].members=6: groups is no list, so it has no [0]"),
        ("seed.x=6", "--set seed.x=6: seed has no fields, so it has no 'x'"),
        ("groups.fulfilment.members=[", "--set groups.fulfilment.members=[: the value is not YAML: a [ or { that begins in line 1 is not closed properly (expected the node content, but found '<stream end>')"),
        ("groups.fulfilment.membrs=6", "groups.fulfilment.membrs is no field here; did you mean 'members'? (it comes from --set groups.fulfilment.membrs=6)"),
        ("groups.fulfilment.members=0", "groups.fulfilment.members is 0; it is at least 1 (it comes from --set groups.fulfilment.members=0)"),
        ("topics.orders.partitions=", "topics.orders.partitions is empty; it is a whole number (it comes from --set topics.orders.partitions=)"),
        ("sede=1", "sede is no field here; did you mean 'seed'? (it comes from --set sede=1)"),
    ],
)  # fmt: skip
def test_a_wrong_assignment_says_what_is_wrong(assignment: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_text(GOOD, "small.yaml", [assignment])

    assert str(caught.value) == f"small.yaml: {message}"


# ---- text that reads back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [GOOD, template(), *(shipped.scenario_path(n).read_text("utf-8") for n in shipped.scenario_names())]
)
def test_a_scenario_written_as_text_reads_back_as_the_same(text: str) -> None:
    scenario = load_text(text).scenario

    assert load_text(scenario_text(scenario)).scenario == scenario


def test_every_form_of_a_field_reads_back_as_the_same() -> None:
    forms = [
        ("work: 1ms", "work: {mix: [{share: 33.3%, of: {uniform: [1ms, 3ms]}}, {share: 66.7%, of: {pareto: {min: 1.5ms, shape: 2.5}}}]}"),
        ("work: 1ms", "work: {gamma: {mean: 1234567ns, cv: 0.7}}"),
        ("work: 1ms", "work: {exponential: 2us}"),
        ("key: {zipf: {values: 1000, exponent: 0.5}}", "key: {hot: {share: 0.1%, values: 10}}"),
        ("key: {zipf: {values: 1000, exponent: 0.5}}", "key: sequence"),
        ("spacing: even", "spacing: {bursts: 50}"),
        ("rate: 200/s", "rate: 10/min"),
        ("commit: {every: 1s}", "reads: {collect: {events: 10, timeout: 1ms}}"),
        ("at: 20s, for: 15s", "random: {mean_between: 10m, mean_for: 20s}, for: 1d"),
        ("broker: leader of orders/0, at: 20s", "broker: 2, at: [1s, 20s]"),
    ]  # fmt: skip
    for form in forms:
        scenario = small(form)
        assert load_text(scenario_text(scenario)).scenario == scenario


def test_a_scenario_made_in_python_is_checked_across_its_parts() -> None:
    scenario = small().model_copy(update={"brokers": Brokers(kind="kafka", nodes=2)})

    assert [problem.path for problem in problems(scenario)] == [
        "topics.orders.replication",
        "topics['orders.dlq'].replication",
    ]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc.d-é 0123", min_size=1, max_size=6), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
@example({"0": ":0"})
@example(["?0"])
def test_any_plain_value_written_as_yaml_reads_back_as_the_same(value: object) -> None:
    assert read_yaml(write_yaml({"value": value}), "x").value == {"value": value}


@given(st.text(max_size=30))
def test_a_word_without_quotes_is_never_an_error(text: str) -> None:
    plain_value(text)


@pytest.mark.parametrize(
    ("path", "text"), [(("a", "b", 0), "a.b[0]"), (("topics", "orders.dlq"), "topics['orders.dlq']"), ((), "")]
)
def test_a_place_is_written_as_in_an_assignment(path: tuple[str | int, ...], text: str) -> None:
    assert format_path(path) == text
