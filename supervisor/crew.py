"""The worker processes of one master: forks them, tells them what to do, and knows in which state each one is.

A slot is a place for one process that takes jobs. While it is being replaced it has a successor beside its child; a
child that was replaced leaves, as soon as its jobs have ended. When any of this happens is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from jobd.supervisor.channel import Channel
from jobd.supervisor.child import Birth, run_child
from jobd.supervisor.config import Config
from jobd.supervisor.ends import Killing, Recycling
from jobd.supervisor.loop import Loop
from jobd.supervisor.memory import Readings
from jobd.worker import log
from jobd.worker.page import Page
from jobd.worker.process import identity_of, new_nonce
from jobd.worker.recovery import Orphan

State = Literal["starting", "ready", "quiet", "stopping"]
MAX_DUMP = 1_000_000
"""Bytes of a dump of stacks that are read."""


class Inherited(Protocol):
    """Something of the master's that a fork copies."""

    def after_fork_in_child(self) -> None: ...


@dataclass(eq=False)
class Child:
    """One worker process as its master sees it. Times are monotonic seconds."""

    pid: int
    slot: int
    generation: int
    channel: Channel
    page: Page
    dump: int
    """A file in memory to which faulthandler writes stacks, also when the child can do nothing else any more."""
    started: float
    owners: list[str]
    """Names under which jobs may be left when it dies."""
    job_limit: int | None
    readings: Readings = field(default_factory=Readings)
    memory: int | None = None
    loaded_at: float | None = None
    ready_at: float | None = None
    asked: bool = False
    """Whether it was told to end, or has said that it ends."""
    why_failed: str = ""
    recycled_for: Recycling | None = None
    killed_for: Killing | None = None
    kill_at: float = math.inf
    """When a process that was sent ABRT is killed."""
    told_silent: bool = False
    owes_stacks: bool = False
    """Whether it was asked for its stacks and has not written them."""

    @property
    def state(self) -> State:
        """In one word."""
        if self.asked:
            return "stopping"
        if self.ready_at is None:
            return "starting"
        return "quiet" if self.page.is_quiet else "ready"

    @property
    def takes_jobs(self) -> bool:
        """Whether it fetches and runs."""
        return self.state == "ready"

    @property
    def is_at_work(self) -> bool:
        """Whether it can be told to do something: it has come up, and does not end."""
        return self.state in ("ready", "quiet")

    def silence(self, now: float) -> float:
        """Seconds since it gave a sign of life; only a child that has loaded the application owes any."""
        return 0.0 if self.loaded_at is None else now - max(self.page.pulse, self.loaded_at)

    def stacks(self) -> str:
        """What faulthandler has written since it was last taken."""
        return os.pread(self.dump, MAX_DUMP, 0).decode("utf-8", "replace").strip()

    def forget_stacks(self) -> None:
        """Make room for the next dump."""
        os.ftruncate(self.dump, 0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; that it has just ended is noticed elsewhere."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self, reason: Killing, why: str) -> None:
        """End it at once, and note why."""
        if self.killed_for is None or math.isfinite(self.kill_at):
            self.killed_for = self.killed_for or reason
            self.kill_at = math.inf
            log.event("child.killed", level=log.ERROR, child=self.pid, slot=self.slot, why=why)
            self.signal(signal.SIGKILL)

    def drain(self, code: int) -> None:
        """Have it take no more jobs and exit with `code` when those it has are done, however long that takes."""
        self.asked = True
        self.channel.send(do="drain", code=code)

    def close(self) -> None:
        """Give back what the master holds of it."""
        self.channel.close()
        self.page.close()
        os.close(self.dump)


@dataclass(eq=False)
class Slot:
    """A place for a worker process: its child, or when to start the next one."""

    number: int
    child: Child | None = None
    successor: Child | None = None
    failures: int = 0
    """Deaths in a row."""
    failed_boots: int = 0
    """Children that ended before they were ready."""
    start_at: float = 0.0
    short_lives: int = 0
    """Children in a row that needed too much memory soon after their start."""
    recycle_not_before: float = 0.0
    hopeless: bool = False
    """Whether it was told that even a fresh process needs too much memory."""


class Crew:
    """All children. It forks in the thread that made it, which must be the only one of this process."""

    def __init__(
        self,
        config: Config,
        loop: Loop,
        inherited: Sequence[Inherited],
        *,
        home: Path,
        listen: Callable[[Child], None],
    ) -> None:
        """`inherited` is what belongs to the master alone; `home` is where jobd was started.

        `listen` is called when a child has said something.
        """
        self.config, self._home = config, home
        self._loop, self._inherited, self._listen = loop, inherited, listen
        self.slots = [Slot(number) for number in range(1, config.processes + 1)]
        self.leaving: list[Child] = []
        self.generation = 1
        self.quiet = False
        self.beside: set[int] = set()
        """Pids of processes that are no workers, until whoever had them forked has reaped them."""

    def __iter__(self) -> Iterator[Child]:
        for slot in self.slots:
            yield from filter(None, (slot.child, slot.successor))
        yield from self.leaving

    @property
    def pids(self) -> set[int]:
        """Of all processes that were forked and have not been reaped."""
        return {child.pid for child in self} | self.beside

    @property
    def is_complete(self) -> bool:
        """Whether there is a process in each slot that has become ready."""
        return all(slot.child is not None and slot.child.ready_at is not None for slot in self.slots)

    def slot_of(self, child: Child) -> Slot | None:
        """Where `child` is, or is about to be; None for one that leaves."""
        return next((slot for slot in self.slots if child in (slot.child, slot.successor)), None)

    def fork(self, slot: Slot, orphans: Sequence[Orphan], job_limit: int | None) -> Child:
        """Make a process for `slot`, which gives the jobs of `orphans` back first. Raises OSError."""
        with contextlib.ExitStack() as undo:
            mine, its = Channel.pair()
            undo.callback(mine.close)
            page = Page(self.config.threads)
            undo.callback(page.close)
            dump = os.memfd_create("jobd-stacks", os.MFD_CLOEXEC)
            undo.callback(os.close, dump)
            birth = Birth(new_nonce(), os.getpid(), its, page, dump, tuple(orphans), self.quiet, self._home)
            with contextlib.closing(its):
                pid = self._fork(lambda: self._be_born(birth, mine))
            undo.pop_all()
        owners = [identity_of(pid, birth.nonce)]
        child = Child(pid, slot.number, self.generation, mine, page, dump, time.monotonic(), owners, job_limit)
        self._loop.watch(mine.fileno(), lambda: self._listen(child))
        log.event("child.started", child=pid, slot=slot.number, generation=self.generation)
        return child

    def fork_beside(self, run: Callable[[], None], *, keep: Inherited) -> int:
        """Make a process that is no worker and holds of the master's things only `keep`; returns its pid.

        `run` never returns, and begins with all signals blocked. Raises OSError.
        """
        pid = self._fork(run, keep)
        self.beside.add(pid)
        return pid

    def _be_born(self, birth: Birth, mine: Channel) -> None:
        mine.close()
        run_child(self.config, birth)

    def _fork(self, run: Callable[[], None], keep: Inherited | None = None) -> int:
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                self._forget_in_child(keep)
                run()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return pid

    def _forget_in_child(self, keep: Inherited | None) -> None:
        """Close what belongs to the master: a sibling that kept a channel open would hide the master's end."""
        for sibling in self:
            sibling.close()
        self._loop.close()
        for each in self._inherited:
            if each is not keep:
                each.after_fork_in_child()

    def succeed(self, slot: Slot, code: int) -> Child | None:
        """Put the successor in the child's place; the child finishes its jobs and exits with `code`."""
        old, slot.child, slot.successor = slot.child, slot.successor, None
        slot.failures = slot.failed_boots = 0
        if old is not None:
            self.leaving.append(old)
            old.drain(code)
        return old

    def release(self, child: Child) -> None:
        """Note that a child ends by itself: its place is free for another one."""
        child.asked = True
        slot = self.slot_of(child)
        if slot is not None:
            self._vacate(slot, child)
            self.leaving.append(child)

    def _vacate(self, slot: Slot, child: Child) -> None:
        slot.child = None if slot.child is child else slot.child
        slot.successor = None if slot.successor is child else slot.successor

    def resize(self, count: int) -> None:
        """Have `count` slots; those beyond are given up from the last one, their children finish their jobs."""
        while len(self.slots) > count:
            slot = self.slots.pop()
            for child in filter(None, (slot.child, slot.successor)):
                self.leaving.append(child)
                child.drain(0)
        self.slots += [Slot(number) for number in range(len(self.slots) + 1, count + 1)]

    def ended(self) -> Iterator[tuple[Child, int]]:
        """Children that have ended since the last call, each with the status of waitpid."""
        for child in list(self):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                yield child, status

    def remove(self, child: Child) -> None:
        """Forget a child that has ended."""
        self._loop.forget(child.channel.fileno())
        child.close()
        if child in self.leaving:
            self.leaving.remove(child)
        for slot in self.slots:
            self._vacate(slot, child)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every child."""
        for child in self:
            child.signal(number)

    def tell(self, children: Iterable[Child] | None = None, **message: Any) -> None:
        """Send a message to these children, or to all."""
        for child in self if children is None else children:
            child.channel.send(**message)
