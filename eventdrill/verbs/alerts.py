"""`eventdrill alerts`: rules from a scenario, rules judged, rules searched."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eventdrill.errors import HELD, WrongInputError
from eventdrill.terminal import bar, say, show, show_json
from eventdrill.verbs.options import Json, Profile, ScenarioFile, Seed, Settings, share, spreads, writable_file

if TYPE_CHECKING:
    from eventdrill.workflows.alerts import Material, Months, Scraped

HELP = "Alert rules: from a scenario, judged on runs of which the truth is known, and searched."
EXAMPLE = "eventdrill alerts backtest leader-crash --page-worthy 0.02%"

What = Annotated[
    list[str],
    typer.Argument(
        metavar="WHAT...",
        help="Folders of runs, each judged as it is; or one scenario, of whose faults months are made.",
    ),
]
Exporter = Annotated[
    Literal["kafka_exporter", "kafka_exporter_connected", "kminion", "kafka_lag_exporter", "burrow", "strimzi"],
    typer.Option("--exporter", help="Whose metrics of Kafka there are."),
]
Scrape = Annotated[str, typer.Option("--scrape", metavar="TIME", help="How often targets are scraped.")]
Interval = Annotated[
    str, typer.Option("--interval", metavar="TIME", help="How often rules are evaluated where a group says nothing.")
]
Prometheus = Annotated[
    int,
    typer.Option("--prometheus", min=2, max=3, help="The release: 2 counts a sample at a range's begin, 3 does not."),
]
PageWorthy = Annotated[
    str,
    typer.Option(
        "--page-worthy",
        metavar="SHARE",
        help="A trouble that spends so much of an objective's budget was worth a page.",
    ),
]
Days = Annotated[int, typer.Option("--days", min=1, max=366, help="How long a month made from a scenario is.")]
Faults = Annotated[int, typer.Option("--faults", min=1, max=10_000, help="Faults in such a month.")]
MonthsOption = Annotated[
    int, typer.Option("--months", min=1, max=1000, help="How many months, each with a seed of its own.")
]
Runs = Annotated[
    int, typer.Option("--runs", min=1, max=100, help="Simulated runs of each fault, with plans of their own.")
]
Alertmanager = Annotated[
    Path | None,
    typer.Option(
        "--alertmanager",
        metavar="FILE",
        help="Its configuration: routes and inhibitions. Default: by alert and severity.",
        show_default=False,
    ),
]
RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules", metavar="FILE", help="A Prometheus rule file. Default: the scenario's own rules.", show_default=False
    ),
]


@dataclass(frozen=True)
class Judging:
    """What rules are judged on, and how: the options that back-tests and suggestions share."""

    exporter: Exporter = "kafka_exporter"
    scrape: Scrape = "15s"
    interval: Interval = "1m"
    prometheus: Prometheus = 2
    page_worthy: PageWorthy = "2%"
    days: Days = 30
    faults: Faults = 20
    months: MonthsOption = 1
    runs: Runs = 3
    seed: Seed = None
    settings: Settings = None
    profile: Profile = None

    def scraped(self) -> "Scraped":
        """Return how runs become series."""
        from eventdrill.workflows.alerts import Scraped

        return Scraped(
            exporter=self.exporter,
            every_ms=_time_ms("--scrape", self.scrape),
            interval_ms=_time_ms("--interval", self.interval),
            release=3 if self.prometheus == 3 else 2,
            page_from=share("--page-worthy", self.page_worthy),
        )

    def length(self) -> "Months":
        """Return what a month made from a scenario is like."""
        from eventdrill.workflows.alerts import Months

        return Months(days=self.days, faults=self.faults, months=self.months, runs=self.runs)


USUAL = Judging()


def rules(
    file: ScenarioFile,
    exporter: Exporter = "kafka_exporter",
    form: Annotated[
        Literal["prometheus", "sloth", "pyrra"], typer.Option("--format", help="What is written.")
    ] = "prometheus",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to. Default: standard output.", show_default=False),
    ] = None,
) -> int:
    """Write alert rules for a scenario: burn rates of its objectives, lag that users feel, brokers, replicas, dead letters.

    Sloth and Pyrra take the objectives only, and make burn-rate rules of their own.
    """
    from reports.alerts.burn import objective_warnings
    from reports.alerts.defaults import default_rules
    from reports.alerts.rules import rules_yaml
    from reports.alerts.specs import pyrra_text, sloth_text
    from scenarios.files import load_scenario

    scenario = load_scenario(file).scenario
    if form != "prometheus" and not scenario.objectives:
        raise WrongInputError(f"{file} has no objectives, of which {form} makes rules; add some under `objectives`")
    match form:
        case "prometheus":
            text = rules_yaml(default_rules(scenario, exporter).groups)
        case "sloth":
            text = sloth_text(scenario)
        case "pyrra":
            text = pyrra_text(scenario)
    for warning in objective_warnings(scenario):
        say(f"warning: {warning}")
    if out is None:
        typer.echo(text, nl=False)
    else:
        writable_file("--out", out).write_text(text, "utf-8")
        say(f"rules: {out}")
    return HELD


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Prometheus rule files.")],
    as_json: Json = False,
) -> int:
    """Read rule files as Prometheus would, and warn about rules that cannot fire, or hardly."""
    from reports.alerts.rules import read_rules
    from reports.alerts.unreachable import file_warnings

    read = {str(path): read_rules(path) for path in files}
    found = {name: file_warnings(file) for name, file in read.items()}
    if as_json:
        show_json(
            {
                name: {"alerts": len(file.alerts), "rules": sum(1 for _ in file.rules), "warnings": found[name]}
                for name, file in read.items()
            }
        )
        return HELD
    for name, file in read.items():
        show(f"{name}: {sum(1 for _ in file.rules)} rules, {len(file.alerts)} of them alerts")
        show(*(f"warning: {said}" for said in found[name]))
    return HELD


def metrics(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that simulate, drive or verify wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The OpenMetrics file.")],
    exporter: Exporter = "kafka_exporter",
    scrape: Scrape = "15s",
    begin: Annotated[
        str, typer.Option("--begin", metavar="TIME", help="When the run began, such as 2026-11-26T12:00:00Z.")
    ] = "1970-01-01T00:00:00Z",
) -> int:
    """Write the metrics of a run as OpenMetrics, for `promtool tsdb create-blocks-from openmetrics` and a Prometheus of your own."""
    from datetime import datetime

    from eventdrill.workflows.alerts import store_of
    from reports.alerts.openmetrics import openmetrics_text

    try:
        began = datetime.fromisoformat(begin)
        if began.tzinfo is None:
            raise ValueError
    except ValueError:
        raise WrongInputError(f"--begin is {begin!r}; a time is written like 2026-11-26T12:00:00Z") from None
    target = writable_file("--out", out)
    store = store_of(folder, exporter, _time_ms("--scrape", scrape))
    with target.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in openmetrics_text(store, began.timestamp()))
    say(f"metrics: {target}, {len(store.named(None))} series")
    return HELD


@spreads("judging", Judging)
def backtest(
    what: What,
    rules_file: RulesFile = None,
    alertmanager: Alertmanager = None,
    judging: Judging = USUAL,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page. Default: none.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Judge alert rules where the truth is known: recall, time to page, false pages a week, flaps, reset time.

    A fault is worth a page when it spent enough of an objective's error budget; pages are what Alertmanager would send.
    """
    from eventdrill.alert_tables import backtest_tables
    from eventdrill.workflows.alerts import backtest_document, judge_all, names_read, warnings_of
    from reports.alerts.defaults import default_rules
    from reports.alerts.rules import read_rules

    routing = None
    if alertmanager is not None:
        from reports.alerts.alertmanager import read_alertmanager

        routing = read_alertmanager(alertmanager)
    scraped, length = judging.scraped(), judging.length()
    given = read_rules(rules_file) if rules_file is not None else None
    page = writable_file("--out", out) if out is not None else None
    names = names_read(given) if given is not None else None
    material = _material(what, scraped, length, names, judging)
    file = given or default_rules(material.scenario, judging.exporter)
    scores, judged = judge_all(file, material, scraped, routing)
    document = backtest_document(scores, material, scraped, warnings_of(file, material))
    if page is not None:
        from reports.alerts_page import write_alerts_page

        write_alerts_page(page, material.scenario, scores, judged, document)
        say(f"page: {page}")
    if as_json:
        show_json(document)
    else:
        show(*backtest_tables(document))
    return HELD


