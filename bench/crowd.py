"""A Redis as a large site has it after a bad night: what the dashboard is measured on.

Written in the data model that jobd and Sidekiq share, without their code: it would take minutes to fail 100,000 jobs.
"""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from redis import Redis

from bench.systems import QUEUE
from jobd.client import class_waits, defaults, metric_keys, queue_history, queue_waits, waits
from jobd.client.cron_push import CronRun
from jobd.client.cron_set import CronSet
from jobd.client.history import RINGS, Sample, key_of, pack
from jobd.client.keys import Keys
from jobd.client.metric_keys import HOUR, MINUTE, TEN_MINUTES
from jobd.client.push import Client

KEYS = Keys()
LARGEST = "q000"
"""The queue that has most of the jobs."""
RARE, BROAD, NOWHERE = "needle", "Timeout", "haystack"
"""Texts that few, a third, and none of the retries hold."""
RARE_EVERY = 10_000
_STEP = 1_000
_DAY = 24 * 3600
_KEPT = ((MINUTE, 8 * 3600), (TEN_MINUTES, 72 * 3600))
"""Widths of the figures of classes, and for how many seconds they are kept; by the hour for days."""
_FILLED = "bench:crowd"
_ERRORS = (
    ("Timeout::Error", "no answer from 10.0.{0}.{1} after 30 s"),
    ("app.errors.RateLimited", "429 for account {0}{1}"),
    ("KeyError", "'customer-{1}'"),
)


@dataclass(frozen=True)
class Size:
    """How much of what there is."""

    queued: int = 1_000_000
    queues: int = 500
    retries: int = 100_000
    scheduled: int = 100_000
    dead: int = 10_000
    processes: int = 1_000
    threads: int = 10
    classes: int = 50
    cron: int = 200
    days: int = 90
    """For which there are figures of classes by the hour."""


FULL = Size()
QUICK = Size(queued=20_000, queues=50, retries=5_000, scheduled=5_000, dead=1_000, processes=50, cron=20)


def fill(client: Redis, url: str, size: Size) -> None:
    """Empty the database and fill it, unless it is full; the processes have just shown themselves then."""
    if client.get(_FILLED) != repr(size).encode():
        client.flushall()
        dice, now = random.Random(1), time.time()
        for write in (_queues, _scheduled, _dead, _figures, _histograms, _totals):
            write(client, size, dice, now)
        _waits(client, size, now)
        fill_retries(client, size)
        _work(client, size, dice, now)
        _cron(client, url, size, now)
        client.set(_FILLED, repr(size))
    _samples(client, size)
    _recorded(client, size)
    beat(client, size)


def fill_retries(client: Redis, size: Size) -> None:
    """The retries alone, which a measure has used up."""
    dice, now = random.Random(2), time.time()
    client.delete(KEYS.retry)
    _add(client, KEYS.retry, ((now + dice.uniform(0, _DAY), _failed(n, size, dice, now)) for n in range(size.retries)))


def beat(client: Redis, size: Size) -> None:
    """Have all processes show themselves now."""
    now = time.time()
    with client.pipeline(transaction=False) as pipeline:
        for number in range(size.processes):
            pipeline.hset(identity(number), mapping=_heartbeat(number, size, now))
            pipeline.sadd(KEYS.processes, identity(number))
        pipeline.execute()


def _job(number: int, queue: str, size: Size, now: float, **fields: Any) -> dict[str, Any]:
    return {
        "retry": True,
        "queue": queue,
        "class": f"app.jobs.Class{number % size.classes:02d}",
        "args": [number, f"customer-{number % 5_000}@example.com", {"locale": "en", "token": "secret"}],
        "jid": f"{number:024x}",
        "created_at": now,
        **fields,
    }


def _queue(number: int) -> str:
    return f"q{number:03d}"


