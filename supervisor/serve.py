"""The main thread of a process that runs jobs: starts the worker, then only listens to signals and to its master."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

from setproctitle import setproctitle

from jobd.client import settings
from jobd.client.version import VERSION
from jobd.supervisor import application, exits
from jobd.supervisor.config import Config
from jobd.supervisor.signals import SignalPipe
from jobd.worker import log
from jobd.worker.process import WorkerProcess

HARD_EXIT_AFTER = 3.0
"""Seconds after `timeout` at which the process ends, whatever its threads do."""
TITLE_INTERVAL = 2.0

_REMOTE = {"TSTP": signal.SIGTSTP, "TERM": signal.SIGTERM, "TTIN": signal.SIGTTIN}


def serve(
    config: Config,
    *,
    signals: SignalPipe,
    nonce: str | None = None,
    master_pid: int | None = None,
    master_fd: int | None = None,
    recover: Sequence[str] = (),
    on_owner: Callable[[str], None] = lambda owner: None,
    on_ready: Callable[[], None] = lambda: None,
    on_tick: Callable[[], None] = lambda: None,
) -> int:
    """Run jobs until TERM or INT, or until the master is gone; returns the exit code.

    `master_fd` becomes readable when the master ends. `recover` names owners that died. `on_tick` is called every
    two seconds or sooner. Raises ApplicationError and JobdError while starting.
    """
    settings.configure(redis_url=config.redis_url, namespace=config.namespace, timestamps=config.timestamps)
    jobs = application.load(config.require)
    log.event("application.loaded", modules=",".join(config.require) or None, jobs=jobs)
    worker = WorkerProcess(
        config,
        nonce=nonce,
        master_pid=master_pid,
        on_owner=on_owner,
        on_signal=lambda name: os.kill(os.getpid(), _REMOTE[name]),
    )
    worker.start(recover)
    on_ready()
    code = _listen(config, worker, signals, master_fd, on_tick)
    _end_at_the_latest_in(config.timeout + HARD_EXIT_AFTER, code)
    worker.stop()
    return code


def _listen(
    config: Config, worker: WorkerProcess, signals: SignalPipe, master_fd: int | None, on_tick: Callable[[], None]
) -> int:
    with selectors.DefaultSelector() as selector:
        selector.register(signals.fd, selectors.EVENT_READ)
        if master_fd is not None:
            selector.register(master_fd, selectors.EVENT_READ)
        while True:
            on_tick()
            setproctitle(title(config, len(worker.running), quiet=worker.is_quiet))
            for key, _ in selector.select(TITLE_INTERVAL):
                if key.fd == master_fd:
                    log.event("process.master_lost", level=log.ERROR)
                    return exits.PARENT_LOST
            for number in signals.read():
                if number in (signal.SIGTERM, signal.SIGINT):
                    return exits.OK
                _on_signal(number, worker)


def _on_signal(number: signal.Signals, worker: WorkerProcess) -> None:
    if number == signal.SIGTSTP:
        worker.quiet()
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
