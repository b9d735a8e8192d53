"""`jobd demo`: a real jobd on an embedded store with its dashboard, jobs of every fate, and whether each met it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

import jobd
from jobd.client import payload as wire
from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import StoreUnavailable
from jobd.client.keys import Keys
from jobd.client.scripts import DeadLimits
from jobd.supervisor import demo_jobs, exits
from jobd.supervisor.web_settings import BIND, NEEDED, shown

START_SECONDS = 15.0
QUIET_SECONDS = 5.0
"""No job starts in the last seconds of a demo of limited length, so that each can meet its fate."""
ROUND_SECONDS = 1.0
LATER_SECONDS = 2.0
SLOW_SECONDS = 1.5
FIRST_TICK = "the first tick"
"""Stands for a job that the cron has yet to push."""


NO_DASHBOARD = "For the dashboard: pip install '.[web]' in the checkout."


@dataclass
class Tally:
    """What was pushed, jid to intended fate (`done` or `dead`), by kind of job."""

    intended: dict[str, tuple[str, str]] = field(default_factory=dict)

    def expect(self, kind: str, fate: str, jid: str | None) -> None:
        """Note a job that was pushed."""
        if jid is not None:
            self.intended[jid] = (kind, fate)

    def expect_ticks(self, kind: str, jids: Sequence[str]) -> None:
        """Note what the cron has pushed, at least one job."""
        for jid in jids or [FIRST_TICK]:
            self.expect(kind, "done", jid)
        if jids:
            self.intended.pop(FIRST_TICK, None)

    def missed(self, met: Mapping[str, str]) -> Counter[str]:
        """Jobs by kind whose fate, as found in `met` (jid to fate), is not the intended one."""
        return Counter(kind for jid, (kind, fate) in self.intended.items() if met.get(jid) != fate)


def run_demo(seconds: float | None) -> int:
    """Run the demo for `seconds`, or until Ctrl-C; returns 0 when every job met its intended fate."""
    interrupted = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    signal.signal(signal.SIGTERM, lambda *_: interrupted.set())
    with tempfile.TemporaryDirectory(prefix="jobd-demo-") as name:
        return Demo(Path(name), interrupted).run(seconds)


class Demo:
    """One run, with all its files in `directory`; ends soon after `interrupted` is set."""

    def __init__(self, directory: Path, interrupted: threading.Event) -> None:
        self._directory, self._interrupted = directory, interrupted
        self._results = directory / "results"
        self._results.touch()
        self._log = directory / "jobd.log"
        self._url = f"embedded:{directory / 'store'}"
        self._keys, self._tally = Keys(), Tally()
        self._connector = Connector(self._url)
        self._web = "" if any(find_spec(name) is None for name in NEEDED) else _free_address()

    def run(self, seconds: float | None) -> int:
        """Run for `seconds`, or until interrupted; returns the exit code."""
        jobd.configure(redis_url=self._url)
        process = self._start()
        try:
            if not self._wait_until_up(process):
                print(f"jobd did not start; its log says:\n{self._log.read_text()}", file=sys.stderr)
                return exits.FAILED
            until = float("inf") if seconds is None else time.monotonic() + seconds
            print("jobd runs: 2 processes of 5 threads each, on a store of its own. Ctrl-C ends it.")
            print(f"Look at it: {shown(self._web)}" if self._web else NO_DASHBOARD, flush=True)
            self._push_until(until - QUIET_SECONDS)
            self._wait_for_fates(until if seconds is not None else time.monotonic() + QUIET_SECONDS)
            return self._summary()
        finally:
            self._connector.close()
            process.send_signal(signal.SIGTERM)
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        config = self._directory / "config.yml"
        config.write_text(json.dumps(self.settings()))
        command = [sys.executable, "-m", "jobd", "start", "-C", str(config)]
        environment = {**os.environ, demo_jobs.RESULTS: str(self._results)}
        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C is for the demo, which then stops jobd.
            return subprocess.Popen(command, env=environment, stderr=log, start_new_session=True)

    def settings(self) -> dict[str, Any]:
        """The configuration of its jobd."""
        return {
            "redis_url": self._url,
            "require": [demo_jobs.__name__],
            "queues": ["quick", "default"],
            "processes": 2,
            "concurrency": 5,
            "timeout": 5,
            "tag": "demo",
            "cron": {demo_jobs.CLOCK: {"cron": "@every 2s", "class": f"{demo_jobs.__name__}.by_the_clock"}},
            **({"web": {"bind": self._web, "title": "jobd demo"}} if self._web else {}),
        }

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None and not self._interrupted.is_set():
            try:
                if self._client().scard(self._keys.processes):
                    return True
            except (StoreUnavailable, RedisError, OSError):
                pass
            self._interrupted.wait(0.1)
        return False

    def _push_until(self, end: float) -> None:
        round_number = 0
        while not self._interrupted.is_set() and (time.monotonic() < end or round_number == 0):
            round_number += 1
            self._push_round(round_number)
            self._note_ticks()
            self._retry_now()
            self._show()
            self._interrupted.wait(ROUND_SECONDS)

    def _push_round(self, number: int) -> None:
        for jid in demo_jobs.quick.perform_bulk([(i,) for i in range(20)]):
            self._tally.expect("quick", "done", jid)
        self._tally.expect("slow", "done", demo_jobs.slow.perform_async(SLOW_SECONDS))
        self._tally.expect("recovers", "done", demo_jobs.recovers.perform_async())
        self._tally.expect("dies", "dead", demo_jobs.dies.perform_async())
        self._tally.expect("later", "done", demo_jobs.later.perform_in(LATER_SECONDS))

    def _note_ticks(self) -> None:
        runs = jobd.CronSet().runs(demo_jobs.CLOCK)
        self._tally.expect_ticks("by clock", [run.jid for run in reversed(runs) if run.jid])

    def _wait_for_fates(self, deadline: float) -> None:
        while self._tally.missed(self._met()) and time.monotonic() < deadline:
            if FIRST_TICK in self._tally.intended:
                self._note_ticks()
            self._retry_now()
            self._show()
            threading.Event().wait(0.5)

    def _retry_now(self) -> None:
        """Have failed jobs run again at once: the first retry would be due in 15 seconds."""
        members: Sequence[bytes] = self._client().zrange(self._keys.retry, 0, 99)
        entries = [(member, _queue(member), member) for member in members]
        with self._connector.connection() as connection:
            scripts.send(
                connection,
                scripts.promote(self._keys, self._keys.retry, time.time() + 1e6, entries, DeadLimits()),
            )

    def _met(self) -> dict[str, str]:
        met = dict(line.split() for line in self._results.read_text().splitlines())
        dead: Sequence[bytes] = self._client().zrange(self._keys.dead, 0, -1)
        return met | {wire.decode(member)["jid"]: "dead" for member in dead}

    def _show(self) -> None:
        client = self._client()
        counts: list[tuple[str, Callable[[], Any]]] = [
            ("queued", lambda: sum(client.llen(self._keys.queue(q)) for q in ("quick", "default"))),
            ("scheduled", lambda: client.zcard(self._keys.schedule)),
            ("to retry", lambda: client.zcard(self._keys.retry)),
            ("dead", lambda: client.zcard(self._keys.dead)),
            ("processed", lambda: int(client.get(self._keys.stat_processed) or 0)),
            ("failed", lambda: int(client.get(self._keys.stat_failed) or 0)),
        ]
        print("   ".join(f"{name} {count():>5}" for name, count in counts), flush=True)

    def _summary(self) -> int:
        missed = self._tally.missed(self._met())
        print(f"\n{'job':<10} {'pushed':>6} {'meant to be':>12} {'as meant':>9}")
        for (kind, fate), pushed in Counter(self._tally.intended.values()).items():
            print(f"{kind:<10} {pushed:>6} {fate:>12} {pushed - missed[kind]:>9}")
        if missed:
            print(f"\n{missed.total()} jobs did not meet their fate.")
            return exits.FAILED
        print("\nEvery job met its fate.")
        return exits.OK

    def _client(self) -> Any:
        return self._connector.client()


def _free_address() -> str:
    """Where the dashboard listens: at its usual place, or at any port of this machine when that is taken."""
    host, _, usual = BIND.rpartition(":")
    for port in (int(usual), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return f"{host}:{probe.getsockname()[1]}"
    return ""


def _queue(member: bytes) -> str:
    return str(wire.decode(member)["queue"])
