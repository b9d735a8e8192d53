"""The application's functions that a failure calls: rescue, retry_in, retries_exhausted, death and error handlers.

Each call stands alone: what it raises, or answers wrongly, is logged, and the job goes on as if it had not been there.
What becomes of the job is decided by `retry.py`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from jobd.client import call, options, settings
from jobd.client.call import RunningJob
from jobd.client.errors import Crashed, MalformedPayload, UndecodableArgument
from jobd.client.payload import Entry, display_name
from jobd.client.policies import DISCARD, DiscardOn, ErrorContext, Policies, RescueFrom, RetryLater, RetryOn, Verdict
from jobd.worker import log
from jobd.worker.outcome import Dead, Discarded, RetryAt
from jobd.worker.retry import Advice, error_message

_T = TypeVar("_T")
Ruling: TypeAlias = tuple[BaseException, RetryOn | DiscardOn | None]
"""The error of a job that is to be judged, and the rule for it."""
ASIDE = "jobd-handlers"
"""Name of the threads that call handlers where nobody may wait for them."""
_asides = threading.BoundedSemaphore(10)


def rescue(policies: Policies, job: RunningJob, error: BaseException) -> Ruling | None:
    """Look for the rule for `error`, and have its function deal with it; None when that has.

    What the function raises is the error from then on, and no rule is asked again.
    """
    if isinstance(error, RetryLater):
        return error, None
    rule = policies.rule_for(error)
    if not isinstance(rule, RescueFrom):
        return error, rule
    try:
        rule.handler(job, error)
    except BaseException as raised:  # also SystemExit: a job must not end the thread that runs it
        return raised, None
    return None


class Asked(Advice):
    """The advice of one job's policies, and of the process' settings."""

    def __init__(
        self, policies: Policies, job: RunningJob, error: BaseException, rule: RetryOn | DiscardOn | None
    ) -> None:
        self._policies, self._job, self._error = policies, job, error
        self.rule = rule

    def wait(self, count: int) -> float | None:
        """What the function given as `wait` says."""
        function = self.rule.wait if isinstance(self.rule, RetryOn) else None
        return _called("wait", self._job, lambda: _time(function(count))) if callable(function) else None

    def retry_in(self, count: int, failed: Mapping[str, Any]) -> float | Verdict | None:
        """What `retry_in` says."""
        function = self._policies.retry_in
        if function is None:
            return None
        job = call.with_payload(self._job, failed)
        return _called("retry_in", job, lambda: _time_or_verdict(function(count, self._error, job)))

    def exhausted(self, failed: Mapping[str, Any]) -> bool:
        """Whether `retries_exhausted` says to drop it."""
        function = self._policies.retries_exhausted
        if function is None:
            return False
        job = call.with_payload(self._job, failed)
        return _called("retries_exhausted", job, lambda: function(job, self._error)) is DISCARD

    def clean(self, lines: list[str]) -> list[str]:
        """What the backtrace cleaner leaves of it."""
        cleaner = settings.current().backtrace_cleaner
        if cleaner is None:
            return lines
        cleaned = _called("backtrace_cleaner", self._job, lambda: _lines(cleaner(list(lines))))
        return lines if cleaned is None else cleaned


def failed(job: RunningJob, outcome: RetryAt | Dead | Discarded, error: BaseException) -> None:
    """Tell the error handlers of a job's error, and the death handlers when it was its end."""
    event = {RetryAt: "job.failed", Dead: "job.dead", Discarded: "job.discarded"}[type(outcome)]
    job = call.with_payload(job, outcome.payload)
    tell(error, ErrorContext(event=event, job=job))
    if not isinstance(outcome, RetryAt):
        died(job, error)


def died(job: RunningJob, error: BaseException) -> None:
    """Tell the death handlers."""
    for handler in settings.current().death_handlers:
        _called("death_handlers", job, lambda handler=handler: handler(job, error))  # type: ignore[misc]


def died_of_crashes(payload: Mapping[str, Any], queue: str, message: str) -> None:
    """`died` for a job whose process crashed too often; on a thread of its own, since the heartbeat finds it."""
    if settings.current().death_handlers:
        job = _job_of(payload, queue)
        if not _aside(lambda: died(job, Crashed(message))):
            _log("death_handlers", job, RuntimeError("they were not called: those called before have not returned"))


def component_failed(component: str, error: BaseException) -> None:
    """Log an error of jobd itself, and tell the error handlers on a thread of their own: the component goes on.

    While ten such threads are still busy it is only logged.
    """
    log.event("component.failed", level=log.ERROR, component=component, exc_info=error)
    if settings.current().error_handlers:
        _aside(lambda: tell(error, ErrorContext(event="component.failed", component=component)))


def _aside(function: Callable[[], None]) -> bool:
    """Call the application on another thread. False: a handler that hangs must not cost a thread each time."""
    if not _asides.acquire(blocking=False):
        return False

    def call_and_end() -> None:
        try:
            function()
        finally:
            _asides.release()

    try:
        threading.Thread(target=call_and_end, name=ASIDE, daemon=True).start()
    except RuntimeError:  # no further thread is to be had, and whoever calls must not end for that
        _asides.release()
        return False
    return True


def tell(error: BaseException, context: ErrorContext) -> None:
    """Tell the error handlers. One that fails itself is only logged."""
    for handler in settings.current().error_handlers:
        try:
            handler(error, context)
        except BaseException as raised:  # also SystemExit: a job must not end the thread that runs it
            _log("error_handlers", context.job, raised)


def _called(what: str, job: RunningJob, function: Callable[[], _T]) -> _T | None:
    """Call one of the application's functions; None when it fails."""
    try:
        return function()
    except BaseException as raised:  # also SystemExit: a job must not end the thread that runs it
        _log(what, job, raised)
        tell(raised, ErrorContext(event="hook.failed", job=job, component=what))
        return None


def _log(what: str, job: RunningJob | None, raised: BaseException) -> None:
    values = log.job_values(job) if job else {}
    error = f"{type(raised).__name__}: {error_message(raised)}"
    log.event("hook.failed", level=log.ERROR, hook=what, **values, error=error, exc_info=raised)


def _time_or_verdict(answer: object) -> float | Verdict | None:
    return answer if answer is None or isinstance(answer, Verdict) else _time(answer)


def _time(answer: object) -> float:
    """Seconds from 0 up. Raises TypeError or ValueError for another answer; it is logged as the function's error."""
    seconds = answer.total_seconds() if isinstance(answer, timedelta) else answer
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"it returned {answer!r}; return seconds, a timedelta, jobd.DISCARD, jobd.KILL or None")
    if not math.isfinite(seconds) or seconds > options.MAX_DURATION:
        raise ValueError(f"it returned {answer!r}; return seconds from now, up to {options.MAX_DURATION:,}")
    return max(float(seconds), 0.0)


def _lines(answer: object) -> list[str]:
    if not isinstance(answer, list) or not all(isinstance(line, str) for line in answer):
        raise TypeError(f"it returned {answer!r}; return a list of strings")
    return answer


def _job_of(payload: Mapping[str, Any], queue: str) -> RunningJob:
    """A job that does not run, for its handlers; one whose arguments cannot be read has none."""
    try:
        return call.running_job(payload, queue=queue)
    except (MalformedPayload, UndecodableArgument):
        return RunningJob(queue, Entry(display_name(payload) or "?", str(payload.get("jid") or "?"), []), payload)
