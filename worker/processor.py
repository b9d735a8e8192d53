"""The way of one job through a thread: fetched, decoded, called, judged, settled.

A job that fails is an outcome and not an exception; `_settle` is the only place that acknowledges.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from jobd.client import payload as wire
from jobd.client import registry, settings
from jobd.client.call import RunningJob, run_job, running_job
from jobd.client.errors import MalformedPayload
from jobd.client.scripts import Move
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.crash import Accused, jid_of
from jobd.worker.fetcher import Fetcher
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.outcome import Buried, Dead, Deferred, Discarded, Done, Outcome, RetryAt
from jobd.worker.page import OTHER, Count, Page, Result
from jobd.worker.retry import RetryPolicy, after_failure, error_message, unknown_class
from jobd.worker.suspects import Suspects


@dataclass(frozen=True, slots=True)
class InProgress:
    """What a thread runs at the moment, for the heartbeat. `started` is epoch seconds."""

    thread: str
    job: Fetched
    started: float

    def as_json(self) -> bytes:
        """The value that Sidekiq's readers expect in the work hash."""
        text = self.job.payload.decode("utf-8", "replace")
        return msgspec.json.encode({"queue": self.job.queue, "payload": text, "run_at": int(self.started)})


class Run(NamedTuple):
    """What became of a job, and what is counted of it: its name if it is registered, how long it ran and waited."""

    outcome: Outcome
    job: str = OTHER
    seconds: float = 0.0
    waited: float | None = None


