"""The main job from nothing: brokers, a quick calibration, and the shipped scenario predicted, driven and compared."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventdrill.workflows import drive as driving
from eventdrill.workflows import simulate as simulating
from eventdrill.workflows.places import Place, start_cluster
from eventdrill.workflows.telling import SILENT, Telling
from eventdrill.workflows.verify import Verification, Work, notices_of
from scenarios.files import load_scenario
from scenarios.profiles import Profile, load_profile, save_profile

if TYPE_CHECKING:
    from loadgen.clusters.model import Cluster, ClusterSpec

SCENARIO = "leader-crash"
WARM_UP_S = 15.0
"""The calibration has warmed the brokers; what is left are the scenario's own clients and topics."""


def demo(
    folder: Path, *, seed: int | None = None, on: Place = "local", keep: bool = False, telling: Telling = SILENT
) -> Verification:
    """Return the shipped scenario's verification on brokers that are started, measured and ended for it.

    Where no Kafka can be had it goes on with the cluster that librdkafka carries, and says what that does not prove. With
    `keep` the brokers' logs stay beside the runs.
    """
    loaded = load_scenario(SCENARIO)
    simulating.prepare(loaded, seed=seed)
    spec = driving.prepare(loaded, on=on, seed=seed).spec
    started = _start(on, spec, telling, folder / "logs" if keep else None)
    with started.cluster as cluster:
        profile = _profile(started, folder, telling)
        work = Work(loaded, folder, seed, telling=telling, warm_s=WARM_UP_S, notices=started.notices)
        prediction = work.predict(profile)
        observed = work.drive(cluster, prediction)
    return work.compare(prediction, observed)


@dataclass(frozen=True)
class _Started:
    """Brokers that serve, and what has to be said of them."""

    cluster: "Cluster"
    on: Place
    notices: tuple[str, ...]


def _start(on: Place, spec: "ClusterSpec", telling: Telling, log_dir: Path | None) -> _Started:
    from loadgen.clusters.model import ClusterError

    if on == "local":
        try:
            return _Started(start_cluster("local", spec, telling.say, log_dir=log_dir), "local", ())
        except ClusterError as error:
            reason = f"No private Kafka could be started: {error}"
            telling.say(f"{reason}\ngoing on with the cluster that librdkafka carries")
            on, notices = "embedded", (reason, *notices_of("embedded"))
    else:
        notices = notices_of(on)
    return _Started(start_cluster(on, spec, telling.say), on, notices)


def _profile(started: _Started, folder: Path, telling: Telling) -> Profile:
    """Return what a quick calibration says of a real Kafka; the one that plays Kafka is not measured."""
    base = load_profile("local-kafka")
    if started.on == "embedded":
        return base
    from eventdrill.workflows.calibrate import calibrate

    with telling.display() as watch:
        profile = calibrate(started.cluster, folder / "calibration", base=base, progress=telling.say, watch=watch)
    save_profile(profile, folder / "profile.yaml")
    return profile
