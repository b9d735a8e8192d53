"""Looks after the children that live: kills those that never boot or hang, and finds those that are to be replaced."""

from __future__ import annotations

import signal
import time

from jobd.supervisor import memory, policy
from jobd.supervisor.crew import Child, Crew, Slot
from jobd.supervisor.turnover import Turnover
from jobd.worker import log

MEMORY_INTERVAL = 5.0
"""Seconds between two readings of the children's memory."""
DUMP_TIME = 2.0
"""Seconds between ABRT, on which faulthandler writes the stacks of a child that hangs, and KILL."""
RECOVERY_TIME = 5.0
"""Seconds that children get to show themselves after the master itself was asleep."""
SETTLED_AFTER = 10 * 60.0
"""A process that needed too much memory only after so many seconds does not count as short-lived."""


class Health:
    """Of all children of one crew. Times are monotonic seconds."""

    def __init__(self, crew: Crew, turnover: Turnover) -> None:
        self._crew, self._turnover = crew, turnover
        self._last_turn = time.monotonic()
        self._judge_after = 0.0
        self._measure_at = 0.0
        warning = crew.config.max_memory and memory.overcommitted(
            crew.config.max_memory, crew.config.processes, memory.cgroup_limit()
        )
        if warning:
            log.event("config.notice", level=log.WARNING, notice=warning)

    def look(self, now: float) -> None:
        """Judge every child; for each turn of the main loop."""
        if policy.was_asleep(now - self._last_turn, self._crew.config.hang_timeout):
            log.event("master.was_asleep", level=log.WARNING, seconds=round(now - self._last_turn, 1))
            self._judge_after = now + RECOVERY_TIME
        self._last_turn = now
        for child in self._crew:
            if now >= self._judge_after:
                self._judge(child, now)

    def weigh_unused(self, child: Child) -> None:
        """Note what a process needs that has loaded the application and run no job."""
        if self._crew.config.max_memory is not None:
            child.memory = memory.reading(child.pid, self._crew.config.memory_kind)
            if child.memory is not None:
                child.readings.add(child.memory)

    def find_due(self, now: float) -> None:
        """Have those replaced that have run enough jobs or need too much memory."""
        measure = now >= self._measure_at
        if measure:
            self._measure_at = now + MEMORY_INTERVAL
            for child in self._crew:
                child.memory = memory.reading(child.pid, self._crew.config.memory_kind)
        for slot in self._crew.slots:
            if slot.child is None or not slot.child.takes_jobs:
                continue
            if slot.child.job_limit is not None and slot.child.page.jobs_done >= slot.child.job_limit:
                self._turnover.recycle(slot.child, "jobs", now)
            if measure:
                self._weigh(slot, slot.child, now)

    def _judge(self, child: Child, now: float) -> None:
        if now >= child.kill_at:
            child.kill("hang", f"it hangs, and did not end within {DUMP_TIME:g} s of ABRT")
        elif child.killed_for is not None or child.why_failed:
            return
        elif child.loaded_at is None:
            self._judge_boot(child, now)
        else:
            self._judge_pulse(child, now)

    def _judge_boot(self, child: Child, now: float) -> None:
        limit = self._crew.config.boot_timeout
        if now - child.started > limit:
            child.why_failed = (
                f"the application was not loaded within {limit:g} s; what do its modules wait for when they are "
                "imported? boot_timeout sets the limit"
            )
            child.kill("boot_timeout", child.why_failed)

    def _judge_pulse(self, child: Child, now: float) -> None:
        silence = child.silence(now)
        life = policy.life_of(silence, self._crew.config.hang_timeout)
        if life == "hung":
            child.killed_for = "hang"
            child.kill_at = now + DUMP_TIME
            log.event("child.hung", level=log.ERROR, child=child.pid, slot=child.slot, seconds=round(silence, 1))
            child.signal(signal.SIGABRT)
        elif life == "silent" and not child.told_silent:
            hint = "does a job keep the interpreter's lock? it is killed at hang_timeout"
            log.event("child.silent", level=log.WARNING, child=child.pid, seconds=round(silence, 1), hint=hint)
        child.told_silent = life != "fine"

    def _weigh(self, slot: Slot, child: Child, now: float) -> None:
        """Compare the last reading with the limit."""
        limit = self._crew.config.max_memory
        if child.memory is None or limit is None:
            return
        child.readings.add(child.memory)
        if memory.hopeless(child.readings.baseline, limit):
            self._tell_hopeless(slot, child, limit)
        elif child.readings.exceeds(limit) and now >= slot.recycle_not_before:
            lived = now - (child.ready_at or now)
            slot.short_lives = slot.short_lives + 1 if lived < SETTLED_AFTER else 0
            slot.recycle_not_before = now + memory.recycle_pause(slot.short_lives)
            self._turnover.recycle(child, "memory", now)

    def _tell_hopeless(self, slot: Slot, child: Child, limit: int) -> None:
        if slot.hopeless:
            return
        slot.hopeless = True
        log.event(
            "child.hopeless",
            level=log.WARNING,
            slot=slot.number,
            baseline=child.readings.baseline,
            max_memory=limit,
            hint="a fresh process is above the limit already, so none is replaced for it; raise max_memory",
        )
