"""How long jobs of a class had waited when they began to run, over the periods of the metrics: `ClassWaits`.

Worker processes count them with the figures of the class (`metrics.py`) in the buckets of `waits.py`, in keys of jobd's
own: by the minute for an hour, by ten minutes for 72 hours, by four hours for 90 days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobd.client import defaults, metrics
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.keys import Keys
from jobd.client.metrics import Period
from jobd.client.push import Client
from jobd.client.waits import Grid, Source, percentile, range_of, sources, sums

_HOUR = 3600
MINUTES = Grid(60.0, 60, defaults.HISTORY_TTL, Keys.class_waits)
TEN_MINUTES = Grid(600.0, 144, defaults.LONG_HISTORY_TTL, Keys.long_class_waits)
FOUR_HOURS = Grid(14400.0, 42, defaults.METRICS_HOUR_TTL, Keys.longest_class_waits)
GRIDS = (MINUTES, TEN_MINUTES, FOUR_HOURS)
"""Where the waits of a class are counted."""


class WaitRange(NamedTuple):
    """So many `jobs` had waited for more than `low` and up to `high` seconds; None: without a bound."""

    low: float
    high: float | None
    jobs: int


@dataclass(frozen=True, slots=True)
class JobWaits:
    """How long the jobs of one class had waited that began to run from `since` (epoch seconds) on.

    `counts` are those of the 52 ranges of `waits.range_of`.
    """

    name: str
    period: Period
    since: float
    counts: Sequence[int]

    @property
    def total(self) -> int:
        """Attempts of which it is known how long they had waited."""
        return sum(self.counts)

    @property
    def histogram(self) -> list[WaitRange]:
        """The ranges from the first to the last in which there are any; empty without any."""
        hit = [bucket for bucket, count in enumerate(self.counts) if count]
        if not hit:
            return []
        return [WaitRange(*range_of(bucket), self.counts[bucket]) for bucket in range(hit[0], hit[-1] + 1)]

    def percentile(self, percent: float) -> float | None:
        """The seconds that so many percent (0 to 100) had waited at most; None without any.

        It is the middle of a range, off by a quarter at most; below 1 ms it is 0.5 ms. `waits.LONGEST`, a little more
        than seven days, says that it was longer. Raises `InvalidArguments`.
        """
        if not 0 <= percent <= 100:
            raise InvalidArguments(f"percent is {percent!r}; give a number from 0 to 100")
        return percentile(self.counts, percent / 100)

    @property
    def p50(self) -> float | None:
        """What half of them had waited at most, in seconds; None without any."""
        return percentile(self.counts, 0.5)

    @property
    def p95(self) -> float | None:
        """The same of 95 %."""
        return percentile(self.counts, 0.95)

    @property
    def p99(self) -> float | None:
        """The same of 99 %."""
        return percentile(self.counts, 0.99)


class ClassWaits:
    """What was counted of classes. Without a `client` it is that of this process' jobs.

    Only jobs that processes of jobd ran are counted, when they said when they were enqueued; a retry waits from when it
    came back into its queue. A call may raise `InvalidArguments`, `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def of(self, name: str, period: Period = "1h", *, until: float | None = None) -> JobWaits:
        """The jobs of one class over the period that ends at `until` (epoch seconds) [now]."""
        now = self.access.now() if until is None else until
        grid = grid_of(period)
        last = now // grid.width * grid.width
        since = last + grid.width - metrics.seconds_of(period)
        wanted = sources_of(self.access.keys, name, grid, since, last + grid.width)
        raws = self.access.read(lambda redis: redis.mget([each.key for each in wanted]))
        return JobWaits(name, period, since, counts_of(wanted, raws, since, last + grid.width))


def grid_of(period: str) -> Grid:
    """Which counts tell of a period. Raises `InvalidArguments`."""
    seconds = metrics.seconds_of(period)
    return MINUTES if seconds <= _HOUR else TEN_MINUTES if seconds <= 72 * _HOUR else FOUR_HOURS


def sources_of(keys: Keys, name: str, grid: Grid, since: float, until: float) -> list[Source]:
    """The keys with the counts of a class between two times (epoch seconds)."""
    return sources(keys, [grid], name, [since, until - grid.width])


def counts_of(read: Sequence[Source], raws: Sequence[bytes | None], since: float, until: float) -> list[int]:
    """The counts of each bucket between these times."""
    return sums(read, raws, [since, until])[0]
