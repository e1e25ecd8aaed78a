"""Row logs that grow in another place: what was appended since the last look as bytes, and the same file made from them."""

from dataclasses import dataclass
from pathlib import Path

from rundata.row_log import HEADER, HEADER_BYTES, segment_path

_ROWS_AT = 24
"""Where the count stands in a segment's head."""
_ROW_BYTES_AT = 8
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Piece:
    """Bytes of a segment, and its head as it was when they were read."""

    segment: int
    at: int
    body: bytes
    head: bytes


class Reading:
    """Follows one row log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._segment = 0
        self._reached = HEADER_BYTES

    def take(self) -> list[Piece]:
        """Return what was appended since the last call, a few MiB at a time."""
        found = list[Piece]()
        while (path := segment_path(self._path, self._segment)).exists():
            with path.open("rb") as file:
                head = file.read(HEADER_BYTES)
                if len(head) < HEADER.size or head[:8] == bytes(8):
                    return found
                row_bytes = int.from_bytes(head[_ROW_BYTES_AT : _ROW_BYTES_AT + 8], "little")
                capacity = int.from_bytes(head[_ROWS_AT - 8 : _ROWS_AT], "little")
                count = int.from_bytes(head[_ROWS_AT : _ROWS_AT + 8], "little")
                end = HEADER_BYTES + count * row_bytes
                file.seek(self._reached)
                body = file.read(min(end - self._reached, _MOST_BYTES))
            if body:
                # No count beyond what was sent: a reader must never see rows that are not there yet.
                reached = (self._reached + len(body) - HEADER_BYTES) // row_bytes
                head = head[:_ROWS_AT] + reached.to_bytes(8, "little") + head[_ROWS_AT + 8 :]
                found.append(Piece(self._segment, self._reached, body, head))
                self._reached += len(body)
            if self._reached < end or count < capacity:
                return found
            self._segment, self._reached = self._segment + 1, HEADER_BYTES
        return found


def write(path: Path, piece: Piece) -> None:
    """Append a piece to the log's copy; the head comes last, so that a reader sees whole rows only."""
    segment = segment_path(path, piece.segment)
    segment.touch()
    with segment.open("r+b") as file:
        file.seek(piece.at)
        file.write(piece.body)
        file.flush()
        file.seek(0)
        file.write(piece.head)
