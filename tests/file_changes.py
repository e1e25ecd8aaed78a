"""Changes of a whole scenario file's text that several tests make: what is replaced, and by what."""

Change = tuple[str, str]


def fault(text: str) -> Change:
    """Add a fault in line 45."""
    last = "  - {fault: slow_work, group: fulfilment, factor: 4, at: 45s, for: 5s}\n"
    return last, f"{last}  - {text}\n"


def action(text: str) -> Change:
    """Add an action in line 47."""
    return "objectives:\n", f"actions:\n  - {text}\nobjectives:\n"


def group(text: str) -> Change:
    """Add a field of the group fulfilment in line 30."""
    return "    commit: {every: 1s}\n", f"    {text}\n    commit: {{every: 1s}}\n"
