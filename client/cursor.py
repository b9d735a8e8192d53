"""Reads through a sorted set by pages, from a member to the next in its order and not by rank.

Sets change while they are read: by rank a page would repeat or skip what slid past. The order is that of Redis: by
score, members of one score by their bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from jobd.client import defaults
from jobd.client.access import Access

Member: TypeAlias = tuple[float, bytes]
"""Score and bytes."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The part of one sorted set between two scores, both included, in one direction."""

    access: Access
    key: str
    low: float = -math.inf
    high: float = math.inf
    reverse: bool = False

    def pages(self, limit: int = defaults.API_PAGE) -> Iterator[list[Member]]:
        """All members that stay in the set meanwhile, each once; those that come or move meanwhile perhaps."""
        last: Member | None = None
        while page := self.after(last, limit):
            yield page
            last = page[-1]

    def after(self, last: Member | None, limit: int) -> list[Member]:
        """Up to `limit` members that follow `last`, which need not be there any more; none only at the end."""
        start, stop = (self.high, self.low) if self.reverse else (self.low, self.high)
        if last is None:
            return self._by_score(start, stop, limit)
        if (last[0] < stop) if self.reverse else (last[0] > stop):
            return []
        found = self._by_score(last[0], stop, limit)
        fresh = self._following(found, last)
        if fresh or len(found) < limit:
            return fresh
        return self._among_equals(last, limit)

    def _by_score(self, start: float, stop: float, limit: int) -> list[Member]:
        def ask(redis: Any) -> Sequence[tuple[bytes, float]]:
            bounds = {"byscore": True, "offset": 0, "num": limit, "desc": self.reverse, "withscores": True}
            found: Sequence[tuple[bytes, float]] = redis.zrange(self.key, repr(start), repr(stop), **bounds)
            return found

        return [(float(score), member) for member, score in self.access.read(ask)]

    def _by_rank(self, first: int, limit: int) -> list[Member]:
        def ask(redis: Any) -> Sequence[tuple[bytes, float]]:
            last = first + limit - 1
            found: Sequence[tuple[bytes, float]] = redis.zrange(
                self.key, first, last, desc=self.reverse, withscores=True
            )
            return found

        return [(float(score), member) for member, score in self.access.read(ask)]

    def _among_equals(self, last: Member, limit: int) -> list[Member]:
        """The same where a page was full of members of one score, through which Redis would have to walk each time."""
        while True:
            rank = self._rank(last)
            found = self._by_rank(rank, limit + 1)
            # What was removed before the rank meanwhile has moved others in front of it, which must not be skipped.
            if rank == 0 or (found and not self._follows(found[0], last)):
                fresh = self._following(found, last)
                return [member for member in fresh if self.low <= member[0] <= self.high]

    def _rank(self, last: Member) -> int:
        """The place of the last member that does not follow `last`; 0 without any."""
        rank = self.access.read(lambda r: (r.zrevrank if self.reverse else r.zrank)(self.key, last[1]))
        if rank is not None:
            at = self._by_rank(int(rank), 1)
            if at == [last]:
                return int(rank)
        low, high = 0, int(self.access.read(lambda r: r.zcard(self.key)))
        while low < high:
            middle = (low + high) // 2
            found = self._by_rank(middle, 1)
            if not found or self._follows(found[0], last):
                high = middle
            else:
                low = middle + 1
        return max(low - 1, 0)

    def _following(self, members: Sequence[Member], last: Member) -> list[Member]:
        return [member for member in members if self._follows(member, last)]

    def _follows(self, member: Member, last: Member) -> bool:
        return member < last if self.reverse else member > last
