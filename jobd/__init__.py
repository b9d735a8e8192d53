"""Background jobs on Redis, in Sidekiq's data model. What an application needs is importable from here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobd.client import errors
from jobd.client.call import RunningJob, current_job
from jobd.client.errors import Crashed, JobCancelled, JobdError
from jobd.client.job import Job, job
from jobd.client.policies import DISCARD, KILL, ErrorContext, RetryLater, RetryOn, Verdict
from jobd.client.push import Client
from jobd.client.settings import carry, configure, default_options
from jobd.client.version import VERSION

if TYPE_CHECKING:
    from jobd import testing
    from jobd.client.active_job import GlobalID, Range
    from jobd.client.chain import client_middleware, server_middleware
    from jobd.client.cron import Cron, CronEntry
    from jobd.client.cron_push import CronRun
    from jobd.client.cron_set import CronSet
    from jobd.client.deploys import DeployMark, deploy_marks, mark_deploy
    from jobd.client.events import on
    from jobd.client.metrics import Metrics
    from jobd.client.processes import ProcessSet, WorkSet
    from jobd.client.queues import Queue
    from jobd.client.sets import DeadSet, RetrySet, ScheduledSet
    from jobd.client.stats import History, Stats
    from jobd.worker.config import WorkerConfig
    from jobd.worker.embed import run

__version__ = VERSION

__all__ = [
    "DISCARD",
    "KILL",
    "Client",
    "Crashed",
    "Cron",
    "CronEntry",
    "CronRun",
    "CronSet",
    "DeadSet",
    "DeployMark",
    "ErrorContext",
    "GlobalID",
    "History",
    "Job",
    "JobCancelled",
    "JobdError",
    "Metrics",
    "ProcessSet",
    "Queue",
    "Range",
    "RetryLater",
    "RetryOn",
    "RetrySet",
    "RunningJob",
    "ScheduledSet",
    "Stats",
    "Verdict",
    "WorkSet",
    "WorkerConfig",
    "__version__",
    "carry",
    "client_middleware",
    "configure",
    "current_job",
    "default_options",
    "deploy_marks",
    "errors",
    "job",
    "mark_deploy",
    "on",
    "run",
    "server_middleware",
    "testing",
]

_LATER = {
    "Cron": "client.cron",
    "CronEntry": "client.cron",
    "CronRun": "client.cron_push",
    "CronSet": "client.cron_set",
    "DeadSet": "client.sets",
    "DeployMark": "client.deploys",
    "GlobalID": "client.active_job",
    "History": "client.stats",
    "Metrics": "client.metrics",
    "ProcessSet": "client.processes",
    "Queue": "client.queues",
    "Range": "client.active_job",
    "RetrySet": "client.sets",
    "ScheduledSet": "client.sets",
    "Stats": "client.stats",
    "WorkSet": "client.processes",
    "WorkerConfig": "worker.config",
    "client_middleware": "client.chain",
    "deploy_marks": "client.deploys",
    "mark_deploy": "client.deploys",
    "on": "client.events",
    "run": "worker.embed",
    "server_middleware": "client.chain",
    "testing": "testing",
}
"""Names that are loaded when they are asked for, with their modules: an application that only pushes needs none."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        module = import_module(f"jobd.{_LATER[name]}")
        return module if name == _LATER[name] else getattr(module, name)
    raise AttributeError(f"module 'jobd' has no attribute {name!r}")