@spreads("judging", Judging)
def suggest(
    what: What,
    objective: Annotated[
        str | None,
        typer.Option("--objective", metavar="NAME", help="Which one. Default: each.", show_default=False),
    ] = None,
    false_pages: Annotated[
        float, typer.Option("--false-pages", min=0, metavar="N", help="So many false pages a week are acceptable.")
    ] = 1.0,
    judging: Judging = USUAL,
    rules_out: Annotated[
        Path | None,
        typer.Option(
            "--rules-out", metavar="FILE", help="Write the scenario's rules with what was found.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page. Default: none.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> int:
    """Search windows, factors and `for` of burn-rate rules: the best recall at so many false pages a week, and what more would buy."""
    from eventdrill.alert_tables import suggestion_tables
    from eventdrill.workflows.alerts import suggestion_document, suggestions
    from reports.alerts.defaults import default_rules
    from reports.alerts.rules import rules_yaml

    scraped, length = judging.scraped(), judging.length()
    page = writable_file("--out", out) if out is not None else None
    target = writable_file("--rules-out", rules_out) if rules_out is not None else None
    names = {"objective_events_total", "objective_bad_events_total"}
    material = _material(what, scraped, length, names, judging)
    found = suggestions(material, scraped, objective, false_pages)
    document = suggestion_document(found, material)
    if target is not None:
        windows = {each.objective: each.best.windows for each in found}
        target.write_text(rules_yaml(default_rules(material.scenario, judging.exporter, windows).groups), "utf-8")
        say(f"rules: {target}")
    if page is not None:
        from reports.alerts_page import write_suggestions_page

        write_suggestions_page(page, material.scenario, found, document)
        say(f"page: {page}")
    if as_json:
        show_json(document)
    else:
        show(*suggestion_tables(document))
    return HELD


VERBS: Mapping[str, tuple[Callable[..., int], str]] = {
    "rules": (rules, "eventdrill alerts rules leader-crash --out rules.yml"),
    "check": (check, "eventdrill alerts check rules.yml"),
    "backtest": (backtest, EXAMPLE),
    "metrics": (metrics, "eventdrill alerts metrics runs/demo/driven --out metrics.txt"),
    "suggest": (suggest, "eventdrill alerts suggest leader-crash --page-worthy 0.02% --rules-out rules.yml"),
}


# ---- what was typed --------------------------------------------------------------------------------------------------


def _time_ms(option: str, text: str) -> int:
    from scenarios.quantities import MILLISECOND, SECOND, positive_duration_ns

    try:
        found = positive_duration_ns(text)
    except ValueError as error:
        raise WrongInputError(f"{option} {error}") from None
    if found < SECOND:
        raise WrongInputError(f"{option} is {text}; it is at least 1s")
    return found // MILLISECOND


def _material(
    what: list[str],
    scraped: "Scraped",
    months: "Months",
    names: set[str] | None,
    judging: Judging,
) -> "Material":
    """Return the cases that the arguments mean: folders of runs, or one scenario."""
    from eventdrill.workflows.alerts import from_runs, from_scenario, simulations

    folders = [Path(each) for each in what]
    if all(folder.is_dir() for folder in folders):
        if judging.settings or judging.seed is not None or judging.profile is not None:
            raise WrongInputError("--seed, --set and --profile belong to a scenario; runs are judged as they are")
        return from_runs(folders, scraped, names)
    if len(what) > 1:
        missing = next(folder for folder in folders if not folder.is_dir())
        raise WrongInputError(f"{missing}: is no folder of a run; name several runs, or one scenario alone")
    from scenarios.files import load_scenario

    settings = judging.settings or ()
    total = simulations(load_scenario(what[0], settings).scenario, months, judging.seed)
    with _progress(total) as update:
        return from_scenario(
            what[0],
            scraped,
            months,
            names,
            settings=settings,
            seed=judging.seed,
            profile=judging.profile,
            progress=update,
        )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    with bar("simulated runs", total) as update:
        yield update
