"""Actions as data: what people do about a fault, at which time. What each means is said by the interpreters in `sim` and `loadgen`."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from scenarios.expectations import Expectation, parse_expectation
from scenarios.model import DurationDistribution, PositiveDuration, PositiveRate, Share
from scenarios.quantities import SECOND
from scenarios.targets import Position
from scenarios.timing import Momentary, Timed, Undone


class _Action(Timed):
    @property
    def label(self) -> str:
        """The name by which reports call it."""
        return self.name or self.kind

    @property
    def kind(self) -> str:
        """The action's word in the scenario file."""
        return str(self.action)  # type: ignore[attr-defined]  # each subclass declares its literal


class _Momentary(_Action, Momentary):
    pass


class _Undone(_Action, Undone):
    pass


class Replay(_Momentary):
    """Events of the log are handled by a group once more, beside what it does anyway, until those that were there are through."""

    action: Literal["replay"]
    group: str
    from_: Annotated[Position, Field(alias="from")]
    """From where: earliest, an offset, or a time ago."""
    rate: PositiveRate | None = None
    """At most so fast; as fast as it goes where it is left out."""


class Redrive(_Momentary):
    """Dead letters that are there are sent to a topic once more."""

    action: Literal["redrive"]
    from_: Annotated[str, Field(alias="from")]
    """The dead-letter topic."""
    to: str | None = None
    """Where to; for each the topic that it came from, where it is left out."""
    rate: PositiveRate | None = None
    most: Annotated[int, Field(ge=1, le=1000)] = 3
    """An event that came back so often stays, so that nothing goes round for ever."""


class ResetOffsets(_Momentary):
    """A group is stopped, its committed offsets are set, and it is started again."""

    action: Literal["reset_offsets"]
    group: str
    to: Position
    topic: str | None = None
    """Of one of its topics; of all where it is left out."""


class Scale(_Undone):
    """A group gets more members or fewer, and as many as before after `for` if that is given."""

    action: Literal["scale"]
    group: str
    to: Annotated[int, Field(ge=0, le=10_000)]
    """How many members there are then."""


RollBack = Annotated[
    Expectation,
    BeforeValidator(parse_expectation),
    PlainSerializer(lambda expectation: expectation.text),
    WithJsonSchema({"type": "string", "examples": ["errors[fulfilment] > 5%"]}),
]


class Deploy(_Momentary):
    """A group's members are replaced one by one by a new version, first a canary, which may be rolled back."""

    action: Literal["deploy"]
    group: str
    version: Annotated[str, Field(min_length=1, max_length=100)]
    canary: Share | None = None
    """The share of members that get it first, at least one of them; all in turn where it is left out."""
    watch: PositiveDuration = 30 * SECOND
    """How long the canary runs before the others follow."""
    rollback_if: RollBack | None = None
    """What, measured while the canary runs, brings the old version back, such as `errors[fulfilment] > 5%`."""
    work: DurationDistribution | None = None
    """Time a handler of the new version needs per try; as before where it is left out."""
    fails: Share = 0.0
    """Share of the new version's tries that fail beside what fails anyway."""
    decodes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """The latest schema version that the new version can decode."""

    @model_validator(mode="after")
    def _has_a_canary_to_watch(self) -> "Deploy":
        given = [name for name in ("watch", "rollback_if") if name in self.model_fields_set]
        if self.canary is None and given:
            raise ValueError(f"has `{given[0]}` and no canary to watch; add `canary: 10%`")
        return self


Action = Replay | Redrive | ResetOffsets | Scale | Deploy
ACTIONS: tuple[type[_Action], ...] = get_args(Action)
AnyAction = Annotated[Action, Field(discriminator="action")]


def action_kinds(actions: Iterable[type[Timed]] = ACTIONS) -> Iterator[str]:
    """Yield the words that `action:` takes, for all actions or some."""
    for action in actions:
        yield str(get_args(action.model_fields["action"].annotation)[0])
