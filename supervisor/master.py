"""The master: forks the worker processes, replaces those that die, and stops them. It runs no jobs itself.

It has one thread and no connection to Redis, so that forking is safe. Children tell it by a pipe when they are ready
and under which names they hold jobs; when one dies, its replacement gives those jobs back first.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from setproctitle import setproctitle

from jobd.client.defaults import STORE_STOP_TIMEOUT
from jobd.client.version import VERSION
from jobd.supervisor import exits
from jobd.supervisor.child import Birth, run_child
from jobd.supervisor.config import Config
from jobd.supervisor.notify import Notifier
from jobd.supervisor.serve import DEBOUNCE
from jobd.supervisor.signals import CONTROL, SignalPipe
from jobd.supervisor.store import Store
from jobd.worker import log
from jobd.worker.process import identity_of, new_nonce

SIGNALS = (*CONTROL, signal.SIGCHLD)
IGNORED = (signal.SIGHUP, signal.SIGUSR2, signal.SIGTTOU)
"""Their default would be the end of the master, or of its output."""
MIN_TICK, TICK = 0.02, 1.0
KILL_AFTER = 2.5
"""Seconds after `timeout` at which children that have not ended by themselves are killed."""
HEALTHY_AFTER = 60.0
"""Seconds after which a child's death no longer counts as one of a series."""
HARD_STOP = 2.0
"""Seconds that children get to give their jobs back when they are to stop now."""
FIRST_DELAY, MAX_DELAY = 0.5, 30.0


def restart_delay(failures: int) -> float:
    """Seconds before a child is started again after so many deaths in a row (0: the first one)."""
    return 0.0 if failures == 0 else min(FIRST_DELAY * 2.0 ** (failures - 1), MAX_DELAY)


def cause_of(status: int) -> str:
    """The end of a process in words, from the status that waitpid gave."""
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"


@dataclass
class Child:
    """One worker process as its master sees it."""

    pid: int
    status_fd: int
    alive_fd: int
    started: float
    owners: list[str]
    """Names under which jobs may be left when it dies."""
    recovers: list[str]
    """Those of them that belong to children before it; it gives their jobs back before it is ready."""
    loaded: bool = False
    ready: bool = False
    why_failed: str = ""
    killed: bool = False
    unread: bytes = b""


@dataclass
class Slot:
    """A place for a worker process: its child, or when to start the next one."""

    number: int
    child: Child | None = None
    failures: int = 0
    start_at: float = 0.0
    recover: list[str] = field(default_factory=list)


class Announcer(Protocol):
    """Whoever waits for the start: told once that it worked, or why not."""

    def ready(self) -> None: ...
    def failed(self, code: int, text: str) -> None: ...


class Inherited(Protocol):
    """Something of the master's that a fork copies."""

    def after_fork_in_child(self) -> None: ...


