"""The random inputs: the same however they are asked for, given instants before drawn ones, longer under more load."""

import numpy as np
import pytest

from rundata.tables import Names
from scenario_text import small
from scenarios.plan import Plan, make_plan
from scenarios.profiles import IDEAL, KNOTS, Measured, OneLeader, Profile
from scenarios.quantities import SECOND
from sim.draws import Draws, requests_hz
from sim.observed import Observed

SPREAD = Measured(quantiles_us=tuple(float(n) for n in range(len(KNOTS))))
PROFILE = Profile(
    profile="spread",
    produce=SPREAD,
    produce_leader=SPREAD,
    fetch=SPREAD,
    wake=SPREAD,
    election=SPREAD,
    discovery=SPREAD,
    member_discovery=SPREAD,
)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(small())


def test_the_nth_value_does_not_depend_on_how_many_are_drawn(plan: Plan):
    """One at a time, all at once, in two goes and in blocks of 7."""
    at_once = Draws(plan, PROFILE, 1).produce(0, 1).first(200)
    one_by_one = Draws(plan, PROFILE, 1).produce(0, 1)
    in_two = Draws(plan, PROFILE, 1).produce(0, 1)
    in_two.first(3)
    blocks = Draws(plan, PROFILE, 1).produce(0, 1).blocks(7)

    assert [one_by_one[n] for n in range(200)] == at_once.tolist()
    assert in_two.first(200).tolist() == at_once.tolist()
    assert np.concatenate([next(blocks) for _ in range(30)])[:200].tolist() == at_once.tolist()


def test_what_takes_long_takes_long_at_its_leader_too(plan: Plan):
    draws = Draws(plan, PROFILE.model_copy(update={"produce_leader": PROFILE.produce}), 1)

    assert draws.leader(0, 1).first(10).tolist() == draws.produce(0, 1).first(10).tolist()
    assert draws.leader(0, 2).first(10).tolist() != draws.produce(0, 1).first(10).tolist()


def test_entities_purposes_seeds_and_chances_have_streams_of_their_own(plan: Plan):
    """Seven rows of ten values, all different."""
    draws = Draws(plan, PROFILE, 1)
    rows = [
        draws.produce(0, 1), draws.produce(1, 1), draws.produce(0, 2), draws.acknowledge(0, 1), draws.fetch(2, 1),
        Draws(plan, PROFILE, 2).produce(0, 1), Draws(plan, PROFILE, 1, chance=1).produce(0, 1),
    ]  # fmt: skip

    assert len({tuple(row.first(10).tolist()) for row in rows}) == 7


def test_a_fence_comes_within_its_bounds_and_aligned_after_one_session(plan: Plan):
    """20 s + 9 s - U(0, 2 s) + U(0, 1.125 s); with aligned phases 29 s."""
    fences = [Draws(plan, PROFILE, 1, chance).fence_ns(0) / SECOND for chance in range(200)]

    assert 27 <= min(fences) < 27.8
    assert 29.4 < max(fences) <= 30.125
    assert Draws(plan, IDEAL, 1).fence_ns(0) == 29 * SECOND


def test_a_broker_registers_at_its_first_try_after_the_fence(plan: Plan):
    """It is back at 35 s and tries every 2 s: with the fence at 36.5 s, at 37 s."""
    late = Draws(plan, IDEAL, 1, observed=Observed(fence_ns={0: 36_500_000_000}))

    early = Draws(plan, IDEAL, 1)
    assert early.registered_ns(0, early.fence_ns(0)) == 35 * SECOND
    assert late.registered_ns(0, late.fence_ns(0)) == 37 * SECOND


def test_given_instants_replace_drawn_ones(plan: Plan):
    """A client never turns to leaders that are not there yet; of a partition that was not seen, with its first one."""
    given = Observed(
        elected_ns={0: 30 * SECOND},
        discovered_ns={
            (0, "shop/1", "orders/0"): 31 * SECOND,
            (0, "shop/1", "orders/1"): 32 * SECOND,
            (0, "shop/2", "orders/0"): 29 * SECOND,
        },
        back_in_sync_ns={0: 40 * SECOND},
    )
    draws = Draws(plan, PROFILE, 1, observed=given)

    assert draws.elected_ns(0) == 30 * SECOND
    assert [draws.discovered_ns(0, 0, f"orders/{n}") for n in (0, 1, 2)] == [31 * SECOND, 32 * SECOND, 31 * SECOND]
    assert draws.discovered_ns(1, 0, "orders/0") == 30 * SECOND
    assert draws.back_in_sync_ns(0, 35 * SECOND) == 40 * SECOND


def test_producers_find_the_new_leaders_together_and_members_each_alone(plan: Plan):
    """Codes 0 and 1 are processes of one producer, the last two are members."""
    draws, last = Draws(plan, PROFILE, 1), len(Names.of(plan.scenario).processes) - 1

    assert draws.discovered_ns(0, 0, "orders/0") == draws.discovered_ns(1, 0, "orders/0")
    assert draws.discovered_ns(last, 0, "orders/0") != draws.discovered_ns(last - 1, 0, "orders/0")


