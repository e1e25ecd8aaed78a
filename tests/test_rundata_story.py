"""One event's story: its moments in order, what was wrong around it, and where its time went."""

import pytest

import eventdrill as ed
from rundata.rows import Kind
from rundata.story import find, lines, tell
from runs import Build
from test_rundata_stages import crashed


def test_a_story_tells_every_moment_in_order():
    """Planned, sent, acknowledged, polled, a failed try, and one that works."""
    build = Build()
    event = build.event(1.0)
    build.send(event, started=1.001, ended=1.010)
    build.deliver(event, 1.012)
    build.try_(event, 1.015, 1.020, ok=False)
    build.try_(event, 1.035, 1.040, attempt=2)

    story = tell(build.run(engine="driven"), event)

    assert [(moment.time_ns // 1_000_000, moment.text) for moment in story.moments] == [
        (1000, "planned"),
        (1001, "shop/1 hands it to the client"),
        (1010, "acknowledged at offset 0 of orders/0"),
        (1012, "a poll of work/1 returns it at offset 0 of orders/0"),
        (1015, "work/1 begins try 1"),
        (1020, "try 1 fails"),
        (1035, "work/1 begins try 2"),
        (1040, "try 2 works"),
    ]
    assert story.summary == "event 0 of shop/1, key shop-0, 100 B"
    (group,) = story.groups
    assert (group.group, group.end, group.latency_ns) == ("work", "effect", 40_000_000)
    assert sum(group.parts_ns.values()) == 40_000_000


def test_what_was_wrong_around_it_belongs_to_the_story():
    """The crash and the election of its own partition."""
    told = list(lines(tell(crashed(), 1)))

    assert any("! fault broker_crash on broker 1 (leader of orders/0) in effect" in line for line in told)
    assert any("! election of orders/0: leader 2" in line for line in told)
    assert "work: took effect after 2.31s, of which" in told
    assert any("95%  outage" in line for line in told)


def test_an_event_without_an_effect_ends_as_it_ended():
    """It was never sent."""
    build = Build()
    build.flow(1.0)
    event = build.event(2.0)

    (group,) = tell(build.run(engine="driven"), event).groups

    assert (group.end, group.latency_ns, group.parts_ns) == ("refused", None, {})


def test_an_event_is_named_by_number_by_place_or_as_the_slowest():
    """Offset 1 of orders/0 is the second event; the slowest took 300 ms."""
    build = Build()
    build.flow(1.0)
    build.flow(2.0, latency=0.3)
    run = build.run(engine="driven")

    assert (find(run, "1"), find(run, "orders/0:1"), find(run, "slowest")) == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orders/0:99", "nothing lies at offset 99 of orders/0"),
        ("payments/0:1", "'payments/0:1' is no event; name it by its number"),
        ("soon", "say slowest"),
    ],
)
def test_a_wrong_name_says_what_would_be_right(text: str, said: str):
    """With the way out."""
    build = Build()
    build.flow(1.0)

    with pytest.raises(ValueError, match=said):
        find(build.run(engine="driven"), text)


def test_an_event_that_is_not_there_says_how_many_there_are():
    """Numbers begin at 0."""
    build = Build()
    build.flow(1.0)

    with pytest.raises(ValueError, match="there is no event 7; this run has 1, numbered from 0"):
        tell(build.run(engine="driven"), 7)


def test_what_nobody_knows_of_a_retry_is_left_out_of_its_story():
    """A copy in a retry topic has no batch and no request of its own: nothing of an event lies before it was planned."""
    run = ed.simulate("retry-topics").data
    tries = run.operations[run.operations["kind"] == Kind.try_]
    [again, *_] = tries["event_id"][tries["delivery_number"] == 2].tolist()
    own = [moment for moment in tell(run, again).moments if moment.about == "event"]

    assert own[0].text == "planned"
    assert sum(moment.text == "the high watermark passes it" for moment in own) == 2
    assert sum(moment.text == "its batch becomes a request" for moment in own) == 1
