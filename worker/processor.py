"""The way of one job through a thread: fetched, decoded, called, judged, settled.

A job that fails is an outcome and not an exception; `_settle` is the only place that acknowledges.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from jobd.client import payload as wire
from jobd.client import registry, settings
from jobd.client.call import RunningJob, run_job, running_job
from jobd.client.errors import MalformedPayload
from jobd.client.scripts import Move
from jobd.worker import log
from jobd.worker.clock import ServerClock
from jobd.worker.fetcher import Fetcher
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.outcome import Buried, Dead, Deferred, Discarded, Done, Outcome, RetryAt
from jobd.worker.retry import RetryPolicy, after_failure, error_message, unknown_class


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


class Processor:
    """One thread of a capsule's pool."""

    def __init__(
        self,
        fetcher: Fetcher,
        ledger: Ledger,
        clock: ServerClock,
        policy: RetryPolicy,
        *,
        unknown: log.Sparingly,
        name: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`unknown` lets the name of each unknown class be logged once for all threads; `jitter` is from 0 up to 1."""
        self._fetcher, self._ledger, self._clock, self._policy = fetcher, ledger, clock, policy
        self._unknown, self._jitter = unknown, jitter
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
        self._in_progress = InProgress(_thread_id(), fetched, self._clock.now())
        try:
            outcome = self._execute(fetched)
            move = move_for(outcome, self._clock.now())
        except Exception as error:
            # A defect of ours must not cost the job: its bytes are kept where somebody sees them.
            outcome = Buried(fetched.payload, f"jobd failed on it: {type(error).__name__}: {error}")
            move = move_for(outcome, self._clock.now())
            log.event("job.defect", level=log.ERROR, exc_info=error, queue=fetched.queue)
        finally:
            self._in_progress = None
        self._settle(fetched, outcome, move)

    def _execute(self, fetched: Fetched) -> Outcome:
        try:
            fields = _completed(wire.decode(fetched.payload))
            job = running_job(fields, queue=fetched.queue)
        except MalformedPayload as error:
            return Buried(fetched.payload, str(error))
        handler = next(filter(None, map(registry.lookup, wire.dispatch_names(fields))), None)
        if handler is None:
            return self._defer(fields, fetched.queue)
        if fields.get("retry") is None:
            options = {"retry": True, **settings.current().default_options, **handler.options}
            fields = {**options, **fields, "retry": options["retry"]}
        return self._call(handler, job, fields)

    def _call(self, handler: registry.Handler, job: RunningJob, fields: dict[str, Any]) -> Outcome:
        line = _job_line(job, fields)
        log.event("job.start", **line)
        started = time.monotonic()
        try:
            run_job(handler, job, settings.current().server_stack)
        except BaseException as error:  # also SystemExit: a job must not end the thread that runs it
            outcome = after_failure(
                fields,
                error,
                queue=job.queue,
                now=self._clock.now(),
                jitter=self._jitter(),
                policy=self._policy,
            )
            _log_failure(line, outcome, error, seconds=time.monotonic() - started, now=self._clock.now())
            return outcome
        log.event("job.done", **line, seconds=round(time.monotonic() - started, 6))
        return Done()

    def _defer(self, fields: dict[str, Any], queue: str) -> Deferred | Dead:
        name = next(iter(wire.dispatch_names(fields)), "")
        outcome = unknown_class(fields, name, queue=queue, now=self._clock.now(), policy=self._policy)
        if isinstance(outcome, Dead):
            log.event("job.dead", level=log.ERROR, jid=fields.get("jid"), job=name, error="unknown class")
        elif self._unknown.allows(name):
            hint = "is its module in `require`, and does another application read this queue?"
            log.event("job.unknown_class", level=log.WARNING, job=name, queue=queue, hint=hint)
        return outcome

    def _settle(self, fetched: Fetched, outcome: Outcome, move: Move | None) -> None:
        if not self._ledger.finish(fetched, move):
            hint = "it was given back or recovered meanwhile, and runs twice"
            log.event("job.not_ours", level=log.WARNING, queue=fetched.queue, hint=hint)
        if isinstance(outcome, Buried):
            log.event("job.buried", level=log.ERROR, queue=fetched.queue, reason=outcome.reason)


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
