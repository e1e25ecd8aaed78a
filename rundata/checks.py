"""The checks of a run: what must not happen, what the configuration allows to happen, and what did, with examples.

Each check judges all events, warm-up included, from `operations` and `log`; the modules `check_*` hold them by theme.
"""

from collections.abc import Callable, Mapping

from rundata import check_effects, check_log, check_reads, check_transactions
from rundata.books import Books
from rundata.findings import CheckResult
from rundata.tables import RunData

__all__ = ["CHECKS", "CheckResult", "check"]

CHECKS: Mapping[str, Callable[[Books], CheckResult]] = {
    "lost": check_log.lost,
    "unexpected": check_log.unexpected,
    "recovered": check_log.recovered,
    "inconsistent_offsets": check_log.inconsistent_offsets,
    "offset_gaps": check_log.offset_gaps,
    "contiguous_appends": check_log.contiguous_appends,
    "dead_letters": check_log.dead_letters,
    "conservation": check_log.conservation,
    "unseen": check_reads.unseen,
    "duplicate_deliveries": check_reads.duplicate_deliveries,
    "nonmonotonic_sends": check_reads.nonmonotonic_sends,
    "nonmonotonic_polls": check_reads.nonmonotonic_polls,
    "skipped_polls": check_reads.skipped_polls,
    "aborted_reads": check_reads.aborted_reads,
    "duplicate_effects": check_effects.duplicate_effects,
    "processed_once": check_effects.processed_once,
    "key_order": check_effects.key_order,
    "passed": check_effects.passed,
    "transaction_atomicity": check_transactions.atomicity,
    "transaction_cycles": check_transactions.cycles,
}


def check(run: RunData) -> dict[str, CheckResult]:
    """Return every check's result, by name."""
    books = Books.of(run)
    return {name: judge(books) for name, judge in CHECKS.items()}
