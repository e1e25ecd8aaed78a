"""Brokers that nobody has asked for a while: they answer later, since threads and caches have to be fetched back."""

from scenarios.profiles import RESTED_MS
from scenarios.quantities import MILLISECOND
from sim.compiled import compiled
from sim.world import NEVER, Ints

LONG_AGO = -NEVER // 2
"""In place of when a broker was asked last: nobody has."""
OF_BROKER, OF_ALL = range(2)
ANY = 0
"""Brokers are counted from 1; in this one's place stands when any of them was asked last."""
_FROM_NS, _HALF_NS, _WHOLE_NS = (each * MILLISECOND for each in RESTED_MS)


@compiled
def takes_longer(rest: Ints, asked: Ints, b: int, now: int) -> int:
    """Return how much longer a request takes whose service begins now at a broker; `asked` has when the latest one of each began, and learns of this one."""
    longer_ns: int = of_a_rest(rest[OF_BROKER], now - asked[b]) + of_a_rest(rest[OF_ALL], now - asked[ANY])
    asked[b] = now
    asked[ANY] = now
    return longer_ns


@compiled
def of_a_rest(whole_ns: int, rest_ns: int) -> int:
    """Return what is due of a cost after a rest: nothing, half and all of it at three lengths, lines between."""
    if rest_ns <= _FROM_NS:
        return 0
    if rest_ns < _HALF_NS:
        return whole_ns * (rest_ns - _FROM_NS) // (2 * (_HALF_NS - _FROM_NS))
    if rest_ns < _WHOLE_NS:
        return whole_ns * (rest_ns + _WHOLE_NS - 2 * _HALF_NS) // (2 * (_WHOLE_NS - _HALF_NS))
    return whole_ns
