"""What a running master tells of itself: to `jobd ctl status`, to Prometheus, to systemd and to the log."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from jobd.client.version import VERSION
from jobd.supervisor.crew import Child, Crew
from jobd.supervisor.ends import End
from jobd.supervisor.orphans import Orphans
from jobd.supervisor.snapshot import ClusterFigures, SlotFigures, Snapshot
from jobd.supervisor.turnover import Turnover

ENDS_KEPT = 10


@dataclass(frozen=True, slots=True)
class _Ended:
    pid: int
    slot: int
    end: End
    at: float
    jobs: list[str]


class Report:
    """Reads the parts of a master and changes nothing. Times are monotonic seconds."""

    def __init__(self, crew: Crew, turnover: Turnover, orphans: Orphans) -> None:
        self._crew, self._turnover, self._orphans = crew, turnover, orphans
        self._started = time.monotonic()
        self._ends: deque[_Ended] = deque(maxlen=ENDS_KEPT)
        self._redis_seen = 0.0
        self.cluster: ClusterFigures | None = None
        """The last that any child has read from Redis."""
        self.is_stopping = False

    def ended(self, child: Child, end: End, jobs: list[str]) -> None:
        """Note the end of a child, and when Redis answered it last."""
        self._ends.append(_Ended(child.pid, child.slot, end, time.monotonic(), jobs))
        self._redis_seen = max(self._redis_seen, child.page.redis_seen)

    @property
    def state(self) -> str:
        """In one word."""
        if self.is_stopping:
            return "stopping"
        if self._crew.quiet:
            return "quiet"
        return "running" if self._ready == len(self._crew.slots) else "starting"

    @property
    def busy(self) -> int:
        """Jobs that run now."""
        return sum(len(child.page.running()) for child in self._crew)

    def line(self) -> str:
        """The state in one line, for `systemctl status`."""
        words = [f"{self._ready} of {len(self._crew.slots)} worker processes ready"]
        if self.is_stopping or self._crew.quiet:
            words.insert(0, self.state)
        if self._turnover.is_restarting:
            words.append("rolling restart")
        return ", ".join(words)

    def status(self) -> dict[str, Any]:
        """Everything, in values that JSON knows."""
        now, config = time.monotonic(), self._crew.config
        seen = self._seen_ago(now)
        return {
            "pid": os.getpid(),
            "version": VERSION,
            "tag": config.tag,
            "environment": config.environment,
            "state": self.state,
            "uptime": round(now - self._started, 1),
            "generation": self._crew.generation,
            "restarting": self._turnover.is_restarting,
            "processes": {"wanted": len(self._crew.slots), "ready": self._ready},
            "threads": {"busy": self.busy, "idle": max(0, self._threads - self.busy)},
            "redis_seen_ago": None if seen is None else round(seen, 1),
            "orphans": len(self._orphans),
            "children": [self._child(child, now) for child in self._crew],
            "ends": [self._end(each, now) for each in self._ends],
        }

    def snapshot(self) -> Snapshot:
        """The figures for Prometheus and the probes."""
        now, config = time.monotonic(), self._crew.config
        return Snapshot(
            children=Counter(child.state for child in self._crew),
            desired=len(self._crew.slots),
            slots=[self._slot(slot.number, slot.child, now) for slot in self._crew.slots],
            threads=self._threads,
            busy=self.busy,
            threads_per_process=self._per_process,
            is_quiet=self._crew.quiet,
            redis_seen_ago=self._seen_ago(now),
            lease=config.lease,
            cluster=self.cluster,
        )

    @property
    def _ready(self) -> int:
        """Slots with a process that has come up, quiet or not."""
        return sum(slot.child is not None and slot.child.ready_at is not None for slot in self._crew.slots)

    @property
    def _per_process(self) -> int:
        return self._crew.config.threads

    @property
    def _threads(self) -> int:
        return sum(child.page.threads for child in self._crew if child.ready_at is not None)

    def _seen_ago(self, now: float) -> float | None:
        seen = max([self._redis_seen, *(child.page.redis_seen for child in self._crew)])
        return now - seen if seen else None

    def _slot(self, number: int, child: Child | None, now: float) -> SlotFigures:
        if child is None:
            return SlotFigures(number, {}, None)
        kind = self._crew.config.memory_kind
        age = now - child.page.pulse if child.page.pulse else None
        return SlotFigures(number, {} if child.memory is None else {kind: child.memory}, age)

    def _child(self, child: Child, now: float) -> dict[str, Any]:
        return {
            "slot": child.slot,
            "pid": child.pid,
            "state": child.state,
            "generation": child.generation,
            "uptime": round(now - child.started, 1),
            "jobs": child.page.jobs_done,
            "threads": self._per_process,
            "memory": child.memory,
            "pulse_ago": round(child.silence(now), 1),
            "running": [{"jid": each.jid, "seconds": round(now - each.since, 1)} for each in child.page.running()],
        }

    def _end(self, ended: _Ended, now: float) -> dict[str, Any]:
        return {
            "pid": ended.pid,
            "slot": ended.slot,
            "reason": ended.end.reason,
            "cause": ended.end.cause,
            "ago": round(now - ended.at, 1),
            "jobs": ended.jobs,
        }
