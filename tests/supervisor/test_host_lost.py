"""A machine that is lost, or only seems to be: others take its jobs after the lease, and it changes nothing any more.

Two commands share a server; one of them takes itself for one of another machine. `JOBD_LEASE` sets the lease [1 s].
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobd.client import defaults
from jobd.supervisor import exits
from tests.line import Line
from tests.servers import RedisServer
from tests.supervisor.apps.ledger_jobs import LEDGER, RELEASE
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

LEASE = float(os.environ.get("JOBD_LEASE", "1"))
MARGIN = 15.0
"""Seconds after the lease within which jobs of a lost host are to run again."""
HELD, QUEUED = 4, 200
PATIENT = {"jobd.client.defaults.MIN_HANG_TIMEOUT": 45.0}
"""No process that stands still is taken for hung, however short the lease."""


class Pair:
    """`lost` on one host, reached through `line`, and `other` on another; both note in one ledger."""

    def __init__(self, line: Line, lost: Jobd, other: Jobd) -> None:
        self.line, self.lost, self.other = line, lost, other

    def fill(self) -> None:
        """Have `lost` run four jobs that hold, and start `other`, which has nothing to do."""
        self.lost.start()
        self.lost.push_many("hold", range(HELD))
        self.lost.wait_for_lines("began", HELD)
        self.other.start()

    def wait_for_takeover(self) -> float:
        """Return once `other` runs all that `lost` had; the seconds that this took."""
        begun = time.monotonic()
        self.lost.wait_for_lines("began", 2 * HELD, LEASE + MARGIN)
        return time.monotonic() - begun


@pytest.fixture
def pair(tmp_path: Path, redis_server: RedisServer, redis_url: str) -> Iterator[Pair]:
    settings: dict[str, Any] = {"processes": 1, "concurrency": HELD + 1, "lease": LEASE, "constants": PATIENT}
    shared = {LEDGER: str(tmp_path / "ledger"), RELEASE: str(tmp_path / "release")}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Line(redis_server.socket) as line, contextlib.ExitStack() as stack:
        lost = Jobd(tmp_path, f"{line.url}&socket_timeout=0.5", may_fail=True, **settings)
        other = Jobd(elsewhere, redis_url, patch="other_host", variables={"DYNO": "elsewhere", **shared}, **settings)
        for jobd in (lost, other):
            stack.callback(jobd.close)
        yield Pair(line, lost, other)


def family(jobd: Jobd) -> list[psutil.Process]:
    """The master and its children."""
    return [psutil.Process(jobd.pid), *jobd.workers]


def assert_counted_once_and_at_work(pair: Pair) -> None:
    """What ran on both hosts is counted once, and the one that was away does new work, alone."""
    lost, other = pair.lost, pair.other
    wait_until(lambda: lost.statistics() == (HELD, 0), "each job is counted once")
    assert other.stop() == exits.OK
    lost.push_many("quick", range(HELD, HELD + QUEUED))
    lost.wait_for_lines("ended", 2 * HELD + QUEUED)
    assert lost.stop() == exits.OK
    assert Counter(map(int, lost.lines("ended"))) == Counter([*range(HELD), *range(HELD + QUEUED)])
    assert lost.statistics() == (HELD + QUEUED, 0)
    assert lost.left_in_progress() == {}


def test_a_host_that_was_cut_off_for_longer_than_its_lease_acknowledges_nothing_that_ended_meanwhile(
    pair: Pair,
) -> None:
    pair.fill()
    pair.line.cut_off()
    assert pair.wait_for_takeover() < LEASE + MARGIN
    assert [event["jobs"] for event in pair.other.events("owner.recovered")] == [HELD]
    pair.lost.release()
    pair.lost.wait_for_lines("ended", 2 * HELD)
    pair.line.restore()
    fenced = pair.lost.wait_for("owner.fenced", seconds=3)
    assert fenced["owner"] == pair.lost.identities[0]
    assert_counted_once_and_at_work(pair)
    assert [pair.lost.count(line) for line in ("redis.lost", "redis.back", "owner.fenced")] == [1, 1, 1]


def test_a_host_that_stood_still_for_longer_than_its_lease_acknowledges_nothing_that_it_still_ran(pair: Pair) -> None:
    pair.fill()
    for process in family(pair.lost):
        process.suspend()
    assert pair.wait_for_takeover() < LEASE + MARGIN
    for process in family(pair.lost):
        process.resume()
    pair.lost.wait_for("owner.fenced", seconds=3)
    pair.lost.release()
    pair.lost.wait_for("job.not_ours", count=HELD)
    assert_counted_once_and_at_work(pair)
    assert pair.lost.count("job.not_ours") == HELD
    assert pair.lost.count("child.ended") == 1


def test_after_the_kill_of_a_whole_host_another_one_runs_its_jobs_after_the_lease(pair: Pair) -> None:
    pair.fill()
    pair.lost.kill_everything()
    assert LEASE / 2 < pair.wait_for_takeover() < LEASE + MARGIN
    pair.lost.release()
    pair.lost.wait_for_lines("ended", HELD)
    assert pair.other.stop() == exits.OK
    assert pair.lost.statistics() == (HELD, 0)
    assert pair.lost.left_in_progress() == {}


def test_after_the_kill_of_everything_a_restart_on_the_host_runs_the_jobs_within_5_seconds(pair: Pair) -> None:
    pair.lost.configure(lease=defaults.LEASE)
    pair.lost.start()
    pair.lost.push_many("hold", range(HELD))
    pair.lost.wait_for_lines("began", HELD)
    pair.lost.kill_everything()
    begun = time.monotonic()
    pair.lost.launch()
    pair.lost.wait_for_lines("began", 2 * HELD, 5)
    assert time.monotonic() - begun < 5
    pair.lost.release()
    assert pair.lost.stop() == exits.OK
    assert pair.lost.statistics() == (HELD, 0)
