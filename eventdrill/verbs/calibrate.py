"""`eventdrill calibrate`: measures brokers and writes a profile."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eventdrill.errors import HELD, SAYS_NOTHING, WrongInputError
from eventdrill.terminal import say
from eventdrill.verbs.options import (
    ClientSettings,
    DryRun,
    OnAnywhere,
    is_address,
    only_there,
    place,
    say_acts,
    writable_file,
)

if TYPE_CHECKING:
    from eventdrill.workflows.calibrate_there import Ground, There
    from loadgen.clusters.model import Cluster
    from loadgen.exporters import Exporter
    from scenarios.profiles import Profile

NAME = "calibrate"
UNSURE = 0.3
"""A standard deviation of service times beyond which `verify` cannot tell whether latencies agree: their intervals become wider than twice any tolerance."""
EXAMPLE = """\
eventdrill calibrate --on local --quick --out mine.yaml
eventdrill simulate leader-crash --profile mine.yaml
eventdrill calibrate --on broker1:9092 --target drill.yaml --metrics http://broker1:9404/metrics"""


def verb(
    on: OnAnywhere = "local",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="At most 40 s: two rates, no failures; the rest is taken from the shipped profile."
        ),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="ALLOWED",
            help="With HOST:PORT: what may be done there: a scenario file that has a target, or "
            "'{cluster_id: ..., topics: [drill-*]}', with harm: allowed if load may rise until the brokers are at their limit.",
            show_default=False,
        ),
    ] = None,
    client_settings: ClientSettings = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="URL",
            help="With HOST:PORT: a broker's Prometheus exporter, read while it is measured, so that times at the brokers are the "
            "brokers' own. Repeat for each broker.",
        ),
    ] = None,
    dry_run: DryRun = False,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The profile to write.")] = Path("profile.yaml"),
) -> int:
    """Measure a broker and write a profile: what produce, fetch, poll and commit take on this machine.

    The whole calibration takes some five minutes: sizes, acks, load up to saturation, crashes of brokers and of a member, and a run held back on
    which the profile's errors are told. When the driver or the host was the limit, the profile says that it is doubtful, and the
    exit code is 3. Brokers that EventDrill did not start are touched only as --target allows, and none of them is
    ever killed; what cannot be measured there is taken from the shipped profile, and the profile says so.
    """
    if not dry_run and writable_file("--out", out).exists():
        raise WrongInputError(f"--out {out} is there already, and nothing is ever overwritten; choose another name")
    if is_address(on):
        from eventdrill.workflows.calibrate_there import prepare_there

        there = prepare_there(on, target, client_settings, metrics or ())
        if dry_run:
            return say_acts(_acts(there, quick=quick), as_json=False)
        profile = _measured_there(there, quick=quick)
    else:
        only_there(dry_run=dry_run, client_settings=client_settings, target=target, metrics=metrics)
        profile = _measured_here(on, quick=quick)
    return _finish(profile, out)


def _measured_here(on: str, *, quick: bool) -> "Profile":
    """Start brokers, and measure them."""
    where = place(on)
    from eventdrill.workflows.places import start_cluster
    from loadgen.clusters.model import ClusterSpec

    with start_cluster(where, ClusterSpec(), say) as cluster:
        return _measured(cluster, quick=quick)


def _measured_there(there: "There", *, quick: bool) -> "Profile":
    """Measure a system that EventDrill did not start."""
    with there.system as cluster:
        return _measured(cluster, quick=quick, ground=there.ground, exporters=there.exporters)


def _measured(
    cluster: "Cluster", *, quick: bool, ground: "Ground | None" = None, exporters: "Sequence[Exporter]" = ()
) -> "Profile":
    import tempfile

    from eventdrill.live import display
    from eventdrill.workflows.calibrate import calibrate, shipped_base
    from eventdrill.workflows.calibrate_fully import calibrate_fully
    from eventdrill.workflows.calibrate_there import HERE

    measure = calibrate if quick else calibrate_fully
    with tempfile.TemporaryDirectory(prefix="eventdrill-") as folder, display() as watch:
        return measure(
            cluster,
            Path(folder) / "calibration",
            base=shipped_base(),
            progress=say,
            watch=watch,
            ground=ground or HERE,
            exporters=exporters,
        )


def _acts(there: "There", *, quick: bool) -> list[str]:
    from eventdrill.workflows.calibrate import CALIBRATION_SEED, calibration_scenario
    from eventdrill.workflows.calibrate_fully import SEEDS, names_on, scenario
    from eventdrill.workflows.calibrate_there import acts_there

    if quick:
        return acts_there(there, [(calibration_scenario(there.ground), CALIBRATION_SEED)])
    return acts_there(there, [(scenario(name, there.ground), SEEDS[name]) for name in names_on(there.ground)])


def _finish(profile: "Profile", out: Path) -> int:
    """Write the profile, and say what was measured and what was not."""
    from scenarios.profiles import save_profile

    save_profile(profile, out)
    for name, value in profile.measured_on.items():
        say(f"{name}: {value}")
    for name, value in profile.brokers_said.items():
        say(f"brokers: {name}: {value}")
    uncertainty = max(profile.produce.scale_sd, profile.fetch.scale_sd)
    say(f"uncertainty: service times may all be {uncertainty:.0%} shorter or longer (standard deviation)")
    if uncertainty > UNSURE:
        say("warning: that is too much to tell whether latencies agree; calibrate again, beside no other work")
    for why in dict.fromkeys(profile.not_measured.values()):
        say(f"not measured: {', '.join(name for name, reason in profile.not_measured.items() if reason == why)}: {why}")
    say(f"profile: {out}")
    return SAYS_NOTHING if "doubtful" in profile.measured_on else HELD
