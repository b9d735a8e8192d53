"""What the master was asked to do, and what has become of it so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Refused(Exception):
    """A request that cannot be carried out now; its text says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How something ended: well or not, and in words."""

    ok: bool
    text: str


class Request:
    """One request. It is answered once, and ends once: whoever made it looks from time to time."""

    def __init__(self, answer: Verdict | None = None, outcome: Verdict | None = None) -> None:
        self.answer = answer
        """Whether it is accepted, or has proven to be possible; None as long as that is not known."""
        self.outcome = outcome
        """What came of it in the end; None until then."""

    def accept(self, text: str) -> None:
        """Answer that it will be done. Only the first answer counts."""
        self.answer = self.answer or Verdict(True, text)

    def end(self, ok: bool, text: str) -> None:
        """Note the outcome, which is the answer too when there was none yet. Only the first one counts."""
        self.outcome = self.outcome or Verdict(ok, text)
        self.answer = self.answer or self.outcome


class Commands(Protocol):
    """What a running jobd can be asked through its control socket."""

    def status(self) -> dict[str, Any]:
        """What it does, in values that JSON knows."""
        ...

    def request(self, name: str, count: int | None) -> Request:
        """Begin `quiet`, `resume`, `stop`, `restart`, `reload` or `scale` (to `count`). Raises Refused."""
        ...
