"""The properties that the installed librdkafka prints of itself, as rows of `scenarios/native/librdkafka.tsv`."""

import ctypes
import re
from pathlib import Path

import confluent_kafka

_ROW = re.compile(r"(\S+)\s+\|\s*([PC*])\s*\|\s*(.*?)\s*\|\s*(.*?)\s*\|\s*(\w+)\s*\|\s*(.*)\Z")
_KINDS = {
    "boolean": "boolean",
    "integer": "integer",
    "float": "number",
    "enum value": "words",
    "see dedicated API": "code",
}


def _printed(folder: Path) -> str:
    package = Path(confluent_kafka.__file__).parent
    (library,) = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")][:1]
    shared, libc = ctypes.CDLL(str(library)), ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    libc.fclose.argtypes = [ctypes.c_void_p]
    shared.rd_kafka_conf_properties_show.argtypes = [ctypes.c_void_p]
    target = folder / "properties"
    stream = libc.fopen(str(target).encode(), b"w")
    shared.rd_kafka_conf_properties_show(stream)
    libc.fclose(stream)
    return target.read_text("utf-8")


def librdkafka_rows(folder: Path) -> list[str]:
    """Return one row per property: system, name, scope, kind, least, most, words, default, the name it stands for."""
    rows: dict[str, list[str]] = {}
    for line in _printed(folder).splitlines():
        match = _ROW.match(line)
        if match is None or match[1] == "Property":
            continue
        name, scope, values, default, _importance, text = match.groups()
        kind = _KINDS.get((re.search(r"\*Type: ([^*]+)\*", text) or ["", "string"])[1], "text")
        bounds = re.match(r"(-?\d+) \.\. (-?\d+)", values) if kind in ("integer", "number") else None
        words = values.replace(" ", "") if kind == "words" else ""
        alias = (re.match(r"Alias for `([^`]+)`", text) or ["", ""])[1]
        row = [
            "librdkafka",
            name,
            scope,
            kind,
            bounds[1] if bounds else "",
            bounds[2] if bounds else "",
            words,
            default,
            alias,
        ]
        if name in rows:  # global and topic-level properties of one name: what either takes
            old = rows[name]
            row[2] = scope if scope == old[2] else "*"
            row[6] = ",".join(dict.fromkeys([w for w in (old[6] + "," + words).split(",") if w]))
            row[4:6], row[7] = old[4:6], old[7]
        rows[name] = row
    return ["\t".join(row) for _, row in sorted(rows.items())]
