"""How long batches of librdkafka linger: its threads sleep in whole milliseconds, from the last time that something woke them; by hand in both models."""

import numpy as np

from both_models import Run, in_both_models
from by_hand import by_hand, constant, ms
from rundata.rows import Kind
from scenarios.plan import make_plan
from scenarios.profiles import IDEAL, Profile
from sim.engine import simulate

TAKES = Profile(profile="p", produce=constant(1.3), phases="aligned")
SLEEPS = TAKES.model_copy(update={"sleep_step_us": 1000.0})
EVERY_2_MS = {"rate": "500/s", "spacing": "even"}


@in_both_models
def test_a_thread_that_nothing_wakes_sends_in_time(run: Run) -> None:
    """The first event of a batch wakes it, and 5 ms are five steps."""
    assert ms(run(SLEEPS), Kind.send) == [round(56.3 + 100 * n, 1) for n in range(10)]


@in_both_models
def test_a_linger_that_is_no_whole_step_is_rounded_up(run: Run) -> None:
    """4.2 ms are five steps."""
    data = run(SLEEPS, producers__p__settings={"linger.ms": 4.2})

    assert ms(data, Kind.send) == [round(56.3 + 100 * n, 1) for n in range(10)]


@in_both_models
def test_a_thread_that_an_answer_woke_sleeps_whole_steps_from_there(run: Run) -> None:
    """Events at 1, 3, 5 ms and so on. The first batch goes at 6 and is answered at 7.3, where 4.7 ms of the next linger are left: five steps, to 12.3.

    From the answer at 13.6 it is 4.4 ms to 18, which are five steps, from that at 19.9 again, from that at 26.2 four.
    """
    data = run(SLEEPS, duration="30ms", producers__p__arrivals=EVERY_2_MS)

    assert ms(data, Kind.send) == [sent for sent in (7.3, 13.6, 19.9, 26.2, 31.5) for _ in range(3)]


@in_both_models
def test_without_steps_batches_go_when_they_have_lingered(run: Run) -> None:
    """The same events, 5 ms after each batch's first one."""
    data = run(TAKES, duration="30ms", producers__p__arrivals=EVERY_2_MS)

    assert ms(data, Kind.send) == [sent for sent in (7.3, 13.3, 19.3, 25.3, 31.3) for _ in range(3)]


@in_both_models
def test_an_event_behind_what_is_ready_wakes_the_thread(run: Run) -> None:
    """Sleeps last 30 % longer, 6.5 ms; the event of 7 ms finds the batch of 1 ms ready and takes it along. Nothing comes behind that of 17."""
    late = SLEEPS.model_copy(update={"oversleep": 0.3})
    data = run(late, duration="18ms", producers__p__arrivals=EVERY_2_MS)

    assert ms(data, Kind.send) == [*[8.3] * 4, *[16.3] * 4, 24.8]


@in_both_models
def test_a_batch_that_is_full_wakes_the_thread(run: Run) -> None:
    """Two events each: those of 1 and 3 ms go at 3, and so on; nothing lingers."""
    settings = {"batch.num.messages": 2}
    data = run(SLEEPS, duration="16ms", producers__p__arrivals=EVERY_2_MS, producers__p__settings=settings)

    assert ms(data, Kind.send) == [4.3, 4.3, 8.3, 8.3, 12.3, 12.3, 16.3, 16.3]


def test_java_s_sender_knows_no_steps() -> None:
    plan = make_plan(by_hand(duration="30ms", producers__p__arrivals=EVERY_2_MS, producers__p__client="java"))

    assert np.array_equal(simulate(plan, SLEEPS).operations, simulate(plan, TAKES).operations)


def test_ideal_knows_no_steps() -> None:
    assert (IDEAL.sleep_step_us, IDEAL.oversleep) == (0.0, 0.0)
