"""Values that are the user's own: lines of a file, or values made up from an Avro or JSON schema. Ids and times then travel in headers."""

import json
import random
import string
from pathlib import Path
from typing import Any

from scenarios.schema import FilePayload, Payload

MADE_UP = 256
"""So many different values are made up from a schema, and sent in turn."""
_DEEP = 8


class PayloadError(Exception):
    """A payload that cannot be had; the message names the file and the way out."""


def values_of(payload: Payload, seed: int) -> list[bytes]:
    """Return the values that are sent in turn."""
    path = Path(payload.file if isinstance(payload, FilePayload) else payload.schema_)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PayloadError(f"{path}: cannot be read ({error.strerror}); name a file that is there") from None
    if isinstance(payload, FilePayload):
        lines = [line for line in raw.split(b"\n") if line.strip()]
        if not lines:
            raise PayloadError(f"{path}: holds no line; a payload file has one value a line")
        return lines
    try:
        schema = json.loads(raw)
    except ValueError as error:
        raise PayloadError(f"{path}: is no JSON ({error}); an Avro or JSON schema is") from None
    if path.suffix == ".avsc":
        return _avro(path, schema)
    draw = random.Random(seed)
    return [json.dumps(made_up(schema, draw, str(path))).encode() for _ in range(MADE_UP)]


def _avro(path: Path, schema: Any) -> list[bytes]:
    """Return Avro's binary encoding of made-up records, without a registry's prefix."""
    try:
        import io

        from fastavro import parse_schema, schemaless_writer
        from fastavro.utils import generate_many
    except ImportError:
        raise PayloadError(f"{path}: an Avro schema needs fastavro: pip install 'eventdrill[avro]'") from None
    parsed = parse_schema(schema)
    found = []
    for record in generate_many(parsed, MADE_UP):
        body = io.BytesIO()
        schemaless_writer(body, parsed, record)
        found.append(body.getvalue())
    return found


def made_up(schema: Any, draw: random.Random, where: str, depth: int = 0) -> Any:
    """Return a value that a JSON schema allows; of what it says: type, properties, items, enum, const, bounds, oneOf, anyOf."""
    if schema is True or schema == {}:
        return "anything"
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return made_up(draw.choice(schema[several]), draw, where, depth)
    kind = schema.get("type", "object" if "properties" in schema else None)
    kind = draw.choice(kind) if isinstance(kind, list) else kind
    match kind:
        case "object":
            needed = schema.get("required", ())
            return {
                name: made_up(what, draw, f"{where}.{name}", depth + 1)
                for name, what in schema.get("properties", {}).items()
                if name in needed or depth < _DEEP
            }
        case "array":
            least = schema.get("minItems", 0)
            count = draw.randint(least, schema.get("maxItems", max(least, 3)))
            return [made_up(schema.get("items", True), draw, f"{where}[]", depth + 1) for _ in range(count)]
        case "string":
            least = schema.get("minLength", 0)
            count = draw.randint(least, schema.get("maxLength", max(least, 12)))
            return "".join(draw.choices(string.ascii_letters + string.digits, k=count))
        case "integer":
            low = schema.get("minimum", 0)
            return draw.randint(low, schema.get("maximum", low + 1000))
        case "number":
            low = schema.get("minimum", 0.0)
            return round(draw.uniform(low, schema.get("maximum", low + 1000.0)), 3)
        case "boolean":
            return draw.random() < 0.5
        case "null":
            return None
        case _:
            raise PayloadError(
                f"{where}: has type {kind!r}; values can be made up for object, array, string, integer, number, boolean and null"
            )
