"""Faults on live brokers, links, topics and members: each begins at its instant, is undone at its end or when the run ends, and proves its effect."""

from loadgen.lab.applied import Applied
from loadgen.lab.lab import LOOK_AHEAD_NS, Lab, needs_watchdog

__all__ = ["LOOK_AHEAD_NS", "Applied", "Lab", "needs_watchdog"]
