"""What a new configuration means for a jobd that runs: which keys wait for a new start, which need new processes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from jobd.client.embedded import is_embedded
from jobd.supervisor.config import Config

FIXED = ("pidfile", "logfile", "metrics", "metrics_cluster", "metrics_per_job", "preload")
"""Keys that a running master cannot change."""
LIVE = (
    "processes",
    "boot_timeout",
    "hang_timeout",
    "restart_probe",
    "max_memory",
    "memory_kind",
    "max_jobs",
    "web",
    "environments",
)
"""Keys that are the master's own business, and hold at once."""
_NO_KEYS = ("sources", "notices")


@dataclass(frozen=True)
class Change:
    """The outcome of a reload."""

    config: Config
    """The one to go on with: the new one, with the old values of what cannot change."""
    waiting: tuple[str, ...]
    """Keys that hold only after a new start of jobd."""
    live: tuple[str, ...]
    """Keys that hold from now on."""
    rolling: tuple[str, ...]
    """Keys that hold in new processes, so that the old ones are to be replaced."""


def plan(old: Config, new: Config) -> Change:
    """Compare what runs with what the file says now."""
    names = [each.name for each in fields(Config) if each.name not in _NO_KEYS]
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    waiting = tuple(name for name in changed if name in FIXED or _moves_the_store(name, old, new))
    if "processes" in changed and 0 in (old.processes, new.processes):
        waiting += ("processes",)
    live = tuple(name for name in changed if name in LIVE and name not in waiting)
    rolling = tuple(name for name in changed if name not in (*waiting, *live))
    kept = {name: getattr(old, name) for name in waiting}
    return Change(replace(new, **kept), waiting, live, rolling)


def _moves_the_store(name: str, old: Config, new: Config) -> bool:
    return name == "redis_url" and (is_embedded(old.redis_url) or is_embedded(new.redis_url))
