"""Shows that a process lives and what it does: renews its leases, writes Sidekiq's heartbeat, takes remote signals.

With each beat it has the jobs of dead processes given back, and if asked it reads the cluster's figures, or shows what
its threads do.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import psutil
from redis.exceptions import RedisError, ResponseError

from jobd.client import defaults, scripts
from jobd.client.connection import Connector, is_readonly
from jobd.client.errors import RedisUnavailable
from jobd.client.events import Event
from jobd.client.keys import Keys
from jobd.client.orders import threads_wanted
from jobd.client.version import VERSION
from jobd.worker import log, stacks
from jobd.worker.clock import ServerClock
from jobd.worker.cluster import read_figures
from jobd.worker.config import WorkerConfig
from jobd.worker.crew import Staff
from jobd.worker.history import Sampler
from jobd.worker.host import hostname
from jobd.worker.ledger import Ledger
from jobd.worker.outage import Outage
from jobd.worker.processor import InProgress
from jobd.worker.recovery import Orphan, Recovery
from jobd.worker.round_trips import RoundTrips
from jobd.worker.tally import Tally
from jobd.worker.trend import Recent

SIGNALS = ("TSTP", "TERM", "TTIN", "RESUME")
"""What others may send through Redis, besides `STACKS`; anything else is ignored."""
STACKS = "STACKS"
_WATCHED_INTERVAL = 1.0
"""Seconds between beats while somebody looks at the stacks."""


class Heartbeat:
    """One beat does all that a process owes the cluster."""

    _outage_known: float | None = None

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
        is_held: Callable[[], bool] = lambda: False,
        on_signal: Callable[[str], None],
        on_cluster: Callable[[dict[str, Any]], None] | None = None,
        on_beat: Callable[[Event], None] = lambda event: None,
        tally: Tally | None = None,
        sampler: Sampler | None = None,
        cancel: Callable[[], bool] = lambda: False,
        staff: Staff = Staff(),  # noqa: B008
    ) -> None:
        """`is_held` tells whether it stays quiet if it is told to resume through Redis.

        `cancel` interrupts the jobs that are to be cancelled, and returns whether there were any.
        `on_cluster` is given the figures of `cluster.read_figures` with each beat.
        `on_beat` hears of `beat`, and before it of `heartbeat` at the first and after each outage; it must not wait.
        """
        self._config, self._connector, self._keys, self._clock, self._outage = config, connector, keys, clock, outage
        self._identity, self._ledgers, self._recovery = identity, ledgers, recovery
        self._running, self._is_quiet, self._is_held = running, is_quiet, is_held
        self._on_signal, self._on_cluster, self._on_beat = on_signal, on_cluster, on_beat
        self._tally, self._sampler, self._cancel, self._staff = tally, sampler, cancel, staff
        self._watched_until, self._recent = 0.0, Recent(config.heartbeat_interval, time.monotonic())
        self._orphans: deque[tuple[Sequence[Orphan], Callable[[Sequence[str]], None]]] = deque()
        self._queues = list(dict.fromkeys(name for capsule in config.all_capsules for name in capsule.names))
        self._round_trips, self._process = RoundTrips(), psutil.Process()
        self._process.cpu_percent()  # from here on it tells what was used since the last call
        self._info = _Info(process_info(config, identity, clock.now(), embedded=embedded), staff.room)

    def tick(self) -> float:
        """Beat once; returns seconds until the next."""
        try:
            round_trip = self._clock.measure(self._connector.client())
            with self._connector.connection() as connection:
                alive = [ledger.beat(lambda call: scripts.send(connection, call)) for ledger in self._ledgers]
                signals = scripts.send(connection, self._beat(round_trip))
            self._outage.works()
            self._warn_if_slow(round_trip)
            # Redis has forgotten them: they are obeyed whatever comes next.
            for name in signals:
                self._take_signal(name)
            self._recover_orphans()
            if all(alive):
                self._recovery.expired()
            else:
                self._recovery.forget()
        except BaseException:
            self._recovery.forget()
            raise
        self._tell_of_beat()
        self._apart(self._cancel_jobs)
        if STACKS in signals:
            self._watched_until = time.monotonic() + defaults.STACKS_WATCHED
            self._apart(self._show_stacks)
        if self._tally:
            self._apart(self._tally.flush)
        if self._sampler:
            self._apart(self._sampler.tick)
        if self._on_cluster:
            self._apart(self._tell_figures)
        watched = time.monotonic() < self._watched_until
        return min(self._config.heartbeat_interval, _WATCHED_INTERVAL if watched else math.inf)

    def recover(self, orphans: Sequence[Orphan], done: Callable[[Sequence[str]], None]) -> None:
        """Have the next beat that reaches Redis recover `orphans`, and then call `done` with their owners.

        From any thread; `done` is called by the one that beats.
        """
        self._orphans.append((orphans, done))

    def retire(self) -> None:
        """Disappear from the views, and write the metrics of the last jobs. Raises redis-py's errors."""
        with self._connector.connection() as connection:
            scripts.send(connection, scripts.retire(self._keys, self._identity))
        if self._tally:
            self._apart(self._tally.flush)

    def _beat(self, round_trip: float) -> scripts.Call[list[str]]:
        running, rss = self._running(), self._process.memory_info().rss // 1024
        self._info.renew(self._staff.concurrency())
        cpu = round(self._process.cpu_percent())
        self._recent.add(time.monotonic(), rss, cpu)
        fields: dict[str, scripts.Argument] = {
            "info": self._info.text,
            "busy": len(running),
            "beat": repr(self._clock.now()),
            "quiet": "true" if self._is_quiet() else "false",
            "held": int(self._is_held()),
            "rss": rss,
            "rtt_us": int(round_trip * 1e6),
            "concurrency": self._info.threads,
            "fetched_at": repr(max((ledger.fetched_at for ledger in self._ledgers), default=0.0)),
            "cpu": cpu,
            "skew_ms": round((time.time() - self._clock.now()) * 1000),
            "trend": self._recent.written(),
            "oldest_at": repr(min((item.started for item in running), default=0.0)),
        }
        work = {item.thread: item.as_json() for item in running}
        return scripts.heartbeat(self._keys, self._identity, defaults.HEARTBEAT_TTL, fields, work)

    def _warn_if_slow(self, round_trip: float) -> None:
        if slow := self._round_trips.slow(round_trip):
            hint = "bring Redis nearer, or look at what keeps it busy"
            log.event("redis.slow", level=log.WARNING, milliseconds=[round(each * 1e3, 1) for each in slow], hint=hint)

    def _recover_orphans(self) -> None:
        while self._orphans:
            orphans, done = self._orphans[0]
            self._recovery.named(orphans)
            self._orphans.popleft()
            done([orphan.owner for orphan in orphans])

    def _tell_of_beat(self) -> None:
        ended, known = self._outage.ended_at, self._outage_known
        self._outage_known = ended
        if ended != known:
            self._on_beat("heartbeat")
        self._on_beat("beat")

    def _apart(self, work: Callable[[], object]) -> None:
        """Do what a beat can do without: it has been made, whatever becomes of this."""
        begun = time.monotonic()
        try:
            work()
        except (RedisError, RedisUnavailable, OSError) as error:
            self._outage.failed(error, begun)

    def _tell_figures(self) -> None:
        assert self._on_cluster
        self._on_cluster(read_figures(self._connector.client(), self._keys, self._queues, self._clock.now()))

    def _cancel_jobs(self) -> None:
        if self._cancel():
            # Whoever has asked looks whether it has ended.
            self._watched_until = time.monotonic() + defaults.STACKS_WATCHED

    def _show_stacks(self) -> None:
        text = stacks.written(self._running(), self._clock.now())
        try:
            self._connector.client().set(self._keys.stacks(self._identity), text, ex=defaults.STACKS_TTL)
        except ResponseError as error:
            if is_readonly(error):
                raise
            log.event("process.stacks_refused", level=log.WARNING, error=str(error))

    def _take_signal(self, name: str) -> None:
        if name == STACKS:
            return
        if order := threads_wanted(name):
            log.event("process.signalled", signal=name, through="redis")
            self._staff.resize(*order)
        elif name in SIGNALS:
            log.event("process.signalled", signal=name, through="redis")
            self._on_signal(name)
        else:
            log.event("process.signal_ignored", level=log.WARNING, signal=name, through="redis")


