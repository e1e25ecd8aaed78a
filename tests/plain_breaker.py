"""A circuit breaker in the plain model."""

from scenarios.around import CircuitBreaker


class Breaker:
    """Opens after failures in a row; after a while a few calls ask whether it can close."""

    def __init__(self, what: CircuitBreaker | None, probes: int | None = None) -> None:
        self.what = what
        self.probes = probes or (what.probes if what is not None else 1)
        self.failures = self.good = 0
        self.opened_ns: int | None = None

    def lets_through_ns(self) -> int:
        """Return from when on calls go through."""
        return 0 if self.what is None or self.opened_ns is None else self.opened_ns + self.what.stays_open

    def ended(self, ok: bool, now_ns: int) -> bool:
        """Note how a call ended; return whether it opened."""
        if self.what is None:
            return False
        if self.opened_ns is None:
            self.failures = 0 if ok else self.failures + 1
            if self.failures < self.what.opens_after:
                return False
            self.opened_ns, self.good = now_ns, 0
            return True
        self.good = self.good + 1 if ok else 0
        if not ok:
            self.opened_ns = now_ns
        elif self.good >= self.probes:
            self.opened_ns, self.failures = None, 0
        return False
