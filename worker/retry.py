"""What becomes of a job that failed, asked to run later, or whose class is unknown.

Pure: time and chance are arguments, and what the application says about the error is an `Advice`.
"""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobd.client import defaults
from jobd.client.payload import Timestamps, clean_text, encode_backtrace, read_time, write_time
from jobd.client.policies import (
    DISCARD,
    KILL,
    DiscardOn,
    RetryLater,
    RetryOn,
    Verdict,
    error_name,
    usual_spread,
    usual_wait,
)
from jobd.worker.outcome import Dead, Deferred, Discarded, Postponed, RetryAt


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Limits that hold for every job of a process. Times are seconds."""

    max_retries: int = defaults.MAX_RETRIES
    unknown_class_timeout: float = defaults.UNKNOWN_CLASS_TIMEOUT
    timestamps: Timestamps = "s"


class Advice:
    """What the application says about one failure; here, of a job without policies.

    `rule` is the one for the error, if any. Nothing here raises: answers that cannot be used have become None.
    """

    rule: RetryOn | DiscardOn | None = None

    def wait(self, count: int) -> float | None:
        """Ask the function given as the rule's `wait`; seconds, None for the default."""
        return None

    def retry_in(self, count: int, failed: Mapping[str, Any]) -> float | Verdict | None:
        """Ask when a job with retries left runs again; `count` from 0, `failed` its new payload. None: the default."""
        return None

    def exhausted(self, failed: Mapping[str, Any]) -> bool:
        """Tell that no retry is left; True to keep it out of the dead set."""
        return False

    def clean(self, lines: list[str]) -> list[str]:
        """The lines of a backtrace that are worth keeping."""
        return lines


def after_failure(
    payload: Mapping[str, Any],
    error: BaseException,
    *,
    queue: str,
    now: float,
    jitter: float,
    policy: RetryPolicy,
    advice: Advice | None = None,
) -> RetryAt | Dead | Discarded:
    """Decide what becomes of a job that raised.

    `payload` must hold the job's options; `queue` is the one from which it was fetched; `jitter` is from 0 up to, but
    not including, 1. The first failure sets `failed_at` and a `retry_count` of 0, later ones `retried_at`.
    """
    advice = advice or Advice()
    failed = _failed(payload, error, queue=queue, now=now, policy=policy, advice=advice)
    rule = advice.rule
    if isinstance(rule, DiscardOn):
        return _discarded(failed, "its definition says discard_on", now, policy)
    if isinstance(rule, RetryOn) and (again := _retry_on(failed, rule, now, jitter, advice)):
        return again
    retry = payload.get("retry")
    if retry is False:
        return _discarded(failed, "its option is retry=False", now, policy)
    count = _own_count(failed)
    if not _has_attempts(failed, count, now=now, limit=_limit(retry, policy)):
        return _exhausted(failed, now, policy, advice)
    wanted = advice.retry_in(count, failed)
    if wanted is DISCARD:
        return _discarded(failed, "retry_in returned jobd.DISCARD", now, policy)
    if wanted is KILL:
        return _exhausted(failed, now, policy, advice)
    if wanted is None or wanted <= 0:
        return RetryAt(now + retry_delay(count, jitter), failed)
    return RetryAt(now + wanted + _spread(count, jitter), failed)


def after_cancel(
    payload: Mapping[str, Any],
    error: BaseException,
    *,
    queue: str,
    now: float,
    policy: RetryPolicy,
    advice: Advice,
) -> Dead | Discarded:
    """Decide what becomes of a job that was cancelled while it ran: it is dead, whatever its option `retry` says.

    With `dead=False` it is not kept. The arguments are those of `after_failure`.
    """
    failed = _failed(payload, error, queue=queue, now=now, policy=policy, advice=advice)
    if failed.get("dead") is False:
        return _discarded(failed, "it was cancelled, and its option is dead=False", now, policy)
    return Dead(failed)


def retry_delay(count: int, jitter: float) -> float:
    """Seconds until the next attempt after failure number `count` (from 0): Sidekiq 8's curve.

    15 s, 16 s, 31 s, 96 s … about 20 days in all for 25 retries. The jitter is a whole number below 10 · (count + 1).
    """
    return usual_wait(count) + _spread(count, jitter)


def _spread(count: int, jitter: float) -> int:
    return int(jitter * usual_spread(count))


def retry_on_delay(rule: RetryOn, count: int, jitter: float, wanted: float | None = None) -> float:
    """Seconds until a rule's next attempt after its failure number `count` (from 1).

    `wanted` is what its function has said; without an answer of it the exponential curve counts. Functions get no
    jitter; the polynomial's is of n⁴ alone, as in ActiveJob.
    """
    if wanted is not None:
        return wanted
    share = jitter * rule.jitter
    if rule.wait == "polynomial":
        return min(min(count, _ENOUGH) ** 4, defaults.MAX_RETRY_ON_WAIT) * (1 + share) + 2
    base = rule.wait if isinstance(rule.wait, float) else min(2.0 ** min(count, _ENOUGH), defaults.MAX_RETRY_ON_WAIT)
    return base * (1 + share)


_ENOUGH = 64
"""A count from which on every curve has reached its end; a payload may hold any number."""


