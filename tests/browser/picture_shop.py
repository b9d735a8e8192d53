"""The shop of the pictures: a busy day of it, written into Redis as its workers would have, the same at each run."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from jobd.client import class_waits, metric_keys, queue_history
from jobd.client.cron_push import CronRun
from jobd.client.cron_set import CronSet
from jobd.client.deploys import mark_deploy
from jobd.client.history import RINGS, Sample, key_of, pack
from jobd.client.keys import Keys
from jobd.client.metric_keys import BOUNDS, BUCKETS, HOUR, MINUTE, TEN_MINUTES
from jobd.client.push import Client
from jobd.client.queue_history import Course, QueueSample
from jobd.client.queue_history import pack as pack_queue
from jobd.worker.wait_counts import WaitCounts

KEYS = Keys()
DAY = 86_400


@dataclass(frozen=True)
class Kind:
    """A class of jobs: its queue, how often it runs in a minute, which share fails, how many milliseconds it takes."""

    name: str
    queue: str
    rate: float
    fails: float
    milliseconds: float
    args: tuple[Any, ...] = ()


KINDS = (
    Kind("SendReceipt", "mailers", 140, 0.002, 210, (48_211, "order_confirmation")),
    Kind("ChargeCard", "payments", 62, 0.021, 640, (48_211, {"amount": 4_990, "currency": "EUR"})),
    Kind("SyncStock", "default", 210, 0.006, 85, (7_731, "warehouse-2")),
    Kind("ResizeImage", "default", 96, 0.001, 320, (7_731, 640, "webp")),
    Kind("UpdateSearchIndex", "default", 330, 0.0004, 22, ("product", 7_731)),
    Kind("ImportCatalogue", "imports", 0.4, 0.05, 84_000, ("Acme", "2026-11-22.csv")),
    Kind("BuildReport", "reports", 0.2, 0.01, 41_000, ("sales", "2026-11")),
    Kind("NotifyCarrier", "payments", 34, 0.013, 460, (48_211, "DHL")),
    Kind("SendReminder", "mailers", 12, 0.001, 190, (90_210,)),
)
BY_NAME = {kind.name: kind for kind in KINDS}
ERRORS = (
    ("ChargeCard", "CardDeclined", "Your card was declined (insufficient funds): order {}", 61),
    ("SyncStock", "ReadTimeout", "warehouse-2.example.com did not answer within 5 s for product {}", 84),
    ("NotifyCarrier", "CarrierError", "DHL answered 503 for parcel {}: try again later", 27),
    ("ImportCatalogue", "ValueError", "line {}: 12,90 is no price", 8),
    ("SendReceipt", "SMTPRecipientsRefused", "450 mailbox of customer {} is full", 4),
)
WAITING = {"default": 1_243, "mailers": 212, "payments": 38, "reports": 96, "imports": 11}
PROCESSES = (("shop-worker-1", 812), ("shop-worker-1", 813), ("shop-worker-2", 640), ("shop-worker-2", 641))
CRON = (
    ("clean_carts", "*/10 * * * *", "UpdateSearchIndex", "Carts that nobody came back to", ""),
    ("daily_sales", "0 6 * * 1-5", "BuildReport", "Figures of the day before", "Europe/Berlin"),
    ("import_acme", "30 2 * * *", "ImportCatalogue", "The catalogue of Acme", "Europe/Berlin"),
    ("reminders", "0 9 * * *", "SendReminder", "For those who asked for one", "Asia/Ho_Chi_Minh"),
    ("stock_of_all_warehouses", "*/15 * * * *", "SyncStock", "All that moved since the last run", ""),
)


def fill(redis: Redis, client: Client, now: float) -> None:
    """Write a day of the shop that ends now (epoch seconds) into an empty Redis."""
    chance = random.Random(1)
    _queues(redis, chance, now)
    _courses(redis, chance, now)
    _sets(redis, chance, now)
    _processes(redis, chance, now)
    _cron(redis, client, chance, now)
    _figures(redis, chance, now)
    _waits(redis, random.Random(2), now)
    _totals(redis, chance, now)
    for minutes, label in ((37, "v2.18.1"), (5 * 60, "v2.18.0")):
        mark_deploy(label, at=now - 60 * minutes, client=client)


def beat(redis: Redis, now: float) -> None:
    """Have all processes give a sign of life."""
    for identity in redis.smembers("processes"):
        redis.hset(identity, mapping={"beat": repr(now), "fetched_at": repr(now)})


def _job(chance: random.Random, kind: Kind, now: float, **fields: Any) -> bytes:
    args = [value + chance.randrange(900) if isinstance(value, int) else value for value in kind.args]
    known = {
        "retry": 10,
        "queue": kind.queue,
        "args": args,
        "class": kind.name,
        "jid": f"{chance.getrandbits(96):024x}",
    }
    times = {"created_at": now, "enqueued_at": now}
    return json.dumps({**known, **times, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def _queues(redis: Redis, chance: random.Random, now: float) -> None:
    for name, count in WAITING.items():
        kinds = [kind for kind in KINDS if kind.queue == name]
        ages = sorted(
            (chance.expovariate(1 / 9) if name != "reports" else chance.uniform(60, 5_400)) for _ in range(count)
        )
        jobs = [_job(chance, chance.choices(kinds, [kind.rate for kind in kinds])[0], now - age) for age in ages]
        redis.rpush(f"queue:{name}", *jobs)
        redis.sadd("queues", name)


def _courses(redis: Redis, chance: random.Random, now: float) -> None:
    """What came to each queue and went, in the last hour and the last three days."""
    for name, count in WAITING.items():
        kinds = [kind for kind in KINDS if kind.queue == name]
        rate = sum(kind.rate for kind in kinds) / 60
        fails = sum(kind.rate * kind.fails for kind in kinds) / 60 / rate
        for step, ring in RINGS.items():
            came = 9e6
            for place in range(ring.slots):
                at, went = now - place * ring.step, came - count
                waits = chance.uniform(2, 30)
                size = round(count * _shape(at) * chance.uniform(0.8, 1.2))
                sample = QueueSample(at, size, waits, came, went, went, went * fails)
                redis.setrange(
                    queue_history.ring_key(KEYS, step, name), queue_history.offset(step, at), pack_queue(sample)
                )
                came -= rate * ring.step * _shape(at) * chance.uniform(0.9, 1.1)
        bins = []
        for _ in range(queue_history.BINS):
            done = rate * queue_history.BIN * chance.uniform(0.9, 1.1)
            bins.append((done * chance.uniform(0.95, 1.05), done, done, done * fails))
        grown = 0.0 if name == "reports" else -rate * chance.uniform(0.02, 0.08)
        course = Course(QueueSample(now, count), 60.0, rate + grown, rate, grown, tuple(bins))
        redis.hset(KEYS.queue_courses, name, course.pack())


def _sets(redis: Redis, chance: random.Random, now: float) -> None:
    for name, error, message, count in ERRORS:
        for _ in range(count):
            attempt = chance.randrange(7)
            wait = 40 + attempt**4 * chance.uniform(0.3, 1) + chance.uniform(0, 300)
            redis.zadd("retry", {_failed(chance, name, error, message, now, attempt): now + wait})
        for _ in range(count // 6):
            redis.zadd("dead", {_failed(chance, name, error, message, now, 10): now - chance.uniform(600, 9 * DAY)})
    for _ in range(412):
        name = chance.choices(("SendReminder", "NotifyCarrier", "BuildReport"), (8, 3, 1))[0]
        redis.zadd("schedule", {_job(chance, BY_NAME[name], now - 900): now + chance.expovariate(1 / 30_000)})


def _failed(chance: random.Random, name: str, error: str, message: str, now: float, attempt: int) -> bytes:
    failed = now - chance.uniform(30, 3_000) - attempt**4
    trace = [
        '  File "shop/jobs.py", line 88, in perform',
        f'    raise {error}("…")',
    ]
    told = {"error_class": error, "error_message": message.format(chance.randrange(10_000, 99_999))}
    fields = {**told, "retry_count": attempt, "failed_at": failed, "error_backtrace": trace}
    if attempt:
        fields["retried_at"] = now - chance.uniform(5, 500)
    tags = ["eu", "vip"] if chance.random() < 0.2 else ["eu"]
    return _job(chance, BY_NAME[name], failed - 2, tags=tags, **fields)


def _processes(redis: Redis, chance: random.Random, now: float) -> None:
    for number, (host, pid) in enumerate(PROCESSES):
        identity = f"{host}:{pid}:{chance.getrandbits(48):012x}"
        weights = {"payments": 3, "default": 2, "mailers": 2, "reports": 1, "imports": 1}
        info = {
            "hostname": host,
            "pid": pid,
            "tag": "shop",
            "concurrency": 10,
            "queues": list(weights),
            "version": "jobd-1.0.0",
            "weights": [weights],
            "labels": ["eu-west"],
            "identity": identity,
            "started_at": now - 6.2 * 3600,
        }
        running = list(chance.choices(KINDS, [kind.rate * kind.milliseconds for kind in KINDS], k=7 - number))
        heartbeat = {"info": json.dumps(info), "busy": len(running), "beat": repr(now), "quiet": "false"}
        used = [184_000 + number * 9_000 - round(90 * (60 - beat) * chance.uniform(0.8, 1.2)) for beat in range(60)]
        part = [chance.randrange(22, 58) for _ in used]
        trend = json.dumps({"step": 10, "rss": used, "cpu": part})
        facts = {"rss": used[-1], "cpu": part[-1], "trend": trend, "rtt_us": 240, "concurrency": 10}
        redis.hset(identity, mapping={**heartbeat, **facts, "fetched_at": repr(now)})
        redis.sadd("processes", identity)
        for thread, kind in enumerate(running):
            lasted = chance.expovariate(1000 / kind.milliseconds)
            work = {
                "queue": kind.queue,
                "run_at": int(now - lasted),
                "payload": _job(chance, kind, now - lasted).decode(),
            }
            redis.hset(f"{identity}:work", f"t{thread}", json.dumps(work))


def _cron(redis: Redis, client: Client, chance: random.Random, now: float) -> None:
    entries = CronSet(client)
    for name, expression, job, description, zone in CRON:
        kind = BY_NAME[job]
        zoned = {"timezone": zone} if zone else {}
        entries.create(name, expression, job, args=list(kind.args), queue=kind.queue, description=description, **zoned)
        step = 600 if "/10" in expression else 900 if "/15" in expression else DAY
        for number in range(12, 0, -1):
            tick = (now // step - number + 1) * step - (0 if step < DAY else 4 * 3600)
            ended = tick + 0.1 + kind.milliseconds / 1000
            run = CronRun(tick, tick + 0.1, f"{chance.getrandbits(96):024x}", outcome="ok", ended=ended)
            redis.lpush(KEYS.cron_runs(name), run.as_json())
    entries.disable("import_acme")


def _shape(at: float) -> float:
    """How busy the shop is at a time of the day: between 0.4 and 1."""
    return 0.7 + 0.3 * math.sin((at % DAY) / DAY * 2 * math.pi - 2)


def _figures(redis: Redis, chance: random.Random, now: float) -> None:
    """The figures of each class: by the minute for 8 hours, by ten for 3 days, by the hour for 90 days."""
    steps = ((MINUTE, 480), (TEN_MINUTES, 432), (HOUR, 2_160))
    with redis.pipeline(transaction=False) as pipeline:
        for width, count in steps:
            for place in range(count):
                at = now - place * width
                name = (
                    KEYS.metrics_hour(metric_keys.hour_slot(at))
                    if width == HOUR
                    else KEYS.metrics(metric_keys.slot(at, width))
                )
                pipeline.hset(name, mapping=dict(_counters(chance, at, width)))
        for place in range(480):
            at = now - place * 60
            for kind in KINDS:
                pipeline.set(KEYS.histogram(metric_keys.histogram_slot(kind.name, at)), _histogram(chance, kind))
        pipeline.execute()


def _waits(redis: Redis, chance: random.Random, now: float) -> None:
    """How long the jobs of each class had waited in the last hour."""
    for place in range(60):
        counts = WaitCounts()
        for kind in KINDS:
            waited = (chance.lognormvariate(-0.5, 1.0) for _ in range(min(round(kind.rate) + 1, 60)))
            counts.add(kind.name, sorted(waited))
        with redis.pipeline(transaction=False) as pipeline:
            counts.put(pipeline, KEYS, class_waits.GRIDS, now - place * 60)
            pipeline.execute()


def _counters(chance: random.Random, at: float, width: int) -> Iterator[tuple[str, int]]:
    for kind in KINDS:
        ran = int(kind.rate * width / 60 * _shape(at) * chance.uniform(0.85, 1.15) + chance.random())
        failed = sum(chance.random() < kind.fails for _ in range(min(ran, 400))) * max(ran // 400, 1)
        processed, bad, milliseconds = metric_keys.fields(kind.name)
        yield from ((processed, ran), (bad, failed), (milliseconds, round((ran - failed) * kind.milliseconds)))


def _histogram(chance: random.Random, kind: Kind) -> bytes:
    counts = [0] * BUCKETS
    for _ in range(min(round(kind.rate) + 1, 60)):
        lasted = kind.milliseconds * chance.lognormvariate(-0.2, 0.6)
        counts[next((place for place, bound in enumerate(BOUNDS) if lasted < bound), BUCKETS - 1)] += 1
    return struct.pack(f">{BUCKETS}H", *counts)


def _totals(redis: Redis, chance: random.Random, now: float) -> None:
    """The totals of today, of each day, and as they were in the last hour and the last three days."""
    processed, failed = 48_211_907, 391_442
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.mset({"stat:processed": processed, "stat:failed": failed})
        for day in range(180):
            at = now - day * DAY
            ran = round(1_150_000 * (0.72 if int(at // DAY + 3) % 7 in (5, 6) else 1) * chance.uniform(0.9, 1.1))
            part = (now % DAY) / DAY if day == 0 else 1
            pipeline.set(KEYS.stat_processed_on(at), round(ran * part))
            pipeline.set(KEYS.stat_failed_on(at), round(ran * part * chance.uniform(0.006, 0.011)))
        for step, ring in RINGS.items():
            for sample in _samples(chance, now, ring.step, ring.slots, (processed, failed)):
                pipeline.setrange(key_of(KEYS, step), ring.offset(sample.at), pack(sample))
        pipeline.execute()


def _samples(chance: random.Random, now: float, step: float, count: int, totals: Sequence[float]) -> Iterator[Sample]:
    processed, failed = totals
    for place in range(count):
        at = now - place * step
        rate = 14.6 * _shape(at) * chance.uniform(0.9, 1.1)
        yield Sample(
            at,
            processed=processed,
            failed=failed,
            enqueued=round(1_600 * _shape(at) * chance.uniform(0.9, 1.1)),
            busy=round(24 * _shape(at) * chance.uniform(0.8, 1.1)),
            threads=40,
            retries=184 - place // 4,
            scheduled=412,
            dead=29,
            latency=chance.uniform(2, 12),
            memory=61e6 + 4e6 * _shape(at),
            memory_limit=256e6,
        )
        processed, failed = processed - rate * step, failed - rate * step * 0.008