class Processor:
    """One thread of a capsule's pool."""

    def __init__(
        self,
        fetcher: Fetcher,
        ledger: Ledger,
        clock: ServerClock,
        policy: RetryPolicy,
        suspects: Suspects,
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
        self._page, self._number = page, number
        self._suspects, self._unknown, self._jitter = suspects, unknown, jitter
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._in_progress: InProgress | None = None

    def start(self) -> None:
        """Start taking jobs."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the thread to end; True when it has."""
        self._thread.join(max(timeout, 0))
        return not self._thread.is_alive()

    @property
    def in_progress(self) -> InProgress | None:
        """What it runs now."""
        return self._in_progress

    def _run(self) -> None:
        while True:
            try:
                job = self._fetcher.next()
                if job is None:
                    return
                self._process(job)
            except Aborted:
                return
            except Exception as error:
                # A thread that ended here would be missed by nobody.
                log.event("component.failed", level=log.ERROR, component=self._thread.name, exc_info=error)
                self._fetcher.rest(1.0)

    def _process(self, fetched: Fetched) -> None:
        jid = jid_of(fetched.payload) if fetched.suspects else ""
        suspected = self._suspects.has(jid)
        self._in_progress = InProgress(_thread_id(), fetched, self._clock.now())
        try:
            run = self._execute(fetched)
            move = move_for(run.outcome, self._clock.now())
        except Exception as error:
            # A defect of ours must not cost the job: its bytes are kept where somebody sees them.
            run = Run(Buried(fetched.payload, f"jobd failed on it: {type(error).__name__}: {error}"))
            move = move_for(run.outcome, self._clock.now())
            log.event("job.defect", level=log.ERROR, exc_info=error, queue=fetched.queue)
        finally:
            self._page.end(self._number)
            self._in_progress = None
        self._settle(fetched, run, move)
        if suspected and not isinstance(run.outcome, RetryAt | Deferred):
            # Only once Redis has the end of the job: a crash before that is one more.
            self._ledger.flush()
            self._suspects.absolve(jid)

    def _execute(self, fetched: Fetched) -> Run:
        try:
            fields = _completed(wire.decode(fetched.payload))
            job = running_job(fields, queue=fetched.queue)
        except MalformedPayload as error:
            return Run(Buried(fetched.payload, str(error)))
        handler = _handler_of(fields)
        if handler is None:
            return Run(self._defer(fields, fetched.queue))
        if fields.get("retry") is None:
            options = {"retry": True, **settings.current().default_options, **handler.options}
            fields = {**options, **fields, "retry": options["retry"]}
        return self._call(handler, job, fields)

    def _call(self, handler: registry.Handler, job: RunningJob, fields: dict[str, Any]) -> Run:
        line = _job_line(job, fields)
        waited = None if job.enqueued_at is None else max(self._clock.now() - job.enqueued_at, 0.0)
        log.event("job.start", **line)
        started = time.monotonic()
        self._page.begin(self._number, job.jid, started)
        try:
            run_job(handler, job, settings.current().server_stack)
        except BaseException as error:  # also SystemExit: a job must not end the thread that runs it
            outcome, seconds = self._judge(job, fields, error), time.monotonic() - started
            _log_failure(line, outcome, error, seconds=seconds, now=self._clock.now())
            return Run(outcome, handler.name, seconds, waited)
        seconds = time.monotonic() - started
        log.event("job.done", **line, seconds=round(seconds, 6))
        return Run(Done(), handler.name, seconds, waited)

    def _judge(self, job: RunningJob, fields: dict[str, Any], error: BaseException) -> RetryAt | Dead | Discarded:
        now = self._clock.now()
        return after_failure(fields, error, queue=job.queue, now=now, jitter=self._jitter(), policy=self._policy)

    def _defer(self, fields: dict[str, Any], queue: str) -> Deferred | Dead:
        name = next(iter(wire.dispatch_names(fields)), "")
        outcome = unknown_class(fields, name, queue=queue, now=self._clock.now(), policy=self._policy)
        if isinstance(outcome, Dead):
            log.event("job.dead", level=log.ERROR, jid=fields.get("jid"), job=name, error="unknown class")
        elif self._unknown.allows(name):
            hint = "is its module in `require`, and does another application read this queue?"
            log.event("job.unknown_class", level=log.WARNING, job=name, queue=queue, hint=hint)
        return outcome

    def _settle(self, fetched: Fetched, run: Run, move: Move | None) -> None:
        result = result_of(run.outcome)
        count = None if result is None else Count(fetched.queue, run.job, result, run.seconds, run.waited)
        if not self._ledger.finish(fetched, move, count):
            hint = "it was given back or recovered meanwhile, and runs twice"
            log.event("job.not_ours", level=log.WARNING, queue=fetched.queue, hint=hint)
        if isinstance(run.outcome, Buried):
            log.event("job.buried", level=log.ERROR, queue=fetched.queue, reason=run.outcome.reason)


def move_for(outcome: Outcome, now: float) -> Move | None:
    """How an outcome stands in the acknowledgement; None for a plain success. The ledger fills in the field."""
    match outcome:
        case RetryAt(at, payload):
            return Move("", "retry", at, wire.encode(payload), processed=1, failed=1)
        case Dead(payload):
            return Move("", "dead", now, wire.encode(payload), processed=1, failed=1)
        case Discarded():
            return Move("", "", 0.0, b"", processed=1, failed=1)
        case Deferred(at, payload):
            return Move("", "retry", at, wire.encode(payload), processed=0, failed=0)
        case Buried(raw):
            return Move("", "dead", now, raw, processed=0, failed=0)
        case _:
            return None


def result_of(outcome: Outcome) -> Result | None:
    """As what an outcome is counted; None: not at all. All but `requeued` are what Redis counts as processed."""
    match outcome:
        case Done():
            return "ok"
        case RetryAt():
            return "retried"
        case Dead():
            return "dead"
        case Discarded():
            return "failed"
        case Deferred():
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


def _completed(fields: dict[str, Any]) -> dict[str, Any]:
    """Fill in what the job needs in a set: Ruby's poller loses members without `args`, and equal ones are one.

    Raises MalformedPayload when it names no class.
    """
    if not wire.dispatch_names(fields):
        raise MalformedPayload("the payload names no class")
    fields.setdefault("args", [])
    if not fields.get("jid"):
        fields["jid"] = wire.new_jid()
    return fields


def _job_line(job: RunningJob, fields: dict[str, Any]) -> dict[str, Any]:
    line: dict[str, Any] = {"jid": job.jid or None, "job": job.name, "queue": job.queue}
    if job.attempt > 1:
        line["attempt"] = job.attempt
    if job.tags:
        line["tags"] = ",".join(job.tags)
    level = fields.get("log_level")
    if isinstance(level, str) and level.lower() in log.LEVELS:
        line["threshold"] = log.LEVELS[level.lower()]
    return line


def _log_failure(
    line: dict[str, Any], outcome: RetryAt | Dead | Discarded, error: BaseException, *, seconds: float, now: float
) -> None:
    values = {**line, "seconds": round(seconds, 6), "error": f"{type(error).__name__}: {error_message(error)}"}
    match outcome:
        case RetryAt(at):
            log.event("job.failed", level=log.WARNING, **values, retry_in=round(at - now, 1), exc_info=error)
        case Dead():
            log.event("job.dead", level=log.ERROR, **values, exc_info=error)
        case Discarded(reason):
            log.event("job.discarded", level=log.ERROR, **values, reason=reason, exc_info=error)


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _thread_id() -> str:
    """The thread's number in base 36, as Sidekiq writes it."""
    number, digits = threading.get_native_id(), ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
