"""Starting jobd: one visible step after the other, so that what fails says so before the next begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from redis.exceptions import RedisError

from jobd.client.connection import Connector
from jobd.client.embedded import EmbeddedAddress, is_embedded
from jobd.client.errors import ConfigError, JobdError
from jobd.client.server import ServerFacts, read_facts, refuse_too_old, warnings
from jobd.supervisor import application, exits, notify
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.config import Config
from jobd.supervisor.daemon import Foreground, Starting, detach, under_systemd
from jobd.supervisor.master import Master
from jobd.supervisor.notify import Notifier
from jobd.supervisor.pidfile import Pidfile
from jobd.supervisor.serve import serve
from jobd.supervisor.signals import CONTROL, SignalPipe
from jobd.supervisor.store import Store
from jobd.worker import log


def start(config: Config, *, daemon: bool = False) -> int:
    """Run jobs as configured until told to stop; returns the exit code.

    With `daemon` they run in the background: it returns once every worker process is ready, or with what went wrong.
    Raises JobdError.
    """
    application.put_first_on_path(Path.cwd())
    if daemon and config.logfile is None:
        raise ConfigError("-d: a daemon has no terminal for its log; give a file with -L, or `logfile:`")
    log.install(config.logformat, config.log_level, config.logfile)
    pidfile = Pidfile(Path(config.pidfile)) if config.pidfile else None
    if pidfile:
        pidfile.acquire()
    try:
        if daemon and not under_systemd(os.environ):
            return _detached(config, pidfile)
        if daemon:
            print("jobd: systemd waits for this very process, so -d stays in the foreground", file=sys.stderr)
        return _supervise(config, pidfile, Foreground())
    finally:
        if pidfile:
            pidfile.release()


def _detached(config: Config, pidfile: Pidfile | None) -> int:
    return detach(
        lambda starting: _supervise(config, pidfile, starting),
        boot_timeout=config.boot_timeout,
        keep=[pidfile.preserve] if pidfile else [],
        logfile=Path(config.logfile or ""),
        log_fd=_log_fd,
    )


def _log_fd() -> int:
    fd = log.fileno()
    assert fd is not None, "a daemon has a log file"
    return fd


def _supervise(config: Config, pidfile: Pidfile | None, starting: Starting | Foreground) -> int:
    """All that is left to do in the process that stays."""
    notifier = Notifier(os.environ)
    notify.remove_from(os.environ)
    if pidfile:
        pidfile.write()
    for notice in config.notices:
        log.event("config.notice", level=log.WARNING, notice=notice)
    try:
        store = _open_store(config)
        try:
            facts = _check_redis(config)
            log.event("jobd.start", environment=config.environment, server=f"{facts.name} {facts.version}")
            if config.processes == 0:
                return _run_here(config, store, starting, notifier)
            inherited = [each for each in (store, pidfile, starting) if each]
            return Master(config, store, starting, notifier, inherited).run()
        finally:
            if store:
                store.stop()
    except JobdError as error:
        if config.logfile:  # else the log and the message would stand in one place
            log.event("jobd.cannot_start", level=log.ERROR, error=error)
        raise


def check(config: Config) -> int:
    """Try what a start would do before it forks: settings, store and server. Raises JobdError."""
    for notice in config.notices:
        exits.complain(notice)
    store = _open_store(config)
    try:
        facts = _check_redis(config)
    finally:
        if store:
            store.stop()
    print(f"ready to start: {facts.name} {facts.version}, environment {config.environment}")
    return exits.OK


def _open_store(config: Config) -> Store | None:
    if not is_embedded(config.redis_url):
        return None
    store = Store(EmbeddedAddress.of(config.redis_url).directory)
    store.start()
    return store


def _check_redis(config: Config) -> ServerFacts:
    connector = Connector(config.redis_url)
    try:
        facts = read_facts(connector.client())
    except (RedisError, OSError) as error:
        raise connector.unavailable(error) from error
    finally:
        connector.close()
    refuse_too_old(facts)
    for warning in warnings(facts):
        log.event("redis.warning", level=log.WARNING, warning=warning)
    return facts


def _run_here(config: Config, store: Store | None, starting: Starting | Foreground, notifier: Notifier) -> int:
    """Everything in this one process, for debuggers and small machines."""

    def on_ready() -> None:
        starting.ready()
        notifier.ready("one process")

    def on_tick() -> None:
        notifier.watchdog()
        if store:
            store.check()

    try:
        return serve(config, signals=SignalPipe(CONTROL), on_ready=on_ready, on_tick=on_tick)
    except ApplicationError as error:
        starting.failed(exits.CHILDREN_CANNOT_BOOT, str(error))
        return exits.CHILDREN_CANNOT_BOOT
