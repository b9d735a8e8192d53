"""The main thread of a process that runs jobs: starts the worker, then only listens to signals and to its master."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from setproctitle import setproctitle

from jobd.client.version import VERSION
from jobd.supervisor import application, exits
from jobd.supervisor.channel import Channel
from jobd.supervisor.config import Config
from jobd.supervisor.loop import Loop
from jobd.supervisor.signals import Interrupted, SignalPipe
from jobd.supervisor.stacks import stacks
from jobd.worker import log
from jobd.worker.page import Page
from jobd.worker.process import WorkerProcess
from jobd.worker.recovery import Orphan

HARD_EXIT_AFTER = 2.0
"""Seconds after `timeout` at which the process ends, whatever its threads do."""
TICK = 1.0
DRAINING_TICK = 0.1
"""Seconds between two looks whether the last job of a process that drains has ended."""
DEBOUNCE = 1.0
"""Seconds within which a second INT is taken for an echo of the first: terminals and their wrappers repeat it."""

_REMOTE = {
    "TSTP": signal.SIGTSTP,
    "TERM": signal.SIGTERM,
    "TTIN": signal.SIGTTIN,
    "RESUME": signal.SIGCONT,
}
"""By which signal the main thread hears of one sent through Redis. A CONT alone resumes nothing."""


class Reporter(Protocol):
    """Whoever is to hear what happens in a process that runs jobs."""

    def loaded(self) -> None: ...
    def ready(self) -> None: ...
    def stopping(self) -> None: ...
    def stopped(self, *, clean: bool) -> None: ...
    def owner(self, name: str) -> None: ...
    def recovered(self, owners: Sequence[str]) -> None: ...
    def cluster(self, figures: dict[str, Any]) -> None: ...


class Server:
    """Runs jobs until it is told to stop or its master is gone. `run` is called once, all else from its loop."""

    def __init__(
        self,
        config: Config,
        *,
        loop: Loop,
        signals: SignalPipe,
        page: Page,
        reporter: Reporter,
        nonce: str | None = None,
        master_pid: int | None = None,
    ) -> None:
        """`master_pid` None: this process has no master."""
        self._config, self._loop, self._signals = config, loop, signals
        self._page, self._reporter = page, reporter
        self._nonce, self._master_pid = nonce, master_pid
        self._worker: WorkerProcess | None = None
        self._quiet_from_birth = self._is_held = self._quiet_asked = self._resume_asked = False
        self._code: int | None = None
        self._drain_code: int | None = None
        self._at_once = False
        self.on_tick: Callable[[], None] = lambda: None
        """Called at each turn of the loop, every second or sooner."""
        self.on_signal: Callable[[signal.Signals], None] = self.take_signal
        """What to do about a signal that is not about stopping."""
        self.on_stacks_told: Callable[[], object] = lambda: None
        """Called when stacks have been written to the log."""
        loop.watch(signals.fd, lambda: None)

    @property
    def is_quiet(self) -> bool:
        """Whether it takes no jobs."""
        return self._worker.is_quiet if self._worker else self._quiet_from_birth

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return len(self._worker.running) if self._worker else 0

    def run(self, orphans: Sequence[Orphan] = ()) -> int:
        """Serve to the end; returns the exit code. The jobs of `orphans` are given back before it is ready.

        Raises ApplicationError and JobdError while starting.
        """
        if not self._load():
            return self._code or exits.OK
        self._reporter.loaded()
        worker = self._make_worker()
        if self._turn(0) and worker.start(orphans, wait=self._turn):
            self._reporter.ready()
            while self._turn(TICK if self._drain_code is None else DRAINING_TICK):
                pass
            self._reporter.stopping()
            self._stop(worker)
        return self._code or exits.OK

    def quiet(self, *, held: bool = False) -> None:
        """Take no more jobs. `held`: until `resume`, whatever is asked through Redis."""
        self._quiet_from_birth = True
        self._is_held = self._is_held or held
        if self._worker:
            self._worker.quiet(held=held)

    def resume(self) -> None:
        """Take jobs again."""
        self._quiet_from_birth = self._is_held = False
        if self._worker:
            self._worker.resume()

    def drain(self, code: int) -> None:
        """Take no more jobs, and end with `code` when those that run have ended."""
        self._drain_code = code
        self._reporter.stopping()
        self.quiet(held=True)

    def end(self, code: int, *, at_once: bool = False) -> None:
        """Stop; `at_once` gives running jobs back without waiting for them. The first code counts, or a hard stop's."""
        if self._code is None or at_once:
            self._code, self._at_once = code, at_once

    def listen_to(self, master: Channel) -> None:
        """Do what the master says, and end when it is gone."""
        self._loop.watch(master.fileno(), lambda: self._listen(master))

    def take_signal(self, number: signal.Signals) -> None:
        """What a worker process does about each signal but those that stop it."""
        if number == signal.SIGTSTP:
            is_remote, self._quiet_asked = self._quiet_asked, False
            # A local one takes away a CONT that has not arrived: the next would resume, whoever sent it.
            self._resume_asked = self._resume_asked and is_remote
            self.quiet(held=self._master_pid is None and not is_remote)
        elif number == signal.SIGCONT and self._resume_asked:
            self._quiet_asked = self._resume_asked = False
            self._resume_if_free()
        elif number in (signal.SIGUSR1, signal.SIGHUP):
            log.reopen()
        elif number == signal.SIGUSR2:
            self.drain(exits.OK)
        elif number == signal.SIGTTIN:
            log.event("process.stacks", stacks=stacks())
            self.on_stacks_told()

    def _take_remote(self, name: str) -> None:
        """Hand a signal from Redis to the main thread. Called by the heartbeat."""
        if name in ("TSTP", "RESUME"):
            self._quiet_asked, self._resume_asked = self._quiet_asked or name == "TSTP", name == "RESUME"
        os.kill(os.getpid(), _REMOTE[name])

    def _resume_if_free(self) -> None:
        if self._is_held:
            hint = "who has made it quiet on this machine ends that: `jobd ctl resume`"
            log.event("process.stays_quiet", level=log.WARNING, hint=hint)
        else:
            self.resume()

    def _load(self) -> bool:
        """Import the application. False when told to stop meanwhile: an import may last for ever, a stop must not."""
        stops = [signal.SIGTERM, signal.SIGQUIT, *([signal.SIGINT] if self._master_pid is None else [])]
        try:
            with self._signals.interrupting(stops):
                if not self._turn(0):  # told before it could be interrupted
                    return False
                jobs = application.prepare(self._config)
        except (Interrupted, application.ApplicationError):
            if self._turn(0):
                raise
            return False
        log.event("application.loaded", modules=",".join(self._config.require) or None, jobs=jobs)
        return True

    def _make_worker(self) -> WorkerProcess:
        self._worker = worker = WorkerProcess(
            self._config,
            nonce=self._nonce,
            master_pid=self._master_pid,
            page=self._page,
            on_owner=self._reporter.owner,
            on_signal=self._take_remote,
            on_cluster=self._reporter.cluster if self._config.metrics else None,
        )
        if self._quiet_from_birth:
            worker.quiet(held=self._is_held)
        return worker

    def _turn(self, seconds: float) -> bool:
        """One turn of the loop, of up to `seconds`; False when it is time to end."""
        self.on_tick()
        self._show_title()
        self._loop.wait(0 if self._code is not None else seconds)
        for number in self._signals.read():
            self._on_signal(number)
        if self._drain_code is not None and self._worker and self._worker.idle:
            self.end(self._drain_code)
        return self._code is None

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGQUIT:
            self.end(exits.QUIT, at_once=True)
        elif number == signal.SIGTERM:
            self.end(exits.PARENT_LOST if self._is_orphan() else exits.OK)
        elif number == signal.SIGINT:
            if self._master_pid is None:  # else the master decides
                self.end(exits.OK)
        else:
            self.on_signal(number)

    def _is_orphan(self) -> bool:
        return self._master_pid is not None and os.getppid() != self._master_pid

    def _listen(self, master: Channel) -> None:
        for message in master.receive():
            self._obey(message)
        if master.ended:
            self._loop.forget(master.fileno())
            log.event("process.master_lost", level=log.ERROR)
            self.end(exits.PARENT_LOST)

    def _obey(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "quiet":
                self.quiet(held=True)
            case "resume":
                self.resume()
            case "drain":
                self.drain(message["code"])
            case "recover" if self._worker:
                self._worker.recover([Orphan.from_json(message["orphan"])], self._reporter.recovered)

    def _show_title(self) -> None:
        setproctitle(title(self._config, self.busy, self._page.threads, quiet=self.is_quiet))

    def _stop(self, worker: WorkerProcess) -> None:
        began = time.monotonic()

        def hurry(code: int) -> None:
            self._code = code
            worker.hurry()

        def interrupted() -> None:
            if self._master_pid is None and time.monotonic() - began > DEBOUNCE:
                hurry(exits.INTERRUPTED_TWICE)

        self._signals.wait_no_longer_for(signal.SIGQUIT, lambda: hurry(exits.QUIT))
        self._signals.wait_no_longer_for(signal.SIGINT, interrupted)
        if signal.SIGQUIT in self._signals.read():  # came after the last look
            hurry(exits.QUIT)
        timeout = 0.0 if self._at_once else self._config.timeout
        _end_at_the_latest_in(timeout + HARD_EXIT_AFTER, lambda: self._code or exits.OK)
        setproctitle(title(self._config, self.busy, self._page.threads, quiet=True))
        self._reporter.stopped(clean=worker.stop(timeout))


def title(config: Config, busy: int, threads: int, *, quiet: bool) -> str:
    """What `ps` shows: version, tag, how much of it is busy, and whether it stops."""
    words = [f"jobd {VERSION}", config.tag, f"[{busy} of {threads} busy]", "stopping" if quiet else ""]
    return " ".join(word for word in words if word)


def _end_at_the_latest_in(seconds: float, code: Callable[[], int]) -> None:
    """Threads cannot be killed: a job that never ends must not keep the process."""

    def end() -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code())

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
