"""The limits of the dead set as whoever kills by hand has to keep them, and what they would cost.

The workers' configuration sets them, which a client never reads: running workers tell them with their heartbeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jobd.client.access import Access
from jobd.client.processes import read_processes
from jobd.client.scripts import DeadLimits


@dataclass(frozen=True, slots=True)
class DeadRoom:
    """The state of the dead set: entries it holds, those of them that are too old and go with the next, its limit."""

    size: int
    expired: int
    max_jobs: int

    @property
    def free(self) -> int:
        """How many entries can come before the limit drops others."""
        return max(self.max_jobs - (self.size - self.expired), 0)

    def would_drop(self, jobs: int) -> int:
        """How many entries the limit would drop, some of the `jobs` themselves perhaps, if so many came."""
        return max(jobs - self.free, 0)


def dead_limits(access: Access) -> DeadLimits:
    """The widest limits that a running worker says, else the defaults."""
    said = [found.dead_limits for found in read_processes(access) if found.dead_limits is not None]
    if not said:
        return DeadLimits()
    return DeadLimits(max(limits.max_jobs for limits in said), max(limits.timeout for limits in said))


def read_room(access: Access, limits: DeadLimits) -> DeadRoom:
    """How full the dead set is."""
    key, cutoff = access.keys.dead, access.now() - limits.timeout

    def ask(pipeline: Any) -> None:
        pipeline.zcard(key).zcount(key, "-inf", f"({cutoff!r}")

    size, expired = access.read_all(ask)
    return DeadRoom(size or 0, expired or 0, limits.max_jobs)
