"""Redis goes away and comes back: work goes on by itself, nothing is lost or doubled, and waiting costs little.

`JOBD_OUTAGE_SECONDS` sets how long Redis stays away [1].
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import Counter

import psutil
import pytest

from jobd.supervisor import exits
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd, doubled
from tests.waiting import wait_until

OUTAGE_SECONDS = float(os.environ.get("JOBD_OUTAGE_SECONDS", "1"))
MAX_CPU_SHARE = 0.05 + 0.05 / OUTAGE_SECONDS
"""Of one core, for all processes together."""
SOCKET_TIMEOUT = 1.0


def cpu_seconds(jobd: Jobd) -> float:
    """CPU time that the command and its children have used."""
    family = [psutil.Process(jobd.pid), *jobd.workers]
    return sum(times.user + times.system for times in (process.cpu_times() for process in family))


def wait_and_measure(jobd: Jobd, seconds: float) -> float:
    """Let the time of an outage pass; returns the share of one core that jobd used meanwhile."""
    before, begun = cpu_seconds(jobd), time.monotonic()
    select.select([], [], [], seconds)
    return (cpu_seconds(jobd) - before) / (time.monotonic() - begun)


@pytest.mark.parametrize("processes", [0, 2])
def test_work_goes_on_within_3_seconds_after_an_outage(start_jobd: StartJobd, processes: int) -> None:
    with RedisServer(appendonly=True) as server:
        jobd = start_jobd(server.url, processes=processes, concurrency=5)
        running = 5 * max(1, processes)
        jobd.push_many("hold", range(running))
        jobd.wait_for_lines("began", running)
        jobd.push_many("quick", range(running, running + 100))
        server.stop()
        jobd.wait_for("redis.lost", count=max(1, processes))
        jobd.release()
        jobd.wait_for_lines("ended", running)
        assert wait_and_measure(jobd, OUTAGE_SECONDS) < MAX_CPU_SHARE
        server.start()
        back = time.monotonic()
        jobd.wait_for_lines("ended", running + 1, seconds=3)
        assert time.monotonic() - back < 3
        jobd.wait_for_lines("ended", running + 100)
        assert not doubled(jobd.lines("began") + jobd.lines("ended")[running:])
        assert jobd.stop() == exits.OK
        assert sorted(map(int, jobd.lines("ended"))) == list(range(running + 100))
        assert jobd.statistics() == (running + 100, 0)
        assert jobd.left_in_progress() == {}
        for line in ("redis.lost", "redis.back"):
            per_process = Counter(event["pid"] for event in jobd.events(line))
            assert set(per_process.values()) == {1}


def test_an_idle_command_survives_an_outage_and_takes_new_work_at_once(start_jobd: StartJobd) -> None:
    with RedisServer(appendonly=True) as server:
        jobd = start_jobd(server.url)
        server.stop()
        jobd.wait_for("redis.lost")
        assert wait_and_measure(jobd, OUTAGE_SECONDS) < MAX_CPU_SHARE
        server.start()
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1, seconds=3)
        assert jobd.stop() == exits.OK
        assert jobd.left_in_progress() == {}


def test_a_stop_during_an_outage_ends_in_time_and_the_next_start_runs_the_jobs_again(start_jobd: StartJobd) -> None:
    with RedisServer(appendonly=True) as server:
        jobd = start_jobd(server.url, concurrency=2, timeout=1)
        jobd.push_many("hold", range(2))
        jobd.wait_for_lines("began", 2)
        server.stop()
        jobd.wait_for("redis.lost")
        begun = time.monotonic()
        jobd.signal(signal.SIGTERM)
        assert jobd.wait() == exits.OK
        assert time.monotonic() - begun < 1 + 3
        assert jobd.count("process.left_jobs") == 1
        server.start()
        jobd.release()
        jobd.start()
        jobd.wait_for_lines("ended", 2)
        assert jobd.stop() == exits.OK
        assert jobd.statistics() == (2, 0)
        assert jobd.left_in_progress() == {}


def test_a_server_that_hangs_is_waited_for(start_jobd: StartJobd) -> None:
    with RedisServer() as server:
        jobd = start_jobd(f"{server.url}&socket_timeout={SOCKET_TIMEOUT}", processes=1, concurrency=4)
        jobd.push_many("hold", range(2))
        jobd.wait_for_lines("began", 2)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            jobd.release()
            jobd.wait_for("redis.lost", seconds=SOCKET_TIMEOUT + 3)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        jobd.push_many("quick", range(2, 50))
        jobd.wait_for_lines("ended", 50, seconds=5)
        assert jobd.stop() == exits.OK
        assert not doubled(jobd.lines("ended"))
        assert jobd.statistics() == (50, 0)
        assert jobd.left_in_progress() == {}


def test_connections_that_are_cut_again_and_again_lose_and_double_nothing(start_jobd: StartJobd) -> None:
    jobs = 3_000
    with RedisServer() as server:
        jobd = start_jobd(server.url, processes=2, concurrency=4)
        jobd.push_many("quick", range(jobs))
        with server.client() as client:
            for cut in range(1, 31):
                wait_until(lambda at=cut: len(jobd.lines("ended")) >= at * jobs // 40, "progress")
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        jobd.wait_for_lines("ended", jobs, seconds=20)
        assert jobd.stop() == exits.OK
        assert sorted(map(int, jobd.lines("ended"))) == list(range(jobs))
        assert jobd.statistics() == (jobs, 0)
        assert jobd.left_in_progress() == {}


def test_a_server_that_came_back_empty_is_used_like_a_new_one(start_jobd: StartJobd) -> None:
    with RedisServer() as server:
        jobd = start_jobd(server.url, processes=1, concurrency=2, may_fail=True)
        jobd.push("hold", 1)
        jobd.wait_for_lines("began", 1)
        server.restart()
        jobd.wait_for("owner.fenced")
        jobd.push("quick", 2)
        jobd.wait_for_lines("ended", 1)
        jobd.release()
        jobd.wait_for_lines("ended", 2)
        jobd.wait_for("job.not_ours")
        assert jobd.stop() == exits.OK
        assert jobd.statistics() == (1, 0)
        assert jobd.left_in_progress() == {}


def test_a_worker_that_waits_through_a_refused_login_goes_on_when_it_is_right_again(start_jobd: StartJobd) -> None:
    with RedisServer(password="right") as server:
        jobd = start_jobd(server.url)
        with server.client() as client:
            client.config_set("requirepass", "other")
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            jobd.wait_for("redis.lost")
            client.config_set("requirepass", "right")
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1, seconds=3)
        assert "right" not in jobd.text()
