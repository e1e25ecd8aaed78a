"""A cluster whose brokers have worked for a while, and a profile of just these brokers."""

import shutil
from pathlib import Path

from eventdrill.terminal import say
from eventdrill.workflows.calibrate_fully import calibrate_fully
from eventdrill.workflows.calibrate_there import Ground
from eventdrill.workflows.telling import on_terminal
from loadgen.clusters.model import Cluster
from loadgen.engine import drive
from rundata.dataset import RunWriter
from scenarios.files import load_text
from scenarios.plan import make_plan
from scenarios.profiles import Profile, load_profile

CALIBRATIONS, MOST_DRIFT = 3, 0.15
"""How often at most, and beyond which drift of its service times, a profile is measured again."""
WARMING = """
scenario: warming
about: As many requests as a JVM needs until it works as fast as it will.
duration: 150s
drain: 10s
brokers: {kind: kafka, nodes: 3}
topics:
  warming: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}
  warming-acks-1: {partitions: 6, replication: 3, settings: {min.insync.replicas: 2}}
producers:
  safe: {topic: warming, arrivals: 700/s, key: {uniform: 5000}, size: 300B, settings: {acks: all, enable.idempotence: true, linger.ms: 0}}
  quick: {topic: warming-acks-1, arrivals: 300/s, key: {uniform: 5000}, size: 300B, settings: {acks: 1, linger.ms: 0}}
groups:
  work: {topics: [warming, warming-acks-1], members: 3, work: 100us, commit: {every: 1s}}
"""


def warm(cluster: Cluster, folder: Path) -> None:
    """Let brokers work for a while: a JVM's first minutes are its slowest."""
    loaded = load_text(WARMING, "the warming load")
    plan = make_plan(loaded.scenario)
    say("warming the brokers")
    with on_terminal().display() as watch:
        drive(loaded, plan, cluster, RunWriter(fresh(folder / "warming"), plan, text=loaded.text), progress=watch)


def calibrated(cluster: Cluster, folder: Path) -> Profile:
    """Return a profile of just these brokers, warmed, none of which was killed.

    Where they moved meanwhile, as their drift and the run that was held back tell, they are calibrated again; the surest profile counts.
    """
    warm(cluster, folder)
    base, ground = load_profile("local-kafka"), Ground(crashes=False)
    found: list[Profile] = []
    while len(found) < CALIBRATIONS and not any(profile.produce.scale_sd <= MOST_DRIFT for profile in found):
        into = fresh(folder / f"calibration-{len(found) + 1}")
        with on_terminal().display() as watch:
            found.append(calibrate_fully(cluster, into, base=base, progress=say, watch=watch, ground=ground))
        say(f"the brokers moved by {found[-1].produce.scale_sd:.0%} while they were measured")
    return min(found, key=lambda profile: profile.produce.scale_sd)


def fresh(folder: Path) -> Path:
    """Return a folder of ours of which nothing is left from before."""
    if folder.exists():
        shutil.rmtree(folder)
    return folder
