"""What a verb leaves out that would only make people wait."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    """Finds no pandas."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say that pandas is not there; leave everything else to others."""
        if name == "pandas":
            raise ImportError("pandas is left out, so that nobody waits for it")
        return None


def without_pandas() -> None:
    """Let this process's pyarrow do without pandas, which it would import with its first array: the better part of a second.

    For verbs that hand no frame to anybody; where pandas is there already, nothing changes. Pandas itself works as ever.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])  # it looks once, and remembers
    finally:
        sys.meta_path.remove(finder)
