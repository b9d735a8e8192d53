"""What the forked process does that serves the dashboard, from the fork to its end. It runs no jobs."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from typing import NoReturn

from setproctitle import setproctitle

from jobd.client.errors import JobdError
from jobd.client.push import Client
from jobd.client.version import VERSION
from jobd.supervisor import exits
from jobd.supervisor.child import stdin_from_null
from jobd.supervisor.config import Config
from jobd.supervisor.parent import die_with
from jobd.supervisor.signals import CONTROL, reset
from jobd.supervisor.web_settings import WebSettings
from jobd.worker import log

_STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class WebBirth:
    """What it must know: where to listen, who its master is, and a pipe that ends with that."""

    settings: WebSettings
    address: str
    """Of the listener, for people."""
    listener: socket.socket
    master_pid: int
    master: int


def run_web_child(config: Config, birth: WebBirth) -> NoReturn:
    """Serve the dashboard and exit. The caller has forked, with all signals blocked."""
    code = exits.FAILED
    try:
        _obey_only_stops()
        os.setpgid(0, 0)  # Ctrl-C on a terminal is for the master
        stdin_from_null()
        setproctitle(f"jobd {VERSION} {config.tag} web {birth.address}")
        if die_with(birth.master_pid):
            _serve(config, birth)
            code = exits.OK
        else:
            code = exits.PARENT_LOST
    except JobdError as error:
        log.event("web.cannot_serve", level=log.ERROR, error=error)
        code = exits.code_for(error)
    except BaseException as error:
        log.event("web.defect", level=log.ERROR, exc_info=error)
    finally:
        exits.end_now(code)  # a request that is under way must not hold the exit up
    raise AssertionError("unreachable")


def _obey_only_stops() -> None:
    """What makes workers quiet, or has them write their stacks, may reach the whole group: here it means nothing."""
    reset()
    for number in CONTROL:
        if number not in (*_STOPS, signal.SIGQUIT, signal.SIGCONT):
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: log.reopen())
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _serve(config: Config, birth: WebBirth) -> None:
    from jobd.supervisor import web_server

    client = Client(config.redis_url, namespace=config.namespace, timestamps=config.timestamps)
    web_server.serve(
        web_server.application(birth.settings.named(config.environment), client, os.environ),
        birth.listener,
        root_path=birth.settings.root_path,
        master=birth.master,
        ready=lambda: log.event("web.ready", address=birth.address),
    )
