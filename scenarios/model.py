"""The types of a scenario's fields: frozen models that refuse unknown keys, and quantities with units."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SkipValidation, WithJsonSchema, model_validator

from scenarios import quantities
from scenarios.distributions import Distribution, parse_distribution
from scenarios.quantities import DURATION, RATE, SHARE, SIZE, Unit


class Frozen(BaseModel):
    """A part of a scenario: unchangeable, complete, without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        arbitrary_types_allowed=True,
        strict=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _lists_as_tuples(cls, raw: object) -> object:
        """Take YAML's lists where a frozen model keeps tuples; strictness is for scalars."""
        if not isinstance(raw, Mapping):
            return raw
        return {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}


def quantity_schema(unit: Unit) -> dict[str, Any]:
    """Return the JSON Schema of a quantity, so that editors check it while people type."""
    suffixes = "|".join(suffix.replace("/", r"\/") for suffix in unit.scale)
    return {
        "type": "string",
        "pattern": rf"^\s*\+?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*({suffixes})\s*$",
        "description": f"a {unit.name}, such as {unit.example}",
    }


def _distribution_schema(unit: Unit) -> dict[str, Any]:
    names = ("exponential", "lognormal", "gamma", "uniform", "pareto", "mix", "trace", "column")
    varying = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 2,
        "properties": {name: {} for name in names},
        "additionalProperties": False,
    }
    return {"anyOf": [quantity_schema(unit), varying]}


Duration = Annotated[int, BeforeValidator(quantities.duration_ns), WithJsonSchema(quantity_schema(DURATION))]
PositiveDuration = Annotated[
    int, BeforeValidator(quantities.positive_duration_ns), WithJsonSchema(quantity_schema(DURATION))
]
Rate = Annotated[float, BeforeValidator(quantities.rate_hz), WithJsonSchema(quantity_schema(RATE))]
Size = Annotated[int, BeforeValidator(quantities.size_bytes), WithJsonSchema(quantity_schema(SIZE))]
Share = Annotated[float, BeforeValidator(quantities.share), WithJsonSchema(quantity_schema(SHARE))]
DurationDistribution = Annotated[
    Distribution,
    SkipValidation,
    BeforeValidator(lambda raw: parse_distribution(raw, DURATION)),
    WithJsonSchema(_distribution_schema(DURATION)),
]
SizeDistribution = Annotated[
    Distribution,
    SkipValidation,
    BeforeValidator(lambda raw: parse_distribution(raw, SIZE)),
    WithJsonSchema(_distribution_schema(SIZE)),
]
