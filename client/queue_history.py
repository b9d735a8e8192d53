"""Each queue in the last hour and in the last three days, as a worker process records it: `QueueSamples`.

What a record is, where it stands, and the summary of an hour that lists show; `worker/queue_history.py` writes them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.history import AHEAD, LARGEST, RINGS, Step, is_sound
from jobd.client.keys import Keys
from jobd.client.push import Client
from jobd.client.scripts import raw_bytes

TAKEN, ENDED, FAILED = b"t|", b"e|", b"f|"
"""What stands before the name of a queue in the hash of counts."""
LAG = 30.0
"""Seconds by which what was taken may be counted later than it has left its queue: more than a heartbeat."""
GAP = 60.0
"""Seconds without a record that are bridged: what came meanwhile belongs to the record after them."""
RATE_SPAN = 60.0
"""Seconds over which the present rates are told."""
BIN, BINS = 180.0, 21
"""The hour of a list is told by stretches of so many seconds: so many, of which the last is not complete."""

_RECORD = struct.Struct(">dIf4d")
_RATES = struct.Struct(">4f")
_BINS = struct.Struct(f">{4 * BINS}f")
_MOST_SIZE = 2**32 - 1

Bin: TypeAlias = tuple[float, float, float, float]
"""Jobs that came, were taken, ended and failed in one stretch; not a number where that is not known."""
_UNKNOWN: Bin = (math.nan, math.nan, math.nan, math.nan)


class QueueSample(NamedTuple):
    """A queue at one moment, `at` in epoch seconds.

    `size` jobs wait, the next of them for `latency` seconds. The others count since the queue was first recorded:
    `added` are jobs that came, by the change of the size and what was `taken`, so that a job given back or retried
    counts again. `taken`, `ended` and `failed` are counted by processes of jobd alone.
    """

    at: float
    size: float = 0.0
    latency: float = 0.0
    added: float = 0.0
    taken: float = 0.0
    ended: float = 0.0
    failed: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """The last hour of a queue.

    - `sample`: what was recorded last;
    - `span`: seconds over which the rates are told, 70 at most; 0.0 says that there are none yet;
    - `added`, `taken`: jobs that came and were taken in a second; `grown`: by how many the queue grew in a second,
      whoever put or took them;
    - `bins`: the hour in stretches of three minutes, the last of which goes on.
    """

    sample: QueueSample
    span: float = 0.0
    added: float = 0.0
    taken: float = 0.0
    grown: float = 0.0
    bins: tuple[Bin, ...] = (_UNKNOWN,) * BINS

    @property
    def hour(self) -> tuple[float, float]:
        """Jobs that ended within the hour, and those of them that failed."""
        known = [each for each in self.bins if each[2] == each[2]]
        return sum(each[2] for each in known), sum(each[3] for each in known)

    @property
    def failure_rate(self) -> float | None:
        """The share of failures of the jobs that ended within the hour; None without any."""
        ended, failed = self.hour
        return min(failed / ended, 1.0) if ended else None

    def is_fresh(self, now: float) -> bool:
        """Whether its rates are those of now (epoch seconds)."""
        return self.span > 0 and -AHEAD <= now - self.sample.at <= GAP

    def series(self, kind: int, now: float) -> list[float | None]:
        """Jobs in each complete stretch of the last hour: 0 those that came, 1 taken, 2 ended, 3 failed."""
        behind = min(max(int(now // BIN) - int(self.sample.at // BIN), 0), BINS)
        shifted = (*self.bins[behind:], *(_UNKNOWN for _ in range(behind)))
        return [None if math.isnan(each[kind]) else each[kind] for each in shifted[:-1]]

    def pack(self) -> bytes:
        """As it stands in the hash of courses."""
        rates = _RATES.pack(self.span, self.added, self.taken, self.grown)
        return pack(self.sample) + rates + _BINS.pack(*(value for each in self.bins for value in each))

    def with_counts(self, at: float, counts: Bin) -> Course:
        """With what happened between the last record and `at` counted where `at` belongs."""
        behind = min(max(int(at // BIN) - int(self.sample.at // BIN), 0), BINS)
        bins = [*self.bins[behind:], *(_UNKNOWN for _ in range(behind))]
        before = (0.0,) * 4 if math.isnan(bins[-1][0]) else bins[-1]
        bins[-1] = (before[0] + counts[0], before[1] + counts[1], before[2] + counts[2], before[3] + counts[3])
        return replace(self, bins=tuple(bins))


def pack(sample: QueueSample) -> bytes:
    """A sample as it stands in a ring."""
    return _RECORD.pack(sample.at, min(int(sample.size), _MOST_SIZE), *sample[2:])


def unpack(raw: bytes | None) -> Course | None:
    """A course as `Course.pack` makes it; None for anything else."""
    if raw is None or len(raw) != _RECORD.size + _RATES.size + _BINS.size:
        return None
    sample = QueueSample._make(_RECORD.unpack_from(raw))
    rates = _RATES.unpack_from(raw, _RECORD.size)
    if not is_sound(sample) or not all(-LARGEST <= rate <= LARGEST for rate in rates):
        return None
    values = _BINS.unpack_from(raw, _RECORD.size + _RATES.size)
    # What is compared with what is not a number is False, and its sum is none: the usual case is told at once.
    sound = min(values) >= 0.0 and sum(values) <= LARGEST
    cleaned = values if sound else [value if 0.0 <= value <= LARGEST else math.nan for value in values]
    span, added, taken, grown = rates
    return Course(sample, span, added, taken, grown, tuple(zip(*[iter(cleaned)] * 4, strict=True)))


def offset(step: Step, at: float) -> int:
    """The byte of a ring at which the sample of this time begins."""
    return RINGS[step].offset(at, _RECORD)


def read(step: Step, raw: bytes | None, now: float) -> list[QueueSample]:
    """The samples of a ring that are no older than it is long, the oldest first; damaged ones are passed over."""
    return RINGS[step].records(raw, now, _RECORD, QueueSample._make)


def joined(long: Sequence[QueueSample], short: Sequence[QueueSample]) -> list[QueueSample]:
    """The samples of three days, up to now by those of the last hour."""
    last = long[-1].at if long else -math.inf
    return [*long, *(each for each in short if each.at > last)]


def ring_key(keys: Keys, step: Step, name: str) -> bytes:
    """The key of a ring of a queue."""
    return raw_bytes(keys.queue_history(name) if step == "10s" else keys.long_queue_history(name))


class QueueSamples:
    """What was recorded of queues. Without a `client` it is that of this process' jobs.

    The 200 queues that matter most are recorded, by the process that promotes due jobs. A call may raise
    `InvalidArguments`, `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def read(self, name: str, step: Step = "10s") -> list[QueueSample]:
        """The samples of one queue in the last hour (`10s`) or in the last three days (`5m`), the oldest first."""
        if step not in RINGS:
            raise InvalidArguments(f"step is {step!r}; give one of {', '.join(RINGS)}")
        raws = self.access.read(lambda redis: redis.mget([ring_key(self.access.keys, each, name) for each in RINGS]))
        now = self.access.server_now()
        short = read("10s", raws[0], now)
        return short if step == "10s" else joined(read("5m", raws[1], now), short)

    def courses(self) -> dict[str, Course]:
        """The last hour of each queue that is recorded, by name."""
        return parsed(self.access.read(lambda redis: redis.hgetall(self.access.keys.queue_courses)))


def parsed(fields: Mapping[bytes, bytes] | None) -> dict[str, Course]:
    """The courses in the hash of them, by the name of the queue."""
    found = ((name.decode("utf-8", "surrogateescape"), unpack(raw)) for name, raw in (fields or {}).items())
    return {name: course for name, course in found if course is not None}
