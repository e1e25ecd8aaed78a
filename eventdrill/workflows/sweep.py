"""Simulates many variants of a scenario: a grid of values or a sample of it, kept as it goes, so that a second start goes on."""

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdrill.errors import WrongInputError
from eventdrill.workflows.simulate import Jobs
from eventdrill.workflows.sources import Source, loaded
from eventdrill.workflows.telling import SILENT, Telling
from eventdrill.workflows.trials import Shown, Trial, measured_of, show, variant
from scenarios.files import LoadedScenario
from scenarios.profiles import Profile, load_profile

if TYPE_CHECKING:
    import pandas as pd

    from rundata.comparison import Comparison
    from rundata.replications import Estimate

REPLICATIONS = 10
MOST_POINTS = 100_000
FILE, POINTS = "sweep.json", "points"
_CHUNK = 5
"""Replications that a process takes at a time."""
Values = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Point:
    """One variant: what was changed, and what its replications showed."""

    changes: Mapping[str, Any]
    shown: tuple[Shown, ...]
    held: Mapping[str, float]
    """By expectation: the share of replications in which it held."""

    @cached_property
    def estimates(self) -> "dict[str, Estimate]":
        """Every indicator with its intervals."""
        from rundata.replications import summarise

        return summarise(measured_of(self.shown))


@dataclass(frozen=True, eq=False)
class Sweep:
    """The variants in their order; the first is what the others are compared with."""

    scenario: str
    fields: tuple[str, ...]
    points: tuple[Point, ...]
    replications: int
    seed: int
    folder: Path | None = None

    @cached_property
    def comparisons(self) -> "tuple[dict[str, Comparison], ...]":
        """Each variant against the first, replication by replication: the same events, the same chance."""
        from rundata.comparison import compare

        base = measured_of(self.points[0].shown)
        return tuple(compare(base, measured_of(point.shown)) for point in self.points)

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """A row for each variant and indicator: the changed fields, value, intervals, and how surely it differs from the first."""
        import pandas as pd

        rows = []
        for point, compared in zip(self.points, self.comparisons, strict=True):
            for name, each in point.estimates.items():
                if each.series:
                    continue
                low, high = each.interval or (None, None)
                mean_low, mean_high = each.mean_interval or (None, None)
                against = compared.get(name)
                rows.append({
                    **point.changes, "indicator": name, "value": each.value, "unit": each.unit, "low": low, "high": high,
                    "mean_low": mean_low, "mean_high": mean_high,
                    "difference": against.difference if against else None,
                    "sure": against.sure if against else None,
                    "verdict": against.verdict if against else None,
                })  # fmt: skip
        return pd.DataFrame(rows)

    @property
    def page(self) -> Path:
        """Where the page lies."""
        assert self.folder is not None
        return self.folder / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Return the document that `sweep --json` prints."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "replications": self.replications,
            "fields": list(self.fields),
            "points": [
                {
                    "changes": dict(point.changes),
                    "indicators": {name: each.to_json() for name, each in point.estimates.items()},
                    "expect": dict(point.held),
                    "against_first": {name: each.to_json() for name, each in compared.items()},
                }
                for point, compared in zip(self.points, self.comparisons, strict=True)
            ],
        }


def sweep(
    scenario: Source,
    over: Values | None = None,
    *,
    sample: int | None = None,
    replications: int = REPLICATIONS,
    seed: int | None = None,
    settings: Sequence[str] = (),
    profile: Profile | str | Path | None = None,
    jobs: Jobs = None,
    out: Path | str | None = None,
    telling: Telling = SILENT,
) -> Sweep:
    """Return what every variant of a scenario shows: all combinations of `over`, by default of the file's `sweep`.

    With `sample` only so many combinations, spread evenly by a quasi-random sequence. With `out` what is finished is kept
    there, and the same call goes on from it.
    """
    work = prepare(
        scenario, over, sample=sample, replications=replications, seed=seed, settings=settings, profile=profile
    )
    return work.run(None if out is None else Path(out), jobs=jobs, telling=telling)


def prepare(
    scenario: Source,
    over: Values | None = None,
    *,
    sample: int | None = None,
    replications: int = REPLICATIONS,
    seed: int | None = None,
    settings: Sequence[str] = (),
    profile: Profile | str | Path | None = None,
) -> "Work":
    """Check everything that can be wrong, in every variant, before anything starts."""
    found = loaded(scenario, settings)
    values: Values = over or found.scenario.sweep
    if not values:
        raise WrongInputError(
            f"{found.source}: there is nothing to sweep over; add `sweep: {{groups.NAME.members: [1, 2, 3]}}` to the file, or --over"
        )
    if replications < 2:
        raise WrongInputError("a sweep takes at least 2 replications: one has no interval, and tells no difference")
    count = 1
    for each in values.values():
        count *= len(each)
    if sample is None and count > MOST_POINTS:
        raise WrongInputError(f"these are {count:,} combinations; --sample N takes N of them, spread evenly")
    chosen_seed = found.scenario.seed if seed is None else seed
    points = grid(values) if sample is None or sample >= count else sampled(values, sample, chosen_seed)
    chosen = profile if isinstance(profile, Profile) else load_profile(profile or found.scenario.profile)
    variants = [variant(found, changes) for changes in points]
    from sim.refuse import cannot

    reasons = [f"with {_said(c)}: {why}" for c, v in zip(points, variants, strict=True) for why in cannot(v.scenario)]
    if reasons:
        raise WrongInputError("\n".join(f"{found.source} {reason}" for reason in reasons[:20]))
    return Work(found, chosen, chosen_seed, tuple(values), tuple(points), tuple(variants), replications)