def _queues(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    """Half of all jobs in the largest queue."""
    others = size.queued // 2 // max(size.queues - 1, 1)
    client.sadd(KEYS.queues, *map(_queue, range(size.queues)))
    for place in range(size.queues):
        count = others if place else size.queued - others * (size.queues - 1)
        name, first = _queue(place), place * 10_000_000
        jobs = (_job(first + n, name, size, now - 60, enqueued_at=now - 60 + n / count * 50) for n in range(count))
        for some in _chunks(map(_encoded, jobs)):
            client.lpush(KEYS.queue(name), *some)


def _scheduled(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    places = range(size.scheduled)
    jobs = ((now + dice.uniform(60, 30 * _DAY), _job(n, _queue(n % size.queues), size, now - 60)) for n in places)
    _add(client, KEYS.schedule, ((at, _encoded(job)) for at, job in jobs))


def _dead(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    places = range(size.dead)
    _add(client, KEYS.dead, ((now - dice.uniform(0, 90 * _DAY), _failed(n, size, dice, now)) for n in places))


def _failed(number: int, size: Size, dice: random.Random, now: float) -> bytes:
    name, text = _ERRORS[number % len(_ERRORS)]
    if not number % RARE_EVERY:
        text += f" {RARE}"
    errors = {
        "failed_at": now - dice.uniform(3_600, _DAY),
        "retried_at": now - dice.uniform(60, 3_600),
        "retry_count": dice.randrange(20),
        "error_class": name,
        "error_message": text.format(dice.randrange(256), dice.randrange(256)),
    }
    return _encoded(_job(number, _queue(number % size.queues), size, now - _DAY, **errors))


def identity(number: int) -> str:
    """That of a process."""
    return f"host{number // 10:03d}:{1_000 + number}:{number:012x}"


def _heartbeat(number: int, size: Size, now: float) -> dict[Any, Any]:
    queues = [_queue((number * 5 + place) % size.queues) for place in range(min(5, size.queues))]
    weights = dict.fromkeys(queues, 1)
    info = {
        "hostname": f"host{number // 10:03d}",
        "started_at": 1_750_000_000.5 + number,
        "pid": 1_000 + number,
        "tag": "shop",
        "concurrency": size.threads,
        "capsules": {"default": {"concurrency": size.threads, "mode": "random", "weights": weights}},
        "queues": queues,
        "weights": [weights],
        "labels": [],
        "identity": identity(number),
        "version": "jobd-1.0",
        "embedded": False,
        "dead_max_jobs": 10_000,
        "dead_timeout": 180.0 * _DAY,
    }
    return {
        "info": json.dumps(info),
        "busy": size.threads,
        "beat": repr(now - number % 10),
        "quiet": "false",
        "rss": 80_000 + number,
        "rtt_us": 200 + number,
        "concurrency": size.threads,
        "fetched_at": repr(now - 1),
        "oldest_at": repr(now - 1),
    }


def _work(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    """Every thread of every process runs a job."""
    for number in range(size.processes):
        work: dict[Any, Any] = {}
        for thread in range(size.threads):
            queue = _queue((number * 5 + thread % 5) % size.queues)
            job = _encoded(_job(number * size.threads + thread, queue, size, now - 600, enqueued_at=now - 590))
            run_at = int(now - dice.uniform(0, 500))
            work[f"t{thread}"] = _encoded({"queue": queue, "payload": job.decode(), "run_at": run_at})
        for key in (KEYS.work(identity(number)), KEYS.workers(identity(number))):
            client.hset(key, mapping=work)


def _figures(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    """Runs, failures and milliseconds of every class, by the minute, by ten minutes and by the hour."""
    for width, kept in (*_KEPT, (HOUR, size.days * _DAY)):
        for some in _chunks(_starts(now, width, kept), 100):
            with client.pipeline(transaction=False) as pipeline:
                for start in some:
                    name = metric_keys.hour_slot(start) if width == HOUR else metric_keys.slot(start, width)
                    key = KEYS.metrics_hour(name) if width == HOUR else KEYS.metrics(name)
                    pipeline.hset(key, mapping=dict(_counters(size, width, dice)))
                pipeline.execute()


def _counters(size: Size, width: int, dice: random.Random) -> Iterator[tuple[str, int]]:
    for number in range(size.classes):
        runs = dice.randrange(width)
        values = (runs, runs // 50, runs * dice.randrange(20, 500))
        yield from zip(metric_keys.fields(f"app.jobs.Class{number:02d}"), values, strict=True)


def _histograms(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    width, kept = _KEPT[0]
    for start in _starts(now, width, kept):
        values = {}
        for number in range(size.classes):
            counts = [dice.randrange(20) for _ in range(metric_keys.BUCKETS)]
            key = KEYS.histogram(metric_keys.histogram_slot(f"app.jobs.Class{number:02d}", start))
            values[key] = struct.pack(f">{len(counts)}H", *counts)
        client.mset(values)


def _waits(client: Redis, size: Size, now: float) -> None:
    """How long the jobs of every class had waited: from 0.3 s to two minutes."""
    stretch = [7 * (15 <= bucket < 30) for bucket in range(waits.BUCKETS)]
    for grid, kept in zip(class_waits.GRIDS, (3600, 3 * _DAY, size.days * _DAY), strict=True):
        counts = struct.pack(f">{len(stretch)}I", *stretch) * grid.slots
        for number in range(grid.place(now - kept)[0], grid.place(now)[0] + 1):
            names = (f"app.jobs.Class{nth:02d}" for nth in range(size.classes))
            client.mset({grid.key(KEYS, name, number): counts for name in names})


def _starts(now: float, width: int, kept: int) -> Sequence[float]:
    return [now // width * width - width * back for back in range(kept // width)]


def _totals(client: Redis, size: Size, dice: random.Random, now: float) -> None:
    values = {KEYS.stat_processed: 10**9, KEYS.stat_failed: 10**7}
    for back in range(180):
        done = dice.randrange(10**7)
        moment = now - back * _DAY
        values |= {KEYS.stat_processed_on(moment): done, KEYS.stat_failed_on(moment): done // 100}
    client.mset(values)


def _samples(client: Redis, size: Size) -> None:
    """What was recorded of the totals, up to now."""
    now = time.time()
    for step, ring in RINGS.items():
        written = bytearray(len(pack(Sample(now))) * ring.slots)
        for back in range(ring.slots):
            at = now - ring.step * back
            done, place = 1e9 - 100 * (now - at), ring.offset(at)
            sample = pack(Sample(at, done, done / 100, size.queued, size.processes * size.threads, latency=60.0))
            written[place : place + len(sample)] = sample
        client.set(key_of(KEYS, step), bytes(written), ex=ring.ttl)


def _recorded(client: Redis, size: Size) -> None:
    """The last hour of as many queues as are recorded, and all that is known of the fullest."""
    now = time.time()
    for step, ring in RINGS.items():
        for back in range(ring.slots):
            sample = _of_queue(now - ring.step * back, now)
            place = queue_history.offset(step, sample.at)
            client.setrange(queue_history.ring_key(KEYS, step, _queue(0)), place, queue_history.pack(sample))
    bins = ((300.0, 280.0, 280.0, 3.0),) * queue_history.BINS
    course = queue_history.Course(_of_queue(now, now), 60.0, 1.7, 1.6, 0.1, bins).pack()
    names = [_queue(number) for number in range(min(size.queues, defaults.HISTORY_QUEUES))]
    client.hset(KEYS.queue_courses, mapping=dict.fromkeys(names, course))
    for grid in queue_waits.GRIDS:
        counts = bytes((0, 0, 0, 7)) * grid.buckets * grid.slots
        for back in range(5):
            key = grid.key(KEYS, _queue(0), grid.place(now)[0] - back)
            client.set(key, counts, ex=grid.ttl)


def _of_queue(at: float, now: float) -> queue_history.QueueSample:
    done = 1e6 - 2 * (now - at)
    return queue_history.QueueSample(at, 500_000.0, 60.0, done + 5e5, done, done, done / 100)


def _cron(client: Redis, url: str, size: Size, now: float) -> None:
    entries = CronSet(Client(url))
    for number in range(size.cron):
        name, minute = f"entry {number:03d}", number % 60
        entries.create(
            name, f"{minute} {number % 24} * * 1-5", f"app.jobs.Class{number % size.classes:02d}", queue=QUEUE
        )
        runs = [CronRun(now - back * _DAY, now - back * _DAY, f"{back:024x}", None, 0, "ok", now) for back in range(30)]
        client.rpush(KEYS.cron_runs(name), *(run.as_json() for run in runs))


def _add(client: Redis, key: str, members: Iterable[tuple[float, bytes]]) -> None:
    for some in _chunks(members):
        client.zadd(key, {raw: score for score, raw in some})


def _encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _chunks(items: Iterable[Any], size: int = _STEP) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
