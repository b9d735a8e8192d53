"""What becomes of a job that failed, or whose class is unknown. Pure: time and chance are arguments."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobd.client import defaults
from jobd.client.payload import Timestamps, clean_text, encode_backtrace, read_time, write_time
from jobd.worker.outcome import Dead, Deferred, Discarded, RetryAt


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Limits that hold for every job of a process. Times are seconds."""

    max_retries: int = defaults.MAX_RETRIES
    unknown_class_timeout: float = defaults.UNKNOWN_CLASS_TIMEOUT
    timestamps: Timestamps = "s"


def after_failure(
    payload: Mapping[str, Any],
    error: BaseException,
    *,
    queue: str,
    now: float,
    jitter: float,
    policy: RetryPolicy,
) -> RetryAt | Dead | Discarded:
    """Decide what becomes of a job that raised.

    `payload` must hold the job's options; `queue` is the one from which it was fetched; `jitter` is from 0 up to, but
    not including, 1. The first failure sets `failed_at` and a `retry_count` of 0, later ones `retried_at`.
    """
    failed = _failed(payload, error, queue=queue, now=now, policy=policy)
    retry = payload.get("retry")
    if retry is False:
        return Discarded("its option is retry=False")
    count = int(failed["retry_count"])
    if _has_attempts(failed, count, now=now, limit=_limit(retry, policy)):
        return RetryAt(now + retry_delay(count, jitter), failed)
    if payload.get("dead") is False:
        return Discarded("attempts are used up, and its option is dead=False")
    return Dead(failed)


def retry_delay(count: int, jitter: float) -> float:
    """Seconds until the next attempt after failure number `count` (from 0): Sidekiq 8's curve.

    15 s, 16 s, 31 s, 96 s … about 20 days in all for 25 retries. The jitter is a whole number below 10 · (count + 1).
    """
    return count**4 + 15 + int(jitter * 10 * (count + 1))


def unknown_class(
    payload: Mapping[str, Any], name: str, *, queue: str, now: float, policy: RetryPolicy
) -> Deferred | Dead:
    """Decide what becomes of a job whose class this process does not know.

    It waits 15 s, then twice as long each time up to 10 minutes, and after `unknown_class_timeout` it is dead.
    """
    since = read_time(payload.get("unknown_since"))
    if since is not None and now - since >= policy.unknown_class_timeout:
        hours = policy.unknown_class_timeout / 3600
        error = UnknownJob(f"no process knew the job {name!r} for {hours:g} h; is its module in `require`?")
        return Dead(_failed(payload, error, queue=queue, now=now, policy=policy))
    waited = 0.0 if since is None else now - since
    delay = min(max(waited, defaults.UNKNOWN_CLASS_FIRST_DELAY), defaults.UNKNOWN_CLASS_MAX_DELAY)
    changed = {**payload, "queue": queue}
    # Sidekiq's page of an entry of `retry` fails without the time of a failure; the first real one replaces it.
    changed.setdefault("failed_at", write_time(now, policy.timestamps))
    if since is None:
        changed["unknown_since"] = write_time(now, policy.timestamps)
    return Deferred(now + delay, changed)


class UnknownJob(Exception):
    """No process knew the class of a job for as long as it was willing to wait."""


def _limit(retry: object, policy: RetryPolicy) -> int:
    """How many retries; anything true that is no number stands for the process' maximum, as in Sidekiq."""
    return retry if isinstance(retry, int) and not isinstance(retry, bool) else policy.max_retries


def _has_attempts(failed: Mapping[str, Any], count: int, *, now: float, limit: int) -> bool:
    """`retry_for` (seconds since the first failure) replaces the number of retries, as in Sidekiq 8.1."""
    retry_for = failed.get("retry_for")
    if isinstance(retry_for, int | float) and not isinstance(retry_for, bool):
        return now < (read_time(failed.get("failed_at")) or now) + retry_for
    return count < limit


def _failed(
    payload: Mapping[str, Any], error: BaseException, *, queue: str, now: float, policy: RetryPolicy
) -> dict[str, Any]:
    return with_failure(
        payload,
        error_class=error_class(error),
        message=error_message(error),
        backtrace=_kept_backtrace(payload.get("backtrace"), error),
        queue=queue,
        now=now,
        timestamps=policy.timestamps,
    )


def with_failure(
    payload: Mapping[str, Any],
    *,
    error_class: str,
    message: str,
    backtrace: Sequence[str],
    queue: str,
    now: float,
    timestamps: Timestamps,
) -> dict[str, Any]:
    """Return `payload` with one more failure at `now` (epoch seconds); `queue` is the one it was fetched from."""
    changed = dict(payload)
    changed.pop("unknown_since", None)
    elsewhere = payload.get("retry_queue")
    changed["queue"] = elsewhere if isinstance(elsewhere, str) and elsewhere else queue
    changed["error_message"] = clean_text(message)
    changed["error_class"] = error_class
    stamp = write_time(now, timestamps)
    count = payload.get("retry_count")
    if isinstance(count, int) and not isinstance(count, bool):
        changed["retry_count"] = count + 1
        changed["retried_at"] = stamp
    else:
        changed["failed_at"] = stamp
        changed["retry_count"] = 0
    changed.setdefault("failed_at", stamp)
    if backtrace:
        changed["error_backtrace"] = encode_backtrace(backtrace)
    return changed


def error_class(error: BaseException) -> str:
    """The name under which an error is stored: built-in ones bare, others as `module.QualName`."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def error_message(error: BaseException) -> str:
    """What an error says, even if it cannot say it."""
    try:
        return str(error)
    except Exception as broken:
        return f"(its message cannot be shown: {type(broken).__name__})"


def _kept_backtrace(option: object, error: BaseException) -> list[str]:
    """Lines of the traceback that the option asks for, innermost first, as Ruby has them."""
    if not option:
        return []
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{f.filename}:{f.lineno}:in `{f.name}'" for f in reversed(frames)]
    return lines[:option] if isinstance(option, int) and not isinstance(option, bool) else lines
