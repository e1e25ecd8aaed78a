"""What requests take where one broker leads all that is written to: less than where several do, as a run on a single partition shows."""

import numpy as np

from eventdrill.workflows.calibrate import answered_by_leaders, constant, corrected, heard, residuals
from eventdrill.workflows.calibrate_there import Ground
from eventdrill.workflows.pace import Stretch
from rundata.tables import RunData
from scenarios.profiles import OneLeader, Profile
from scenarios.quantities import SECOND

LOW_HZ, HIGH_HZ, LEADER_HZ = 70, 250, 100
_WARM_UP_S, _STEP_S, _SETTLE_S = 3, 9, 1
_ROUNDS = 3


def one_leader_text(ground: Ground) -> str:
    """Return the scenario of a single partition: two rates with acks=all, then one with acks=1."""
    topic, group = ground.name("one-leader"), ground.name("first")
    both_s = _WARM_UP_S + 2 * _STEP_S
    return f"""
scenario: calibration-one-leader
about: A single partition, so that one broker leads all, and no request meets another one.
duration: {both_s + _STEP_S}s
warm_up: {_WARM_UP_S}s
drain: 5s
{ground.head}
topics: {{{topic}: {ground.topic(1)}}}
producers:
  source:
    topic: {topic}
    settings: {{acks: all, enable.idempotence: true, linger.ms: 2}}
    arrivals:
      - {{for: {_WARM_UP_S}s, rate: {HIGH_HZ}/s}}
      - {{for: {_STEP_S}s, rate: {LOW_HZ}/s}}
      - {{for: {_STEP_S}s, rate: {HIGH_HZ}/s}}
      - {{for: {_STEP_S}s, rate: 0/s}}
    key: {{uniform: 5000}}
    size: 300B
  leader:
    topic: {topic}
    settings: {{acks: 1, linger.ms: 2, max.in.flight.requests.per.connection: 5}}
    arrivals:
      - {{for: {both_s}s, rate: 0/s}}
      - {{for: {_STEP_S}s, rate: {LEADER_HZ}/s}}
    key: {{uniform: 5000}}
    size: 300B
groups:
  {group}: {{topics: [{topic}], work: 500us, commit: {{every: 1s}}}}
"""


def _step(number: int) -> Stretch:
    begin_s = _WARM_UP_S + number * _STEP_S
    return (begin_s + _SETTLE_S) * SECOND, (begin_s + _STEP_S) * SECOND


def with_one_leader(run: RunData, profile: Profile) -> Profile:
    """Return the profile with the times with which the simulated single partition shows what the driven one did; the rest of it stays."""
    delivery = np.concatenate([residuals(run, *_step(number)).delivery for number in (0, 1)])
    usual = constant(round(profile.acknowledge.median_us * 1e3))
    fitted = profile.model_copy(update={"one_leader": None, "acknowledge": heard(delivery, usual)})
    fitted = corrected(run, fitted, rounds=_ROUNDS, stretches=[_step(0), _step(1)])
    fitted = answered_by_leaders(run, fitted, stretches=[_step(2)])
    own = OneLeader(
        produce=fitted.produce, produce_leader=fitted.produce_leader, fetch=fitted.fetch, acknowledge=fitted.acknowledge
    )
    return profile.model_copy(update={"one_leader": own})
