"""What the master was asked to do, and what has become of it so far."""

from __future__ import annotations

from collections.abc import Callable
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


class Promises:
    """Requests that were accepted and are not done yet."""

    def __init__(self) -> None:
        self._open: list[tuple[Request, Callable[[], bool], str]] = []

    def make(self, answer: str, is_done: Callable[[], bool], outcome: str) -> Request:
        """A request that is answered now, and ends well with `outcome` when `is_done`."""
        request = Request(Verdict(True, answer))
        self._open.append((request, is_done, outcome))
        return request

    def look(self) -> None:
        """End what is done by now."""
        for request, is_done, outcome in self._open:
            if is_done():
                request.end(True, outcome)
        self._open = [each for each in self._open if each[0].outcome is None]

    def break_all(self, why: str) -> None:
        """What is not done by now will not be."""
        for request, _, _ in self._open:
            request.end(False, why)
        self._open.clear()


class Commands(Protocol):
    """What a running jobd can be asked through its control socket."""

    def status(self) -> dict[str, Any]:
        """What it does, in values that JSON knows."""
        ...

    def request(self, name: str, count: int | None) -> Request:
        """Begin `quiet`, `resume`, `stop`, `restart`, `reload` or `scale` (to `count`). Raises Refused."""
        ...
