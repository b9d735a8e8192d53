"""Shows that a process lives and what it does: renews its leases, writes Sidekiq's heartbeat, takes remote signals."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec
import psutil

from jobd.client import defaults, scripts
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.version import VERSION
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.config import WorkerConfig
from jobd.worker.host import hostname
from jobd.worker.ledger import Ledger
from jobd.worker.outage import Outage
from jobd.worker.processor import InProgress
from jobd.worker.recovery import Recovery

SIGNALS = ("TSTP", "TERM", "TTIN")
"""What others may send through Redis; anything else is ignored."""


class Heartbeat:
    """One beat does all that a process owes the cluster."""

    def __init__(
        self,
        config: WorkerConfig,
        connector: Connector,
        keys: Keys,
        clock: ServerClock,
        outage: Outage,
        *,
        identity: str,
        embedded: bool,
        ledgers: Sequence[Ledger],
        recovery: Recovery,
        running: Callable[[], Sequence[InProgress]],
        is_quiet: Callable[[], bool],
        on_signal: Callable[[str], None],
    ) -> None:
        self._config, self._connector, self._keys, self._clock, self._outage = config, connector, keys, clock, outage
        self._identity, self._ledgers, self._recovery = identity, ledgers, recovery
        self._running, self._is_quiet, self._on_signal = running, is_quiet, on_signal
        self._process = psutil.Process()
        self._info = msgspec.json.encode(process_info(config, identity, clock.now(), embedded=embedded)).decode()

    def tick(self) -> float:
        """Beat once; returns seconds until the next."""
        try:
            round_trip = self._clock.measure(self._connector.client())
            with self._connector.connection() as connection:
                alive = [ledger.beat(lambda call: scripts.send(connection, call)) for ledger in self._ledgers]
                signals = scripts.send(connection, self._beat(round_trip))
            self._outage.works()
            # Redis has forgotten them: they are obeyed whatever comes next.
            for name in signals:
                self._take_signal(name)
            if all(alive):
                self._recovery.expired()
            else:
                self._recovery.forget()
        except BaseException:
            self._recovery.forget()
            raise
        return self._config.heartbeat_interval

    def retire(self) -> None:
        """Disappear from the views. Raises redis-py's errors."""
        with self._connector.connection() as connection:
            scripts.send(connection, scripts.retire(self._keys, self._identity))

    def _beat(self, round_trip: float) -> scripts.Call[list[str]]:
        running = self._running()
        fields: dict[str, scripts.Argument] = {
            "info": self._info,
            "busy": len(running),
            "beat": repr(self._clock.now()),
            "quiet": "true" if self._is_quiet() else "false",
            "rss": self._process.memory_info().rss // 1024,
            "rtt_us": int(round_trip * 1e6),
            "concurrency": sum(capsule.concurrency for capsule in self._config.all_capsules),
            "fetched_at": repr(max((ledger.fetched_at for ledger in self._ledgers), default=0.0)),
        }
        work = {item.thread: item.as_json() for item in running}
        return scripts.heartbeat(self._keys, self._identity, defaults.HEARTBEAT_TTL, fields, work)

    def _take_signal(self, name: str) -> None:
        if name in SIGNALS:
            log.event("process.signalled", signal=name, through="redis")
            self._on_signal(name)
        else:
            log.event("process.signal_ignored", level=log.WARNING, signal=name, through="redis")


def process_info(config: WorkerConfig, identity: str, now: float, *, embedded: bool) -> dict[str, object]:
    """What the `info` field says: the union of what Sidekiq 6.4 to 8.1 write and read."""
    capsules = config.all_capsules
    return {
        "hostname": hostname(),
        "started_at": now,
        "pid": os.getpid(),
        "tag": config.tag,
        "concurrency": sum(capsule.concurrency for capsule in capsules),
        "capsules": {
            c.name: {"concurrency": c.concurrency, "mode": c.order, "weights": dict(c.queues)} for c in capsules
        },
        "queues": list(dict.fromkeys(name for c in capsules for name in c.names)),
        "weights": [dict(c.queues) for c in capsules],
        "labels": list(config.labels),
        "identity": identity,
        "version": f"jobd-{VERSION}",
        "embedded": embedded,
    }
