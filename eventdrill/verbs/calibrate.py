"""`eventdrill calibrate`: measures brokers and writes a profile."""

from pathlib import Path
from typing import Annotated

import typer

from eventdrill.errors import HELD, SAYS_NOTHING, WrongInputError
from eventdrill.terminal import say
from eventdrill.verbs.options import On, place, writable_file

NAME = "calibrate"
EXAMPLE = (
    "eventdrill calibrate --on local --quick --out mine.yaml\neventdrill simulate leader-crash --profile mine.yaml"
)


def verb(
    on: On = "local",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="At most 40 s: two rates, no failures; the rest is taken from the shipped profile."
        ),
    ] = False,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The profile to write.")] = Path("profile.yaml"),
) -> int:
    """Measure a broker and write a profile: what produce, fetch, poll and commit take on this machine.

    The whole calibration takes some four minutes: sizes, acks, load up to saturation, two crashes, and a run held back on
    which the profile's errors are told. When the driver or the host was the limit, the profile says that it is doubtful, and the
    exit code is 3.
    """
    where = place(on)
    if writable_file("--out", out).exists():
        raise WrongInputError(f"--out {out} is there already, and nothing is ever overwritten; choose another name")
    import tempfile

    from eventdrill.live import display
    from eventdrill.workflows.calibrate import calibrate
    from eventdrill.workflows.calibrate_fully import calibrate_fully
    from eventdrill.workflows.places import start_cluster
    from loadgen.clusters.model import ClusterSpec
    from scenarios.profiles import load_profile, save_profile

    with (
        tempfile.TemporaryDirectory(prefix="eventdrill-") as folder,
        start_cluster(where, ClusterSpec(), say) as cluster,
        display() as watch,
    ):
        base = load_profile("local-kafka")
        measure = calibrate if quick else calibrate_fully
        profile = measure(cluster, Path(folder) / "calibration", base=base, progress=say, watch=watch)
    save_profile(profile, out)
    for name, value in profile.measured_on.items():
        say(f"{name}: {value}")
    say(f"profile: {out}")
    return SAYS_NOTHING if "doubtful" in profile.measured_on else HELD
