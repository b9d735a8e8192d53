"""A fail-over under load: the whole command follows the sentinel to the new master and goes on there.

It takes a while, so that the ordinary suite leaves it out: `JOBD_FAILOVERS` sets how many are to be [0].
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from jobd.supervisor import exits
from tests.sentinels import Watched
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

FAILOVERS = int(os.environ.get("JOBD_FAILOVERS", "0"))
BRIEF, HELD, PROCESSES, THREADS = 3_000, 4, 2, 4


@pytest.mark.skipif(not FAILOVERS, reason="make chaos runs it")
@pytest.mark.parametrize("number", range(max(1, FAILOVERS)))
def test_a_command_under_load_follows_the_sentinel_and_loses_nothing(start_jobd: StartJobd, number: int) -> None:
    with Watched() as service:
        service.wait_until_in_step()
        settings = {"processes": PROCESSES, "concurrency": THREADS, "require": ["turnover_jobs"], "may_fail": True}
        jobd = start_jobd(service.url, **settings)
        jobd.push_many("hold", range(HELD))
        jobd.wait_for_lines("began", HELD)
        jobd.push_many("brief", range(BRIEF))
        jobd.wait_for_lines("brief", BRIEF // 20)
        service.fail_over()
        # Every other time the old master stays: what it did until the sentinel makes it a replica is void then.
        if number % 2:
            service.first.kill()
        jobd.redis_url = service.second.url
        jobd.release()
        wait_until(lambda: jobd.statistics() == (BRIEF + HELD, 0), "each job is counted once", 40)
        assert set(map(int, jobd.lines("brief"))) == set(range(BRIEF))
        assert jobd.stop() == exits.OK
        assert jobd.left_in_progress() == {}
    assert_told(jobd)


def assert_told(jobd: Jobd) -> None:
    """Each process has said once that Redis was lost, and once that it is back."""
    lines = Counter((event["pid"], event["event"]) for event in jobd.events("redis.lost", "redis.back"))
    assert len(lines) == 2 * PROCESSES
    assert set(lines.values()) == {1}
