"""The way of one job through a thread: fetched, decoded, called, judged, settled.

A job that fails is an outcome and not an exception; `_settle` is the only place that acknowledges.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, TypeAlias

import msgspec

from jobd.client import payload as wire
from jobd.client import registry, settings
from jobd.client.call import RunningJob, call_target, cancelled_jids, set_current
from jobd.client.errors import JobCancelled, MalformedPayload, UndecodableArgument
from jobd.client.middleware import NO_MIDDLEWARE
from jobd.client.policies import ErrorContext, RetryLater
from jobd.client.scripts import Move
from jobd.worker import log, on_error
from jobd.worker.brake import Brake, free_logging
from jobd.worker.cancels import Cancels
from jobd.worker.clock import ServerClock
from jobd.worker.crash import Accused, jid_of
from jobd.worker.cron_holds import MARK, CronHolds
from jobd.worker.fetcher import Fetcher
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.outcome import (
    DONE,
    Buried,
    Dead,
    Deferred,
    Discarded,
    Done,
    Expired,
    Outcome,
    Postponed,
    RetryAt,
)
from jobd.worker.page import OTHER, Count, Page, Result
from jobd.worker.retry import (
    RetryPolicy,
    UnknownJob,
    after_cancel,
    after_failure,
    error_message,
    expired_since,
    postponed,
    unknown_class,
)
from jobd.worker.suspects import Suspects

_CANCELLED_KEPT = 1000
"""How many cancelled jobs are known as such, for threads of theirs that go on after them."""


@dataclass(frozen=True, slots=True)
class InProgress:
    """What a thread runs at the moment, for the heartbeat. `started` is epoch seconds."""

    thread: str
    job: Fetched
    started: float
    cancelled: bool = False
    """Whether it was interrupted, and has not ended yet."""

    def as_json(self) -> bytes:
        """The value that Sidekiq's readers expect in the work hash."""
        text = self.job.payload.decode("utf-8", "replace")
        value = {"queue": self.job.queue, "payload": text, "run_at": int(self.started)}
        return msgspec.json.encode({**value, "cancelled": True} if self.cancelled else value)


