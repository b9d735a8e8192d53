"""Whatever ticks and whoever is killed meanwhile: each tick is run exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from redis import Redis

import jobd

ROOT = Path(__file__).parents[2]
TICKS = int(os.environ.get("JOBD_CRON_TICKS", "200"))


def test_four_processes_that_are_killed_at_random_run_each_tick_once(redis: Redis, redis_url: str) -> None:
    """JOBD_CRON_TICKS sets how many ticks, JOBD_CHAOS_SEED has a run again."""
    jobd.configure(redis_url=redis_url)
    jobd.CronSet().create("a", "* * * * * *", "A", date_as_argument=True)
    [(_, seeded)] = redis.zrange("cron_job:a:enqueued", 0, -1, withscores=True)
    start = int(seeded) + 1
    redis.zadd("cron_job:a:enqueued", {"start": float(start)})
    redis.hset("cron_job:a", "since", repr(float(start)))
    seed = int(os.environ.get("JOBD_CHAOS_SEED", random.randrange(10**6)))
    command = [sys.executable, "-m", "tests.worker.cron_storm", redis_url, str(TICKS), str(seed), str(start)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > TICKS / 10, "hardly anybody was killed"
    raw: Any = redis.lrange("queue:default", 0, -1)
    ran = sorted(json.loads(payload)["args"][-1] - start for payload in raw)
    assert ran == list(range(1, TICKS + 1)), f"JOBD_CHAOS_SEED={seed}"
