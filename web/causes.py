"""Failed jobs with one cause: one class, one error, and messages that differ in names and numbers only. Pure.

Messages are masked before they come here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jobd.client.entry import JobEntry
from jobd.client.sets import SetEntry
from jobd.web.documents import cut, key_of
from jobd.web.masking import Masker

Place: TypeAlias = Literal["retries", "dead"]

MOST_READ = 500
"""Characters of a message that are told apart; to mask more of a thousand would take too long."""
MOST_SHOWN = 300
MOST_SEARCHED = 200
"""Characters of names in a search."""
_NAME = 200
BUCKETS = 24
SHORTEST, LONGEST = 3600.0, 30 * 24 * 3600.0
"""Seconds that the curves of a page span at least and at most."""
_VARYING = re.compile(
    r"""(?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)"""
    r"""|(?P<mail>[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})"""
    r"""|(?P<text>(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`|“[^”\n]*”|‘[^’\n]*’)"""
    r"""|(?P<path>\b\w{2,20}://[^\s"'<>)\]]+|(?<![\w<>./])~?(?:/[\w.@%+-]+){2,}/?|\b[A-Za-z]:\\[^\s"'<>|]+)"""
    r"""|(?P<hex>\b0[xX][0-9a-fA-F]+\b|\b(?=[a-fA-F]{0,64}[0-9])[0-9a-fA-F]{8,}(?<![0-9]{8})\b)"""
    r"""|(?P<n>[-+]?(?<![A-Za-z_])[0-9]+(?:[.,:][0-9]+)*)"""
)


def beginning(text: str) -> str:
    """As much of a message as is read. It ends between words: half a secret would not be known as one."""
    if len(text) <= MOST_READ:
        return text
    end = max(text.rfind(space, 0, MOST_READ) for space in " \n\t") + 1
    return f"{text[:end].rstrip()} …".lstrip()


def normalise(text: str) -> str:
    """A message without what differs from job to job; `<n>` stands for a number, and so on."""
    flat = " ".join(text.split())
    found = _VARYING.sub(lambda each: f"<{each.lastgroup}>", flat)
    return found if len(found) <= MOST_SHOWN else found[: MOST_SHOWN - 1] + "…"


@dataclass(frozen=True, slots=True)
class Told:
    """What the bytes of a failed job tell, without secrets.

    `first` and `last` are its first and its last failure in epoch seconds, where it tells them.
    """

    name: str
    error: str
    message: str
    queue: str
    first: float | None
    last: float | None

    @property
    def cause(self) -> str:
        """Names the cause, wherever and whenever it is found."""
        said = "\0".join((self.name, self.error, self.message))
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def tell(entry: JobEntry, masker: Masker) -> Told:
    """What an entry tells."""

    def name(text: str) -> str:
        return cut(masker.text(beginning(text)), _NAME)

    message = normalise(masker.text(beginning(entry.problem or entry.error_message)))
    first, again = entry.failed_at, entry.retried_at
    last = first if again is None else again
    return Told(name(entry.name), name(entry.error_class), message, cut(masker.text(entry.queue), _NAME), first, last)


def search(entry: JobEntry, told: Told) -> str:
    """The search that finds in a list the jobs that failed of the same as this one.

    The cause alone would do; class and error besides, where they can be quoted and are shown as they are, spare a
    search most of the jobs.
    """
    found = ""
    for name, shown, value in (("class", told.name, entry.name), ("error", told.error, entry.error_class)):
        term = f'{name}:"{value}" '
        if value and shown == value and term.count('"') == 2 and "\\" not in term and len(found + term) < MOST_SEARCHED:
            found += term
    return f"{found}cause:{told.cause}"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed job: where it is, its bytes there, and what they tell."""

    place: Place
    entry: SetEntry
    told: Told

    @property
    def key(self) -> str:
        """Names exactly these bytes at their place."""
        return key_of(self.entry.score, self.entry.raw)

    @property
    def entered(self) -> float | None:
        """When it came to its place, as far as that can be told."""
        return self.told.last if self.place == "retries" else self.entry.score


@dataclass(frozen=True, slots=True)
class Cause:
    """Jobs that failed of the same, the last failure first; `first` and `last` are the ends of their failures."""

    failures: tuple[Failure, ...]
    first: float | None
    last: float | None

    @classmethod
    def of(cls, failures: Sequence[Failure]) -> Cause:
        """Those that are given."""
        firsts = [each.told.first for each in failures if each.told.first is not None]
        lasts = [each.told.last for each in failures if each.told.last is not None]
        ordered = sorted(failures, key=lambda each: -(each.told.last or 0.0))
        return cls(tuple(ordered), min(firsts, default=None), max(lasts, default=None))

    @property
    def told(self) -> Told:
        """What one of the jobs tells: class, error and message are those of all."""
        return self.failures[0].told

    @property
    def id(self) -> str:
        """Names the cause, wherever and whenever it is found."""
        return self.told.cause

    @property
    def queues(self) -> list[str]:
        """The queues of the jobs, by name."""
        return sorted({each.told.queue for each in self.failures} - {""})

    def count(self, place: Place) -> int:
        """How many of the jobs are there."""
        return sum(each.place == place for each in self.failures)

    @property
    def search(self) -> str:
        """The search that finds these jobs in a list."""
        return search(self.failures[0].entry, self.told)


def group(failures: Iterable[Failure]) -> list[Cause]:
    """The causes of failures, that of most jobs first, of several the last to be seen."""
    found: dict[tuple[str, str, str], list[Failure]] = {}
    for each in failures:
        found.setdefault((each.told.name, each.told.error, each.told.message), []).append(each)
    causes = [Cause.of(jobs) for jobs in found.values()]
    return sorted(causes, key=lambda cause: (-len(cause.failures), -(cause.last or 0.0), cause.told.name, cause.id))


def since(causes: Sequence[Cause], now: float) -> float:
    """Where the curves of a page begin: at the earliest failure, within bounds."""
    earliest = min((cause.first for cause in causes if cause.first is not None), default=now)
    return now - min(max(now - earliest, SHORTEST), LONGEST)


def curve(cause: Cause, begin: float, end: float) -> list[int]:
    """How many of the jobs failed first in each part of the time between."""
    counts, width = [0] * BUCKETS, (end - begin) / BUCKETS
    for each in cause.failures:
        at = each.told.first
        if at is not None and begin <= at <= end:
            counts[min(int((at - begin) / width), BUCKETS - 1)] += 1
    return counts
