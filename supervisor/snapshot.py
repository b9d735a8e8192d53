"""What the master knows of itself at one moment, in the form that metrics and probes are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

CHILD_STATES = ("starting", "ready", "quiet", "stopping")


class ClusterFigures(TypedDict):
    """Sizes that one worker process has read from Redis: the same on every server."""

    queues: Mapping[str, Sequence[float]]
    """For each queue: its size, and the seconds that its oldest job has waited."""
    schedule: int
    retry: int
    dead: int


@dataclass(frozen=True, slots=True)
class SlotFigures:
    """The worker process in one slot."""

    number: int
    memory: Mapping[str, int]
    """Bytes by kind (`rss`, `uss`); empty as long as none were read."""
    pulse_age: float | None
    """Seconds since its last sign of life; None as long as there was none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The figures of one moment; times are in seconds."""

    children: Mapping[str, int]
    """How many worker processes are in each of CHILD_STATES; a missing state counts 0."""
    desired: int
    slots: Sequence[SlotFigures]
    threads: int
    busy: int
    threads_per_process: int
    is_quiet: bool
    redis_seen_ago: float | None
    """Since Redis last answered any worker process; None as long as it never did."""
    lease: float
    """How long Redis may be silent before it counts as away."""
    cluster: ClusterFigures | None = None
    """The last ones that were read; None as long as there are none."""

    @property
    def ready(self) -> int:
        """Worker processes that take jobs."""
        return self.children.get("ready", 0)

    @property
    def is_redis_up(self) -> bool:
        """Whether Redis answered within the lease."""
        return self.redis_seen_ago is not None and self.redis_seen_ago <= self.lease

    @property
    def cluster_now(self) -> ClusterFigures | None:
        """What is known to be in Redis now: nothing while it is away."""
        return self.cluster if self.is_redis_up else None
