"""What Prometheus is told while worker processes are killed at random: it never goes back, and agrees with Redis.

`JOBD_SCRAPES` sets how often it asks [200]; after each twenty a process is killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobd.client.push import Client
from jobd.supervisor import exits
from tests.chaos.daemon import scrape
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

SCRAPES = int(os.environ.get("JOBD_SCRAPES", "200"))
KILL_EVERY, PUSH_EVERY = 20, 4
PROCESSES, THREADS, BATCH = 3, 3, 20
SLOW = 6
"""Clients that begin a request and never end it."""
QUICK = {"jobd.supervisor.policy.FIRST_DELAY": 0.05, "jobd.supervisor.policy.MAX_DELAY": 0.05}
ONLY_GROW = ("_total", "_bucket", "_count", "_sum")

Samples = dict[str, float]


def counters(text: str) -> Samples:
    """Each series that may only grow, with its value."""
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in samples if series.partition("{")[0].endswith(ONLY_GROW)}


def jobs_in(samples: Samples, *results: str) -> int:
    """How many jobs ended with one of these results."""
    wanted = tuple(f'result="{result}"' for result in results)
    return int(sum(n for name, n in samples.items() if name.startswith("jobd_jobs_total{") and _has(name, wanted)))


def _has(series: str, labels: tuple[str, ...]) -> bool:
    return any(label in series for label in labels)


@contextlib.contextmanager
def slow_clients(path: Path) -> Iterator[list[socket.socket]]:
    """Connections that have sent the beginning of a request."""
    clients = [slow_client(path) for _ in range(SLOW)]
    yield clients
    for client in clients:
        client.close()


def slow_client(path: Path) -> socket.socket:
    """One of them."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5.0)
    client.connect(str(path))
    client.sendall(b"GET /metr")
    return client


def crawl(clients: list[socket.socket], path: Path) -> None:
    """Have each send one byte more, and come again if it was thrown out."""
    for place, client in enumerate(clients):
        try:
            client.sendall(b"i")
        except OSError:
            client.close()
            clients[place] = slow_client(path)


def kill_one(jobd: Jobd, chance: random.Random) -> set[int]:
    """Kill a worker process that takes jobs, as soon as there is one; returns its pid."""
    ready: list[int] = []

    def find() -> bool:
        ready[:] = [child["pid"] for child in jobd.status()["children"] if child["state"] == "ready"]
        return bool(ready)

    wait_until(find, "a process to be ready", 60.0)
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        pid = chance.choice(ready)
        os.kill(pid, signal.SIGKILL)
        return {pid}
    return set()


def scrape_and_kill(jobd: Jobd, path: Path, chance: random.Random) -> int:
    """Scrape while jobs come in, slow clients hang about and processes are killed; returns how many were."""
    seen: Samples = {}
    killed: set[int] = set()  # one that takes its time to end may be killed twice
    with slow_clients(path) as clients, contextlib.closing(Client(jobd.redis_url)) as client:
        for number in range(SCRAPES):
            if number % PUSH_EVERY == 0:
                job = chance.choice(("chaos_quick", "chaos_flaky"))
                client.push_bulk({"class": job, "args": [[10 * number + i] for i in range(10)]})
            if number % KILL_EVERY == KILL_EVERY - 1:
                killed |= kill_one(jobd, chance)
                crawl(clients, path)
            now = counters(scrape(path))
            assert now, "no answer"
            assert {name: (was, now.get(name)) for name, was in seen.items() if now.get(name, -1.0) < was} == {}
            seen = now
    return len(killed)


def test_counters_never_decrease_and_equal_those_of_redis_over_random_kills(tmp_path: Path, redis_url: str) -> None:
    settings: dict[str, Any] = {
        "processes": PROCESSES,
        "concurrency": THREADS,
        "prefetch": BATCH,
        "require": ["ledger_jobs", "chaos_jobs"],
    }
    path, chance = tmp_path / "metrics.sock", random.Random(25)
    with Jobd(
        tmp_path, redis_url, pidfile="jobd.pid", metrics=str(path), timeout=2, constants=QUICK, **settings
    ) as jobd:
        kills = scrape_and_kill(jobd, path, chance)
        assert kills >= SCRAPES // KILL_EVERY // 2
        wait_until(lambda: not jobd.queued() and jobd.status()["threads"]["busy"] == 0, "all jobs to have run", 60.0)
        assert jobd.ctl("quiet", "--wait").returncode == exits.OK
        seen: Samples = {}
        processed, failed = jobd.statistics()

        def knows_the_last_kill() -> bool:
            seen.update(counters(scrape(path)))
            return seen['jobd_child_exits_total{reason="signal"}'] == kills

        wait_until(knows_the_last_kill, "figures from after the last kill: they are made at most twice a second")
        unseen = kills * (BATCH + THREADS)  # what one call acknowledged, and the kill kept from being counted
        assert processed - unseen <= jobs_in(seen, "ok", "retried", "dead", "failed") <= processed
        assert failed - unseen <= jobs_in(seen, "retried", "dead", "failed") <= failed
        assert jobd.stop() == exits.OK
