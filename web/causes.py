"""Failed jobs with one cause: one class, one error, and messages that differ in names and numbers only. Pure.

Messages are masked before they come here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jobd.client.sets import SetEntry

Place: TypeAlias = Literal["retries", "dead"]

MOST_READ = 1_000
"""Characters of a message that are told apart."""
MOST_SHOWN = 300
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


def normalise(text: str) -> str:
    """A message without what differs from job to job; `<n>` stands for a number, and so on."""
    flat = " ".join(text[:MOST_READ].split())
    found = _VARYING.sub(lambda each: f"<{each.lastgroup}>", flat)
    return found if len(found) <= MOST_SHOWN else found[: MOST_SHOWN - 1] + "…"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed job: where it is, the key of its bytes there, and of what it failed.

    `first` and `last` are its first and its last failure in epoch seconds, where it tells them.
    """

    place: Place
    key: str
    entry: SetEntry
    name: str
    error: str
    message: str
    first: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Jobs that failed of the same; the last failure comes first."""

    failures: tuple[Failure, ...]

    @property
    def id(self) -> str:
        """Names the cause, wherever and whenever it is found."""
        return cause_id(self.failures[0])

    @property
    def name(self) -> str:
        """The class of the jobs."""
        return self.failures[0].name

    @property
    def error(self) -> str:
        """The class of the error."""
        return self.failures[0].error

    @property
    def message(self) -> str:
        """What the error says, normalised."""
        return self.failures[0].message

    @property
    def first(self) -> float | None:
        """When the first of the jobs failed first."""
        return min((each.first for each in self.failures if each.first is not None), default=None)

    @property
    def last(self) -> float | None:
        """When one of them last failed."""
        return max((each.last for each in self.failures if each.last is not None), default=None)

    @property
    def queues(self) -> list[str]:
        """The queues of the jobs, by name."""
        return sorted({each.entry.queue for each in self.failures})

    def count(self, place: Place) -> int:
        """How many of the jobs are there."""
        return sum(each.place == place for each in self.failures)

    @property
    def search(self) -> str:
        """The search that finds such jobs in a list, as far as the names are shown as they are and can be quoted."""
        entry = self.failures[0].entry
        named = (("class", self.name, entry.name), ("error", self.error, entry.error_class))
        plain = [(name, value) for name, shown, value in named if value and shown == value]
        return " ".join(f'{name}:"{value}"' for name, value in plain if '"' not in value and "\\" not in value)


def cause_id(failure: Failure) -> str:
    """The id of the cause of a failure."""
    told = "\0".join((failure.name, failure.error, failure.message))
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def group(failures: Iterable[Failure]) -> list[Cause]:
    """The causes of failures, that of most jobs first, of several the last to be seen."""
    found: dict[tuple[str, str, str], list[Failure]] = {}
    for each in failures:
        found.setdefault((each.name, each.error, each.message), []).append(each)
    causes = [Cause(tuple(sorted(jobs, key=lambda job: -(job.last or 0.0)))) for jobs in found.values()]
    return sorted(causes, key=lambda cause: (-len(cause.failures), -(cause.last or 0.0), cause.name, cause.id))


def since(causes: Sequence[Cause], now: float) -> float:
    """Where the curves of a page begin: at the earliest failure, within bounds."""
    earliest = min((first for cause in causes if (first := cause.first) is not None), default=now)
    return now - min(max(now - earliest, SHORTEST), LONGEST)


def curve(cause: Cause, begin: float, end: float) -> list[int]:
    """How many of the jobs failed first in each part of the time between."""
    counts, width = [0] * BUCKETS, (end - begin) / BUCKETS
    for each in cause.failures:
        if each.first is not None and begin <= each.first <= end:
            counts[min(int((each.first - begin) / width), BUCKETS - 1)] += 1
    return counts
