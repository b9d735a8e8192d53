"""Exit codes of `jobd`, and which error ends with which."""

from __future__ import annotations

from jobd.client.errors import (
    AlreadyRunning,
    ConfigError,
    JobDefinitionError,
    JobdError,
    RedisUnavailable,
    StoreUnavailable,
)

OK = 0
FAILED = 1
USAGE = 64
CHILDREN_CANNOT_BOOT = 70
ALREADY_RUNNING = 73
REDIS_UNAVAILABLE = 75
PARENT_LOST = 76
CONFIG = 78

_CODES: tuple[tuple[type[JobdError], int], ...] = (
    (ConfigError, CONFIG),
    (AlreadyRunning, ALREADY_RUNNING),
    (StoreUnavailable, REDIS_UNAVAILABLE),
    (RedisUnavailable, REDIS_UNAVAILABLE),
    (JobDefinitionError, CHILDREN_CANNOT_BOOT),
)


def code_for(error: JobdError) -> int:
    """The exit code that stands for `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
