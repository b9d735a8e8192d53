"""A place in a list that is ordered by score: what is asked for from there on, and the place behind what came.

The place of the next page is a score and how many of that score were shown: what others add or take away elsewhere
moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jobd.web.context import BadRequest


class Mark(NamedTuple):
    """From where a list goes on; without a score it begins."""

    score: float | None = None
    skip: int = 0
    """How many of that score were shown."""

    @classmethod
    def read(cls, text: str) -> Mark:
        """The place that `str` has written; "" is the beginning. Raises `BadRequest`."""
        if not text:
            return cls()
        score, _, skip = text.partition("~")
        try:
            found = cls(float(score), int(skip))
        except ValueError:
            found = cls(math.nan)
        if math.isnan(found.score or 0.0) or not 0 <= found.skip <= 10**7:
            raise BadRequest(f"{text[:50]!r} is no place in this list; begin at the first page again")
        return found

    def __str__(self) -> str:
        return f"{self.score!r}~{self.skip}"

    def ask(self, pipeline: Any, key: bytes | str, ends: tuple[float, float], count: int, *, latest_first: bool) -> Any:
        """Ask for so many entries with their scores, from here to the second of the ends."""
        start = ends[0] if self.score is None else self.score
        return pipeline.zrange(
            key,
            repr(start),
            repr(ends[1]),
            byscore=True,
            desc=latest_first,
            offset=self.skip,
            num=count,
            withscores=True,
        )

    def past(self, scores: Sequence[float]) -> Mark:
        """The place behind what came from here on, of which there was something."""
        last = scores[-1]
        return Mark(last, sum(score == last for score in scores) + (self.skip if last == self.score else 0))
