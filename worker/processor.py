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
from jobd.worker.outcome import Buried, Dead, Deferred, Discarded, Done, Outcome, Requeue, RetryAt
from jobd.worker.retry import RetryPolicy, after_failure, unknown_class


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
        name: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._fetcher, self._ledger, self._clock, self._policy = fetcher, ledger, clock, policy
        self._jitter = jitter
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._in_progress: InProgress | None = None
        self._known_unknown: set[str] = set()

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
        try:
            while (job := self._fetcher.next()) is not None:
                self._process(job)
        except Aborted:
            return

    def _process(self, fetched: Fetched) -> None:
        self._in_progress = InProgress(_thread_id(), fetched, self._clock.now())
        try:
            outcome = self._execute(fetched)
        except Exception as error:
            # A defect of ours must not cost the job: its bytes are kept where somebody sees them.
            log.event("job.defect", level=log.ERROR, exc_info=error, queue=fetched.queue)
            outcome = Buried(fetched.payload, f"jobd failed on it: {type(error).__name__}: {error}")
        finally:
            self._in_progress = None
        self._settle(fetched, outcome)

    def _execute(self, fetched: Fetched) -> Outcome:
        try:
            fields = wire.decode(fetched.payload)
            job = running_job(fields, queue=fetched.queue)
        except MalformedPayload as error:
            return Buried(fetched.payload, str(error))
        handler = next(filter(None, map(registry.lookup, wire.dispatch_names(fields))), None)
        if handler is None:
            return self._defer(fields, fetched.queue)
        if fields.get("retry") is None:
            fields = {**handler.options, **fields}
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
        elif name not in self._known_unknown:
            self._known_unknown.add(name)
            hint = "is its module in `require`, and does another application read this queue?"
            log.event("job.unknown_class", level=log.WARNING, job=name, queue=queue, hint=hint)
        return outcome

    def _settle(self, fetched: Fetched, outcome: Outcome) -> None:
        if isinstance(outcome, Requeue):
            self._ledger.give_back([fetched])
            return
        if isinstance(outcome, Buried):
            log.event("job.buried", level=log.ERROR, queue=fetched.queue, reason=outcome.reason)
        if not self._ledger.finish(fetched, move_for(outcome, self._clock.now())):
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
        case Deferred(at, payload):
            return Move("", "retry", at, wire.encode(payload), processed=0, failed=0)
        case Buried(raw):
            return Move("", "dead", now, raw, processed=0, failed=0)
        case _:
            return None


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
    values = {**line, "seconds": round(seconds, 6), "error": f"{type(error).__name__}: {error}"}
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
