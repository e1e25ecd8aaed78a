"""In real time: the live driver, its clusters and faults."""

from pathlib import Path


def locustfile_path() -> str:
    """Return the locustfile that makes a plain Locust part of a run."""
    return str(Path(__file__).parent / "locustfile.py")
