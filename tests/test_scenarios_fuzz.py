"""Whatever a scenario file holds, it is valid or gets a ScenarioError: never another exception, and soon."""

import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenario_text import GOOD, WHOLE
from scenarios.errors import ScenarioError
from scenarios.files import load_text
from scenarios.lint import notes, warnings
from scenarios.template import template
from scenarios.yaml_text import write_yaml

TEXTS = (GOOD, template(), WHOLE)
LONGEST_S = 5.0
TOKENS = (
    "{", "}", "[", "]", ":", ": ", ",", "- ", "\n", "\t", "'", '"', "#", "&a", "*a", "!x", "|", ">", "~", "null", "true", "on",
    "0", "-1", "010", "1e999", "99999999999999999999", ".nan", ".inf", "5s", "-3s", "0s", "600/s", "1e9/s", "1e400s", "100%",
    "leader of orders/0", "fulfilment/2", "orders", "shop", "group: fulfilment", "poisson", "{exponential: 2ms}", "{every: 1s}",
    "transaction",
    "leader of orders/9", "[clients, broker 1]", "rack z", "orders/0", "12 EUR",
    "1MiB/s", "{dependency: payments}", "earliest", "é", "\u2028", "\x00", "\ufeff", "acks: all", "min.insync.replicas: 99", "x" * 300,
    "---", "...", "%YAML 1.1", "<<",
)  # fmt: skip
VALUES = st.recursive(
    st.sampled_from(TOKENS) | st.integers() | st.floats() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TOKENS), inner, max_size=3),
    max_leaves=6,
)


def take(text: str) -> None:
    """Load a text as a user would; what is valid is also linted."""
    begin = time.monotonic()
    try:
        loaded = load_text(text, "fuzz.yaml")
    except ScenarioError as error:
        lines = str(error).splitlines()
        assert lines and all(line.startswith("fuzz.yaml") for line in lines)
        assert "pydantic" not in str(error)
        assert "Input should" not in str(error)
    else:
        warnings(loaded)
        notes(loaded)
    assert time.monotonic() - begin < LONGEST_S


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_mutation_of_a_valid_file_brings_anything_but_a_scenario_error(data: st.DataObject) -> None:
    """Lines and tokens are removed, doubled, swapped and replaced."""
    lines = data.draw(st.sampled_from(TEXTS)).split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.integers(0, 5)):
            case 0:
                del lines[index]
            case 1:
                lines.insert(index, lines[data.draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines[index] = " " * data.draw(st.integers(0, 3)) + lines[index]
            case 3:
                place = data.draw(st.integers(0, len(lines[index])))
                lines[index] = lines[index][:place] + data.draw(st.sampled_from(TOKENS)) + lines[index][place:]
            case 4:
                words = lines[index].split(" ")
                words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(TOKENS))
                lines[index] = " ".join(words)
            case _:
                begin, end = sorted(data.draw(st.integers(0, len(lines[index]))) for _ in range(2))
                lines[index] = lines[index][:begin] + lines[index][end:]
        if not lines:
            lines = [""]
    take("\n".join(lines))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_value_in_any_field_brings_anything_but_a_scenario_error(data: st.DataObject) -> None:
    """One field anywhere in a valid file gets a value that was not meant for it."""
    from scenarios.yaml_text import read_yaml

    root = read_yaml(data.draw(st.sampled_from(TEXTS)), "x").value
    here = root
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        inner = here[key]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.integers(0, 3)) == 0:
            break
        here = inner
    if isinstance(here, dict) and data.draw(st.booleans()):
        here[data.draw(st.sampled_from((*TOKENS, "name", "every", "random", "settings", "racks")))] = here.pop(key)
    else:
        here[key] = data.draw(VALUES)
    take(write_yaml(root))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_no_text_at_all_brings_anything_but_a_scenario_error(text: str) -> None:
    take(text)
