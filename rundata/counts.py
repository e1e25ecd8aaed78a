"""Shares and counts: delivered, failed, dead-lettered, duplicated, lost, refused, unknown, out of order, restarted."""

import numpy as np

from rundata.books import Books, Bools, End
from rundata.measurement import Ints, Measurement, among, missing, share
from rundata.rows import LEFT_OUT, NEVER
from rundata.scopes import Scope, events_in, measured_events, measured_pairs, pairs_in
from scenarios.faults import MemberLeave
from scenarios.outside import outside_topics
from scenarios.quantities import HOUR
from scenarios.schema import EffectsTopic

Found = dict[str, Measurement]


def _events(count: int) -> Measurement:
    return Measurement(float(count), "events")


def delivery(books: Books, scope: Scope) -> Found:
    """Measure the share of pairs with an effect by the end of the drain; poison counts as pairs."""
    return {"": delivered_within(books, scope, None)}


def delivered_within(books: Books, scope: Scope, within_ns: int | None) -> Measurement:
    """Return the share of pairs that had an effect within a horizon after their intended time; None is the end of the drain."""
    pairs, chosen = books.pairs, measured_pairs(books, scope)
    effect = chosen & (pairs.effect_ns != NEVER)
    if within_ns is not None:
        effect &= pairs.effect_ns - pairs.intended_ns <= within_ns
    return share(int(effect.sum()), int(chosen.sum()), "pairs")


def errors(books: Books, scope: Scope) -> Found:
    """Measure failed tries of all tries, and the events with a failed try of all events."""
    pairs, chosen = books.pairs, measured_pairs(books, scope)
    failed = pairs.count("failed_tries")
    hit = np.zeros(books.events, np.bool_)
    hit[pairs.event[chosen & (failed > 0)]] = True
    events = measured_events(books, scope)
    return {
        "": share(int(failed[chosen].sum()), int(pairs.count("tries")[chosen].sum()), "tries"),
        "events": share(int((hit & events).sum()), int(events.sum()), "events"),
    }


def dead_lettered(books: Books, scope: Scope) -> Found:
    """Count the pairs that ended in a dead-letter topic."""
    chosen = measured_pairs(books, scope)
    count = int((chosen & (books.pairs.end == End.dead_lettered)).sum())
    return {"": _events(count), "share": share(count, int(chosen.sum()), "pairs")}


def duplicate_deliveries(books: Books, scope: Scope) -> Found:
    """Count the deliveries of a pair beyond its first: read at another offset (.log), or at the same one again (.redelivered)."""
    pairs, chosen = books.pairs, measured_pairs(books, scope)
    deliveries = pairs.count("deliveries")
    extra = int(np.maximum(deliveries - 1, 0)[chosen].sum())
    log = int(np.maximum(_offsets_read(books) - 1, 0)[chosen].sum()) if extra else 0
    return {
        "": _events(extra),
        "share": share(extra, int(deliveries[chosen].sum()), "deliveries"),
        "log": _events(log),
        "redelivered": _events(extra - log),
    }


def _offsets_read(books: Books) -> Ints:
    """Return at how many distinct offsets each pair was delivered."""
    pairs, rows = books.pairs, books.block.deliveries
    flat = rows["group"] * books.events + rows["event_id"]
    again = np.isin(flat, pairs.flat[pairs.count("deliveries") > 1])
    places = np.unique(np.stack([flat[again], rows["partition"][again], rows["offset"][again]]), axis=1)
    counts = np.bincount(places[0], minlength=books.events * len(books.groups))
    read: Ints = counts[pairs.flat]
    return read


def duplicate_effects(books: Books, scope: Scope) -> Found:
    """Count the effects of a pair beyond its first."""
    effects = books.pairs.count("effects")[measured_pairs(books, scope)]
    extra = int(np.maximum(effects - 1, 0).sum())
    return {"": _events(extra), "share": share(extra, int(effects.sum()), "effects")}


# ---- ends ----------------------------------------------------------------------------------------------------------


def _ended(books: Books, scope: Scope, end: End) -> Found:
    return {"": _events(int((measured_pairs(books, scope) & (books.pairs.end == end)).sum()))}


def passed(books: Books, scope: Scope) -> Found:
    """Count the pairs that the group committed beyond without handling them."""
    return _ended(books, scope, End.passed)


def expired(books: Books, scope: Scope) -> Found:
    """Count the pairs that retention or deletion took before they were delivered."""
    return _ended(books, scope, End.expired)


def pending(books: Books, scope: Scope) -> Found:
    """Count the pairs that were still under way when the drain ended."""
    return _ended(books, scope, End.pending)


NOT_READ_BACK = "the topics were not read back, because the run did not come to its end"


def lost(books: Books, scope: Scope) -> Found:
    """Count the events that were acknowledged and are not in the log; unknown while pairs are pending."""
    if not books.audited:
        return {"": missing("events", NOT_READ_BACK)}
    waiting = int((measured_pairs(books, scope) & (books.pairs.end == End.pending)).sum())
    if waiting:
        pairs = "1 pair was" if waiting == 1 else f"{waiting} pairs were"
        return {"": missing("events", f"{pairs} still pending when the drain ended")}
    return {"": _events(int((measured_events(books, scope) & books.lost).sum()))}


def refused(books: Books, scope: Scope) -> Found:
    """Count the events that were neither acknowledged nor in the log."""
    if not books.audited:
        return {"": missing("events", NOT_READ_BACK)}
    return {"": _events(int((measured_events(books, scope) & books.refused).sum()))}


