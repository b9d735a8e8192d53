"""Background jobs on Redis, in Sidekiq's data model. What an application needs is importable from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobd.client import errors
from jobd.client.call import RunningJob, current_job
from jobd.client.errors import JobdError
from jobd.client.job import Job, job
from jobd.client.push import Client
from jobd.client.settings import carry, configure, default_options
from jobd.client.version import VERSION

if TYPE_CHECKING:
    from jobd.client.chain import client_middleware, server_middleware
    from jobd.client.events import on
    from jobd.worker.config import WorkerConfig
    from jobd.worker.embed import run

__version__ = VERSION

__all__ = [
    "Client",
    "Job",
    "JobdError",
    "RunningJob",
    "WorkerConfig",
    "__version__",
    "carry",
    "client_middleware",
    "configure",
    "current_job",
    "default_options",
    "errors",
    "job",
    "on",
    "run",
    "server_middleware",
]


def __getattr__(name: str) -> Any:
    """Load when they are asked for the names that an application which only pushes never needs."""
    if name in ("client_middleware", "server_middleware"):
        from jobd.client import chain

        return getattr(chain, name)
    if name == "on":
        from jobd.client.events import on

        return on
    if name == "WorkerConfig":
        from jobd.worker.config import WorkerConfig

        return WorkerConfig
    if name == "run":
        from jobd.worker.embed import run

        return run
    raise AttributeError(f"module 'jobd' has no attribute {name!r}")
