"""How long jobs of a queue had waited when they began to run, by stretches of time: `QueueWaits`.

Worker processes count waits in buckets whose bounds are 1.5 times apart, from 1 ms to more than seven days, by the
minute for an hour at least and by the half hour for three days; `worker/queue_counts.py` writes them. A percentile is
told as the middle of its bucket, so it is off by a quarter at most; what is below 1 ms is told as 0.5 ms, and what is
above the last bound as that bound, `waits.LONGEST`.

Keys of an older layout are read too: it ended at 35 hours, and what was longer is told as 35 to 53 hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.client.waits import SHARES, Grid, Source, percentile, sources, sums

FINE = Grid(60.0, 60, defaults.HISTORY_TTL, Keys.queue_waits)
COARSE = Grid(1800.0, 48, defaults.LONG_HISTORY_TTL, Keys.long_queue_waits)
GRIDS = (FINE, COARSE)
"""Where the waits of a queue are counted."""
_OLD_BUCKETS = 48
_OLD_FINE = Grid(60.0, 60, defaults.HISTORY_TTL, Keys.old_queue_waits, _OLD_BUCKETS)
_OLD_COARSE = Grid(1800.0, 48, defaults.LONG_HISTORY_TTL, Keys.old_long_queue_waits, _OLD_BUCKETS)


@dataclass(frozen=True, slots=True)
class Waited:
    """Jobs that began to run from `start` (epoch seconds) on: how many, and for how many seconds they had waited."""

    start: float
    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class QueueWaits:
    """What was counted of queues. Without a `client` it is that of this process' jobs.

    Only jobs that processes of jobd ran are counted, when they said when they were enqueued. A call may raise
    `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def read(self, name: str, edges: Sequence[float]) -> list[Waited]:
        """The waits in `name` between each of the rising `edges` (epoch seconds) and the next.

        Edges on full minutes of the last hour, or on full half hours of the last three days, are exact; to others each
        minute, or half hour, counts where it begins.
        """
        if len(edges) < 2:
            return []
        wanted = sources_of(self.access.keys, name, edges, self.access.server_now())
        return waited(wanted, self.access.read(lambda redis: redis.mget([each.key for each in wanted])), edges)


def grids_of(edges: Sequence[float], now: float) -> tuple[Grid, Grid]:
    """Which counts tell of these times, and where older processes kept them."""
    is_recent = bool(edges) and edges[0] >= now - FINE.width * (FINE.slots + 2)
    return (FINE, _OLD_FINE) if is_recent else (COARSE, _OLD_COARSE)


def sources_of(keys: Keys, name: str, edges: Sequence[float], now: float) -> list[Source]:
    """The keys that tell of these times."""
    return sources(keys, grids_of(edges, now), name, edges)


def waited(read: Sequence[Source], raws: Sequence[bytes | None], edges: Sequence[float]) -> list[Waited]:
    """Put the counts of keys together between each edge and the next."""
    return [
        Waited(start, sum(counts), *(percentile(counts, share) for share in SHARES))
        for (start, _), counts in zip(pairwise(edges), sums(read, raws, edges), strict=True)
    ]