def test_followers_that_ask_too_early_ask_again_a_backoff_later(plan: Plan):
    """With the chance 1 all of them do, with 0 none, and where discoveries were observed the wait lies in them."""
    early = PROFILE.model_copy(update={"early_followers": 1.0})
    seen = Observed(discovered_ns={(0, "shop/1", "orders/0"): 41 * SECOND})
    draws = Draws(plan, early, 1)

    assert draws.followed_ns(0, 2) == draws.elected_ns(0) + SECOND
    assert Draws(plan, PROFILE.model_copy(update={"early_followers": 0.0}), 1).followed_ns(0, 2) == draws.elected_ns(0)
    assert Draws(plan, early, 1, observed=seen).followed_ns(0, 2) == draws.elected_ns(0)


def test_followers_whose_fetch_is_held_ask_again_when_its_wait_is_over(plan: Plan):
    """With both chances 1 a backoff and a wait: 1 s and 0.5 s."""
    held = PROFILE.model_copy(update={"parked_followers": 1.0})
    draws, both = Draws(plan, held, 1), Draws(plan, held.model_copy(update={"early_followers": 1.0}), 1)

    assert draws.followed_ns(0, 2) == draws.elected_ns(0) + SECOND // 2
    assert both.followed_ns(0, 2) == both.elected_ns(0) + 3 * SECOND // 2


def test_leaders_that_stay_answer_again_when_they_have_taken_it_in(plan: Plan):
    """80 ms after the election, for all of them; or when it was observed, and never before the election."""
    takes = PROFILE.model_copy(update={"takeover": Measured(quantiles_us=(80_000.0,) * len(KNOTS))})
    draws = Draws(plan, takes, 1)
    elected_ns = draws.elected_ns(0)

    assert draws.answers_again_ns(0) == elected_ns + 80_000_000
    assert (
        Draws(plan, takes, 1, observed=Observed(answered_ns={0: elected_ns + 7})).answers_again_ns(0) == elected_ns + 7
    )
    assert Draws(plan, takes, 1, observed=Observed(answered_ns={0: elected_ns - 7})).answers_again_ns(0) == elected_ns


def test_one_try_fails_alike_whether_drawn_alone_or_with_others(plan: Plan):
    """A keyed hash, so that one more try changes no other."""
    draws = Draws(plan, PROFILE, 1)
    several = draws.failing_work_of(1, np.array([3, 4]), np.array([1, 2]), np.array([1, 1]))

    assert [draws.failing_work(1, 3, 1, 1), draws.failing_work(1, 4, 2, 1)] == several.tolist()


def test_requests_are_events_less_those_that_share_a_linger():
    """1,000 events/s, even, on one partition: with 5 ms of linger one request for 6 events, without one for each."""
    changes = [
        ("      - {for: 40s, rate: 200/s}\n      - {for: 20s, rate: [200/s, 300/s], spacing: even}", "      {rate: 1000/s, spacing: even}"),
        ("partitions: 6", "partitions: 1"), ("count: 2", "count: 1"),
    ]  # fmt: skip

    assert requests_hz(make_plan(small(*changes))) == pytest.approx(1000 / 6)
    assert requests_hz(make_plan(small(*changes, ("linger.ms: 5", "linger.ms: 0")))) == pytest.approx(1000)


def test_answers_and_fetches_are_longer_under_more_load(plan: Plan):
    """20 % for each 100 requests/s above the base; the base itself, or less load, changes nothing."""
    base_hz = requests_hz(plan)
    loaded = PROFILE.model_copy(update={"load_slope": 0.2, "load_base_hz": base_hz - 50})
    as_measured = PROFILE.model_copy(update={"load_slope": 0.2, "load_base_hz": base_hz + 50})
    plain = Draws(plan, PROFILE, 1)

    for of in (lambda d: d.produce(0, 1), lambda d: d.leader(0, 1), lambda d: d.fetch(2, 1)):
        expected = of(plain).first(50)
        assert of(Draws(plan, loaded, 1)).first(50) == pytest.approx(1.1 * expected, abs=1)
        assert of(Draws(plan, as_measured, 1)).first(50).tolist() == expected.tolist()
    assert Draws(plan, loaded, 1).wake(2).first(50).tolist() == plain.wake(2).first(50).tolist()


def test_one_leader_has_times_of_its_own():
    """They count where one broker leads all that is sent to: with one partition, not with six, nor beside handlers' events to another topic."""
    one = ("partitions: 6", "partitions: 1")
    elsewhere = ("work: 1ms\n", "work: 1ms\n    emits: [{topic: orders.dlq}]\n")
    alone, several, emitting = (make_plan(small(*changes)) for changes in ([one], [], [one, elsewhere]))
    longer = SPREAD.model_copy(update={"quantiles_us": tuple(2 * each for each in SPREAD.quantiles_us)})
    own = OneLeader(produce=longer, produce_leader=longer, fetch=longer)
    profile = PROFILE.model_copy(update={"one_leader": own})

    def drawn(plan: Plan, what: str, profile: Profile) -> list[int]:
        values: list[int] = getattr(Draws(plan, profile, 1), what)(0, 1).first(50).tolist()
        return values

    for what in ("produce", "leader", "fetch"):
        assert drawn(alone, what, profile) == pytest.approx([2 * value for value in drawn(alone, what, PROFILE)], abs=1)
        assert drawn(several, what, profile) == drawn(several, what, PROFILE)
        assert drawn(emitting, what, profile) == drawn(emitting, what, PROFILE)
    assert Draws(alone, profile, 1).core_times()[2:] == tuple(
        2 * each for each in Draws(alone, PROFILE, 1).core_times()[2:]
    )
