"""Replaces processes one at a time, each by a successor that is ready before the old one stops taking jobs.

Two things are replaced in this way: all processes, by a rolling restart, of which the first new one has to prove itself
before others follow; and single ones that need too much memory or have run enough jobs. If a successor fails, the old
process stays.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jobd.supervisor import exits
from jobd.supervisor.crew import Child, Crew, Slot
from jobd.supervisor.ends import Recycling
from jobd.supervisor.request import Request
from jobd.worker import log

Why = Literal["restart", "memory", "jobs"]
RETRY_AFTER = 30.0
"""Seconds before a recycling is tried again whose successor failed."""


@dataclass
class Rollout:
    """One rolling restart: to which generation, and for whom."""

    generation: int
    requests: list[Request] = field(default_factory=list)
    proven: bool = False

    def prove(self) -> None:
        """The first new process has stayed up: whoever asked is answered."""
        self.proven = True
        for request in self.requests:
            request.accept("the new code works; the other processes follow")

    def end(self, ok: bool, text: str) -> None:
        """Tell whoever asked."""
        for request in self.requests:
            request.end(ok, text)


@dataclass(frozen=True)
class Step:
    """One replacement under way."""

    slot: Slot
    successor: Child
    why: Why


class Turnover:
    """What is to be replaced, and the one replacement that is under way."""

    def __init__(self, crew: Crew, fork_successor: Callable[[Slot], Child | None]) -> None:
        """`fork_successor` starts one, or returns None after it has logged why not."""
        self._crew, self._fork = crew, fork_successor
        self._rollouts: deque[Rollout] = deque()
        self._due: dict[Child, Recycling] = {}
        self._not_before: dict[int, float] = {}
        self._step: Step | None = None
        self._making_room: tuple[Child, float] | None = None

    @property
    def is_restarting(self) -> bool:
        """Whether a rolling restart is under way."""
        return bool(self._rollouts)

    def restart(self) -> Request:
        """Replace all processes. While one such restart is under way one more is remembered, however many are asked."""
        request = Request()
        if len(self._rollouts) == 2:
            self._rollouts[1].requests.append(request)
        else:
            self._rollouts.append(Rollout(0, [request]))
            if len(self._rollouts) == 1:
                self._begin()
        return request

    def recycle(self, child: Child, why: Recycling, now: float) -> None:
        """Replace this process when its turn comes."""
        under_way = self._step is not None and self._step.slot.child is child
        if child not in self._due and not under_way and now >= self._not_before.get(child.slot, -math.inf):
            self._due[child] = why
            log.event("child.due", child=child.pid, slot=child.slot, why=why)

    def stop(self, why: str) -> None:
        """Replace nothing any more."""
        for rollout in self._rollouts:
            rollout.end(False, why)
        self._rollouts.clear()
        self._due.clear()
        self._step = None

    def advance(self, now: float) -> None:
        """Do what can be done now."""
        if self._step is not None:
            self._follow(self._step, now)
        if self._rollouts and self._step is None and self._crew.is_complete and self._behind() is None:
            self._finish(True, "all processes are new")
        if self._step is None and self._has_room(now):
            self._next(now)

    def due_at(self) -> float:
        """When the present step has something to do by itself; infinity if it only waits for others."""
        step = self._step
        if step is None:
            if self._making_room is None or not self._wants_more() or self._is_crowded():
                return math.inf
            return self._making_room[1]
        if step.successor.ready_at is None:
            return step.successor.started + self._crew.config.boot_timeout
        return step.successor.ready_at + self._probe(step)

    def child_ended(self, child: Child, why: str, now: float) -> None:
        """A child has ended: if it was the successor, the old process stays."""
        step = self._step
        if step is None and self._rollouts and child.ready_at is None and not child.asked:
            self._finish(False, f"the new code does not start: {why}")  # where there was no old process any more
        if step is None or child is not step.successor:
            return
        self._step = None
        log.event("child.not_replaced", level=log.ERROR, slot=step.slot.number, why=why)
        if step.why == "restart":
            self._finish(False, f"the old processes stay: {why}")
        else:
            self._not_before[step.slot.number] = now + RETRY_AFTER

    def _begin(self) -> None:
        self._crew.generation += 1
        self._rollouts[0].generation = self._crew.generation
        for slot in self._crew.slots:
            if slot.child is None:
                slot.start_at = 0.0  # the new code may work
        log.event("restart.began", generation=self._crew.generation)

    def _finish(self, ok: bool, text: str) -> None:
        log.event("restart.ended", level=log.INFO if ok else log.ERROR, ok=ok, outcome=text)
        self._rollouts.popleft().end(ok, text)
        if self._rollouts:
            self._begin()

    def _probe(self, step: Step) -> float:
        """Seconds that a successor has to stay ready before it counts."""
        is_first = step.why == "restart" and not self._rollouts[0].proven
        return self._crew.config.restart_probe if is_first else 0.0

    def _follow(self, step: Step, now: float) -> None:
        successor = step.successor
        if step.slot not in self._crew.slots:
            self._step = None  # the slot was given up meanwhile, and its processes leave
        elif successor.ready_at is None:
            self._judge_boot(successor, now)
        elif now - successor.ready_at >= self._probe(step):
            self._step = None
            self._succeed(step, now)

    def _judge_boot(self, successor: Child, now: float) -> None:
        """While it loads the application it is watched as any process is; a successor may not wait for Redis either."""
        limit = self._crew.config.boot_timeout
        if successor.loaded_at is not None and successor.killed_for is None and now - successor.started > limit:
            successor.why_failed = f"it has loaded the application, but was not ready within {limit:g} s"
            successor.kill("boot_timeout", successor.why_failed)

    def _succeed(self, step: Step, now: float) -> None:
        recycling = step.why if step.why != "restart" else None
        if step.slot.child is not None:
            step.slot.child.recycled_for = recycling
        old = self._crew.succeed(step.slot, exits.RECYCLED if recycling else exits.OK)
        if old is not None:
            self._making_room = old, now + self._crew.config.timeout
            log.event("child.replaced", child=old.pid, by=step.successor.pid, slot=step.slot.number, why=step.why)
        if not recycling:
            self._rollouts[0].prove()

    def _has_room(self, now: float) -> bool:
        """Whether one more process may be started: the last one that was replaced has gone, or takes too long."""
        if self._making_room is None:
            return True
        old, patience_ends = self._making_room
        if old in self._crew.leaving and (now < patience_ends or self._is_crowded()):
            return False
        self._making_room = None
        return True

    def _is_crowded(self) -> bool:
        """Whether so many that were replaced still run jobs that one of them has to end first."""
        return len(self._crew.leaving) >= len(self._crew.slots)

    def _wants_more(self) -> bool:
        return bool(self._rollouts or self._due)

    def _next(self, now: float) -> None:
        """Begin the next replacement, if any is due."""
        if self._rollouts:
            self._roll_on(now)
        elif self._due:
            child = next(iter(self._due))  # who is due first goes first
            why = self._due.pop(child)
            slot = self._crew.slot_of(child)
            if slot is not None and slot.child is child:
                self._start(slot, why, now)

    def _behind(self) -> Slot | None:
        """The first slot whose process the present rolling restart has still to replace."""
        generation = self._rollouts[0].generation
        behind = (slot for slot in self._crew.slots if slot.child and slot.child.generation < generation)
        return next(behind, None)

    def _roll_on(self, now: float) -> None:
        slot = self._behind()
        if slot is not None:
            self._start(slot, "restart", now)
            if self._step is None:
                self._finish(False, "no process could be started; the log says why")

    def _start(self, slot: Slot, why: Why, now: float) -> None:
        successor = self._fork(slot)
        if successor is not None:
            self._step = Step(slot, successor, why)
        elif why != "restart":
            self._not_before[slot.number] = now + RETRY_AFTER
