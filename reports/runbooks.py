"""Where runbooks lie, as pages may link to them."""


def runbook_link(runbook: str | None) -> str:
    """Return where a runbook can be followed to: a page or a file; nothing that a browser would run."""
    if not runbook:
        return ""
    scheme = runbook.partition(":")[0] if ":" in runbook else ""
    return runbook if scheme in ("", "http", "https") else ""