def postponed(
    payload: Mapping[str, Any], wish: RetryLater, *, queue: str, now: float, policy: RetryPolicy
) -> Postponed:
    """What becomes of a job that raised `RetryLater`: its counts stay, how often it asked is noted."""
    changed = {**payload, "queue": queue, "postponed_count": _whole(payload.get("postponed_count")) + 1}
    changed.pop("unknown_since", None)
    changed.pop("postponed_reason", None)
    # Sidekiq's page of an entry of `retry` fails without the time of a failure; the first real one replaces it.
    changed.setdefault("failed_at", write_time(now, policy.timestamps))
    if wish.reason:
        changed["postponed_reason"] = clean_text(wish.reason)
    return Postponed(now + wish.seconds, changed)


def expired_since(payload: Mapping[str, Any], now: float) -> float | None:
    """Seconds for which a job about to begin for the first time should have begun; None when it may begin.

    One that has failed or was put off has begun in time. Without a known time of its push it never expires.
    """
    expires_in = _seconds(payload.get("expires_in"))
    pushed = read_time(payload.get("created_at")) or read_time(payload.get("enqueued_at"))
    begun = any(payload.get(field) is not None for field in ("retry_count", "postponed_count"))
    if expires_in is None or pushed is None or begun:
        return None
    late = now - (pushed + expires_in)
    return late if late > 0 else None


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
        return Dead(_failed(payload, error, queue=queue, now=now, policy=policy, advice=Advice()))
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


def _retry_on(failed: dict[str, Any], rule: RetryOn, now: float, jitter: float, advice: Advice) -> RetryAt | None:
    """The next of the rule's own attempts; None when they are used up."""
    counts = _retry_on_counts(failed)
    count = counts.get(rule.key, 0) + 1
    if rule.attempts is not None and count >= rule.attempts:
        return None
    wanted = advice.wait(count) if callable(rule.wait) else None
    failed = {**failed, "queue": rule.queue or failed["queue"], "retry_on_counts": {**counts, rule.key: count}}
    return RetryAt(now + retry_on_delay(rule, count, jitter, wanted), failed)


def _retry_on_counts(payload: Mapping[str, Any]) -> dict[str, int]:
    counts = payload.get("retry_on_counts")
    return {key: _whole(count) for key, count in counts.items()} if isinstance(counts, dict) else {}


def _own_count(failed: Mapping[str, Any]) -> int:
    """Failures but one that went the ordinary way: the retries of rules do not use up those of the option `retry`."""
    count, apart = int(failed["retry_count"]), sum(_retry_on_counts(failed).values())
    return max(count - apart, 0) if apart else count


def _exhausted(failed: dict[str, Any], now: float, policy: RetryPolicy, advice: Advice) -> Dead | Discarded:
    dropped = advice.exhausted(failed)
    if failed.get("dead") is False:
        return _discarded(failed, "attempts are used up, and its option is dead=False", now, policy)
    if dropped:
        return _discarded(failed, "attempts are used up, and retries_exhausted returned jobd.DISCARD", now, policy)
    return Dead(failed)


def _discarded(failed: dict[str, Any], reason: str, now: float, policy: RetryPolicy) -> Discarded:
    return Discarded(reason, {**failed, "discarded_at": write_time(now, policy.timestamps)})


def _limit(retry: object, policy: RetryPolicy) -> int:
    """How many retries; anything true that is no number stands for the process' maximum, as in Sidekiq."""
    return retry if isinstance(retry, int) and not isinstance(retry, bool) else policy.max_retries


def _has_attempts(failed: Mapping[str, Any], count: int, *, now: float, limit: int) -> bool:
    """`retry_for` (seconds since the first failure) replaces the number of retries, as in Sidekiq 8.1."""
    retry_for = _seconds(failed.get("retry_for"))
    if retry_for is not None:
        return now < (read_time(failed.get("failed_at")) or now) + retry_for
    return count < limit


def _failed(
    payload: Mapping[str, Any], error: BaseException, *, queue: str, now: float, policy: RetryPolicy, advice: Advice
) -> dict[str, Any]:
    return with_failure(
        payload,
        error_class=error_class(error),
        message=error_message(error),
        backtrace=_kept_backtrace(payload.get("backtrace"), error, advice),
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
    return error_name(type(error))


def error_message(error: BaseException) -> str:
    """What an error says, even if it cannot say it."""
    try:
        return str(error)
    except Exception as broken:
        return f"(its message cannot be shown: {type(broken).__name__})"


def _kept_backtrace(option: object, error: BaseException, advice: Advice) -> list[str]:
    """Lines of the traceback that the option asks for, innermost first, as Ruby has them."""
    if not option:
        return []
    frames = traceback.extract_tb(error.__traceback__)
    lines = advice.clean([f"{f.filename}:{f.lineno}:in `{f.name}'" for f in reversed(frames)])
    return lines if option is True else lines[: _lines(option)]


def _lines(option: object) -> int:
    """How many lines an option means that is not True: Ruby reads the number at the front of a text, else 0."""
    if isinstance(option, str):
        digits = re.match(r"\s*\d+", option)
        return int(digits[0][:9]) if digits else 0
    return int(option) if isinstance(option, int | float) and math.isfinite(option) else 0


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
