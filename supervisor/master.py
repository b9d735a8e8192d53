"""The master: keeps worker processes running, and does what signals and requests ask of it. It runs no jobs itself.

It has one thread and no connection to Redis, so that forking is safe, and no state that a crash would lose. One turn of
its loop follows the other, each at the latest after a second; what a turn does can be read in `run`.
"""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from setproctitle import setproctitle

from jobd.client.defaults import STORE_STOP_TIMEOUT
from jobd.client.version import VERSION
from jobd.supervisor import ends, exits, policy, strangers
from jobd.supervisor.config import Config
from jobd.supervisor.crew import Child, Crew, Inherited, Slot
from jobd.supervisor.dashboard import Dashboard
from jobd.supervisor.ends import End, OomCounter
from jobd.supervisor.health import Health
from jobd.supervisor.loop import Loop
from jobd.supervisor.notify import Notifier
from jobd.supervisor.orders import Orders
from jobd.supervisor.orphans import Orphans
from jobd.supervisor.report import Report
from jobd.supervisor.request import Refused, Request, Verdict
from jobd.supervisor.serve import DEBOUNCE
from jobd.supervisor.signals import DUMP, SignalPipe, ignore_harmless
from jobd.supervisor.snapshot import Snapshot
from jobd.supervisor.stacks import stacks
from jobd.supervisor.store import Store
from jobd.supervisor.turnover import Turnover
from jobd.worker import log
from jobd.worker.page import Page
from jobd.worker.recovery import Crash, Orphan

if TYPE_CHECKING:  # it needs megabytes, and not every master has it
    from jobd.supervisor.metrics import Metrics

MIN_TICK, TICK = 0.02, 1.0
KILL_AFTER = 2.5
"""Seconds after `timeout` at which children that have not ended by themselves are killed."""
HARD_STOP = 2.0
"""Seconds that children get to give their jobs back when they are to stop now."""
STACKS_AFTER = 2.5
"""Seconds after TTIN at which a child that is silent, and has not written its stacks, is to have faulthandler do it."""
DUMP_TIME = 0.5
"""Seconds that faulthandler gets for that."""


class Announcer(Protocol):
    """Whoever waits for the start: told once that it worked, or why not."""

    def ready(self) -> None: ...
    def failed(self, code: int, text: str) -> None: ...


class Service(Inherited, Protocol):
    """Something that lives in the master's loop: the control socket, the endpoint for scrapes."""

    def tick(self, now: float) -> None: ...
    def close(self) -> None: ...


