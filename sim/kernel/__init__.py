"""What moves the events between two instants of control: one scalar loop over arrays, compiled by Numba, runnable as it is written.

No random draws inside: random inputs are arrays, and `advance` returns SHORT when something must grow. The rules are docs/model.md's.
Each module holds one subject; here is what control calls.
"""

from sim.kernel.commits import commit_what_is_done, has_commit_under_way, note_commit, wait_for_commit, what_is_done
from sim.kernel.connections import (
    break_connections,
    cut_off,
    end_silence,
    reconnect,
    refuse_stale,
    set_silent,
    take_out,
    told,
)
from sim.kernel.emits import abandon, wait_for_emitted
from sim.kernel.fetches import enter_poll_loop, poll_at, read_no_further, wake_fetch, wake_fetches
from sim.kernel.logs import cut_back, cut_to_visible, delete_below, set_halted
from sim.kernel.loop import advance, has_in_hand
from sim.kernel.polls import watch
from sim.kernel.producers import die, fall_asleep
from sim.kernel.rows import KIND_DELIVERY
from sim.kernel.shares import give_up_gone, release_all
from sim.kernel.transactions import abort_late_transactions, abort_transaction
from sim.kernel.visibility import forget_leader, learned

__all__ = [
    "KIND_DELIVERY",
    "abandon",
    "abort_late_transactions",
    "abort_transaction",
    "advance",
    "break_connections",
    "commit_what_is_done",
    "cut_back",
    "cut_off",
    "cut_to_visible",
    "delete_below",
    "die",
    "end_silence",
    "enter_poll_loop",
    "fall_asleep",
    "forget_leader",
    "give_up_gone",
    "has_commit_under_way",
    "has_in_hand",
    "learned",
    "note_commit",
    "poll_at",
    "read_no_further",
    "reconnect",
    "refuse_stale",
    "release_all",
    "set_halted",
    "set_silent",
    "take_out",
    "told",
    "wait_for_commit",
    "wait_for_emitted",
    "wake_fetch",
    "wake_fetches",
    "watch",
    "what_is_done",
]
