"""One process that runs jobs: puts its parts together, starts them, quiets, resumes and stops them.

Parts: for each capsule a ledger, a doorbell, a fetcher and a pool of threads; one heartbeat, one scheduler,
one cron, one pulse.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from jobd.client import defaults, registry, settings
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.client.payload import decode
from jobd.client.scripts import DeadLimits
from jobd.worker import host, log, on_error
from jobd.worker.cancels import Cancels
from jobd.worker.clock import ServerClock
from jobd.worker.config import Capsule, WorkerConfig
from jobd.worker.crash import Judgement
from jobd.worker.crew import Crew, Staff
from jobd.worker.cron import CronTicker
from jobd.worker.cron_holds import CronHolds
from jobd.worker.doorbell import Doorbell
from jobd.worker.fetcher import Fetcher
from jobd.worker.heartbeat import Heartbeat
from jobd.worker.history import Sampler
from jobd.worker.hooks import Hooks
from jobd.worker.ledger import Aborted, Fetched, Ledger
from jobd.worker.outage import Backoff, Outage
from jobd.worker.page import Note, Page
from jobd.worker.periodic import Periodic
from jobd.worker.processor import InProgress, Processor, dead_of_crashes, given_back
from jobd.worker.recovery import Orphan, Recovery
from jobd.worker.retry import RetryPolicy
from jobd.worker.scheduler import Scheduler
from jobd.worker.suspects import Suspects
from jobd.worker.tally import Tally
from jobd.worker.wakeup import Wakeup

_AFTER_DEADLINE = 1.5
"""Seconds after the end of `timeout` at which the process stops trying to tell Redis."""

_PULSE_INTERVAL = 1.0

_GLANCE = 0.1
"""Seconds between two looks whether a stop is to hurry."""


def new_nonce() -> str:
    """The part of an identity that makes each start of a process another one: 12 hex digits."""
    return os.urandom(6).hex()


def identity_of(pid: int, nonce: str) -> str:
    """`host:pid:nonce`, Sidekiq's form."""
    return f"{host.hostname()}:{pid}:{nonce}"


class _Pool:
    """The moving parts of one capsule."""

    def __init__(self, capsule: Capsule, ledger: Ledger, doorbell: Doorbell, fetcher: Fetcher, crew: Crew) -> None:
        self.capsule, self.ledger, self.doorbell, self.fetcher, self.crew = capsule, ledger, doorbell, fetcher, crew

    @property
    def processors(self) -> Sequence[Processor]:
        """Its threads."""
        return self.crew.processors


