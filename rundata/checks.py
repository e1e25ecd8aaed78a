"""The checks of a run: what must not happen, what the configuration allows to happen, and what did, with examples.

Each check judges all events, warm-up included, from `operations` and `log`; the modules `check_*` hold them by theme. A run too large for
memory is judged in parts (`rundata.shards`), and the results are the same.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from rundata import check_effects, check_log, check_reads, check_transactions
from rundata.books import Books
from rundata.chains import with_emitted
from rundata.dataset import MOST_IN_MEMORY
from rundata.findings import CheckResult, merged
from rundata.operations import arranged
from rundata.shards import by_events, by_partitions
from rundata.tables import RunData
from rundata.whole import Whole

__all__ = ["CHECKS", "CheckResult", "check"]

Check = Callable[[Books], CheckResult]

_OF_EVENTS: Mapping[str, Check] = {
    "lost": check_log.lost,
    "unexpected": check_log.unexpected,
    "recovered": check_log.recovered,
    "dead_letters": check_log.dead_letters,
    "conservation": check_log.conservation,
    "unseen": check_reads.unseen,
    "duplicate_deliveries": check_reads.duplicate_deliveries,
    "duplicate_effects": check_effects.duplicate_effects,
    "processed_once": check_effects.processed_once,
    "key_order": check_effects.key_order,
    "passed": check_effects.passed,
}
"""These judge each event by itself, or after the later ones of its key."""
_OF_PARTITIONS: Mapping[str, Check] = {
    "inconsistent_offsets": check_log.inconsistent_offsets,
    "offset_gaps": check_log.offset_gaps,
    "contiguous_appends": check_log.contiguous_appends,
    "nonmonotonic_sends": check_reads.nonmonotonic_sends,
    "nonmonotonic_polls": check_reads.nonmonotonic_polls,
    "skipped_polls": check_reads.skipped_polls,
    "aborted_reads": check_reads.aborted_reads,
}
"""These judge what was sent to a partition and read from it, in its order."""
_OF_TRANSACTIONS: Mapping[str, Check] = {
    "transaction_atomicity": check_transactions.atomicity,
    "transaction_cycles": check_transactions.cycles,
}
_ORDER = (
    "lost", "unexpected", "recovered", "inconsistent_offsets", "offset_gaps", "contiguous_appends", "dead_letters",
    "conservation", "unseen", "duplicate_deliveries", "nonmonotonic_sends", "nonmonotonic_polls", "skipped_polls",
    "aborted_reads", "duplicate_effects", "processed_once", "key_order", "passed", "transaction_atomicity",
    "transaction_cycles",
)  # fmt: skip
"""What went into the topics, what came out of them, what was made of it."""
_EVERY = {**_OF_EVENTS, **_OF_PARTITIONS, **_OF_TRANSACTIONS}
CHECKS: Mapping[str, Check] = {name: _EVERY[name] for name in _ORDER}

EVENTS_AT_ONCE = 250_000
ROWS_AT_ONCE = 1_000_000


def check(run: RunData) -> dict[str, CheckResult]:
    """Return every check's result, by name."""
    if len(run.operations) > MOST_IN_MEMORY:
        return check_in_parts(run, EVENTS_AT_ONCE, ROWS_AT_ONCE)
    books = Books.of(run)
    return {name: judge(books) for name, judge in CHECKS.items()}


def check_in_parts(run: RunData, events_at_once: int, rows_at_once: int) -> dict[str, CheckResult]:
    """Return every check's result, with no more of the run in memory than so many events, or rows of some partitions."""
    run = with_emitted(run)
    whole = Whole(run)
    if not whole.survey.in_order:
        run = replace(run, operations=arranged(run.operations))
        whole = Whole(run)
    of_events = _judged(by_events(whole, events_at_once), _OF_EVENTS)
    found = {
        **{name: merged(results[::-1]) for name, results in of_events.items()},
        **{
            name: merged(results)
            for name, results in _judged(by_partitions(whole, rows_at_once), _OF_PARTITIONS).items()
        },
    }
    books = Books(run, whole)
    found |= {name: judge(books) for name, judge in _OF_TRANSACTIONS.items()}
    return {name: found[name] for name in CHECKS}


def _judged(parts: Iterable[Books], checks: Mapping[str, Check]) -> dict[str, list[CheckResult]]:
    """Return each check's results of all parts, in turn."""
    found: dict[str, list[CheckResult]] = {name: [] for name in checks}
    for books in parts:
        for name, judge in checks.items():
            found[name].append(judge(books))
        vars(books).clear()  # it and its pairs know each other, and would both stay
    return found
