"""The worker processes of the cluster and what they run now: `ProcessSet` and `WorkSet`.

Read from the heartbeats that every process writes, Sidekiq's 6.4 to 8.1 too; nothing here writes but the signals. How a
process is quieted or stopped is its own affair (`worker/heartbeat.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import msgspec

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.entry import JobEntry
from jobd.client.errors import InvalidArguments, NotControllable
from jobd.client.orders import threads_order
from jobd.client.push import Client
from jobd.client.scripts import DeadLimits, raw_bytes
from jobd.client.stacks import Stacks, read_stacks
from jobd.client.trend import Trend, read_trend

Signal = Literal["TSTP", "TERM", "TTIN", "STACKS", "RESUME"]

FIELDS = ("info", "busy", "beat", "quiet", "rss", "rtt_us", "concurrency", "fetched_at", "cpu", "skew_ms", "oldest_at")
"""Fields of a heartbeat from which `parse` makes a `Process`."""
_AT_A_TIME = 1_000
"""Heartbeats that are read in one round trip."""
_WORK_AT_A_TIME = 50
"""Work hashes that are, since each holds as many jobs as its process has threads."""


@dataclass(frozen=True, slots=True)
class Process:
    """A worker process as its last heartbeat shows it. Times are epoch seconds.

    `rss` is its memory in KiB, `rtt_us` a round trip to Redis in microseconds. `capsules` maps names to Sidekiq's
    description (`concurrency`, `mode`, `weights`), empty where the process tells none, as Sidekiq 7 does: `weights` has
    the weights of its queues capsule by capsule, 0 for a strict order. `queues` are all its queues.
    An `embedded` process runs inside another program and takes no signals. `fetched_at` is when Redis last answered a
    fetch, 0.0 where that is not told. `cpu` is the percentage of one processor that it used between its last two beats,
    `skew` the seconds by which its machine's clock is ahead of that of Redis, `oldest_at` when its longest running job
    began, 0.0 when it runs none; None where it does not tell.
    """

    identity: str
    hostname: str = ""
    pid: int = 0
    tag: str = ""
    version: str = ""
    concurrency: int = 0
    busy: int = 0
    quiet: bool = False
    rss: int = 0
    rtt_us: int = 0
    beat: float = 0.0
    started_at: float = 0.0
    fetched_at: float = 0.0
    cpu: float | None = None
    skew: float | None = None
    oldest_at: float | None = None
    queues: tuple[str, ...] = ()
    capsules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: tuple[Mapping[str, int], ...] = ()
    labels: tuple[str, ...] = ()
    embedded: bool = False
    dead_limits: DeadLimits | None = None
    """The limits of the dead set that it keeps, if it tells."""
    most_threads: int = 0
    """How many threads `ProcessSet.set_concurrency` can give it in all; 0 where it takes no such order."""

    @property
    def is_jobds(self) -> bool:
        """Whether it is one of jobd, which can do more than Sidekiq's."""
        return self.version.startswith("jobd-")

    @property
    def may_resume(self) -> bool:
        """Whether it is quiet, and one that can be told to take jobs again unless it is held: `ProcessSet.resume`."""
        return self.quiet and self.is_jobds and not self.embedded

    @property
    def may_resize(self) -> bool:
        """Whether it can be told to have another number of threads: `ProcessSet.set_concurrency`."""
        return self.is_jobds and not self.embedded and self.most_threads > 0

    @property
    def shows_stacks(self) -> bool:
        """Whether it can be asked for its stacks, as those of jobd can."""
        return self.is_jobds