def unknown(books: Books, scope: Scope) -> Found:
    """Count the events whose outcome the client never learned, and how many of them the audit found."""
    unsure = measured_events(books, scope) & books.unknown
    settled = missing("events", NOT_READ_BACK) if not books.audited else _events(int((unsure & books.in_log).sum()))
    return {"": _events(int(unsure.sum())), "settled": settled}


def unexpected(books: Books, scope: Scope) -> Found:
    """Count the events in the log that nobody sent there; records without a known id count one each."""
    if not books.audited:
        return {"": missing("events", NOT_READ_BACK)}
    log, foreign = books.run.log, unsent_records(books)
    if scope.kind == "topic":
        foreign = foreign & (log["topic"] == scope.number)
    ids, topics = log["event_id"][foreign], log["topic"][foreign]
    named = ids >= 0
    distinct = len(np.unique(np.stack([topics[named].astype(np.int64), ids[named]]), axis=1).T) if named.any() else 0
    return {"": _events(distinct + int((~named).sum()))}


def unsent_records(books: Books) -> Bools:
    """Return which records of the log no operation sent to their topic, be it a send or a dead letter."""
    return books.once("unsent records", lambda: _unsent(books))


def _unsent(books: Books) -> Bools:
    log, topics = books.run.log, len(books.run.names.topics) + 1
    event, topic = books.sent_to
    known = among(log["event_id"] * topics + log["topic"], event * topics + topic)
    foreign: Bools = ~known | (log["event_id"] < 0)
    # What the user's own program writes about its effects is its own.
    told = [
        books.plan.topics.index(group.effects.topic)
        for group in books.scenario.groups.values()
        if isinstance(group.effects, EffectsTopic)
    ]
    # What it sent before time 0 or after the load is no event of the run.
    told += [books.plan.topics.index(topic) for topic in outside_topics(books.scenario)]
    foreign &= ~np.isin(log["topic"], told) & (log["event_id"] != LEFT_OUT)
    # Copies in retry topics are of events that a group tried and handed on.
    copies = np.flatnonzero(foreign & (log["topic"] >= len(books.plan.topics)))
    if len(copies):
        foreign[copies] = ~np.isin(log["event_id"][copies], books.handed_on)
    return foreign


# ---- order and restarts --------------------------------------------------------------------------------------------


def inversions(books: Books, scope: Scope) -> Found:
    """Count the pairs whose first effect came later than that of a later event of the same producer process and key."""
    chosen = pairs_in(books, scope)
    late = inverted_pairs(books) & books.pairs.measured
    return {"": _events(int((late if chosen is None else late & chosen).sum()))}


def inverted_pairs(books: Books) -> Bools:
    """Return which pairs took effect later than a later event of the same group, producer process and key."""
    return books.once("inverted pairs", lambda: _inverted(books))


def _inverted(books: Books) -> Bools:
    pairs, plan = books.pairs, books.plan
    inverted = np.zeros(len(pairs.event), np.bool_)
    some = np.flatnonzero(pairs.keyed & (pairs.effect_ns != NEVER))
    if len(some) == 0:
        return inverted
    event, effects = pairs.event[some], pairs.effect_ns[some]
    line = books.whole.line_of(pairs.group[some], plan.producer[event], plan.process[event], plan.key[event])
    # What came before everything later of its group did, whatever its line, is in order; few lines have others.
    late = effects > _earliest_from(pairs.group[some], effects)
    mine = np.flatnonzero(among(line, line[late])) if late.any() else np.zeros(0, np.intp)
    if len(mine):
        order = np.argsort(line[mine], kind="stable")[::-1]  # lines apart, in each the latest event first
        lines = line[mine][order]
        number = np.cumsum(np.diff(lines, prepend=lines[0]) != 0)
        # Ranks keep the products small; each next line lies wholly below the one before, so that its minimum starts anew.
        own = effects[mine]
        rank = np.searchsorted(np.sort(own), own)[order] - number * (len(own) + 1)
        inverted[some[mine[order]]] = rank > np.minimum.accumulate(rank)
    if books.earlier_effects is not None:  # of later parts of the run
        inverted[some] |= effects > books.earlier_effects.of(line)
        books.earlier_effects.take(line, effects)
    return inverted


def _earliest_from(group: Ints, effects: Ints) -> Ints:
    """Return the earliest effect of each pair of a group and those behind it; pairs lie group after group."""
    found = np.empty_like(effects)
    firsts = np.flatnonzero(np.diff(group, prepend=-1))
    for first, end in zip(firsts.tolist(), [*firsts[1:].tolist(), len(group)], strict=True):
        found[first:end] = np.minimum.accumulate(effects[first:end][::-1])[::-1]
    return found


def restarts(books: Books, scope: Scope) -> Found:
    """Count the members that crashed or were evicted and came back, in all and per hour of measured time."""
    orderly = {"member_leave"} | {fault.label for fault in books.scenario.faults if isinstance(fault, MemberLeave)}
    groups = books.groups if scope.kind == "all" else (books.groups[scope.number],)
    count = sum(
        incident.kind == "restart"
        and incident.where.rpartition("/")[0] in groups
        and incident.cause not in orderly
        and incident.time_ns >= books.scenario.warm_up
        for incident in books.run.incidents
    )
    return {"": Measurement(count / (books.scenario.measured_ns / HOUR), "1/h"), "count": _events(count)}


def covered_events(books: Books, scope: Scope) -> Bools:
    """Return which events a scope covers, measured or not."""
    chosen = events_in(books, scope)
    return np.ones(books.events, np.bool_) if chosen is None else chosen
