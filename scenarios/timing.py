"""When faults and actions happen: at given times, every so often, or at random; and how long they last."""

from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from scenarios import quantities
from scenarios.model import Frozen, PositiveDuration, quantity_schema


def _times_ns(raw: object) -> tuple[int, ...]:
    values = raw if isinstance(raw, list | tuple) else [raw]
    if not values:
        raise ValueError("is an empty list; it is a time or a list of times")
    return tuple(quantities.duration_ns(value) for value in values)


def _written_times(times: tuple[int, ...] | None) -> object:
    written = [quantities.exact_duration(at) for at in times or ()]
    return written[0] if len(written) == 1 else written or None


Times = Annotated[
    tuple[int, ...],
    BeforeValidator(_times_ns),
    PlainSerializer(_written_times),
    WithJsonSchema(
        {
            "anyOf": [
                quantity_schema(quantities.DURATION),
                {"type": "array", "items": quantity_schema(quantities.DURATION)},
            ]
        }
    ),
]


class RandomTimes(Frozen):
    """Begins that follow a Poisson process, with exponential lengths, or all as long as `for` says."""

    mean_between: PositiveDuration
    mean_for: PositiveDuration | None = None


class Timed(Frozen):
    """Something that happens at an instant, perhaps again and again."""

    name: str | None = None
    """Shown in reports and used in indicators' names; by default the kind."""
    at: Times | None = None
    every: PositiveDuration | None = None
    random: RandomTimes | None = None

    @model_validator(mode="after")
    def _has_one_timing(self) -> "Timed":
        given = [key for key in ("at", "every", "random") if getattr(self, key) is not None]
        if len(given) != 1:
            said = " and ".join(f"`{key}`" for key in given) or "no time"
            what = "an action" if "action" in type(self).model_fields else "a fault"
            raise ValueError(f"has {said}; {what} has one of `at: 60s`, `every: 10m` and `random: {{...}}`")
        return self

    @property
    def length_ns(self) -> int | None:
        """How long each occurrence lasts, where that is given; None for one that is over at once or is never undone."""
        return None


class Momentary(Timed):
    """Something that happens and is not undone."""

    @model_validator(mode="after")
    def _has_no_length(self) -> "Momentary":
        if self.random is not None and self.random.mean_for is not None:
            raise ValueError("has `mean_for`, and it is over at once; `random: {mean_between: 10m}` is enough")
        return self


class Undone(Timed):
    """Something that stays, or is undone after `for`."""

    for_ns: Annotated[PositiveDuration | None, Field(alias="for")] = None
    """After so long it is undone; without it, never."""

    @property
    def length_ns(self) -> int | None:
        """How long each occurrence lasts."""
        return self.for_ns


class Lasting(Timed):
    """Something that lasts a while, and ends."""

    for_ns: Annotated[PositiveDuration | None, Field(alias="for")] = None
    """How long it lasts; left out where `random` has a `mean_for`."""

    @model_validator(mode="after")
    def _says_how_long(self) -> "Lasting":
        if self.for_ns is None and (self.random is None or self.random.mean_for is None):
            also = " (or `mean_for` under `random`)" if self.random is not None else ""
            raise ValueError(f"has no `for`; it says how long the fault lasts, such as `for: 20s`{also}")
        return self

    @property
    def length_ns(self) -> int | None:
        """How long each occurrence lasts."""
        return self.for_ns
