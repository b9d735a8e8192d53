"""What a forked worker process does, from the fork to its end."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jobd.client.errors import JobdError
from jobd.supervisor import exits, home
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.channel import Channel, shortened
from jobd.supervisor.config import Config
from jobd.supervisor.loop import Loop
from jobd.supervisor.parent import die_with
from jobd.supervisor.serve import Server
from jobd.supervisor.signals import CHILD, DUMP, SignalPipe, reset
from jobd.worker import log
from jobd.worker.page import Page
from jobd.worker.recovery import Orphan


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child must know: who its master is, how to reach it, and whose jobs to give back first."""

    nonce: str
    master_pid: int
    channel: Channel
    page: Page
    dump: int
    """A file for faulthandler; the master reads it."""
    orphans: Sequence[Orphan]
    quiet: bool
    home: Path
    """Where jobd was started, by the name that was used."""


def run_child(config: Config, birth: Birth) -> NoReturn:
    """Be a worker process and exit. The caller has forked, with all signals blocked."""
    code = exits.CHILDREN_CANNOT_BOOT
    try:
        reset()
        signals = SignalPipe(CHILD)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setpgid(0, 0)
        stdin_from_null()
        home.enter(birth.home)
        _dump_stacks_to(birth.dump)
        code = _serve(config, birth, signals) if die_with(birth.master_pid) else exits.PARENT_LOST
    except (ApplicationError, JobdError) as error:
        birth.channel.send(event="failed", why=shortened(str(error)))
    except BaseException as error:
        log.event("process.defect", level=log.ERROR, exc_info=error)
        birth.channel.send(event="failed", why=shortened(f"{type(error).__name__}: {error}"))
    finally:
        exits.end_now(code)  # a thread whose job was given back must not hold the exit up
    raise AssertionError("unreachable")


def _serve(config: Config, birth: Birth, signals: SignalPipe) -> int:
    server = Server(
        config,
        loop=Loop(),
        signals=signals,
        page=birth.page,
        reporter=ToMaster(birth.channel),
        nonce=birth.nonce,
        master_pid=birth.master_pid,
    )
    server.listen_to(birth.channel)
    server.on_stacks_told = lambda: birth.channel.send(event="stacks")
    if birth.quiet:
        server.quiet(held=True)
    return server.run(birth.orphans)


class ToMaster:
    """Tells the master what happens, by messages."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def loaded(self) -> None:
        """The application is imported."""
        self._channel.send(event="loaded")

    def ready(self) -> None:
        """Jobs are run."""
        self._channel.send(event="ready")

    def stopping(self) -> None:
        """It ends, in order."""
        self._channel.send(event="stopping")

    def stopped(self, *, clean: bool) -> None:
        """It has stopped. With `clean`, nothing is left under its names."""
        self._channel.send(event="stopped", clean=clean)

    def owner(self, name: str) -> None:
        """Jobs are held under this name from now on."""
        self._channel.send(event="owner", owner=name)

    def recovered(self, owners: Sequence[str]) -> None:
        """The jobs of these owners were given back."""
        self._channel.send(event="recovered", owners=list(owners))

    def cluster(self, figures: dict[str, Any]) -> None:
        """How much waits in Redis. May be lost: the next one follows soon."""
        self._channel.send(droppable=True, event="cluster", figures=figures)


def stdin_from_null() -> None:
    """Make /dev/null the standard input of this process."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _dump_stacks_to(fd: int) -> None:
    """Have faulthandler write there: it needs neither the interpreter's lock nor memory."""
    faulthandler.enable(fd)
    faulthandler.register(DUMP, fd)
