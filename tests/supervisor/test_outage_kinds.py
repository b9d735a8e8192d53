"""Each way in which Redis can fail a jobd under load: nothing is lost or counted twice, and work goes on by itself.

All share one command. `JOBD_OUTAGE_SECONDS` sets how long an outage lasts [0.5], `JOBD_SLOW_SECONDS` how late each
reply comes of a server that is slow [0.25]. Where either is set, tests run that the ordinary suite leaves out.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import psutil
import pytest
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from jobd.client import defaults
from jobd.client.errors import PushOutcomeUnknown, PushRefused, RedisUnavailable
from jobd.client.push import Client
from jobd.supervisor import exits
from tests.line import Line
from tests.servers import RedisServer
from tests.supervisor.jobd_command import Jobd, doubled
from tests.waiting import wait_until

SECONDS = float(os.environ.get("JOBD_OUTAGE_SECONDS", "0.5"))
SLOW = float(os.environ.get("JOBD_SLOW_SECONDS", "0.25"))
only_long = pytest.mark.skipif(
    not {"JOBD_OUTAGE_SECONDS", "JOBD_SLOW_SECONDS"} & set(os.environ), reason="make chaos runs it"
)
PROCESSES = 2
SOCKET_TIMEOUT = max(0.8, 1.5 * SLOW)
GOES_ON_WITHIN = 15.0
MAX_CPU_SHARE = 0.05 + 0.05 / SECONDS
"""Of one core, for all processes together; one that does not pause would take a whole one."""
LOADED_A_SECOND = 500
"""Keys that the server loads in a second."""


AT_LOAD, MOST_OUTAGES = "Timeout|Connection|Unavailable", 4
"""Where the machine has much else to do an answer may be overdue, or a connection of before be found broken later."""


def outages(events: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """The errors of the outages of each process, which has told once that it lost Redis and once that it was back."""
    told: dict[int, list[str]] = {}
    for pid in {int(event["pid"]) for event in events}:
        lines = [event for event in events if event["pid"] == pid]
        assert [event["event"] for event in lines] == ["redis.lost", "redis.back"] * (len(lines) // 2)
        told[pid] = [event["error"] for event in lines[::2]]
    return told


class Feed:
    """Pushes numbered jobs from a thread of its own, of which one in ten fails, and knows which are in Redis."""

    numbers = itertools.count()

    def __init__(self, url: str) -> None:
        self._client = Client(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed")
        self.pushed: set[int] = set()
        self.refusals: list[str] = []

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self._push("chaos_flaky", list(itertools.islice(self.numbers, 1)))
            self._push("chaos_quick", list(itertools.islice(self.numbers, 9)))

    def _push(self, name: str, numbers: Sequence[int]) -> None:
        try:
            self._client.push_bulk({"class": name, "args": [[number] for number in numbers]})
        except (PushRefused, RedisUnavailable) as error:
            self.refusals.append(str(error))
        except PushOutcomeUnknown:
            return
        else:
            self.pushed |= set(numbers)


class Site:
    """A server, the line to it, and a command at the other end."""

    def __init__(self, server: RedisServer, line: Line, jobd: Jobd) -> None:
        self.server, self.line, self.jobd = server, line, jobd
        self._seen = 0

    def new_events(self) -> list[dict[str, Any]]:
        """What was logged about outages of Redis since the last call."""
        told = [event for event in self.jobd.events() if event["event"].startswith(("redis.", "owner."))]
        events = [event for event in told if event["event"] != "redis.slow"]  # under load any Redis may be
        new, self._seen = events[self._seen :], len(events)
        return new

    def ended(self) -> int:
        """Jobs that have ended so far."""
        ledger = self.jobd.ledger
        return ledger.read_text().count("ended ") if ledger.exists() else 0

    def cpu_share(self, seconds: float) -> float:
        """Let time pass; the share of one core that the command has used meanwhile."""
        family = [psutil.Process(self.jobd.pid), *self.jobd.workers]
        before, begun = sum(map(_cpu_seconds, family)), time.monotonic()
        select.select([], [], [], seconds)
        return (sum(map(_cpu_seconds, family)) - before) / (time.monotonic() - begun)

    def wait_for_work(self, what: str, seconds: float = GOES_ON_WITHIN) -> None:
        """Return once a good many jobs more have ended."""
        before = self.ended()
        wait_until(lambda: self.ended() > before + 20, what, seconds)

    def wait_until_lost(self) -> None:
        """Return once a process has logged that Redis is lost, which takes it some while if all is silent."""
        lost = self.jobd.count("redis.lost")
        wait_until(lambda: self.jobd.count("redis.lost") > lost, "redis.lost", SOCKET_TIMEOUT + 3.0)

    def wait_until_back(self) -> None:
        """Return once each process has logged that Redis is back as often as that it was lost."""
        jobd = self.jobd
        wait_until(lambda: jobd.count("redis.back") == jobd.count("redis.lost"), "redis.back", 30.0)

    def settle(self, feed: Feed) -> None:
        """Each job that was pushed has run, none twice, and Redis has counted just that."""
        jobd = self.jobd
        wait_until(lambda: feed.pushed <= set(map(int, jobd.lines("began"))), "every job has begun", 30)
        wait_until(lambda: jobd.statistics() == _account(jobd), "counters equal the ledger", 30)
        again = set(doubled(jobd.lines("began"))) - set(jobd.lines("failed"))
        assert not again


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _account(jobd: Jobd) -> tuple[int, int]:
    """Attempts and failures by the ledger."""
    failed = len(jobd.lines("failed"))
    return len(jobd.lines("ended")) + failed, failed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    slowly = ["--key-load-delay", str(1_000_000 // LOADED_A_SECOND), "--loading-process-events-interval-bytes", "1024"]
    directory = tmp_path_factory.mktemp("outages")
    with RedisServer(appendonly=True, args=slowly) as server, Line(server.socket) as line:
        url = f"{line.url}&socket_timeout={SOCKET_TIMEOUT}"
        settings: dict[str, Any] = {"processes": PROCESSES, "concurrency": 4, "pidfile": "jobd.pid"}
        with Jobd(directory, url, require=["chaos_jobs"], **settings) as jobd:
            yield Site(server, line, jobd)
            assert jobd.stop() == exits.OK
            assert jobd.left_in_progress() == {}


Outage: TypeAlias = Callable[[Site], AbstractContextManager[None]]


@contextmanager
def demoted(site: Site) -> Iterator[None]:
    """The server is a replica now, as after a fail-over."""
    with site.server.client() as client:
        client.replicaof("127.0.0.1", 1)
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def unable_to_save(site: Site) -> Iterator[None]:
    """The server cannot write its snapshot, and takes no writes for that."""
    snapshot = site.server.directory / "dump.rdb"
    (snapshot / "in the way").mkdir(parents=True)
    with site.server.client() as client:

        def saves() -> bool:
            """Whether the last snapshot succeeded; begins another one."""
            state = client.info("persistence")
            if not state["rdb_bgsave_in_progress"]:
                client.bgsave()
            return bool(state["rdb_last_bgsave_status"] == "ok")

        client.config_set("save", "3600 1")
        wait_until(lambda: not saves(), "a snapshot that fails")
        yield
        (snapshot / "in the way").rmdir()
        snapshot.rmdir()
        wait_until(saves, "a snapshot that succeeds")
        client.config_set("save", "")


@contextmanager
def loading(site: Site) -> Iterator[None]:
    """The server was killed, and reads its data for as long as the outage lasts."""
    with site.server.client() as client:
        fillers = {f"filler:{number}": os.urandom(1024) for number in range(int((SECONDS + 1.0) * LOADED_A_SECOND))}
        client.mset(fillers)
        client.bgrewriteaof()
        wait_until(lambda: _has_rewritten(client), "a file without history")
    site.server.kill()
    site.server.launch()
    with site.server.client() as client:
        wait_until(lambda: _is_loading(client), "a server that loads its data")
    yield
    site.server.wait()
    with site.server.client() as client:
        client.delete(*fillers)


def _has_rewritten(client: Any) -> bool:
    state = client.info("persistence")
    return not state["aof_rewrite_scheduled"] and not state["aof_rewrite_in_progress"]


def _is_loading(client: Any) -> bool:
    try:
        client.ping()
    except BusyLoadingError:
        return True
    except RedisConnectionError:
        return False
    raise AssertionError("the server has loaded its data already")


@contextmanager
def cut_off(site: Site) -> Iterator[None]:
    """Nothing arrives any more, on either side."""
    site.line.cut_off()
    select.select([], [], [], SOCKET_TIMEOUT)
    try:
        yield
    finally:
        site.line.restore()


@pytest.mark.parametrize(
    ("outage", "said"),
    [
        (demoted, "ReadOnlyError"),
        (unable_to_save, "MISCONF"),
        (loading, "Connection|BusyLoadingError"),
        pytest.param(cut_off, "TimeoutError", marks=only_long),
    ],
)
def test_an_outage_is_waited_out_with_one_line_at_each_end(site: Site, outage: Outage, said: str) -> None:
    site.wait_until_back()
    site.new_events()
    with Feed(site.server.url) as feed:
        site.wait_for_work("work before the outage")
        with outage(site):
            assert site.cpu_share(SECONDS) < MAX_CPU_SHARE
            seen_ago = site.jobd.status()["redis_seen_ago"]
        site.wait_for_work("work after the outage")
        site.wait_until_back()
    site.settle(feed)
    assert seen_ago >= SECONDS
    told = outages(site.new_events())
    assert len(told) == PROCESSES
    for errors in told.values():
        assert len(errors) <= MOST_OUTAGES, errors
        assert any(re.search(said, error) for error in errors), errors
        assert [error for error in errors if not re.search(f"{said}|{AT_LOAD}", error)] == []


@contextmanager
def full(site: Site) -> Iterator[None]:
    """The server has no memory left, and takes nothing that needs more."""
    with contextlib.closing(Client(site.server.url)) as client, site.server.client() as redis:
        waiting = [[number] for number in itertools.islice(Feed.numbers, 2_000)]
        client.push_bulk({"class": "chaos_quick", "args": waiting})
        redis.config_set("maxmemory", 1)
        yield
        wait_until(lambda: site.jobd.statistics() == _account(site.jobd), "counters equal the ledger")
        redis.config_set("maxmemory", 0)


@contextmanager
def without_scripts(site: Site) -> Iterator[None]:
    """Somebody has the server forget its scripts, again and again."""
    over = threading.Event()

    def flush() -> None:
        with site.server.client() as client:
            while not over.wait(0.005):
                client.script_flush()

    thread = threading.Thread(target=flush, name="flush")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def slow(site: Site) -> Iterator[None]:
    """Each reply comes late."""
    site.line.slow_down(SLOW)
    try:
        yield
    finally:
        site.line.slow_down(0.0)


@pytest.mark.parametrize("trouble", [full, without_scripts, slow])
def test_what_lets_jobs_end_stops_no_work_and_is_no_outage(site: Site, trouble: Outage) -> None:
    site.wait_until_back()
    site.new_events()
    with Feed(site.server.url) as feed:
        site.wait_for_work("work before the trouble")
        with trouble(site):
            site.wait_for_work("work meanwhile", 2 * SLOW + SECONDS + GOES_ON_WITHIN)
            select.select([], [], [], SECONDS)
            assert site.jobd.status()["redis_seen_ago"] < 2 * SLOW + 2.0
        site.wait_for_work("work afterwards")
    site.settle(feed)
    # Figures of classes are no reason to stop: they are missing, and that is said.
    assert {event["event"] for event in site.new_events()} <= ({"metrics.refused"} if trouble is full else set())
    assert all("memory" in refusal for refusal in feed.refusals)


HALF_OPEN = {
    "all": b"",
    "doorbell": b"TRACKING",
    "ledger": b":batch",
    "heartbeat": b"\r\nTIME\r\n",
}
"""What is said on which connections soon after they were opened."""


@pytest.mark.parametrize("which", ["all", *(pytest.param(w, marks=only_long) for w in list(HALF_OPEN)[1:])])
def test_connections_that_died_unseen_are_replaced_once_a_reply_is_overdue(site: Site, which: str) -> None:
    site.wait_until_back()
    site.new_events()
    with Feed(site.server.url) as feed:
        site.wait_for_work("work before")
        site.line.forget(HALF_OPEN[which])
        site.wait_until_lost()
        site.wait_for_work("work on new connections")
        site.wait_until_back()
    site.settle(feed)
    select.select([], [], [], SOCKET_TIMEOUT)
    lines = Counter((event["pid"], event["event"]) for event in site.new_events())
    assert set(lines.values()) == {1}
    assert {name for _, name in lines} == {"redis.lost", "redis.back"}


@only_long
def test_an_idle_command_whose_connections_died_unseen_hears_of_work_again(site: Site) -> None:
    site.wait_until_back()
    site.new_events()
    site.line.forget()
    begun = time.monotonic()
    site.wait_until_lost()
    with Feed(site.server.url) as feed:
        site.wait_for_work("work")
    assert time.monotonic() - begun < defaults.MAX_WAIT + SOCKET_TIMEOUT + GOES_ON_WITHIN
    site.settle(feed)