class ProcessSet:
    """The worker processes that have shown themselves within a minute. Iterating yields `Process`, sorted by identity.

    `len()` is their number. Without a `client` it is that of this process' jobs. Any call may raise `RedisUnavailable`
    or `RedisRefused`, a signal also `ChangeOutcomeUnknown`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def __iter__(self) -> Iterator[Process]:
        return iter(read_processes(self.access))

    def __len__(self) -> int:
        return len(read_processes(self.access))

    def __bool__(self) -> bool:
        return True

    def get(self, identity: str) -> Process | None:
        """The process of this identity; None when it does not show itself."""
        return next(iter(_read(self.access, [identity])), None)

    @property
    def total_concurrency(self) -> int:
        """Threads of all processes."""
        return sum(process.concurrency for process in self)

    @property
    def total_rss(self) -> int:
        """Memory of all processes in KiB."""
        return sum(process.rss for process in self)

    def quiet(self, identity: str) -> bool:
        """Have a process take no more jobs, with its next heartbeat. False: there is no such process."""
        return self._signal(identity, "TSTP")

    def resume(self, identity: str) -> bool:
        """Have a process of jobd that was made quiet take jobs again, with its next heartbeat. False: there is none.

        Raises `NotControllable` for one of Sidekiq, and for one whose master was made quiet on its machine, or that
        is about to end.
        """
        process = self.get(identity)
        if process is None:
            return False
        if not process.is_jobds:
            raise NotControllable(
                f"{identity} is no process of jobd: once quiet, it takes no jobs until it is restarted"
            )
        if not process.embedded and process.quiet and not self.resumable([process]):
            raise NotControllable(
                f"{identity} was made quiet on its machine, or is about to end; `jobd ctl resume` there resumes it"
            )
        return self._signal(identity, "RESUME")

    def resume_all(self, identities: Iterable[str] | None = None) -> int:
        """Have those of these processes [all] that can be resumed take jobs again; returns how many were told."""
        wanted = None if identities is None else set(identities)
        told = self.resumable(process for process in self if wanted is None or process.identity in wanted)
        for start in range(0, len(told), _AT_A_TIME):
            self._send(told[start : start + _AT_A_TIME], "RESUME")
        return len(told)

    def resumable(self, processes: Iterable[Process]) -> list[str]:
        """Which of these are quiet and resume when they are told to, by identity."""
        quiet = [process.identity for process in processes if process.may_resume]
        keys = [raw_bytes(self.access.keys.process(identity)) for identity in quiet]

        def ask(pipeline: Any) -> None:
            for key in keys:
                pipeline.hget(key, "held")

        return [
            name for name, held in zip(quiet, self.access.read_all(ask) if keys else (), strict=True) if held == b"0"
        ]

    def stop(self, identity: str) -> bool:
        """Have a process stop within its timeout. False: there is no such process.

        A worker process of `jobd` is replaced by its master; `jobd ctl` stops the whole.
        """
        return self._signal(identity, "TERM")

    def dump(self, identity: str) -> bool:
        """Have a process log what each of its threads does. False: there is no such process."""
        return self._signal(identity, "TTIN")

    def set_concurrency(self, identity: str, threads: int, capsule: str = "default") -> bool:
        """Have a capsule of a process run so many jobs at once, with its next heartbeat, until the process ends.

        A new process has the configured number again. Threads that are too many end when their job has; none is
        interrupted. All capsules together can have `Process.most_threads`. False: there is no such process. Raises
        `InvalidArguments`, and `NotControllable` for a process that is none of jobd's or inside another program.
        """
        process = self.get(identity)
        if process is None:
            return False
        if not process.may_resize:
            raise NotControllable(f"{identity} is no process of jobd that can be given threads while it runs")
        if capsule not in process.capsules:
            known = ", ".join(process.capsules)
            raise InvalidArguments(f"capsule is {capsule!r}; {identity} has {known}")
        told = {name: int(number(each.get("concurrency"))) for name, each in process.capsules.items()}
        most = process.most_threads - sum(told.values()) + told[capsule]
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= most:
            raise InvalidArguments(f"threads is {threads!r}; give a whole number from 1 to {most}")
        self._send([identity], threads_order(threads, capsule))
        return True

    def ask_stacks(self, identity: str) -> bool:
        """Have a process show what its threads do; `stacks` has the answer with its next heartbeat.

        That is within 10 s unless `heartbeat_interval` is longer. While it is asked again and again it answers within
        a second. False: there is no such process. Raises `NotControllable` when it is none of jobd's.
        """
        process = self.get(identity)
        if process is None:
            return False
        if not process.shows_stacks:
            raise NotControllable(f"{identity} is no process of jobd and shows no stacks; `dump` has it log them")
        self._send([identity], "STACKS", forget=raw_bytes(self.access.keys.stacks(identity)))
        return True

    def stacks(self, identity: str) -> Stacks | None:
        """What the threads of a process did when it was asked; None before its answer, and three minutes after it."""
        key = raw_bytes(self.access.keys.stacks(identity))
        return read_stacks(self.access.read(lambda redis: redis.get(key)))

    def trend(self, identity: str) -> Trend | None:
        """Memory and processor time of a process at its last 60 heartbeats; None where it does not tell."""
        key = raw_bytes(self.access.keys.process(identity))
        return read_trend(self.access.read(lambda redis: redis.hget(key, "trend")))

    def quiet_all(self, identities: Iterable[str] | None = None) -> int:
        """Have these processes [all] take no more jobs; returns how many were told. Embedded ones are left out."""
        return self._signal_all("TSTP", identities)

    def stop_all(self, identities: Iterable[str] | None = None) -> int:
        """Have these processes [all] stop, as `stop` does; returns how many were told. Embedded ones are left out."""
        return self._signal_all("TERM", identities)

    def dump_all(self, identities: Iterable[str] | None = None) -> int:
        """Have these processes [all] log their threads; returns how many were told. Embedded ones are left out."""
        return self._signal_all("TTIN", identities)

    def _signal_all(self, name: Signal, identities: Iterable[str] | None) -> int:
        wanted = None if identities is None else set(identities)
        told = [each.identity for each in self if not each.embedded and (wanted is None or each.identity in wanted)]
        for start in range(0, len(told), _AT_A_TIME):
            self._send(told[start : start + _AT_A_TIME], name)
        return len(told)

    def _signal(self, identity: str, name: Signal) -> bool:
        process = self.get(identity)
        if process is None:
            return False
        if process.embedded:
            raise NotControllable(f"{identity} runs inside another program and takes no signals; stop that program")
        self._send([identity], name)
        return True

    def _send(self, identities: Sequence[str], name: str, forget: bytes | None = None) -> None:
        keys = [raw_bytes(self.access.keys.signals(identity)) for identity in identities]

        def send(redis: Any) -> None:
            with redis.pipeline(transaction=True) as pipeline:
                if forget:
                    pipeline.delete(forget)
                for key in keys:
                    pipeline.lpush(key, name).expire(key, defaults.SIGNAL_TTL)
                if keys:
                    pipeline.execute()

        self.access.write(send)


@dataclass(frozen=True, slots=True)
class Work:
    """A job that runs: in which process and thread, from which queue, since when (epoch seconds).

    `cancelled`: its process has interrupted it, and it has not ended yet.
    """

    process: str
    thread: str
    queue: str
    run_at: float
    entry: JobEntry
    cancelled: bool = False


class WorkSet:
    """What runs now, as the last heartbeats show it: up to 10 s old. Iterating yields `Work`, process by process.

    `len()` is the number of running jobs. Without a `client` it is that of this process' jobs. Any call may raise
    `RedisUnavailable` or `RedisRefused`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self.access = Access(client)

    def __iter__(self) -> Iterator[Work]:
        return self.of([process.identity for process in read_processes(self.access)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True

    def of(self, identities: Sequence[str]) -> Iterator[Work]:
        """What these processes run, read 50 processes at a time."""
        keys = self.access.keys
        for start in range(0, len(identities), _WORK_AT_A_TIME):
            some = identities[start : start + _WORK_AT_A_TIME]
            found = dict(zip(some, self._read([raw_bytes(keys.work(identity)) for identity in some]), strict=True))
            # Sidekiq up to 6.4.1 writes the other name alone, newer ones the first, jobd both.
            rest = [identity for identity, running in found.items() if not running]
            found |= zip(rest, self._read([raw_bytes(keys.workers(identity)) for identity in rest]), strict=True)
            for identity in some:
                for thread, value in sorted(found[identity].items()):
                    if work := parse_work(identity, thread, value):
                        yield work

    def find(self, jid: str) -> Work | None:
        """The running job with this jid, or None."""
        return next((work for work in self if work.entry.jid == jid), None)

    def cancel(self, jid: str, process: str | None = None) -> bool:
        """Have the run of this job interrupted by `JobCancelled`; False: it does not run, as the heartbeats show.

        It is raised with the next heartbeat, within 10 s unless `heartbeat_interval` is longer, between two lines of
        Python and not within a call that waits. The job goes to the dead set, and is not retried. The request holds
        for an hour: when the process is killed, the run that was cut off is not begun again. `process` is the identity
        of the process that runs it [that is looked for]. Raises `NotControllable` when that is none of jobd's.
        """
        work = self.find(jid) if process is None else next((w for w in self.of([process]) if w.entry.jid == jid), None)
        if work is None or not jid:
            return False
        runner = ProcessSet(self.access.client).get(work.process)
        if runner is None:
            return False
        if not runner.is_jobds:
            raise NotControllable(f"{jid} runs in {work.process}, which is no process of jobd and cancels no job")
        key, run = raw_bytes(self.access.keys.cancel(jid)), run_of(work.entry.raw)
        self.access.write(lambda redis: redis.set(key, run, ex=defaults.CANCEL_TTL))
        return True

    def _read(self, keys: Sequence[bytes]) -> list[Mapping[bytes, bytes]]:
        if not keys:
            return []

        def ask(pipeline: Any) -> None:
            for key in keys:
                pipeline.hgetall(key)

        return [found or {} for found in self.access.read_all(ask)]


def read_processes(access: Access) -> list[Process]:
    """The processes that have a heartbeat, sorted by identity."""
    names: set[bytes] = access.read(lambda redis: redis.smembers(access.keys.processes))
    identities = sorted(name.decode("utf-8", "surrogateescape") for name in names)
    return _read(access, identities)


def _read(access: Access, identities: Sequence[str]) -> list[Process]:
    found = []
    for start in range(0, len(identities), _AT_A_TIME):
        some = identities[start : start + _AT_A_TIME]
        answers = access.read_all(partial(_ask, access=access, identities=some))
        for identity, answer in zip(some, answers, strict=True):
            if answer and (process := parse(identity, dict(zip(FIELDS, answer, strict=True)))):
                found.append(process)
    return found


def _ask(pipeline: Any, access: Access, identities: Sequence[str]) -> None:
    for identity in identities:
        pipeline.hmget(raw_bytes(access.keys.process(identity)), *FIELDS)


def parse(identity: str, fields: Mapping[str, bytes | None]) -> Process | None:
    """The process with these fields of its heartbeat; None when they do not describe one, as Ruby sees it too."""
    info = _json(fields["info"])
    if not isinstance(info, dict):
        return None
    told = info.get("capsules")
    capsules = {str(n): c for n, c in told.items() if isinstance(c, dict)} if isinstance(told, dict) else {}
    weights = _weights([each.get("weights") for each in capsules.values()] if capsules else info.get("weights"))
    still = Process(
        identity=identity,
        hostname=str(info.get("hostname") or ""),
        pid=int(number(info.get("pid"))),
        tag=str(info.get("tag") or ""),
        version=str(info.get("version") or ""),
        concurrency=int(number(info.get("concurrency"))),
        started_at=number(info.get("started_at")),
        queues=_queues(info, weights),
        capsules=capsules,
        weights=weights,
        labels=_names(info.get("labels")),
        embedded=info.get("embedded") is True,
        dead_limits=_dead_limits(info),
        most_threads=int(number(info.get("most_threads"))),
    )
    return renewed(still, fields)


def renewed(process: Process, fields: Mapping[str, bytes | None]) -> Process:
    """A process with what a later heartbeat of it tells, whose `info` never changes."""
    cpu, skew, threads, oldest = fields["cpu"], fields["skew_ms"], fields["concurrency"], fields["oldest_at"]
    return Process(
        identity=process.identity,
        hostname=process.hostname,
        pid=process.pid,
        tag=process.tag,
        version=process.version,
        concurrency=process.concurrency if threads is None else int(number(threads)),
        busy=int(number(fields["busy"])),
        quiet=fields["quiet"] == b"true",
        rss=int(number(fields["rss"])),
        rtt_us=int(number(fields["rtt_us"])),
        beat=number(fields["beat"]),
        started_at=process.started_at,
        fetched_at=number(fields["fetched_at"]),
        cpu=None if cpu is None else number(cpu),
        skew=None if skew is None else number(skew) / 1000,
        oldest_at=None if oldest is None else number(oldest),
        queues=process.queues,
        capsules=process.capsules,
        weights=process.weights,
        labels=process.labels,
        embedded=process.embedded,
        dead_limits=process.dead_limits,
        most_threads=process.most_threads,
    )


def _queues(info: Mapping[str, Any], weights: Sequence[Mapping[str, int]]) -> tuple[str, ...]:
    return _names(info.get("queues")) or tuple(dict.fromkeys(name for each in weights for name in each))


def _weights(told: object) -> tuple[Mapping[str, int], ...]:
    pools = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return tuple({str(name): int(number(weight)) for name, weight in pool.items()} for pool in pools)


def _dead_limits(info: Mapping[str, Any]) -> DeadLimits | None:
    jobs, timeout = number(info.get("dead_max_jobs")), number(info.get("dead_timeout"))
    return DeadLimits(int(jobs), timeout) if jobs > 0 and timeout > 0 else None


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def parse_work(identity: str, thread: bytes, value: bytes) -> Work | None:
    """The running job of one field of a work hash; None when it describes none."""
    fields = _json(value)
    if not isinstance(fields, dict):
        return None
    payload = fields.get("payload")
    # Old Sidekiqs had the job itself there, not its text.
    raw = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
    name = thread.decode("utf-8", "replace")
    cancelled = fields.get("cancelled") is True
    return Work(identity, name, str(fields.get("queue") or ""), number(fields.get("run_at")), JobEntry(raw), cancelled)


def run_of(payload: bytes) -> bytes:
    """Names one run of a job by the bytes with which it runs: after a failure or a retry by hand they are others."""
    return hashlib.sha256(payload).hexdigest()[:32].encode()


def _json(value: bytes | None) -> object:
    if value is None:
        return None
    try:
        decoded: object = msgspec.json.decode(value)
    except (ValueError, RecursionError):
        return None
    return decoded


def number(value: Any) -> float:
    """A number as Redis or JSON hold it; 0.0 when it is none."""
    if isinstance(value, bytes | str | int | float):
        try:
            found = float(value)
        except (ValueError, OverflowError):
            return 0.0
        return found if math.isfinite(found) else 0.0
    return 0.0