class Master:
    """Keeps `config.processes` worker processes running."""

    def __init__(
        self,
        config: Config,
        store: Store | None,
        starting: Announcer,
        notifier: Notifier,
        inherited: Sequence[Inherited],
    ) -> None:
        """`inherited` is what belongs to the master alone: each child lets go of it."""
        self._config, self._store = config, store
        self._starting, self._notifier, self._inherited = starting, notifier, inherited
        self._announced = False
        self._slots = [Slot(number) for number in range(1, config.processes + 1)]
        self._signals = SignalPipe(SIGNALS)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals.fd, selectors.EVENT_READ)
        self._quiet = False
        self._ever_loaded = False
        self._stop_at: float | None = None
        self._interrupted_at: float | None = None
        self._code = exits.OK
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)

    def run(self) -> int:
        """Supervise until told to stop; returns the exit code."""
        setproctitle(f"jobd {VERSION} {self._config.tag} master")
        while self._stop_at is None or self._children():
            self._start_missing()
            self._wait()
            for number in self._signals.read():
                self._on_signal(number)
            self._reap()
            self._announce()
            self._kill_unloaded()
            self._kill_overdue()
            self._notifier.watchdog()
            if self._store:
                self._store.check()
        self._selector.close()
        self._signals.close()
        log.event("master.stopped", code=self._code)
        return self._code

    def _children(self) -> list[Child]:
        return [slot.child for slot in self._slots if slot.child]

    def _start_missing(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.child is None and slot.start_at <= now and self._stop_at is None:
                self._fork(slot)

    def _wait(self) -> None:
        for key, _ in self._selector.select(self._pause()):
            if isinstance(key.data, Child):
                self._listen_to(key.data)

    def _pause(self) -> float:
        """Seconds until something is to be done, a tick at most."""
        starts = [slot.start_at for slot in self._slots if slot.child is None]
        due = starts if self._stop_at is None else [self._stop_at]
        tick = min(TICK, (self._notifier.watchdog_interval or math.inf) / 4)
        return max(MIN_TICK, min([tick, *(at - time.monotonic() for at in due)]))

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGTERM:
            self._stop()
        elif number == signal.SIGINT:
            self._on_interrupt()
        elif number == signal.SIGQUIT:
            self._stop_now(exits.QUIT)
        elif number == signal.SIGUSR1:
            log.reopen()
            self._forward(number)
        elif number == signal.SIGTSTP:
            self._quiet = True
            log.event("master.quiet", hint="no new jobs; kill -STOP suspends instead")
            self._notifier.status("quiet")
            self._forward(number)
        elif number == signal.SIGTTIN:
            self._forward(number)

    def _stop(self) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._config.timeout + KILL_AFTER
            log.event("master.stopping", timeout=self._config.timeout)
            self._notifier.stopping()
            self._notifier.extend(self._config.timeout + KILL_AFTER + STORE_STOP_TIMEOUT)
            self._forward(signal.SIGTERM)

    def _on_interrupt(self) -> None:
        now = time.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            self._stop()
        elif now - self._interrupted_at > DEBOUNCE:
            self._stop_now(exits.INTERRUPTED_TWICE)

    def _stop_now(self, code: int) -> None:
        """Have jobs given back at once; what does not end then is killed."""
        self._code = self._code or code
        self._stop_at = min(self._stop_at or math.inf, time.monotonic() + HARD_STOP)
        log.event("master.stopping_now", level=log.WARNING)
        self._notifier.stopping()
        self._forward(signal.SIGQUIT)

    def _announce(self) -> None:
        """Say once that every child is ready, to whoever started jobd."""
        if not self._announced and self._stop_at is None and all(s.child and s.child.ready for s in self._slots):
            self._announced = True
            log.event("master.ready", children=len(self._slots))
            self._starting.ready()
            self._notifier.ready(f"{len(self._slots)} worker processes")

    def _forward(self, number: signal.Signals) -> None:
        for child in self._children():
            os.kill(child.pid, number)

    def _fork(self, slot: Slot) -> None:
        status_read, status_write = os.pipe()
        alive_read, alive_write = os.pipe()
        os.set_blocking(status_read, False)
        nonce = new_nonce()
        birth = Birth(nonce, os.getpid(), status_write, alive_read, tuple(slot.recover), self._quiet)
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            self._forget_in_child((status_read, alive_write))
            run_child(self._config, birth)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.close(status_write)
        os.close(alive_read)
        owners = [identity_of(pid, nonce), *slot.recover]
        slot.child = Child(pid, status_read, alive_write, time.monotonic(), owners, slot.recover)
        self._selector.register(status_read, selectors.EVENT_READ, slot.child)

    def _forget_in_child(self, own: tuple[int, int]) -> None:
        """Close what belongs to the master: a sibling that keeps a pipe open would hide the master's end."""
        signal.set_wakeup_fd(-1)
        for number in (*SIGNALS, *IGNORED):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        self._signals.close()
        others = [fd for child in self._children() for fd in (child.status_fd, child.alive_fd)]
        for fd in (*own, *others):
            os.close(fd)
        for each in self._inherited:
            each.after_fork_in_child()

    def _listen_to(self, child: Child) -> None:
        try:
            data = os.read(child.status_fd, 65536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(child.status_fd)
            return
        *lines, child.unread = (child.unread + data).split(b"\n")
        for line in lines:
            self._on_event(child, json.loads(line))

    def _on_event(self, child: Child, event: dict[str, str]) -> None:
        match event["event"]:
            case "loaded":
                child.loaded = self._ever_loaded = True
            case "ready":
                child.ready = True
                child.owners = [owner for owner in child.owners if owner not in child.recovers]
            case "owner" if event["owner"] not in child.owners:
                child.owners.append(event["owner"])
            case "failed":
                child.why_failed = event["why"]

    def _reap(self) -> None:
        for slot in self._slots:
            if slot.child is None:
                continue
            pid, status = os.waitpid(slot.child.pid, os.WNOHANG)
            if pid:
                self._on_end(slot, slot.child, status)

    def _on_end(self, slot: Slot, child: Child, status: int) -> None:
        if child.status_fd in self._selector.get_map():
            self._listen_to(child)
        if child.status_fd in self._selector.get_map():
            self._selector.unregister(child.status_fd)
        os.close(child.status_fd)
        os.close(child.alive_fd)
        slot.child = None
        # Also after an exit code of 0: a job may have ended the process. Owners that left in order are unknown by now.
        slot.recover = child.owners
        cause = cause_of(status)
        if not child.loaded and not child.why_failed:
            child.why_failed = f"a worker process ended while it loaded the application: {cause}"
        log.event(
            "child.ended",
            level=log.INFO if status == exits.OK else log.ERROR,
            child=child.pid,
            cause=cause,
            uptime=round(time.monotonic() - child.started, 3),
        )
        if self._stop_at is None:
            self._plan_restart(slot, child)

    def _plan_restart(self, slot: Slot, child: Child) -> None:
        if child.why_failed and not self._ever_loaded:
            self._give_up(child.why_failed)
            return
        if child.why_failed:
            log.event("child.cannot_boot", level=log.ERROR, why=child.why_failed)
        lived = time.monotonic() - child.started
        slot.failures = 0 if lived >= HEALTHY_AFTER else slot.failures
        slot.start_at = time.monotonic() + restart_delay(slot.failures)
        slot.failures += 1

    def _give_up(self, why: str) -> None:
        """No child ever worked: a service that cannot start must say so and end."""
        if self._config.logfile:  # else the log and the message would stand in one place
            log.event("child.cannot_boot", level=log.ERROR, why=why)
        self._starting.failed(exits.CHILDREN_CANNOT_BOOT, why)
        self._code = exits.CHILDREN_CANNOT_BOOT
        self._stop()

    def _kill_unloaded(self) -> None:
        limit = self._config.boot_timeout
        for child in self._children():
            if not child.loaded and not child.why_failed and time.monotonic() - child.started > limit:
                child.why_failed = (
                    f"the application was not loaded within {limit:g} s; what do its modules wait for when they are "
                    "imported? boot_timeout sets the limit"
                )
                _kill(child, child.why_failed)

    def _kill_overdue(self) -> None:
        if self._stop_at is not None and time.monotonic() > self._stop_at:
            for child in self._children():
                _kill(child, "it did not stop in time")


def _kill(child: Child, why: str) -> None:
    if not child.killed:
        child.killed = True
        log.event("child.killed", level=log.ERROR, child=child.pid, why=why)
        os.kill(child.pid, signal.SIGKILL)