def grid(values: Values) -> list[dict[str, Any]]:
    """Return all combinations, the last field's values fastest."""
    return [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]


def sampled(values: Values, count: int, seed: int) -> list[dict[str, Any]]:
    """Return so many different combinations by a scrambled Halton sequence: each field's values about equally often."""
    from scipy.stats import qmc

    sequence = qmc.Halton(len(values), rng=seed)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < count:
        for row in sequence.random(count):
            each = {
                name: choices[int(at * len(choices))] for at, (name, choices) in zip(row, values.items(), strict=True)
            }
            if len(found) < count:
                found.setdefault(json.dumps(each, sort_keys=True, default=str), each)
    return list(found.values())


def _said(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{field} {value}" for field, value in changes.items())


@dataclass(frozen=True)
class Work:
    """A sweep that can begin."""

    loaded: LoadedScenario
    profile: Profile
    seed: int
    fields: tuple[str, ...]
    points: tuple[dict[str, Any], ...]
    variants: tuple[LoadedScenario, ...]
    replications: int

    def run(self, folder: Path | None, *, jobs: Jobs = None, telling: Telling = SILENT) -> Sweep:
        """Simulate what is not there yet, and write page, table and document where a folder is given."""
        from sim.crew import Crew

        kept = {} if folder is None else self._begin(folder)
        if kept:
            telling.say(f"{len(kept)} of {len(self.points)} variants are there already")
        missing = [number for number in range(len(self.points)) if number not in kept]
        with Crew(jobs or os.cpu_count() or 1) as crew, telling.bar("variants", len(self.points)) as update:
            update(len(kept))
            pieces = [piece for number in missing for piece in self._pieces(number)]
            with closing(crew.each(show, pieces)) as parts:
                for number in missing:
                    shown = [one for _ in self._pieces(number) for one in next(parts)]
                    kept[number] = shown
                    if folder is not None:
                        _write(folder / POINTS / f"{number:05d}.json", shown)
                    update(len(kept))
        result = Sweep(
            self.loaded.scenario.scenario,
            self.fields,
            tuple(self._point(number, kept[number]) for number in range(len(self.points))),
            self.replications,
            self.seed,
            folder,
        )
        if folder is not None:
            _write_all(result, self.loaded)
        return result

    def _pieces(self, number: int) -> list[Trial]:
        scenario = self.variants[number].scenario
        numbers = tuple(range(self.replications))
        return [
            Trial(scenario, self.profile, self.seed, numbers[begin : begin + _CHUNK])
            for begin in range(0, self.replications, _CHUNK)
        ]

    def _point(self, number: int, shown: Sequence[Shown]) -> Point:
        from rundata.expect import judge

        judged = judge(self.variants[number].scenario, measured_of(shown))
        return Point(self.points[number], tuple(shown), {each.text: each.share_held for each in judged})

    def _begin(self, folder: Path) -> dict[int, list[Shown]]:
        """Write down what the sweep is, or return what an earlier start of the same has finished."""
        (folder / POINTS).mkdir(parents=True, exist_ok=True)
        about = folder / FILE
        if about.exists():
            if json.loads(about.read_text("utf-8")).get("sha256") != self._sha256():
                raise WrongInputError(f"{folder} holds another sweep; name a new folder")
            return {int(path.stem): _read(path) for path in sorted((folder / POINTS).glob("*.json"))}
        about.write_text(json.dumps({"sha256": self._sha256(), "points": self.points}, indent=1, default=str), "utf-8")
        (folder / "scenario.yaml").write_text(self.loaded.text, "utf-8")
        return {}

    def _sha256(self) -> str:
        """Return the hash of all that decides the figures."""
        texts = [self.loaded.text, self.profile.model_dump_json(), str(self.seed), str(self.replications)]
        return hashlib.sha256("\0".join([*texts, json.dumps(self.points, default=str)]).encode()).hexdigest()


def _write_all(result: Sweep, loaded: LoadedScenario) -> None:
    from reports.document import markdown, write_document
    from reports.sweep import sweep_document

    assert result.folder is not None
    (result.folder / "results.json").write_text(json.dumps(result.to_json(), indent=1, allow_nan=False), "utf-8")
    result.frame.to_csv(result.folder / "results.csv", index=False)
    document = sweep_document(loaded.scenario, result.fields, result.points, result.comparisons, result.replications)
    write_document(result.page, document)
    (result.folder / "report.md").write_text(markdown(document), "utf-8")


# ---- finished variants on disk -------------------------------------------------------------------------------------


def _write(path: Path, shown: Sequence[Shown]) -> None:
    document = [
        {
            "measured": {name: asdict(each) for name, each in one.measured.items()},
            "compliance": one.compliance,
            "spent": one.spent,
        }
        for one in shown
    ]
    half = path.with_suffix(".new")
    half.write_text(json.dumps(document), "utf-8")
    half.replace(path)


def _read(path: Path) -> list[Shown]:
    from rundata.measurement import Measurement

    return [
        Shown(
            {name: Measurement(**{**each, "series": tuple(each["series"])}) for name, each in one["measured"].items()},
            one["compliance"],
            one["spent"],
        )
        for one in json.loads(path.read_text("utf-8"))
    ]