def process_info(config: WorkerConfig, identity: str, now: float, *, embedded: bool) -> dict[str, Any]:
    """What the `info` field says: the union of what Sidekiq 6.4 to 8.1 write and read."""
    capsules = config.all_capsules
    return {
        "hostname": hostname(),
        "started_at": now,
        "pid": os.getpid(),
        "tag": config.tag,
        "concurrency": config.threads,
        "capsules": {
            c.name: {"concurrency": c.concurrency, "mode": c.order, "weights": dict(c.queues)} for c in capsules
        },
        "queues": list(dict.fromkeys(name for c in capsules for name in c.names)),
        "weights": [dict(c.queues) for c in capsules],
        "labels": list(config.labels),
        "identity": identity,
        "version": f"jobd-{VERSION}",
        "embedded": embedded,
        # For those who kill jobs by hand, elsewhere: a client does not read the configuration.
        "dead_max_jobs": config.dead_max_jobs,
        "dead_timeout": config.dead_timeout,
    }


class _Info:
    """The same with the threads that the capsules have now, written anew only when they have others."""

    def __init__(self, told: dict[str, Any], room: int) -> None:
        self._told = {**told, "most_threads": room}
        self._shown, self.text, self.threads = dict[str, int](), "", 0

    def renew(self, threads: Mapping[str, int]) -> None:
        """`threads` of capsules; those that are not among them have as many as are configured."""
        if self.text and threads == self._shown:
            return
        self._shown = dict(threads)
        capsules = {
            name: {**told, "concurrency": threads.get(name, told["concurrency"])}
            for name, told in self._told["capsules"].items()
        }
        self.threads = sum(each["concurrency"] for each in capsules.values())
        told = {**self._told, "concurrency": self.threads, "capsules": capsules}
        self.text = msgspec.json.encode(told).decode()
