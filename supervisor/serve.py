"""The main thread of a process that runs jobs: starts the worker, then only listens to signals and to its master."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Self

from setproctitle import setproctitle

from jobd.client import settings
from jobd.client.version import VERSION
from jobd.supervisor import application, exits
from jobd.supervisor.config import Config
from jobd.supervisor.signals import SignalPipe
from jobd.worker import log
from jobd.worker.process import WorkerProcess

HARD_EXIT_AFTER = 2.0
"""Seconds after `timeout` at which the process ends, whatever its threads do."""
TITLE_INTERVAL = 2.0
DEBOUNCE = 1.0
"""Seconds within which a second INT is taken for an echo of the first: terminals and their wrappers repeat it."""

_REMOTE = {"TSTP": signal.SIGTSTP, "TERM": signal.SIGTERM, "TTIN": signal.SIGTTIN}


def serve(
    config: Config,
    *,
    signals: SignalPipe,
    nonce: str | None = None,
    master_pid: int | None = None,
    master_fd: int | None = None,
    recover: Sequence[str] = (),
    quiet: bool = False,
    on_owner: Callable[[str], None] = lambda owner: None,
    on_loaded: Callable[[], None] = lambda: None,
    on_ready: Callable[[], None] = lambda: None,
    on_tick: Callable[[], None] = lambda: None,
) -> int:
    """Run jobs until TERM or INT, or until the master is gone; returns the exit code.

    `master_fd` becomes readable when the master ends. `recover` names owners that died: their jobs are given back
    before `on_ready` is called. With `quiet` no job is ever taken. `on_tick` is called every two seconds or sooner.
    Raises ApplicationError and JobdError while starting.
    """
    settings.configure(redis_url=config.redis_url, namespace=config.namespace, timestamps=config.timestamps)
    jobs = application.load(config.require)
    log.event("application.loaded", modules=",".join(config.require) or None, jobs=jobs)
    on_loaded()
    worker = WorkerProcess(
        config,
        nonce=nonce,
        master_pid=master_pid,
        on_owner=on_owner,
        on_signal=lambda name: os.kill(os.getpid(), _REMOTE[name]),
    )
    if quiet:
        worker.quiet()
    with _Watch(config, worker, signals, master_fd, on_tick) as watch:
        if not watch.goes_on(0) or not worker.start(recover, wait=watch.goes_on):
            return watch.code
        on_ready()
        while watch.goes_on(TITLE_INTERVAL):
            pass
    return _stop(config, worker, signals, watch)


def _stop(config: Config, worker: WorkerProcess, signals: SignalPipe, watch: _Watch) -> int:
    code = watch.code
    began = time.monotonic()

    def hurry(with_code: int) -> None:
        nonlocal code
        code = with_code
        worker.hurry()

    def interrupted() -> None:
        if time.monotonic() - began > DEBOUNCE:
            hurry(exits.INTERRUPTED_TWICE)

    signals.wait_no_longer_for(signal.SIGQUIT, lambda: hurry(exits.QUIT))
    if signals.catches(signal.SIGINT):
        signals.wait_no_longer_for(signal.SIGINT, interrupted)
    if signal.SIGQUIT in signals.read():  # came after the last look
        hurry(exits.QUIT)
    timeout = 0.0 if watch.at_once else config.timeout
    _end_at_the_latest_in(timeout + HARD_EXIT_AFTER, code)
    setproctitle(title(config, len(worker.running), quiet=True))
    worker.stop(timeout)
    return code


class _Watch:
    """What the main thread looks after: signals, the end of the master, the title, and `on_tick`."""

    def __init__(
        self,
        config: Config,
        worker: WorkerProcess,
        signals: SignalPipe,
        master_fd: int | None,
        on_tick: Callable[[], None],
    ) -> None:
        self._config, self._worker, self._signals = config, worker, signals
        self._master_fd, self._on_tick = master_fd, on_tick
        self._selector = selectors.DefaultSelector()
        self.code = exits.OK
        """The exit code, once it is time to end."""
        self.at_once = False
        """Whether running jobs go back without being waited for."""

    def __enter__(self) -> Self:
        self._selector.register(self._signals.fd, selectors.EVENT_READ)
        if self._master_fd is not None:
            self._selector.register(self._master_fd, selectors.EVENT_READ)
        return self

    def __exit__(self, *error: object) -> None:
        self._selector.close()

    def goes_on(self, seconds: float) -> bool:
        """Watch for up to `seconds`; False when it is time to end."""
        self._on_tick()
        setproctitle(title(self._config, len(self._worker.running), quiet=self._worker.is_quiet))
        for key, _ in self._selector.select(seconds):
            if key.fd == self._master_fd:
                log.event("process.master_lost", level=log.ERROR)
                self.code = exits.PARENT_LOST
                return False
        numbers = self._signals.read()
        if signal.SIGQUIT in numbers:
            self.code, self.at_once = exits.QUIT, True
            return False
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            return False
        for number in numbers:
            _on_signal(number, self._worker)
        return True


def _on_signal(number: signal.Signals, worker: WorkerProcess) -> None:
    if number == signal.SIGTSTP:
        worker.quiet()
    elif number == signal.SIGUSR1:
        log.reopen()
    elif number == signal.SIGTTIN:
        log.event("process.stacks", stacks=_stacks())


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = (
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )
    return "\n".join(parts)


def title(config: Config, busy: int, *, quiet: bool) -> str:
    """What `ps` shows: version, tag, how much of it is busy, and whether it stops."""
    threads = sum(capsule.concurrency for capsule in config.all_capsules)
    words = [f"jobd {VERSION}", config.tag, f"[{busy} of {threads} busy]", "stopping" if quiet else ""]
    return " ".join(word for word in words if word)


def _end_at_the_latest_in(seconds: float, code: int) -> None:
    """Threads cannot be killed: a job that never ends must not keep the process."""

    def end() -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
