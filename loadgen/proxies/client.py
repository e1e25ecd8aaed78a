"""The owner's side of the proxies of one cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from loadgen.clusters.layout import Endpoint
from loadgen.clusters.link import Link
from loadgen.proxies.rules import Rule


@dataclass(frozen=True)
class Done:
    """What a rule has done."""

    connections: int
    """That it met when it began."""
    refused: int
    """That came while it was in force, and were kept out."""
    waited_bytes: int
    """That were held back when it ended."""
    expired: bool = False
    """Whether the proxies ended it themselves, since nobody had."""


@dataclass
class Proxies:
    """The proxies of one cluster, in a process that ends with this one."""

    seed: int = 0
    """Of the jitter of slow links."""
    link: Link = field(default_factory=lambda: Link("loadgen.proxies.server", name="the process of the proxies"))

    def advertise(self, endpoints: Iterable[Endpoint]) -> Mapping[Endpoint, int]:
        """Stand before listeners; gives for each the port that its peers shall be told."""
        wanted = list(endpoints)
        ports: list[int] = self.link.ask(
            "open",
            endpoints=[[each.node, each.listener, each.port] for each in wanted],
            taken=[each.port for each in wanted],
        )["ports"]
        return dict(zip(wanted, ports, strict=True))

    def begin(self, name: str, rule: Rule, *, for_s: float) -> Done:
        """Put a rule in force, for so long at most."""
        return Done(**self.link.ask("begin", id=name, rule=rule.plain(), for_s=for_s, seed=str(self.seed)))

    def end(self, name: str) -> Done:
        """End a rule, and give what it has done."""
        return Done(**self.link.ask("end", id=name))

    def in_force(self) -> list[str]:
        """List the rules in force."""
        return list(self.link.ask("status")["rules"])

    @property
    def pid(self) -> int:
        """Give the process that carries them."""
        return self.link.pid

    def close(self) -> None:
        """End them with all their connections; again, it does nothing."""
        self.link.close()

    def __enter__(self) -> Self:
        """Give the proxies themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        self.close()
