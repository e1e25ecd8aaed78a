"""Expectations, checks and verdicts as JUnit XML, for the CI systems that show test results."""

from collections.abc import Mapping
from xml.etree import ElementTree

from reports.agreement import Verdict
from reports.words import value_text
from rundata.run import Run
from scenarios.expectations import parse_expectation


def junit_text(runs: Mapping[str, Run], verdicts: Mapping[str, Verdict] | None = None) -> str:
    """Return a suite for each run, and one for the verdicts of a prediction.

    What did not hold is a failure, a run that says nothing an error, a verdict of `cannot tell` a skipped test.
    """
    root = ElementTree.Element("testsuites", name="eventdrill")
    for name, run in runs.items():
        _suite(root, name, _cases_of(run))
    if verdicts:
        _suite(root, "agreement", [_of_verdict(figure, verdict) for figure, verdict in verdicts.items()])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


Case = tuple[str, str, str, str]
"""Its class, its name, what came out (`passed`, `failure`, `error` or `skipped`), and why."""


def _suite(root: ElementTree.Element, name: str, cases: list[Case]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, "tests": str(len(cases))})
    for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(came == kind for _, _, came, _ in cases)))
    for kind, case, came, why in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=kind, name=case)
        if came != "passed":
            ElementTree.SubElement(element, came, message=why)


def _cases_of(run: Run) -> list[Case]:
    scenario = run.data.plan.scenario.scenario
    invalid = "; ".join(run.invalid)
    said: Case = (scenario, "the run says something", "error" if invalid else "passed", invalid)
    return [said, *_expected(run, scenario), *_checked(run, scenario)]


def _expected(run: Run, scenario: str) -> list[Case]:
    cases: list[Case] = []
    for result in run.expectations:
        unit = parse_expectation(result.text).indicator.unit
        value = value_text(result.value, unit) if result.value is not None else "no value"
        why = "; ".join(each for each in (f"it was {value}", result.reason) if each)
        cases.append(
            (f"{scenario}.expect", result.text, "passed" if result.held else "failure", "" if result.held else why)
        )
    return cases


def _checked(run: Run, scenario: str) -> list[Case]:
    return [
        (
            f"{scenario}.checks",
            name,
            "passed" if check.valid else "failure",
            "" if check.valid else f"{check.count} found; {'; '.join(map(str, check.examples[:3]))}",
        )
        for name, check in run.checks.items()
    ]


def _of_verdict(figure: str, verdict: Verdict) -> Case:
    came = {"agrees": "passed", "differs": "failure"}.get(verdict.verdict, "skipped")
    return "agreement", figure, came, "" if came == "passed" else f"{verdict.verdict}: {verdict.reason}".rstrip(": ")
