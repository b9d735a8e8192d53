"""What one worker process needs to know: queues, threads, limits. A plain value, checked when it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from jobd.client import defaults
from jobd.client.cron import CronEntry
from jobd.client.errors import ConfigErrors
from jobd.worker import checks
from jobd.worker.checks import Check, display

QueueOrder = Literal["strict", "weighted", "random"]
Timestamps = Literal["s", "ms"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """A set of queues with a pool of threads of its own.

    A weight of 0 everywhere means strict order, as given; equal weights of 1 mean random order. Raises
    ConfigErrors with a line for every wrong value.
    """

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "name": checks.name,
        "concurrency": checks.whole_number(1, 1_000),
        "queues": checks.queues,
    }

    name: str = "default"
    concurrency: int = defaults.CONCURRENCY
    queues: tuple[tuple[str, int], ...] = ((defaults.QUEUE, 0),)

    def __post_init__(self) -> None:
        _refuse([f"capsule {display(self.name)}: {problem}" for problem in _problems(self, self.CHECKS)])

    @property
    def names(self) -> tuple[str, ...]:
        """The queues' names in the order given."""
        return tuple(name for name, _ in self.queues)

    @property
    def order(self) -> QueueOrder:
        """How the queues are tried, in Sidekiq's terms."""
        weights = {weight for _, weight in self.queues}
        if weights == {0}:
            return "strict"
        return "random" if weights == {1} else "weighted"


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Settings of one worker process. Times are seconds.

    `cron` are entries as `jobd.client.cron.read_all` returns them, beside those of the code; `cron_prune` has those of
    the same `tag` destroyed that are defined no more. Without `redis_url`, the client's address is used. Raises
    ConfigErrors with a line for every wrong value.
    """

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "redis_url": checks.optional(checks.redis_url),
        "namespace": checks.text,
        "concurrency": Capsule.CHECKS["concurrency"],
        "queues": checks.queues,
        "require": checks.tuple_of(checks.module_name),
        "timeout": checks.seconds(0, 24 * 3600),
        "prefetch": checks.whole_number(1, 1_000),
        "max_retries": checks.whole_number(0, 1_000),
        "max_crashes": checks.whole_number(1, 1_000),
        "dead_max_jobs": checks.whole_number(1, 100_000_000),
        "dead_timeout": checks.seconds(1, checks.CENTURY),
        "unknown_class_timeout": checks.seconds(0, checks.CENTURY),
        "lease": checks.seconds(0.1, 24 * 3600),
        "heartbeat_interval": checks.seconds(0.01, defaults.HEARTBEAT_TTL / 3),
        "timestamps": checks.one_of(*get_args(Timestamps)),
        "tag": checks.text,
        "labels": checks.tuple_of(checks.name),
        "environment": checks.name,
        "log_level": checks.one_of(*get_args(LogLevel)),
        "cron": checks.cron_entries,
        "cron_prune": checks.switch,
    }

    redis_url: str | None = None
    namespace: str = ""
    concurrency: int = defaults.CONCURRENCY
    queues: tuple[tuple[str, int], ...] = ((defaults.QUEUE, 0),)
    capsules: tuple[Capsule, ...] = ()
    require: tuple[str, ...] = ()
    timeout: float = defaults.TIMEOUT
    prefetch: int = defaults.PREFETCH
    max_retries: int = defaults.MAX_RETRIES
    max_crashes: int = defaults.MAX_CRASHES
    dead_max_jobs: int = defaults.DEAD_MAX_JOBS
    dead_timeout: float = defaults.DEAD_TIMEOUT
    unknown_class_timeout: float = defaults.UNKNOWN_CLASS_TIMEOUT
    lease: float = defaults.LEASE
    heartbeat_interval: float = defaults.HEARTBEAT_INTERVAL
    timestamps: Timestamps = "s"
    tag: str = ""
    labels: tuple[str, ...] = ()
    environment: str = defaults.ENVIRONMENT
    log_level: LogLevel = "info"
    cron: tuple[CronEntry, ...] = ()
    cron_prune: bool = False

    def __post_init__(self) -> None:
        problems = [*_problems(self, self.CHECKS), *_capsule_problems(self.capsules)]
        if not problems and (problem := checks.lease_problem(self.lease, self.heartbeat_interval)):
            problems.append(f"lease = {display(self.lease)}: {problem}")
        _refuse(problems)

    @property
    def all_capsules(self) -> tuple[Capsule, ...]:
        """The default capsule, then the named ones."""
        return (Capsule(concurrency=self.concurrency, queues=self.queues), *self.capsules)

    @property
    def threads(self) -> int:
        """How many threads one process has for jobs, in all capsules."""
        return sum(capsule.concurrency for capsule in self.all_capsules)


def _problems(config: Any, checks: Mapping[str, Check]) -> Iterator[str]:
    for key, check in checks.items():
        value = getattr(config, key)
        if problem := check(value):
            yield f"{key} = {display(value)}: {problem}"


def _capsule_problems(capsules: object) -> Iterator[str]:
    if not isinstance(capsules, tuple) or not all(isinstance(each, Capsule) for each in capsules):
        yield f"capsules = {display(capsules)}: must be a tuple of Capsule"
        return
    names = [each.name for each in capsules]
    for given in dict.fromkeys(names):
        if problem := checks.capsule_name(given):
            yield f"capsules = {display(given)}: {problem}"
        elif names.count(given) > 1:
            yield f"capsules = {display(given)}: two capsules have this name; rename one"


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ConfigErrors(problems)