class WorkerProcess:
    """Runs jobs until it is stopped. `start` is called once; `stop` after it, by the same thread, perhaps twice.

    That thread calls `quiet` and `resume` too.
    """

    def __init__(
        self,
        config: WorkerConfig,
        *,
        nonce: str | None = None,
        master_pid: int | None = None,
        embedded: bool = False,
        page: Page | None = None,
        on_owner: Callable[[str], None] = lambda owner: None,
        on_signal: Callable[[str], None] = lambda name: None,
        on_cluster: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """`page` has a place for each thread of all capsules, in their order [a page of its own].

        `on_owner` hears of each name under which jobs are held, before any is fetched under it. `on_signal` hears of
        signals sent through Redis: TSTP, TERM, TTIN or RESUME. `on_cluster` hears with each heartbeat what
        `cluster.read_figures` returns; without it nothing is read. Raises ConfigError.
        """
        self.config = config
        self.page = page or Page(config.threads)
        self._nonce, self._on_owner = nonce or new_nonce(), on_owner
        self.identity = identity_of(os.getpid(), self._nonce)
        self._connector = Connector(settings.redis_url(config.redis_url))
        self._keys = Keys(config.namespace or settings.current().namespace)
        self._suspects, self._holds = Suspects(self._connector, self._keys), CronHolds(self._connector, self._keys)
        self._clock, self._outage, self._hooks = ServerClock(), Outage(self._connector.renew), Hooks()
        self._tally, self._staffing = Tally(self._connector, self._keys, self._clock), threading.Lock()
        self._wakeup, self._abort, self._quiet = Wakeup(), threading.Event(), threading.Event()
        self._limits = DeadLimits(config.dead_max_jobs, config.dead_timeout)
        self._facts = host.read_facts(master_pid or os.getpid())
        self._owners, self._cancels = set[str](), Cancels(self._connector, self._keys)
        self._stopping = self._hurried = self._held = False
        self._stopped_clean: bool | None = None
        self._unknown, self._numbers = log.Sparingly(math.inf), itertools.count()
        self._pools = [self._pool(capsule) for capsule in config.all_capsules]
        self._recovery = self._make_recovery()
        self._promoter, self._scheduler, self._cron = self._make_scheduler()
        self._heartbeat_part, self._heartbeat = self._make_heartbeat(embedded, on_signal, on_cluster)
        self._pulse = Periodic("pulse", self._beat, self._outage)
        self._pulse.start()

    @property
    def running(self) -> list[InProgress]:
        """What the threads run now."""
        processors = (p for pool in self._pools for p in pool.processors)
        return [item for item in (p.in_progress for p in processors) if item is not None]

    @property
    def is_quiet(self) -> bool:
        """Whether it takes no jobs."""
        return self._quiet.is_set()

    @property
    def idle(self) -> bool:
        """Whether it takes no jobs and runs none any more."""
        return self.is_quiet and not self.running and not any(pool.ledger.running for pool in self._pools)

    def start(self, recover: Sequence[Orphan] = (), wait: Callable[[float], bool] | None = None) -> bool:
        """Begin to take jobs, once Redis answers. `recover` are owners whose process is known to have ended.

        Between attempts to reach Redis it calls `wait` with a number of seconds; when that returns False, nothing is
        started and nothing is to be stopped. Returns whether it was started. Raises HookFailed.
        """
        if not self._came_up(recover, wait or self._wait):
            return False
        self.page.saw_redis(self._outage.last_contact)
        self._know_jobs()
        self._heartbeat.start()
        self._scheduler.start()
        self._cron.start()
        with self._staffing:
            for pool in self._pools:
                pool.fetcher.start()
                pool.crew.start()
        log.event("process.ready", identity=self.identity, concurrency=sum(self.concurrency.values()))
        return True

    def quiet(self, *, held: bool = False) -> None:
        """Take no jobs until `resume`; what runs goes on.

        `held`: to resume is not for somebody who asks through Redis. It is shown; to keep to it is the caller's.
        """
        if held and not self._held:
            self._held = True
            self._heartbeat.hurry()
        if self._quiet.is_set():
            return
        self._quiet.set()
        self.page.set_quiet(True)
        for pool in self._pools:
            pool.fetcher.quiet()
        self._wakeup.set()
        self._heartbeat.hurry()
        self._hooks.tell("quiet")
        log.event("process.quiet", identity=self.identity, running=len(self.running))

    def resume(self) -> None:
        """Take jobs again after `quiet`; without effect once `stop` was called."""
        if not self._quiet.is_set() or self._stopping:
            return
        self._quiet.clear()
        self._held = False
        self.page.set_quiet(False)
        self._wakeup.clear()
        for pool in self._pools:
            pool.fetcher.resume()
        self._heartbeat.hurry()
        self._hooks.tell("resume")
        log.event("process.resumed", identity=self.identity)

    @property
    def concurrency(self) -> dict[str, int]:
        """How many threads each capsule has, those that end with their job left out."""
        return {pool.capsule.name: pool.crew.wanted for pool in self._pools}

    def set_concurrency(self, threads: int, capsule: str = "default") -> bool:
        """Give a capsule another number of threads, 1 to the room of the page, as long as this process runs.

        Those that are too many end at once if they have nothing to do, else after their job. False, and a log line:
        that cannot be, and nothing has changed. From any thread but those that run jobs.
        """
        with self._staffing:
            pool = next((pool for pool in self._pools if pool.capsule.name == capsule), None)
            before = self.concurrency
            numbers = self._free_numbers()
            if problem := self._staff_problem(pool, threads, len(numbers)):
                log.event("process.concurrency_kept", level=log.WARNING, capsule=capsule, wanted=threads, error=problem)
                return False
            assert pool
            try:
                pool.crew.resize(threads, iter(numbers))
            except RuntimeError as error:  # there are no more threads to be had
                log.event("process.concurrency_kept", level=log.WARNING, capsule=capsule, wanted=threads, error=error)
            pool.fetcher.resize(pool.crew.wanted)
            self.page.set_threads(sum(self.concurrency.values()))
        was, now = before[capsule], pool.crew.wanted
        log.event("process.concurrency", identity=self.identity, capsule=capsule, before=was, now=now)
        self._heartbeat.hurry()
        return True

    def recover(self, orphans: Sequence[Orphan], done: Callable[[Sequence[str]], None]) -> None:
        """Give back the jobs of processes that ended, and then call `done` with their owners. From any thread.

        It is tried again until Redis answers; `done` is called by another thread.
        """
        self._heartbeat_part.recover(orphans, done)
        self._heartbeat.hurry()

    def look_again(self) -> None:
        """Beat and look for due jobs and ticks now; for tests that have moved the clock."""
        for part in (self._heartbeat, self._scheduler, self._cron):
            part.hurry()

    def hurry(self) -> None:
        """Have a running `stop` wait no longer. May be called from a signal handler."""
        self._hurried = True

    def stop(self, timeout: float | None = None) -> bool:
        """Finish what runs, within `timeout` seconds [as configured], and give the rest back.

        True when nothing was left. Threads whose jobs were given back may go on for a while; their results change
        nothing any more.
        """
        if self._stopped_clean is not None:
            return self._stopped_clean
        timeout = self.config.timeout if timeout is None else timeout
        deadline = time.monotonic() + timeout
        with self._staffing:
            self._stopping = True
        self.quiet(held=True)
        self._hooks.tell("shutdown")
        for pool in self._pools:
            pool.fetcher.close()
        self._cron.stop(1.0)
        self._scheduler.stop(1.0)
        giving_up = threading.Timer(timeout + _AFTER_DEADLINE, self._give_up)
        giving_up.daemon = True
        giving_up.start()
        finished = self._wait_for_jobs(deadline - min(defaults.GIVE_BACK_MARGIN, timeout / 2))
        clean = self._leave() and finished
        giving_up.cancel()
        self._hooks.finish(deadline + defaults.HOOKS_AFTER_TIMEOUT, lambda: self._hurried)
        self._close()
        self._stopped_clean = clean
        log.event("process.stopped", identity=self.identity, clean=clean)
        return clean

    def _free_numbers(self) -> list[int]:
        used = {p.number for pool in self._pools for p in pool.processors if p.is_alive}
        return [number for number in range(self.page.room) if number not in used]

    def _staff_problem(self, pool: _Pool | None, threads: int, room: int) -> str:
        if self._stopping or not any(p.is_alive for each in self._pools for p in each.processors):
            return "it stops, or has not started"
        if pool is None:
            return f"there is no such capsule; there are {', '.join(self.concurrency)}"
        # Those that have not ended yet are kept rather than replaced.
        most = pool.crew.wanted + room + sum(p.is_alive and p.is_leaving for p in pool.processors)
        return "" if 1 <= threads <= most else f"this capsule can have 1 to {most} threads now"

    def _beat(self) -> float:
        self.page.beat(time.monotonic())
        self.page.saw_redis(self._outage.last_contact)
        return _PULSE_INTERVAL

    def _know_jobs(self) -> None:
        """Show the jobs that this process may run, before it runs any."""
        mine = {name for capsule in self.config.all_capsules for name in capsule.names}
        under = {"queue": defaults.QUEUE, **settings.current().default_options}
        for name in registry.names():
            handler = registry.lookup(name)
            queue = {**under, **handler.options}["queue"] if handler else None
            if queue in mine:
                self.page.know(queue, name)

    def _came_up(self, recover: Sequence[Orphan], wait: Callable[[float], bool]) -> bool:
        up = False
        try:
            up = self._first_contact(recover, wait) and self._hooks.start(wait)
        finally:
            if not up:
                self._pulse.stop(1.0)
                self._connector.close()
        return up

    def _first_contact(self, recover: Sequence[Orphan], wait: Callable[[float], bool]) -> bool:
        backoff = Backoff()
        while True:
            try:
                self._clock.measure(self._connector.client())
                self._recovery.named(recover)
                self._recovery.earlier_here()
            except (RedisError, RedisUnavailable, OSError) as error:
                self._outage.failed(error)
                if not wait(backoff.pause()):
                    return False
            else:
                self._outage.works()
                return True

    def _wait(self, seconds: float) -> bool:
        return not self._abort.wait(seconds)

    def _wait_for_jobs(self, deadline: float) -> bool:
        processors = [p for pool in self._pools for p in pool.processors]
        return all(self._joined(processor, deadline) for processor in processors)

    def _joined(self, processor: Processor, deadline: float) -> bool:
        while not processor.join(min(deadline - time.monotonic(), _GLANCE)):
            if self._hurried or time.monotonic() >= deadline:
                return False
        return True

    def _leave(self) -> bool:
        try:
            self._give_back()
            empty = [pool.ledger.close() for pool in self._pools]
            self._heartbeat.stop(1.0)
            self._heartbeat_part.retire()
            self._holds.make_up()
        except (Aborted, RedisError, RedisUnavailable, OSError) as error:
            hint = "another process gives its jobs back after the lease"
            log.event("process.left_jobs", level=log.WARNING, error=f"{type(error).__name__}: {error}", hint=hint)
            return False
        finally:
            # In a program that goes on, further beats would keep everybody from the jobs that were left.
            self._heartbeat.stop(1.0)
        return all(empty)

    def _close(self) -> None:
        self._pulse.stop(1.0)
        for pool in self._pools:
            pool.doorbell.close()
        if self._scheduler.stop(0):
            self._promoter.bell.close()
        self._connector.close()
        if self._wait_for_jobs(0):
            self._wakeup.close()

    def _give_back(self) -> None:
        for pool in self._pools:
            given = pool.ledger.give_back_all()
            if given:
                log.event("process.gave_back", level=log.WARNING, jobs=given, hint="they were not finished in time")

    def _acknowledged(self, notes: Sequence[Note | None]) -> None:
        self._tally.add(self.page.count_all(notes))

    def _given_back(self, job: Fetched) -> None:
        """Count that it is in its queue again, and the job unless no thread has begun with it."""
        self._tally.queues.took([(job.queue, -1)])
        if any(processor.runs(job) for pool in self._pools for processor in pool.processors):
            self.page.count_all([given_back(job)])

    def _give_up(self) -> None:
        self._abort.set()

    def _owner_namer(self, capsule: Capsule) -> Callable[[], str]:
        first = [self._nonce]

        def name() -> str:
            nonce = first.pop() if first else new_nonce()
            owner = identity_of(os.getpid(), nonce) + ("" if capsule.name == "default" else f"/{capsule.name}")
            self._owners.add(owner)
            self._on_owner(owner)
            return owner

        return name

    def _pool(self, capsule: Capsule) -> _Pool:
        ledger = self._ledger(capsule)
        bell = Doorbell(self._connector, self._keys, capsule.names, wakeup=self._wakeup, outage=self._outage)
        fetcher = Fetcher(
            capsule,
            ledger,
            bell,
            random.Random(),
            threads=self.page.room,
            prefetch=self.config.prefetch,
            suspected=self._suspects.among,
            on_pause=log.flush,
        )
        crew = Crew(capsule.concurrency, self._maker(capsule, fetcher, ledger), self._numbers)
        return _Pool(capsule, ledger, bell, fetcher, crew)

    def _ledger(self, capsule: Capsule) -> Ledger:
        return Ledger(
            self._connector,
            self._keys,
            self._clock,
            new_owner=self._owner_namer(capsule),
            facts=self._facts.as_fields(),
            limits=self._limits,
            outage=self._outage,
            abort=self._abort,
            on_acknowledged=self._acknowledged,
            on_given_back=self._given_back,
            on_taken=self._tally.queues.took,
        )

    def _maker(self, capsule: Capsule, fetcher: Fetcher, ledger: Ledger) -> Callable[[int, int], Processor]:
        config = self.config
        policy = RetryPolicy(
            max_retries=config.max_retries,
            unknown_class_timeout=config.unknown_class_timeout,
            timestamps=config.timestamps,
        )
        return lambda number, place: Processor(
            fetcher,
            ledger,
            self._clock,
            policy,
            self._suspects,
            self._holds,
            self._cancels,
            page=self.page,
            number=number,
            unknown=self._unknown,
            name=f"jobd-{capsule.name}-{place}",
        )

    def _make_recovery(self) -> Recovery:
        return Recovery(
            self._connector,
            self._keys,
            self._clock,
            here=self._facts,
            identity=lambda: self.identity,
            is_own=self._owners.__contains__,
            limits=self._limits,
            lease=self.config.lease,
            max_crashes=self.config.max_crashes,
            timestamps=self.config.timestamps,
            on_death=self._died_of_crashes,
        )

    def _died_of_crashes(self, judgement: Judgement) -> None:
        job, entry = judgement.accused, judgement.blame.dead or b"{}"
        self._acknowledged([dead_of_crashes(job)])
        self._holds.died(job.payload, self._clock.now())
        on_error.died_of_crashes(decode(entry), job.queue, judgement.error)

    def _make_heartbeat(
        self,
        embedded: bool,
        on_signal: Callable[[str], None],
        on_cluster: Callable[[dict[str, Any]], None] | None,
    ) -> tuple[Heartbeat, Periodic]:
        part = Heartbeat(
            self.config,
            self._connector,
            self._keys,
            self._clock,
            self._outage,
            identity=self.identity,
            embedded=embedded,
            ledgers=[pool.ledger for pool in self._pools],
            recovery=self._recovery,
            running=lambda: self.running,
            is_quiet=self._quiet.is_set,
            is_held=lambda: self._held,
            on_signal=on_signal,
            on_cluster=on_cluster,
            on_beat=self._hooks.tell,
            tally=self._tally,
            staff=Staff(lambda: self.concurrency, self.set_concurrency, self.page.room),
            cancel=lambda: self._cancels.carry_out([p for pool in self._pools for p in pool.processors]),
            sampler=Sampler(self._connector, self._keys, self._clock, leads=lambda: self._promoter.leads),
        )
        return part, Periodic("heartbeat", part.tick, self._outage)

    def _make_scheduler(self) -> tuple[Scheduler, Periodic, Periodic]:
        def came_to_lead() -> None:
            cron.hurry()
            self._hooks.tell("leader")

        scheduler = Scheduler(
            self._connector,
            self._keys,
            self._clock,
            self._outage,
            identity=lambda: self.identity,
            limits=self._limits,
            timestamps=self.config.timestamps,
            on_lead=came_to_lead,
        )
        cron = Periodic("cron", self._make_ticker(lambda: scheduler.leads).tick, self._outage)
        return scheduler, Periodic("scheduler", scheduler.tick, self._outage, scheduler.bell), cron

    def _make_ticker(self, leads: Callable[[], bool]) -> CronTicker:
        return CronTicker(
            self._connector,
            self._keys,
            self._clock,
            leads=leads,
            definitions=self.config.cron,
            app=self.config.tag,
            prune=self.config.cron_prune,
            timestamps=self.config.timestamps,
            renew=lambda: self._holds.renew(self.running),
        )
