"""All names of keys in Redis.

The first block is Sidekiq's data model, the second jobd's own. `docs/data-model.md` gives each
key's type, owner, cap or expiry, and who deletes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True)
class Keys:
    """Key names under one optional namespace, for instance `{billing}:`."""

    namespace: str = ""
    queues: str = field(init=False)
    paused: str = field(init=False)
    schedule: str = field(init=False)
    retry: str = field(init=False)
    dead: str = field(init=False)
    processes: str = field(init=False)
    stat_processed: str = field(init=False)
    stat_failed: str = field(init=False)
    cron_jobs: str = field(init=False)
    owners: str = field(init=False)
    paused_by: str = field(init=False)
    scheduler: str = field(init=False)
    suspects: str = field(init=False)
    history: str = field(init=False)
    long_history: str = field(init=False)
    queue_counts: str = field(init=False)
    queue_courses: str = field(init=False)
    audit: str = field(init=False)
    muted: str = field(init=False)
    trash: str = field(init=False)
    queue_limits: str = field(init=False)

    def __post_init__(self) -> None:
        names = {
            "queues": "queues",
            "paused": "paused",
            "schedule": "schedule",
            "retry": "retry",
            "dead": "dead",
            "processes": "processes",
            "stat_processed": "stat:processed",
            "stat_failed": "stat:failed",
            "cron_jobs": "cron_jobs",
            "owners": "jobd:procs",
            "paused_by": "jobd:paused-by",
            "scheduler": "jobd:scheduler",
            "suspects": "jobd:suspects",
            "history": "jobd:history:10s",
            "long_history": "jobd:history:5m",
            "queue_counts": "jobd:queue-counts",
            "queue_courses": "jobd:queue-courses",
            "audit": "jobd:audit",
            "muted": "jobd:muted",
            "trash": "jobd:trash",
            "queue_limits": "jobd:queue-limits",
        }
        for attribute, name in names.items():
            object.__setattr__(self, attribute, self.namespace + name)

    def queue(self, name: str) -> str:
        """LIST of job JSON; the head is the newest, the tail is fetched next."""
        return f"{self.namespace}queue:{name}"

    def process(self, identity: str) -> str:
        """HASH, a process' heartbeat."""
        return self.namespace + identity

    def work(self, identity: str) -> str:
        """HASH, thread id to the job that it runs (Sidekiq 6.4.2 and newer)."""
        return f"{self.namespace}{identity}:work"

    def workers(self, identity: str) -> str:
        """The same under the name that Sidekiq up to 6.4.1 reads."""
        return f"{self.namespace}{identity}:workers"

    def signals(self, identity: str) -> str:
        """LIST of signal names sent to a process through Redis."""
        return f"{self.namespace}{identity}-signals"

    def stat_processed_on(self, now: float) -> str:
        """Jobs processed on the UTC day of `now` (seconds)."""
        return f"{self.stat_processed}:{_utc_day(now)}"

    def stat_failed_on(self, now: float) -> str:
        """Jobs failed on the UTC day of `now` (seconds)."""
        return f"{self.stat_failed}:{_utc_day(now)}"

    def metrics(self, period: str) -> str:
        """HASH, executions, failures and milliseconds of each class in a minute or ten (Sidekiq 7 and newer)."""
        return f"{self.namespace}j|{period}"

    def histogram(self, class_minute: str) -> str:
        """STRING, 26 counters of how long the jobs of a class took in a minute (Sidekiq 8)."""
        return f"{self.namespace}h|{class_minute}"

    def old_histogram(self, class_minute: str) -> str:
        """The same under Sidekiq 7's name; read, never written."""
        return f"{self.namespace}{class_minute}"

    def metrics_hour(self, hour: str) -> str:
        """HASH, the figures of each class in an hour."""
        return f"{self.namespace}jobd:metrics:{hour}"

    def deploy_marks(self, day: str) -> str:
        """HASH, minute to label of the deploys of a UTC day such as `20261122`, as Sidekiq keeps them."""
        return f"{self.namespace}{day}-marks"

    def deploy_lock(self, label: str) -> str:
        """STRING, the minute of the mark that was set of this label; expires."""
        return f"{self.namespace}deploylock-{label}"

    def batch(self, owner: str) -> str:
        """LIST, the open batch of an owner: original bytes in the order in which they were fetched."""
        return f"{self.namespace}jobd:{owner}:batch"

    def jobs(self, owner: str) -> str:
        """HASH, an owner's record: last token, facts about its host, single running jobs."""
        return f"{self.namespace}jobd:{owner}:jobs"

    def queue_history(self, queue: str) -> str:
        """STRING, the samples of one queue in the last hour; expires."""
        return f"{self.history}:{queue}"

    def long_queue_history(self, queue: str) -> str:
        """STRING, those of the last three days; expires."""
        return f"{self.long_history}:{queue}"

    def queue_waits(self, queue: str, hour: int) -> str:
        """STRING, how long jobs of a queue had waited, by the minute of an hour since 1970; expires."""
        return f"{self.namespace}jobd:queue-waits:{hour}:{queue}"

    def long_queue_waits(self, queue: str, day: int) -> str:
        """STRING, the same by the half hour of a day since 1970; expires."""
        return f"{self.namespace}jobd:long-queue-waits:{day}:{queue}"

    def old_queue_waits(self, queue: str, hour: int) -> str:
        """STRING, as `queue_waits` in the layout of older processes; read, never written."""
        return f"{self.namespace}jobd:waits:{hour}:{queue}"

    def old_long_queue_waits(self, queue: str, day: int) -> str:
        """STRING, as `long_queue_waits` in the layout of older processes; read, never written."""
        return f"{self.namespace}jobd:long-waits:{day}:{queue}"

    def class_waits(self, name: str, hour: int) -> str:
        """STRING, how long jobs of a class had waited, by the minute of an hour since 1970; expires."""
        return f"{self.namespace}jobd:class-waits:{hour}:{name}"

    def long_class_waits(self, name: str, day: int) -> str:
        """STRING, the same by ten minutes of a day since 1970; expires."""
        return f"{self.namespace}jobd:long-class-waits:{day}:{name}"

    def longest_class_waits(self, name: str, week: int) -> str:
        """STRING, the same by four hours of a week since 1970; expires."""
        return f"{self.namespace}jobd:longest-class-waits:{week}:{name}"

    def bulk(self, run: str) -> str:
        """HASH, how far a change of many jobs is that somebody began in the dashboard; expires."""
        return f"{self.namespace}jobd:bulk:{run}"

    def bulk_slot(self, number: int) -> str:
        """STRING, the change of many that goes on in one of the slots for them; expires soon after it ended."""
        return f"{self.namespace}jobd:bulk-slot:{number}"

    def trashed(self, deletion: str, place: int) -> str:
        """ZSET, the jobs of one deletion that were in one of its places; expires."""
        return f"{self.namespace}jobd:trash:{deletion}:{place}"

    def crashes(self, jid: str) -> str:
        """STRING, how often a process crashed while it ran this job; expires. `suspects` (SET) holds such jids."""
        return f"{self.namespace}jobd:crashes:{jid}"

    def host_crashes(self, jid: str) -> str:
        """STRING, how often this job was in progress when the whole of its host, or its master, was lost; expires."""
        return f"{self.namespace}jobd:host-crashes:{jid}"

    def cancel(self, jid: str) -> str:
        """STRING, which run of this job is to be cancelled; expires."""
        return f"{self.namespace}jobd:cancel:{jid}"

    def cron_entry(self, name: str) -> str:
        """HASH, an entry of the cron; `cron_jobs` (SET) holds these keys."""
        return f"{self.namespace}cron_job:{name}"

    def cron_enqueued(self, name: str) -> str:
        """ZSET of the ticks of an entry that somebody has claimed, by time."""
        return f"{self.namespace}cron_job:{name}:enqueued"

    def cron_history(self, name: str) -> str:
        """LIST of the last jobs of an entry, newest first, as sidekiq-cron shows them."""
        return f"{self.namespace}cron_job:{name}:jid_history"

    def cron_runs(self, name: str) -> str:
        """LIST of what became of the last ticks of an entry, newest first."""
        return f"{self.namespace}jobd:cron:{name}:runs"

    def cron_running(self, name: str) -> str:
        """STRING, the jid of the job of an entry that allows one at a time, until it has ended; expires."""
        return f"{self.namespace}jobd:cron:{name}:running"

    def stacks(self, identity: str) -> str:
        """STRING, what the threads of a process do, as it was asked to show; expires."""
        return f"{self.namespace}jobd:stacks:{identity}"


