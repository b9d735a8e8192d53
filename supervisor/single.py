"""Everything in one process, for debuggers and small machines: no master, no fork."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from jobd.client.defaults import STORE_STOP_TIMEOUT
from jobd.client.version import VERSION
from jobd.supervisor import exits
from jobd.supervisor.application import ApplicationError
from jobd.supervisor.config import Config
from jobd.supervisor.loop import Loop
from jobd.supervisor.master import Announcer, Service
from jobd.supervisor.notify import Notifier
from jobd.supervisor.request import Promises, Refused, Request, Verdict
from jobd.supervisor.serve import HARD_EXIT_AFTER, Server
from jobd.supervisor.signals import SignalPipe
from jobd.supervisor.snapshot import ClusterFigures, SlotFigures, Snapshot
from jobd.supervisor.store import Store
from jobd.supervisor.web_settings import WebSettings
from jobd.supervisor.web_thread import DashboardThread
from jobd.worker import log
from jobd.worker.page import Page


class Single:
    """The process that runs the jobs is the one that was started."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store | None,
        starting: Announcer,
        notifier: Notifier,
        signals: SignalPipe,
    ) -> None:
        self._config, self._store, self._starting, self._notifier = config, store, starting, notifier
        self.loop = Loop()
        self.page = Page(config.threads)
        self._server = Server(config, loop=self.loop, signals=signals, page=self.page, reporter=self)
        self._server.on_tick = self._on_tick
        self._server.on_signal = self._on_signal
        self._services: list[Service] = []
        self._promises = Promises()
        self._started = time.monotonic()
        self._dashboard: DashboardThread | None = None
        self._is_ready = False
        self._cluster: ClusterFigures | None = None

    def run(self) -> int:
        """Run jobs until told to stop; returns the exit code."""
        try:
            return self._server.run()
        except ApplicationError as error:
            self._starting.failed(exits.CHILDREN_CANNOT_BOOT, str(error))
            return exits.CHILDREN_CANNOT_BOOT

    def add(self, service: Service) -> None:
        """Have `service` looked after at each turn of the loop."""
        self._services.append(service)

    def serve_dashboard(self, settings: WebSettings) -> DashboardThread:
        """Have the dashboard served from now on, by a thread of this process."""
        self._dashboard = DashboardThread(self._config, settings)
        self.add(self._dashboard)
        self._dashboard.tick(time.monotonic())
        return self._dashboard

    def status(self) -> dict[str, Any]:
        """What it does, in values that JSON knows."""
        now, threads = time.monotonic(), self.page.threads
        seen = self.page.redis_seen
        return {
            "pid": os.getpid(),
            "version": VERSION,
            "tag": self._config.tag,
            "environment": self._config.environment,
            "state": self._state,
            "uptime": round(now - self._started, 1),
            "generation": 1,
            "restarting": False,
            "processes": {"wanted": 0, "ready": 0},
            "threads": {"busy": self._server.busy, "idle": max(0, threads - self._server.busy)},
            "redis_seen_ago": round(now - seen, 1) if seen else None,
            "orphans": 0,
            "children": [],
            "ends": [],
            **({"web": self._dashboard.status()} if self._dashboard else {}),
        }

    def snapshot(self) -> Snapshot:
        """The figures for Prometheus and the probes."""
        now, seen = time.monotonic(), self.page.redis_seen
        state = "starting" if not self._is_ready else "quiet" if self._server.is_quiet else "ready"
        return Snapshot(
            children=Counter([state]),
            desired=1,
            slots=[SlotFigures(1, {}, now - self.page.pulse if self.page.pulse else None)],
            threads=self.page.threads,
            busy=self._server.busy,
            threads_per_process=self._config.threads,
            is_quiet=self._server.is_quiet,
            redis_seen_ago=now - seen if seen else None,
            lease=self._config.lease,
            cluster=self._cluster,
        )

    def request(self, name: str, count: int | None) -> Request:
        """Begin `quiet`, `resume` or `stop`; the others need worker processes. Raises Refused."""
        match name:
            case "quiet":
                self._server.quiet(held=True)
                text = "quiet, and no job runs any more"
                return self._promises.make("quiet: no more jobs are taken", self._is_idle, text)
            case "resume":
                self._server.resume()
                return Request(Verdict(True, "jobs are taken again"), Verdict(True, "jobs are taken again"))
            case "stop":
                self._server.end(exits.OK)
                return Request(Verdict(True, f"stopping; what runs may go on for {self._config.timeout:g} s"))
            case _:
                raise Refused(f"with processes: 0 there is no process to {name}; stop jobd and start it again")

    def loaded(self) -> None:
        """The start waits for `ready`."""

    def ready(self) -> None:
        """Tell whoever waits for the start."""
        self._is_ready = True
        self._starting.ready()
        self._notifier.ready("one process")

    def stopping(self) -> None:
        """Tell systemd."""
        self._notifier.stopping()
        self._notifier.extend(self._config.timeout + HARD_EXIT_AFTER + STORE_STOP_TIMEOUT)

    def stopped(self, *, clean: bool) -> None:
        """The next start finds out what was left."""

    def owner(self, name: str) -> None:
        """Nobody has to remember it: at the next start it is found in Redis."""

    def recovered(self, owners: Sequence[str]) -> None:
        """There is no master who told of any."""

    def cluster(self, figures: dict[str, Any]) -> None:
        """Keep what was read from Redis for the next scrape."""
        self._cluster = cast(ClusterFigures, figures)

    @property
    def _state(self) -> str:
        if not self._is_ready:
            return "starting"
        return "quiet" if self._server.is_quiet else "running"

    def _is_idle(self) -> bool:
        return self._server.is_quiet and self._server.busy == 0

    def _on_tick(self) -> None:
        self._promises.look()
        now = time.monotonic()
        for service in self._services:
            service.tick(now)
        self._notifier.watchdog()
        if self._store:
            self._store.check()

    def _on_signal(self, number: signal.Signals) -> None:
        if number == signal.SIGUSR2:
            log.event("restart.refused", level=log.ERROR, why="with processes: 0 there is no process to replace")
        elif number == signal.SIGTTOU:
            log.event("master.state", **self.status())
        else:
            self._server.take_signal(number)