class Processor:
    """One thread of a capsule's pool."""

    def __init__(
        self,
        fetcher: Fetcher,
        ledger: Ledger,
        clock: ServerClock,
        policy: RetryPolicy,
        suspects: Suspects,
        holds: CronHolds,
        cancels: Cancels,
        *,
        page: Page,
        number: int,
        unknown: log.Sparingly,
        name: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`number` is the thread's place in the page. `unknown` lets each unknown class be logged once for all threads.

        `jitter` is from 0 up to 1.
        """
        self._fetcher, self._ledger, self._clock, self._policy = fetcher, ledger, clock, policy
        self._next, self._seat, self.number = fetcher.next, page.seat(number), number
        self._suspects, self._holds, self._unknown, self._jitter = suspects, holds, unknown, jitter
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread_id, self._brake, self._cancels = "", Brake(), cancels
        self._now: tuple[Fetched, float] | None = None
        self._ran: float | None = None
        self._was_slow = self._of_entry = False
        self._call, self._lines, self._stack, self._offset = 0, log.job_log(), NO_MIDDLEWARE, 0.0

    def start(self) -> None:
        """Start taking jobs."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the thread to end; True when it has."""
        self._thread.join(max(timeout, 0))
        return not self._thread.is_alive()

    def dismiss(self) -> None:
        """Have the thread end: after its job if it runs one."""
        self._next = self._fetcher.last
        self._fetcher.dismiss(self.number)

    def keep(self) -> bool:
        """Take that back. False: it has ended, or is about to."""
        if self.is_leaving and self._fetcher.keep(self.number):
            self._next = self._fetcher.next
            return True
        return False

    @property
    def is_leaving(self) -> bool:
        """Whether it was dismissed."""
        return self._next == self._fetcher.last

    @property
    def is_alive(self) -> bool:
        """Whether its thread has not ended."""
        return self._thread.is_alive()

    @property
    def in_progress(self) -> InProgress | None:
        """What it runs now."""
        now = self._now
        if now is None:
            return None
        return InProgress(self._thread_id, now[0], now[1] + self._clock.offset, self._brake.pulled_for(now[0]))

    def interrupt(self, job: Fetched) -> bool:
        """Raise JobCancelled in its thread, if that is within the call of `job`; once for each. False: it is not.

        Only for the heartbeat.
        """
        jid = jid_of(job.payload)
        cancelled_jids[jid] = None
        if not self._brake.pull(self._thread.ident or 0, job):
            cancelled_jids.pop(jid, None)
            return False
        cancelled_jids[jid] = None  # again, as the beginning of the run may have dropped it
        for old in list(cancelled_jids)[:-_CANCELLED_KEPT]:
            cancelled_jids.pop(old, None)
        return True

    def runs(self, job: Fetched) -> bool:
        """Whether it runs `job` now."""
        now = self._now
        return now is not None and now[0] is job

    def _run(self) -> None:
        self._thread_id = thread_id(threading.get_native_id())
        while True:
            try:
                ran, self._ran = self._ran, None
                job = self._next(self.number, ran)
                if job is None:
                    return
                if job.call != self._call:
                    self._look_around(job.call)
                outcome = self._process_suspect(job) if job.suspects else self._process(job)
                if self._of_entry:
                    self._of_entry = False
                    self._ledger.flush()
                    self._holds.ended(job.payload, outcome, self._clock.now())
            except Aborted:
                return
            except Exception as error:
                # A thread that ended here would be missed by nobody.
                on_error.component_failed(self._thread.name, error)
                self._fetcher.rest(1.0)

    def _process_suspect(self, fetched: Fetched) -> Outcome:
        if self._cancels.among([fetched]):  # its last run was, and was cut off
            self._stack = _call_off
            self._call = 0  # so that the next job has the right one again
        outcome = self._process(fetched)
        if not isinstance(outcome, RetryAt | Deferred | Postponed):
            # Only once Redis has the end of the job: a crash before that is one more.
            self._ledger.flush()
            self._suspects.absolve(jid_of(fetched.payload))
        return outcome

    def _process(self, fetched: Fetched) -> Outcome:
        """Run one job and note what became of it."""
        # The way of every job: no lock, no system call, nothing made that a plain success can do without.
        outcome: Outcome = DONE
        name, seconds, waited, started = OTHER, 0.0, None, monotonic()
        self._now = fetched, started
        try:
            lines, entry = self._lines, wire.plain_entry(fetched.payload)
            handler = registry.lookup(entry.name) if entry else None
            if entry is None or handler is None:
                entry, handler, job, lines = self._look_closer(fetched)
            else:
                job = RunningJob(fetched.queue, entry, fetched.payload)
            name, at = handler.name, entry.enqueued_at
            if at is not None:
                waited = started + self._offset - (at if at < wire.FIRST_MS else at / 1000)
            said = lines.start(job, at_once=self._was_slow) if lines else ""
            self._seat.begin(entry.jid, started)
            try:
                self._run_job(fetched, handler, job)
            except BaseException as error:  # also SystemExit: a job must not end the thread that runs it
                seconds = monotonic() - started
                outcome = self._judge(fetched, job, handler, error, seconds)
            else:
                seconds = monotonic() - started
                if lines:
                    self._was_slow = lines.done(job, said, seconds)
        except Exception as error:
            outcome, name = self._not_run(fetched, error)
        finally:
            self._seat.end()
            self._now = None
        if self._brake.request is not None:
            self._brake.forget()
        self._ran = seconds or monotonic() - started
        if outcome is not DONE:
            return self._settle(fetched, outcome, name, seconds, waited)
        if not self._ledger.finish(fetched, None, (fetched.queue, name, "ok", seconds, waited)):
            self._leave_to_another(fetched)
        return outcome

    def _run_job(self, fetched: Fetched, handler: registry.Handler, job: RunningJob) -> None:
        """Call the job, which may be interrupted here and nowhere else."""
        brake = self._brake
        if cancelled_jids:
            cancelled_jids.pop(job.jid, None)
        try:
            brake.job = fetched
            set_current(job)
            call_target(handler, job, self._stack)
        finally:
            brake.job = None
            if brake.request is not None:
                try:
                    brake.let_go()
                finally:
                    free_logging()

    def _look_around(self, call: int) -> None:
        """Find out what is asked for once per fetch and not for each job."""
        self._call, self._lines, self._offset = call, log.job_log(), self._clock.offset
        self._stack = settings.current().server_stack

    def _look_closer(self, fetched: Fetched) -> _Prepared:
        self._of_entry = MARK in fetched.payload
        return _prepared(fetched, self._clock)

    def _not_run(self, fetched: Fetched, error: Exception) -> tuple[Outcome, str]:
        """What becomes of a job that was not called, and under which name it is counted."""
        match error:
            case _UnknownClass(job=job):
                return self._defer(job), OTHER
            case _TooLate(job=job, late=late):
                log.event("job.expired", level=log.WARNING, **log.job_values(job), late=round(late, 3))
                return Expired(late), error.name
        return _unfit(fetched, error), OTHER

    def _judge(
        self, fetched: Fetched, job: RunningJob, handler: registry.Handler, error: BaseException, seconds: float
    ) -> Outcome:
        if isinstance(error, JobCancelled) or self._brake.pulled_for(fetched):
            return self._end_cancelled(fetched, job, handler, error, seconds)
        ruling = on_error.rescue(handler.policies, job, error)
        # What the job did to its arguments must not reach its next attempt: only the bytes are as they were.
        fields = _with_options(_completed(wire.decode(fetched.payload), job.jid), handler)
        threshold, now = _threshold(fields), self._clock.now()
        if ruling is None:
            log.event("job.rescued", threshold=threshold, **_ran(job, seconds), error=_described(error))
            return DONE
        error, rule = ruling
        if isinstance(error, RetryLater):
            later = postponed(fields, error, queue=job.queue, now=now, policy=self._policy)
            values = {"reason": error.reason, "retry_in": error.seconds, "times": later.payload["postponed_count"]}
            log.event("job.postponed", threshold=threshold, **_ran(job, seconds), **values)
            return later
        advice = on_error.Asked(handler.policies, job, error, rule)
        outcome = after_failure(
            fields, error, queue=job.queue, now=now, jitter=self._jitter(), policy=self._policy, advice=advice
        )
        _log_failure(job, outcome, error, threshold=threshold, seconds=seconds, now=now)
        on_error.failed(job, outcome, error)
        return outcome

    def _end_cancelled(
        self, fetched: Fetched, job: RunningJob, handler: registry.Handler, error: BaseException, seconds: float
    ) -> Dead | Discarded:
        """Whatever it has raised since: no policy is asked, and there is no retry."""
        if not isinstance(error, JobCancelled):
            raised, error = error, JobCancelled(f"{JobCancelled()}, and has raised {_described(error)}")
            error.__cause__, error.__traceback__ = raised, raised.__traceback__
        fields = _with_options(_completed(wire.decode(fetched.payload), job.jid), handler)
        advice = on_error.Asked(handler.policies, job, error, None)
        outcome = after_cancel(
            fields, error, queue=job.queue, now=self._clock.now(), policy=self._policy, advice=advice
        )
        values = _ran(job, seconds) | {"threshold": _threshold(fields), "error": _described(error)}
        reason = outcome.reason if isinstance(outcome, Discarded) else None
        log.event("job.cancelled", level=log.WARNING, **values, reason=reason)
        on_error.failed(job, outcome, error)
        return outcome

    def _defer(self, job: RunningJob) -> Deferred | Dead:
        outcome = unknown_class(job.payload, job.name, queue=job.queue, now=self._clock.now(), policy=self._policy)
        if isinstance(outcome, Dead):
            log.event("job.dead", level=log.ERROR, jid=job.jid, job=job.name, error="unknown class")
            on_error.failed(job, outcome, UnknownJob(outcome.payload["error_message"]))
        elif self._unknown.allows(job.name):
            hint = "is its module in `require`, and does another application read this queue?"
            log.event("job.unknown_class", level=log.WARNING, job=job.name, queue=job.queue, hint=hint)
        return outcome

    def _settle(self, fetched: Fetched, outcome: Outcome, name: str, seconds: float, waited: float | None) -> Outcome:
        """Note the end of a job that is no plain success."""
        try:
            move = move_for(outcome, self._clock.now())
        except Exception as error:
            outcome = _unfit(fetched, error)
            move = move_for(outcome, self._clock.now())
        result = result_of(outcome)
        count = None if result is None else (fetched.queue, name, result, seconds, waited)
        if not self._ledger.finish(fetched, move, count):
            self._leave_to_another(fetched)
        if isinstance(outcome, Buried):
            log.event("job.buried", level=log.ERROR, queue=fetched.queue, reason=outcome.reason)
        return outcome

    def _leave_to_another(self, fetched: Fetched) -> None:
        self._of_entry = False  # it has not ended
        hint = "it was given back or recovered meanwhile, and runs twice"
        log.event("job.not_ours", level=log.WARNING, queue=fetched.queue, hint=hint)


def move_for(outcome: Outcome, now: float) -> Move | None:
    """How an outcome stands in the acknowledgement; None for a plain success. The ledger fills in the field."""
    match outcome:
        case RetryAt(at, payload):
            return Move("", "retry", at, wire.encode(payload), processed=1, failed=1)
        case Dead(payload):
            return Move("", "dead", now, wire.encode(payload), processed=1, failed=1)
        case Discarded():
            return Move("", "", 0.0, b"", processed=1, failed=1)
        case Deferred(at, payload) | Postponed(at, payload):
            return Move("", "retry", at, wire.encode(payload), processed=0, failed=0)
        case Buried(raw):
            return Move("", "dead", now, raw, processed=0, failed=0)
        case _:
            return None


def result_of(outcome: Outcome) -> Result | None:
    """As what an outcome is counted; None: not at all. All but `requeued` are what Redis counts as processed."""
    match outcome:
        case Done() | Expired():
            return "ok"
        case RetryAt():
            return "retried"
        case Dead():
            return "dead"
        case Discarded():
            return "failed"
        case Deferred() | Postponed():
            return "requeued"
        case Buried():
            return None


def given_back(job: Fetched) -> Count:
    """As what a job is counted that goes back to its queue unfinished."""
    try:
        return Count(job.queue, _label_of(wire.decode(job.payload)), "requeued")
    except MalformedPayload:
        return Count(job.queue, OTHER, "requeued")


def dead_of_crashes(job: Accused) -> Count:
    """As what a job is counted that a recovery puts into the dead set: an attempt of unknown length."""
    return Count(job.queue, _label_of(job.payload), "dead")


def _label_of(fields: Mapping[str, Any]) -> str:
    handler = _handler_of(fields)
    return handler.name if handler else OTHER


def _handler_of(fields: Mapping[str, Any]) -> registry.Handler | None:
    return next(filter(None, map(registry.lookup, wire.dispatch_names(fields))), None)


class _UnknownClass(Exception):
    """This process does not know the class of a job."""

    def __init__(self, job: RunningJob) -> None:
        super().__init__(job)
        self.job = job


class _TooLate(Exception):
    """A job was not begun within its `expires_in`, but so many seconds late."""

    def __init__(self, job: RunningJob, name: str, late: float) -> None:
        super().__init__(job, name, late)
        self.job, self.name, self.late = job, name, late


_Prepared: TypeAlias = "tuple[wire.Entry, registry.Handler, RunningJob, log.JobLines | None]"


def _prepared(fetched: Fetched, clock: ServerClock) -> _Prepared:
    """A job that is not quite plain: without an id, under a second name, with options of its definition.

    Returns what a run needs of it, its handler, itself, and what writes its lines. Raises MalformedPayload,
    _UnknownClass and _TooLate.
    """
    fields = wire.decode(fetched.payload)
    if not wire.dispatch_names(fields):
        raise MalformedPayload("the payload names no class")
    entry = wire.entry_of(_completed(fields, wire.new_jid()))
    handler = _handler_of(fields)
    if handler is None:
        raise _UnknownClass(RunningJob(fetched.queue, entry, fields))
    effective = _with_options(fields, handler)
    if (late := expired_since(effective, clock.now())) is not None:
        raise _TooLate(RunningJob(fetched.queue, entry, fields), handler.name, late)
    if wire.is_active_job(fields):
        entry, handler = _unwrapped(entry, handler)
    return entry, handler, RunningJob(fetched.queue, entry, fields), log.job_log(_threshold(effective))


def _unwrapped(entry: wire.Entry, handler: registry.Handler) -> tuple[wire.Entry, registry.Handler]:
    """The job with the arguments that Rails encoded; one that cannot be decoded is an error of its run."""
    from jobd.client.active_job import unwrapped

    try:
        return unwrapped(entry), handler
    except UndecodableArgument as error:
        return entry, replace(handler, target=_raising(error))


def _raising(error: Exception) -> Callable[..., Any]:
    def target(*args: Any, **kwargs: Any) -> Any:
        raise error

    return target


def _completed(fields: dict[str, Any], jid: str) -> dict[str, Any]:
    """Fill in what the job needs in a set: Ruby's poller loses members without `args`, and equal ones are one."""
    fields.setdefault("args", [])
    if not fields.get("jid"):
        fields["jid"] = jid
    return fields


def _with_options(fields: dict[str, Any], handler: registry.Handler) -> dict[str, Any]:
    """The options in effect: those of the job's definition are for payloads that do not know them."""
    if fields.get("retry") is not None:
        return fields
    options = {"retry": True, **settings.current().default_options, **handler.options}
    return {**options, **fields, "retry": options["retry"]}


def _threshold(fields: Mapping[str, Any]) -> int | None:
    level = fields.get("log_level")
    return log.LEVELS.get(level.lower()) if isinstance(level, str) else None


def _unfit(fetched: Fetched, error: Exception) -> Buried:
    """What is no job, or what fails us, must not cost its bytes: they are kept where somebody sees them."""
    on_error.tell(error, ErrorContext(event="job.buried"))
    if isinstance(error, MalformedPayload):
        return Buried(fetched.payload, str(error))
    log.event("job.defect", level=log.ERROR, exc_info=error, queue=fetched.queue)
    return Buried(fetched.payload, f"jobd failed on it: {type(error).__name__}: {error}")


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error_message(error)}"


def _ran(job: RunningJob, seconds: float) -> dict[str, Any]:
    return log.job_values(job) | {"seconds": round(seconds, 6)}


def _log_failure(
    job: RunningJob,
    outcome: RetryAt | Dead | Discarded,
    error: BaseException,
    *,
    threshold: int | None,
    seconds: float,
    now: float,
) -> None:
    values = _ran(job, seconds) | {"threshold": threshold}
    values["error"] = _described(error)
    match outcome:
        case RetryAt(at):
            log.event("job.failed", level=log.WARNING, **values, retry_in=round(at - now, 1), exc_info=error)
        case Dead():
            log.event("job.dead", level=log.ERROR, **values, exc_info=error)
        case Discarded(reason=reason):
            log.event("job.discarded", level=log.ERROR, **values, reason=reason, exc_info=error)


def _call_off(job: RunningJob, proceed: Callable[[], Any]) -> Any:
    """In place of the middleware of a job that is not to be called."""
    raise JobCancelled("somebody has cancelled it, and its process ended before it did")


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def thread_id(number: int) -> str:
    """A thread's number in base 36, as Sidekiq writes it."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
