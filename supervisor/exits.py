"""Exit codes of `jobd`, which error ends with which, and the words that go with them."""

from __future__ import annotations

import os
import sys
import threading
from typing import NoReturn

from jobd.client.errors import (
    AlreadyRunning,
    ChangeOutcomeUnknown,
    ConfigError,
    HookFailed,
    JobDefinitionError,
    JobdError,
    NotPermitted,
    PortUnavailable,
    PushOutcomeUnknown,
    RedisUnavailable,
    StoreUnavailable,
)
from jobd.supervisor.status_text import printable
from jobd.worker import log

OK = 0
FAILED = 1
USAGE = 64
NO_MASTER = 69
CHILDREN_CANNOT_BOOT = 70
RECYCLED = 71
ALREADY_RUNNING = 73
OUTCOME_UNKNOWN = 74
"""The connection broke before the answer: done or not. To try again might push a job twice, so it is not 75."""
REDIS_UNAVAILABLE = 75
NOT_IN_TIME = 75
"""Of `jobd ctl`; for shells the two mean the same: later it may work."""
PARENT_LOST = 76
NOT_PERMITTED = 77
CONFIG = 78
INTERRUPTED_TWICE = 130
QUIT = 131

_CODES: tuple[tuple[type[JobdError], int], ...] = (
    (NotPermitted, NOT_PERMITTED),
    (ConfigError, CONFIG),
    (AlreadyRunning, ALREADY_RUNNING),
    (PushOutcomeUnknown, OUTCOME_UNKNOWN),
    (ChangeOutcomeUnknown, OUTCOME_UNKNOWN),
    (StoreUnavailable, REDIS_UNAVAILABLE),
    (PortUnavailable, REDIS_UNAVAILABLE),
    (RedisUnavailable, REDIS_UNAVAILABLE),
    (JobDefinitionError, CHILDREN_CANNOT_BOOT),
    (HookFailed, CHILDREN_CANNOT_BOOT),
)


def code_for(error: JobdError) -> int:
    """The exit code that stands for `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def complain(text: str) -> None:
    """Print to standard error why jobd ends: each line under its name, a traceback as it is.

    Messages quote what somebody has given; what a terminal would obey in them is escaped.
    """
    message, trace, frames = text.partition("Traceback (most recent call last):")
    for line in message.splitlines():
        print(f"jobd: {printable(line)}", file=sys.stderr)
    if trace:
        print(trace + frames, file=sys.stderr)


def leave(code: int) -> NoReturn:
    """Exit with `code`, at once if threads of the application are left: no stop waits for those."""
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        end_now(code)
    sys.exit(code)


def end_now(code: int) -> NoReturn:
    """Exit with `code` after what was printed, without exit handlers and without waiting for threads."""
    log.flush()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)