_FAMILIES = {
    "retry": "retry",
    "schedule": "schedule",
    "dead": "dead",
    "queues": "queues",
    "paused": "queues",
    "processes": "processes",
    "cron_jobs": "cron",
}
_SHAPES = (
    ("queues", re.compile(r"queue:|jobd:(paused-by|queue-limits)$")),
    ("statistics", re.compile(r"stat:")),
    ("cron", re.compile(r"cron_job:|jobd:cron:")),
    ("metrics", re.compile(r"[jh]\||jobd:metrics:|\d{8}-marks$|deploylock-|.*-\d{1,2}-\d{1,2}:\d{1,2}$", re.DOTALL)),
    ("metrics", re.compile(r"jobd:(long-|longest-)?class-waits:")),
    ("jobd", re.compile(r"jobd:")),
    ("processes", re.compile(r".+:\d+:[0-9a-f]+(:work|:workers|-signals)?$")),
)


def family(keys: Keys, key: str) -> str:
    """To what a key belongs, as people count memory: `queues`, `metrics`, …; `others` for what is not of jobd."""
    if not key.startswith(keys.namespace):
        return "others"
    name = key.removeprefix(keys.namespace)
    if name in _FAMILIES:
        return _FAMILIES[name]
    return next((found for found, shape in _SHAPES if shape.match(name)), "others")


def _utc_day(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