class Master:
    """Keeps `config.processes` worker processes running."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store | None,
        starting: Announcer,
        notifier: Notifier,
        signals: SignalPipe,
        inherited: Sequence[Inherited],
        home: Path,
        read_config: Callable[[], Config],
    ) -> None:
        """`inherited` is what belongs to the master alone: each child lets go of it.

        `home` is where jobd was started; `read_config` reads the configuration again, for a reload.
        """
        self._store, self._starting, self._notifier, self._signals = store, starting, notifier, signals
        self.loop = Loop()
        self.loop.watch(signals.fd, lambda: None)
        self._inherited = [signals, *inherited]
        self._services: list[Service] = []
        self._figures: Metrics | None = None
        self._dashboard: Dashboard | None = None
        self._crew = Crew(config, self.loop, self._inherited, home=home, listen=self._listen)
        self._turnover = Turnover(self._crew, self._fork_successor)
        self._orphans = Orphans()
        self._health = Health(self._crew, self._turnover)
        self._oom = OomCounter()
        self._is_init = strangers.is_init()
        self._report = Report(self._crew, self._turnover, self._orphans)
        self._orders = Orders(self._crew, self._turnover, self._report, notifier, read_config)
        self._announced = False
        self._ever_ready = False
        self._stop_at: float | None = None
        self._stacks_at = self._dumps_at = math.inf
        self._interrupted_at: float | None = None
        self._told_status = ""
        self._code = exits.OK
        ignore_harmless()

    def run(self) -> int:
        """Supervise until told to stop; returns the exit code."""
        setproctitle(f"jobd {VERSION} {self._config.tag} master")
        while self._stop_at is None or any(self._crew):
            self._start_missing()
            self.loop.wait(self._pause())
            now = time.monotonic()
            self._obey_signals()
            self._reap(now)
            self._health.look(now)
            if self._stop_at is None:
                self._health.find_due(now)
                self._turnover.advance(now)
                self._orphans.hand_over(child for child in self._crew if child.is_at_work)
            self._kill_overdue(now)
            self._write_missing_stacks(now)
            self._tell(now)
            if self._store:
                self._store.check()
        log.event("master.stopped", code=self._code)
        return self._code

    @property
    def _config(self) -> Config:
        return self._crew.config

    def _pause(self) -> float:
        """Seconds until something is to be done, a tick at most."""
        tick = min(TICK, (self._notifier.watchdog_interval or math.inf) / 4)
        dates = [self._stacks_at, self._dumps_at, *(child.kill_at for child in self._crew)]
        if self._stop_at is None:
            dates += [slot.start_at for slot in self._crew.slots if slot.child is None]
            dates.append(self._turnover.due_at())
        else:
            dates.append(self._stop_at)
        return max(MIN_TICK, min([tick, *(date - time.monotonic() for date in dates)]))

    def add(self, service: Service) -> None:
        """Have `service` looked after at each turn; children let go of it."""
        self._services.append(service)
        self._inherited.append(service)

    def count_in(self, metrics: Metrics) -> None:
        """Have starts, ends and reloads counted there."""
        self._figures = self._orders.figures = metrics

    @property
    def pages(self) -> list[Page]:
        """What the living children have counted."""
        return [child.page for child in self._crew]

    def snapshot(self) -> Snapshot:
        """The figures of this moment."""
        return self._report.snapshot()

    def status(self) -> dict[str, Any]:
        """What it does, in values that JSON knows."""
        served = self._dashboard.status() if self._dashboard else None
        return {**self._report.status(), **({"web": served} if served else {})}

    def serve_dashboard(self) -> Dashboard:
        """Have the dashboard served from now on, as the configuration says, by a process beside the workers."""
        self._dashboard = Dashboard(self._crew, lambda: self._stop_at is not None)
        self.add(self._dashboard)
        self._dashboard.tick(time.monotonic())
        return self._dashboard

    def request(self, name: str, count: int | None) -> Request:
        """Begin `quiet`, `resume`, `stop`, `restart`, `reload` or `scale` (to `count`). Raises Refused."""
        if name == "stop":
            self._stop()
            return Request(Verdict(True, f"stopping; what runs may go on for {self._config.timeout:g} s"))
        if self._stop_at is not None:
            raise Refused("jobd is stopping")
        return self._orders.carry_out(name, count)

    def _obey_signals(self) -> None:
        for number in self._signals.read():
            match number:
                case signal.SIGTERM:
                    self._stop()
                case signal.SIGINT:
                    self._on_interrupt()
                case signal.SIGQUIT:
                    self._stop_now(exits.QUIT)
                case signal.SIGUSR1:
                    self._orders.reopen_logs()
                case signal.SIGTTIN:
                    self._dump_stacks()
                case signal.SIGTTOU:
                    log.event("master.state", **self._report.status())
                case _ if self._stop_at is None:
                    self._obey_unless_stopping(number)

    def _obey_unless_stopping(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGTSTP:
                self._orders.quiet()
            case signal.SIGCONT if self._crew.quiet:
                log.event("master.still_quiet", hint="`jobd ctl resume` has it take jobs again")
            case signal.SIGHUP:
                self._orders.reload()
            case signal.SIGUSR2:
                self._restart()

    def _restart(self) -> None:
        try:
            self._orders.restart()
        except Refused as why:
            log.event("restart.refused", level=log.ERROR, why=why)

    def _dump_stacks(self) -> None:
        log.event("master.stacks", stacks=stacks())
        for child in self._crew:
            child.owes_stacks = True
            child.signal(signal.SIGTTIN)
        self._stacks_at = time.monotonic() + STACKS_AFTER

    def _write_missing_stacks(self, now: float) -> None:
        """A child of which no thread can run has still had faulthandler write its stacks."""
        if now >= self._stacks_at:
            self._stacks_at, self._dumps_at = math.inf, now + DUMP_TIME
            for child in self._crew:
                child.owes_stacks = child.owes_stacks and child.silence(now) > STACKS_AFTER - DUMP_TIME
                if child.owes_stacks:
                    child.signal(DUMP)
        if now >= self._dumps_at:
            self._dumps_at = math.inf
            for child in self._crew:
                if child.owes_stacks:
                    child.owes_stacks = False
                    _log_stacks(child)

    def _stop(self) -> None:
        if self._stop_at is not None:
            log.event("master.stops_already", level=log.DEBUG)
            return
        self._stop_at = time.monotonic() + self._config.timeout + KILL_AFTER
        self._report.is_stopping = True
        log.event("master.stopping", timeout=self._config.timeout)
        self._turnover.stop("jobd stops")
        self._orders.promises.break_all("jobd stops")
        self._notifier.stopping()
        self._notifier.extend(self._config.timeout + KILL_AFTER + STORE_STOP_TIMEOUT)
        self._end_children(signal.SIGTERM)

    def _on_interrupt(self) -> None:
        now = time.monotonic()
        if self._interrupted_at is None:
            self._interrupted_at = now
            self._stop()
        elif now - self._interrupted_at > DEBOUNCE:
            self._stop_now(exits.INTERRUPTED_TWICE)

    def _stop_now(self, code: int) -> None:
        """Have jobs given back at once; what does not end then is killed."""
        self._stop()
        self._code = self._code or code
        self._stop_at = min(self._stop_at or math.inf, time.monotonic() + HARD_STOP)
        log.event("master.stopping_now", level=log.WARNING)
        self._end_children(signal.SIGQUIT)

    def _end_children(self, number: signal.Signals) -> None:
        for child in self._crew:
            child.asked = True
            child.signal(number)

    def _kill_overdue(self, now: float) -> None:
        if self._stop_at is not None and now > self._stop_at:
            for child in self._crew:
                child.kill("late", "it did not stop in time")

    def _start_missing(self) -> None:
        now = time.monotonic()
        for slot in self._crew.slots:
            if slot.child is None and slot.start_at <= now and self._stop_at is None:
                slot.child = self._fork(slot, self._orphans.unclaimed())
                if slot.child is None:
                    self._plan_restart(slot, 0.0)

    def _fork_successor(self, slot: Slot) -> Child | None:
        slot.successor = self._fork(slot, ())
        return slot.successor

    def _fork(self, slot: Slot, orphans: Sequence[Orphan]) -> Child | None:
        """Make a process; None, logged, when the system has no room for one."""
        try:
            child = self._crew.fork(slot, orphans, policy.job_limit(self._config.max_jobs, random.random()))
        except OSError as error:
            log.event("child.not_started", level=log.ERROR, slot=slot.number, error=error)
            return None
        self._orphans.claim(orphans, child)
        if self._figures:
            self._figures.child_started()
        return child

    def _listen(self, child: Child) -> None:
        for message in child.channel.receive():
            self._on_message(child, message)
        if child.channel.ended:
            self.loop.forget(child.channel.fileno())

    def _on_message(self, child: Child, message: dict[str, Any]) -> None:
        match message["event"]:
            case "loaded":
                child.loaded_at = time.monotonic()
                self._health.weigh_unused(child)
            case "ready":
                child.ready_at = time.monotonic()
                self._ever_ready = True
                self._orphans.settle_all_of(child)
            case "owner" if message["owner"] not in child.owners:
                child.owners.append(message["owner"])
            case "recovered":
                self._orphans.settle(message["owners"])
            case "stacks":
                child.owes_stacks = False
            case "cluster":
                self._report.cluster = message["figures"]
            case "stopping" if not child.asked:
                self._crew.release(child)
            case "stopped" if message["clean"]:
                child.owners.clear()
            case "failed":
                child.why_failed = message["why"]

    def _reap(self, now: float) -> None:
        ended = list(self._crew.ended())
        oom_kills = self._oom.kills_since_last() if ended else None
        for child, status in ended:
            self._bury(child, status, oom_kills, now)
        if self._is_init:
            store = self._store.pid if self._store else None
            strangers.reap(self._crew.pids | ({store} if store else set()))

    def _bury(self, child: Child, status: int, oom_kills: int | None, now: float) -> None:
        self._listen(child)  # it may have said why it fails
        end = ends.judge(
            status,
            asked=child.asked,
            master_killed_for=child.killed_for,
            recycled_for=child.recycled_for,
            oom_kills=oom_kills,
            limit=self._limit_of(child),
        )
        jobs = [] if end.reason == "clean" else [each.jid for each in child.page.running()]
        self._log_end(child, end, jobs, now)
        if child.loaded_at is None and not child.why_failed:
            child.why_failed = f"a worker process ended while it loaded the application: {end.cause}"
        # Also if it exited with 0: a job may have done that.
        crash = Crash(end.cause, tuple(jobs), child.memory, _log_stacks(child)) if end.blames else None
        self._orphans.add(Orphan(owner, end.cause, crash) for owner in child.owners)
        self._orphans.teller_ended(child)
        self._count_end(child, end, jobs)
        slot = self._crew.slot_of(child)
        was_current = slot is not None and slot.child is child
        self._crew.remove(child)
        why = child.why_failed or end.cause
        self._turnover.child_ended(child, why, now)
        if slot is not None and was_current and self._stop_at is None:
            self._replace(slot, child, why, now)

    def _limit_of(self, child: Child) -> float | None:
        limits = {"hang": self._config.hang_timeout, "boot_timeout": self._config.boot_timeout}
        return limits.get(child.killed_for or "")

    def _log_end(self, child: Child, end: End, jobs: list[str], now: float) -> None:
        log.event(
            "child.ended",
            level=log.INFO if end.reason in ("clean", "recycle_memory", "recycle_jobs") else log.ERROR,
            child=child.pid,
            slot=child.slot,
            reason=end.reason,
            cause=end.cause,
            uptime=round(now - child.started, 3),
            jobs=",".join(jobs) or None,
        )

    def _count_end(self, child: Child, end: End, jobs: list[str]) -> None:
        self._report.ended(child, end, jobs)
        if self._figures:
            self._figures.fold(child.page)
            self._figures.child_ended(end.reason, time.time())

    def _replace(self, slot: Slot, child: Child, why: str, now: float) -> None:
        """Start another one soon, or give up a start that cannot work."""
        if child.ready_at is None:
            slot.failed_boots += 1
            if policy.gives_up(self._ever_ready, (each.failed_boots for each in self._crew.slots)):
                self._give_up(child.why_failed or f"a worker process ended before it was ready: {why}")
                return
            if self._ever_ready:  # else it is told once, when the start is given up
                log.event("child.cannot_boot", level=log.ERROR, slot=slot.number, why=why)
        if child.asked and child.killed_for is None:
            slot.start_at = now
        else:
            self._plan_restart(slot, now - child.started)

    def _plan_restart(self, slot: Slot, lived: float) -> None:
        slot.failures = policy.failures_after(slot.failures, lived)
        slot.start_at = time.monotonic() + policy.restart_delay(slot.failures - 1, random.random())

    def _give_up(self, why: str) -> None:
        """No child ever worked: a service that cannot start must say so and end."""
        if self._config.logfile:  # else the log and the message would stand in one place
            log.event("child.cannot_boot", level=log.ERROR, why=why)
        self._starting.failed(exits.CHILDREN_CANNOT_BOOT, why)
        self._code = exits.CHILDREN_CANNOT_BOOT
        self._stop()

    def _tell(self, now: float) -> None:
        self._announce()
        self._orders.promises.look()
        for service in self._services:
            service.tick(now)
        line = self._report.line()
        if self._announced and line != self._told_status:
            self._told_status = line
            self._notifier.status(line)
        self._notifier.watchdog()

    def _announce(self) -> None:
        """Say once that every child is ready, to whoever started jobd."""
        if not self._announced and self._stop_at is None and self._crew.is_complete:
            self._announced = True
            log.event("master.ready", children=len(self._crew.slots))
            self._starting.ready()
            self._notifier.ready(self._report.line())


def _log_stacks(child: Child) -> str:
    """Write down what faulthandler left, and return it."""
    found = child.stacks()
    if found:
        log.event("child.stacks", level=log.ERROR, child=child.pid, slot=child.slot, stacks=found)
        child.forget_stacks()
    return found
