"""The master: forks the worker processes, replaces those that die, and stops them. It runs no jobs itself.

It has one thread and no connection to Redis, so that forking is safe. Children tell it by a pipe when they are ready
and under which names they hold jobs; when one dies, its replacement gives those jobs back first.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import time
from dataclasses import dataclass, field

from setproctitle import setproctitle

from jobd.client.version import VERSION
from jobd.supervisor import exits
from jobd.supervisor.child import Birth, run_child
from jobd.supervisor.config import Config
from jobd.supervisor.signals import SignalPipe
from jobd.supervisor.store import Store
from jobd.worker import log
from jobd.worker.process import identity_of, new_nonce

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGCHLD)
MIN_TICK, TICK = 0.02, 1.0
KILL_AFTER = 2.5
"""Seconds after `timeout` at which children that have not ended by themselves are killed."""
HEALTHY_AFTER = 60.0
"""Seconds after which a child's death no longer counts as one of a series."""
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


class Master:
    """Keeps `config.processes` worker processes running."""

    def __init__(self, config: Config, store: Store | None) -> None:
        self._config, self._store = config, store
        self._slots = [Slot(number) for number in range(1, config.processes + 1)]
        self._signals = SignalPipe(SIGNALS)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals.fd, selectors.EVENT_READ)
        self._quiet = False
        self._ever_loaded = False
        self._stop_at: float | None = None
        self._code = exits.OK

    def run(self) -> int:
        """Supervise until told to stop; returns the exit code."""
        setproctitle(f"jobd {VERSION} {self._config.tag} master")
        while self._stop_at is None or self._children():
            self._start_missing()
            self._wait()
            for number in self._signals.read():
                self._on_signal(number)
            self._reap()
            self._kill_unloaded()
            self._kill_overdue()
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
        return max(MIN_TICK, min([TICK, *(at - time.monotonic() for at in due)]))

    def _on_signal(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGTSTP:
            self._quiet = True
            log.event("master.quiet")
            self._forward(number)
        elif number == signal.SIGTTIN:
            self._forward(number)

    def _stop(self) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._config.timeout + KILL_AFTER
            log.event("master.stopping", timeout=self._config.timeout)
            self._forward(signal.SIGTERM)

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
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        self._signals.close()
        others = [fd for child in self._children() for fd in (child.status_fd, child.alive_fd)]
        for fd in (*own, *others):
            os.close(fd)
        if self._store:
            self._store.after_fork_in_child()

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
        sys.stderr.write(f"jobd: {why}\n")
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
