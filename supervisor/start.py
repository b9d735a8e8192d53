"""Starting jobd: one visible step after the other, so that what fails says so before the next begins."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from redis.exceptions import RedisError

from jobd.client.connection import Connector
from jobd.client.embedded import EmbeddedAddress, is_embedded
from jobd.client.server import ServerFacts, read_facts, refuse_too_old, warnings
from jobd.supervisor import application, exits
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.config import Config
from jobd.supervisor.master import Master
from jobd.supervisor.serve import serve
from jobd.supervisor.signals import SignalPipe
from jobd.supervisor.store import Store
from jobd.worker import log

SINGLE_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN)


def start(config: Config) -> int:
    """Run jobs as configured until told to stop; returns the exit code. Raises JobdError."""
    application.put_first_on_path(Path.cwd())
    log.install(config.logformat, config.log_level)
    for notice in config.notices:
        log.event("config.notice", level=log.WARNING, notice=notice)
    store = _open_store(config)
    try:
        facts = _check_redis(config)
        log.event("jobd.start", environment=config.environment, server=f"{facts.name} {facts.version}")
        if config.processes == 0:
            return _run_here(config, store)
        return Master(config, store).run()
    finally:
        if store:
            store.stop()


def check(config: Config) -> int:
    """Try what a start would do before it forks: settings, store and server. Raises JobdError."""
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


def _run_here(config: Config, store: Store | None) -> int:
    """Everything in this one process, for debuggers and small machines."""
    try:
        return serve(config, signals=SignalPipe(SINGLE_SIGNALS), on_tick=store.check if store else lambda: None)
    except ApplicationError as error:
        print(f"jobd: {error}", file=sys.stderr)
        return exits.CHILDREN_CANNOT_BOOT
