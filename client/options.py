"""The options of a job: which there are, and what each may hold.

Options travel in the payload. A name that is not listed here is an extra field, kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from jobd.client import arguments
from jobd.client.errors import JobdError

QUEUE_NAME = re.compile(r"[A-Za-z0-9_:.-]+")
MAX_DURATION = 1_000_000_000
"""Seconds; as in Sidekiq, a number above is a point in time given by mistake."""
LOG_LEVELS = ("debug", "info", "warn", "warning", "error", "fatal", "critical")

INTERNAL = frozenset(
    {
        *("class", "args", "kwargs", "jid", "at", "created_at", "enqueued_at"),
        *("failed_at", "retried_at", "discarded_at", "retry_count", "unknown_since"),
        *("error_message", "error_class", "error_backtrace"),
        *("retry_on_counts", "postponed_count", "postponed_reason", "cron_entry"),
        *("edited_from", "edited_into"),
    }
)
"""Fields of a payload that jobd writes itself."""

UNSUPPORTED = frozenset(
    {
        *("unique", "unique_for", "unique_until", "rate_limit", "encrypt"),
        *("timeout", "hard_timeout"),
    }
)
"""Options of Sidekiq's editions and of ActiveJob without effect here: refused, lest somebody rely on one."""

_IN_DEFINITION = "it belongs to the job's definition: give it to @jobd.job, or to the class"
ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("retry_on", "discard_on", "retry_in", "retries_exhausted"), _IN_DEFINITION),
    **dict.fromkeys(("pool", "client_class"), "a push elsewhere is made with jobd.Client(url).push"),
    "sync": "a run here and now is made with perform_inline",
    **dict.fromkeys(("cron", "timezone"), "it goes with a definition, @jobd.job(cron=…), or jobd.CronSet"),
}
"""Names that are no options: what they ask for is had in another way."""
RUBYS = frozenset({"profile", "profiler_options"})
"""Options with an effect in Ruby's processes alone; a dictionary given to `Client.push` may be for one of these."""


def check(given: Mapping[str, Any], *, place: str, error: type[JobdError], internal: bool = False) -> Mapping[str, Any]:
    """Return the options `given` as a read-only mapping of values that can travel as JSON.

    `place` names in messages where the options stand; `internal` lets fields that jobd writes itself
    pass, for a payload that is pushed again. Raises `error` at the first option that cannot be used.
    """
    checked = {}
    for name, value in given.items():
        if not isinstance(name, str):
            raise error(f"{place}: the option {name!r} is not named by a string")
        if fault := arguments.find_fault(name):
            raise error(f"{place}: the option {name!r} is {fault.problem}; {fault.remedy}")
        if name in UNSUPPORTED:
            raise error(f"{place}: jobd has no option `{name}`; remove it")
        if name in ELSEWHERE:
            raise error(f"{place}: `{name}` is no option here; {ELSEWHERE[name]}")
        if name in RUBYS and not internal:
            raise error(f"{place}: `{name}` has an effect in Ruby's processes alone; remove it")
        if name in INTERNAL and not internal:
            raise error(f"{place}: `{name}` is written by jobd and is not an option; choose another name")
        if complaint := _complaint(name, value):
            raise error(f"{place}: {name}={value!r}: {complaint}")
        checked[name] = _as_json(name, value)
    return MappingProxyType(checked)


def _as_json(name: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return list(value) if name == "tags" else value


def _complaint(name: str, value: object) -> str | None:
    rule = _RULES.get(name)
    if rule is not None:
        return rule(value)
    fault = arguments.find_fault(value)
    return None if fault is None else f"{fault.described(name)}; {fault.remedy}"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def queue(value: object) -> str | None:
    """Say what is wrong with a queue's name, or None."""
    if isinstance(value, str) and QUEUE_NAME.fullmatch(value):
        return None
    return "a queue is named by letters, digits and _ : . -"


def _retry(value: object) -> str | None:
    return None if isinstance(value, bool) or _is_count(value) else "give True, False or a number of retries"


def _duration(value: object) -> bool:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= MAX_DURATION


def _retry_for(value: object) -> str | None:
    if _duration(value):
        return None
    return f"give a timedelta or a number of seconds up to {MAX_DURATION:,}, counted from the first failure"


def _expires_in(value: object) -> str | None:
    if _duration(value):
        return None
    return f"give a timedelta or a number of seconds up to {MAX_DURATION:,}, counted from the push"


def _backtrace(value: object) -> str | None:
    return None if isinstance(value, bool) or _is_count(value) else "give True, False or a number of lines"


def _dead(value: object) -> str | None:
    return None if isinstance(value, bool) else "give True or False"


def _tags(value: object) -> str | None:
    if isinstance(value, list | tuple) and all(type(tag) is str for tag in value):
        fault = arguments.find_fault(value)
        return None if fault is None else f"{fault.described('tags')}; {fault.remedy}"
    return "give a list of strings"


def _log_level(value: object) -> str | None:
    return None if value in LOG_LEVELS else f"give one of {', '.join(LOG_LEVELS)}"


_RULES: Mapping[str, Callable[[object], str | None]] = {
    "queue": queue,
    "retry": _retry,
    "retry_for": _retry_for,
    "expires_in": _expires_in,
    "retry_queue": queue,
    "backtrace": _backtrace,
    "dead": _dead,
    "tags": _tags,
    "log_level": _log_level,
}

NAMES = INTERNAL | UNSUPPORTED | _RULES.keys()
"""Every name that means something to jobd."""
