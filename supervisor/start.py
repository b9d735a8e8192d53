"""Starting jobd: one visible step after the other, so that what fails says so before the next begins."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from jobd.client.connection import Connector
from jobd.client.embedded import EmbeddedAddress, is_embedded
from jobd.client.errors import ConfigError, JobdError
from jobd.client.keys import Keys
from jobd.client.server import ServerFacts, read_facts, refuse_too_old, refuse_without_rights, warnings
from jobd.supervisor import application, exits, home, notify
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.config import Config
from jobd.supervisor.control import Control
from jobd.supervisor.control_path import socket_path
from jobd.supervisor.daemon import Foreground, HasFileno, Starting, detach, under_systemd
from jobd.supervisor.master import Master, Service
from jobd.supervisor.notify import Notifier
from jobd.supervisor.pidfile import Pidfile
from jobd.supervisor.preload import preload
from jobd.supervisor.signals import MASTER, Interrupted, SignalPipe
from jobd.supervisor.single import Single
from jobd.supervisor.snapshot import Snapshot
from jobd.supervisor.store import Store
from jobd.supervisor.web_settings import refuse_unsafe
from jobd.worker import log
from jobd.worker.page import Page

if TYPE_CHECKING:
    from jobd.supervisor.metrics import Metrics


_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def start(config: Config, read_config: Callable[[], Config], *, daemon: bool = False) -> int:
    """Run jobs as configured until told to stop; returns the exit code.

    With `daemon` they run in the background: it returns once every worker process is ready, or with what went wrong.
    `read_config` reads the configuration again, for a reload. Raises JobdError.
    """
    refuse_unsafe(config.web, os.environ)
    here = home.directory()
    application.put_first_on_path(here)
    if daemon and config.logfile is None:
        raise ConfigError("-d: a daemon has no terminal for its log; give a file with -L, or `logfile:`")
    log.install(config.logformat, config.log_level, config.logfile)
    pidfile = Pidfile(Path(config.pidfile)) if config.pidfile else None
    if pidfile:
        pidfile.acquire()
    try:
        with _listening(config) as listener:
            jobd = _Jobd(config, lambda: _safe(read_config()), here, pidfile, listener)
            if daemon and not under_systemd(os.environ):
                return _detached(jobd)
            if daemon:
                print("jobd: systemd waits for this very process, so -d stays in the foreground", file=sys.stderr)
            return jobd.run(Foreground())
    finally:
        if pidfile:
            pidfile.release()


@contextlib.contextmanager
def _listening(config: Config) -> Iterator[socket.socket | None]:
    """The socket for scrapes, if any is wanted: a port that is taken is told before anything else starts."""
    if config.metrics is None:
        yield None
        return
    from jobd.supervisor.listener import listen

    with listen(config.metrics) as listener:
        yield listener


@dataclass(frozen=True)
class _Jobd:
    """What is left to do in the process that stays."""

    config: Config
    read_config: Callable[[], Config]
    home: Path
    pidfile: Pidfile | None
    listener: socket.socket | None

    def run(self, starting: Starting | Foreground) -> int:
        """From the pidfile to the end of the store."""
        signals = SignalPipe(MASTER)  # from now on none ends this process, they wait for the main loop
        try:
            return self._run(starting, signals)
        finally:
            signals.block()  # the interpreter gives up its handlers before it ends

    def _run(self, starting: Starting | Foreground, signals: SignalPipe) -> int:
        notifier = Notifier(os.environ)
        notify.remove_from(os.environ)
        if self.pidfile:
            self.pidfile.write()
        for notice in self.config.notices:
            log.event("config.notice", level=log.WARNING, notice=notice)
        try:
            store = _open_store(self.config)
            try:
                facts = _check_redis(self.config)
                log.event("jobd.start", environment=self.config.environment, server=f"{facts.name} {facts.version}")
                return self._supervise(store, starting, notifier, signals)
            finally:
                if store:
                    store.stop()
        except JobdError as error:
            if self.config.logfile:  # else the log and the message would stand in one place
                log.event("jobd.cannot_start", level=log.ERROR, error=error)
            raise

    def _supervise(
        self, store: Store | None, starting: Starting | Foreground, notifier: Notifier, signals: SignalPipe
    ) -> int:
        if self.config.processes == 0:
            return self._run_single(store, starting, notifier, signals)
        if self.config.preload:
            code = self._preload(starting, signals)
            if code is not None:
                return code
        master = Master(
            self.config,
            store=store,
            starting=starting,
            notifier=notifier,
            signals=signals,
            inherited=[each for each in (store, self.pidfile, starting) if each],
            home=self.home,
            read_config=self.read_config,
        )
        metrics = self._metrics(lambda: master.pages, master.snapshot)
        if metrics:
            master.count_in(metrics)
        with self._services(master, metrics):
            return master.run()

    def _preload(self, starting: Starting | Foreground, signals: SignalPipe) -> int | None:
        """Import the application; the exit code, if that is the end of the start.

        A signal to stop ends an import at once, which may last for ever.
        """
        try:
            with signals.interrupting(_STOPS):
                code = _code_if_told_to_stop(signals)  # before it could be interrupted
                if code is not None:
                    return code
                jobs = preload(lambda: application.prepare(self.config))
        except (ApplicationError, Interrupted) as error:
            code = _code_if_told_to_stop(signals)
            if code is None:
                code = exits.CHILDREN_CANNOT_BOOT
                starting.failed(code, str(error))
            return code
        signals.catch()  # the application may have put handlers of its own in their place
        log.event("application.preloaded", modules=",".join(self.config.require) or None, jobs=jobs)
        return None

    def _run_single(
        self, store: Store | None, starting: Starting | Foreground, notifier: Notifier, signals: SignalPipe
    ) -> int:
        single = Single(self.config, store=store, starting=starting, notifier=notifier, signals=signals)
        with self._services(single, self._metrics(lambda: [single.page], single.snapshot)):
            return single.run()

    def _metrics(self, pages: Callable[[], list[Page]], snapshot: Callable[[], Snapshot]) -> Metrics | None:
        if self.listener is None:
            return None
        from jobd.supervisor.metrics import Metrics  # costs the master megabytes that few want

        queues = [name for capsule in self.config.all_capsules for name in capsule.names]
        return Metrics(
            pages,
            snapshot,
            started=time.time(),
            queues=list(dict.fromkeys(queues)),
            per_job=self.config.metrics_per_job,
            cluster=self.config.metrics_cluster,
        )

    @contextlib.contextmanager
    def _services(self, server: Master | Single, metrics: Metrics | None) -> Iterator[None]:
        """What else lives in the main loop, until that ends."""
        services: list[Service] = []
        if self.pidfile:
            services.append(Control(server.loop, socket_path(self.pidfile.path), server))
        if metrics and self.listener:
            from jobd.supervisor.endpoint import Endpoint
            from jobd.supervisor.probes import Probes

            services.append(Endpoint(server.loop, self.listener, Probes(metrics, server.snapshot).answer))
        for service in services:
            server.add(service)
        if isinstance(server, Master):
            services.append(server.serve_dashboard())
        elif self.config.web:
            services.append(server.serve_dashboard(self.config.web))
        try:
            yield
        finally:
            for service in services:
                service.close()


def _code_if_told_to_stop(signals: SignalPipe) -> int | None:
    """The exit code after the signals that have come; None when none of them is to stop jobd."""
    told = [number for number in signals.read() if number in _STOPS]
    if not told:
        return None
    return exits.QUIT if signal.SIGQUIT in told else exits.OK


def _detached(jobd: _Jobd) -> int:
    keep: list[int | HasFileno] = [each for each in (jobd.listener,) if each]
    keep += [jobd.pidfile.preserve] if jobd.pidfile else []
    return detach(
        jobd.run,
        boot_timeout=jobd.config.boot_timeout,
        keep=keep,
        logfile=Path(jobd.config.logfile or ""),
        log_fd=_log_fd,
    )


def _log_fd() -> int:
    fd = log.fileno()
    assert fd is not None, "a daemon has a log file"
    return fd


def _safe(config: Config) -> Config:
    refuse_unsafe(config.web, os.environ)
    return config


def check(config: Config) -> int:
    """Try what a start would do before it forks: settings, store and server. Raises JobdError."""
    refuse_unsafe(config.web, os.environ)
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
        refuse_too_old(facts)
        if facts.role in ("", "master"):  # else it is warned of
            names = [name for capsule in config.all_capsules for name in capsule.names]
            refuse_without_rights(connector, Keys(config.namespace), names)
    except (RedisError, OSError) as error:
        raise connector.unavailable(error) from error
    finally:
        connector.close()
    for warning in warnings(facts):
        log.event("redis.warning", level=log.WARNING, warning=warning)
    return facts
