"""What a forked worker process does, from the fork to its end. It talks to its master by one line of JSON an event."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from jobd.client.errors import JobdError
from jobd.supervisor import exits
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.config import Config
from jobd.supervisor.serve import serve
from jobd.supervisor.signals import CONTROL, SignalPipe
from jobd.worker import log

SIGNALS = tuple(number for number in CONTROL if number != signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child must know: who its master is, how to reach it, and whose jobs to give back first."""

    nonce: str
    master_pid: int
    status_fd: int
    """Write end: events for the master."""
    alive_fd: int
    """Read end: it ends with the master."""
    recover: Sequence[str]
    quiet: bool


def run_child(config: Config, birth: Birth) -> NoReturn:
    """Be a worker process and exit. The caller has forked, with all signals blocked."""
    code = exits.CHILDREN_CANNOT_BOOT
    try:
        os.setpgid(0, 0)
        _stdin_from_null()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # from the terminal; the master decides
        signals = SignalPipe(SIGNALS)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = serve(
            config,
            signals=signals,
            nonce=birth.nonce,
            master_pid=birth.master_pid,
            master_fd=birth.alive_fd,
            recover=birth.recover,
            quiet=birth.quiet,
            on_owner=lambda owner: tell(birth.status_fd, event="owner", owner=owner),
            on_loaded=lambda: tell(birth.status_fd, event="loaded"),
            on_ready=lambda: tell(birth.status_fd, event="ready"),
        )
    except (ApplicationError, JobdError) as error:
        tell(birth.status_fd, event="failed", why=str(error))
    except BaseException as error:
        log.event("process.defect", level=log.ERROR, exc_info=error)
        tell(birth.status_fd, event="failed", why=f"{type(error).__name__}: {error}")
    finally:
        _leave(code)
    raise AssertionError("unreachable")


def tell(fd: int, **event: Any) -> None:
    """Send one event to the master; that it is gone is noticed elsewhere."""
    try:
        os.write(fd, json.dumps(event).encode() + b"\n")
    except OSError:
        return


def _stdin_from_null() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _leave(code: int) -> NoReturn:
    """End without the application's exit handlers: a thread whose job was given back must not hold the exit up."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
