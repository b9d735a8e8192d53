"""Random histories of pushes, processes, crashes and fail-overs, on a real server and beside a model of it.

After every step Redis must hold exactly what the model holds: every queue in its order, every record, set and counter, and
no other key; and every job must be in exactly one place, or have left for a reason. `$JOBD_MODEL_STEPS` sets how many
steps are taken [2,000], `$JOBD_MODEL_SEED` which histories.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.exceptions import OutOfMemoryError, ResponseError

from jobd.client import scripts
from jobd.client.scripts import Call, Fenced, Promoted, Recovered, Resync, Settled, Taken, Takeover
from tests.protocol import state
from tests.protocol.caller import FATES, Caller, Fate
from tests.protocol.reference import FACTS, KEYS, LIMITS, SPOILED, Reference, Refused, Request, jid_of
from tests.servers import RedisServer

STEPS = int(os.environ.get("JOBD_MODEL_STEPS", "2000"))
SEED = int(os.environ.get("JOBD_MODEL_SEED", "1"))
STEPS_EACH = 80

QUEUES = ("default", "mail:high", "low")
SPOILABLE = (
    *map(KEYS.queue, QUEUES),
    KEYS.queues,
    KEYS.paused,
    KEYS.schedule,
    KEYS.retry,
    KEYS.dead,
    KEYS.stat_processed,
    KEYS.stat_failed,
)
Network = Literal["works", "request lost", "reply lost"]
networks = st.sampled_from(("works", "works", "works", "request lost", "reply lost"))
slots = st.integers(0, 2)
queue_names = st.sampled_from(QUEUES)
queue_lists = st.lists(queue_names, unique=True, min_size=0, max_size=3)
fate_lists: st.SearchStrategy[list[Fate]] = st.lists(st.sampled_from(FATES), max_size=5)


@dataclass(frozen=True)
class Replica:
    """A state of the server to which a fail-over goes back."""

    saved: state.Saved
    reference: Reference
    pushed: frozenset[str]


class Protocol(RuleBasedStateMachine):
    """Three processes, their successors, and whoever recovers the dead ones."""

    server: RedisServer
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client()
        self.client.flushall()
        self.client.config_set("maxmemory", 0)
        self.connection: Any = self.client.connection_pool.make_connection()
        self.reference = Reference()
        self.callers: list[Caller | None] = [None, None, None]
        self.ghosts: list[Caller] = []
        self.takeovers: list[tuple[str, Sequence[str]]] = []
        self.seen: dict[str, float] = {}
        self.pushed: set[str] = set()
        self.replica = Replica([], Reference(), frozenset())
        self.now, self.names = 1_790_000_000.0, 0

    def teardown(self) -> None:
        self.connection.disconnect()
        self.client.close()

    # What is asked of the server, and compared with the model.

    def ask(self, call: Call[Any]) -> Any:
        """The server's answer, or what kind of refusal it was."""
        try:
            return _comparable(scripts.send(self.connection, call))
        except OutOfMemoryError:
            return Refused("OOM")
        except ResponseError as error:
            return Refused("ERR" if "is not taken" in str(error) else str(error).split()[0].lstrip("-"))

    def new_jobs(self, queue: str, count: int, junk: bytes) -> list[bytes]:
        """Payloads whose bytes are neither UTF-8 nor JSON, and hold line breaks."""
        self.names += count
        return [f"j{self.names - i}:{queue}:".encode() + junk for i in range(count)]

    def exchange(self, caller: Caller, request: Request, network: Network) -> None:
        """Let `caller` send `request`; a lost one stays pending, and is sent again byte for byte."""
        caller.pending = request
        if network == "request lost":
            return
        expected = _comparable(self.reference.answer(request))
        got = self.ask(request.call())
        assert got == expected
        if network == "reply lost":
            return
        caller.hear(request, got)
        caller.answered = request
        if isinstance(got, Fenced):
            self.ghosts.append(caller)
            self.callers = [None if c is caller else c for c in self.callers]

    # Applications push.

    @rule(queue=queue_names, count=st.integers(1, 6), junk=st.sampled_from((b"", b"\xff\n\x00", b"[]\n7")))
    def push(self, queue: str, count: int, junk: bytes) -> None:
        jobs = self.new_jobs(queue, count, junk)
        expected = self.reference.push(queue, jobs)
        assert self.ask(scripts.push_now(KEYS, queue, jobs)) == expected
        if expected is None:
            self.pushed.update(map(jid_of, jobs))

    @rule(queue=st.sampled_from((*QUEUES, "malformed")), delay=st.sampled_from((0.5, 60.25, 900.0)))
    def push_later(self, queue: str, delay: float) -> None:
        entries = [(self.now + delay, job) for job in self.new_jobs(queue, 2, b"\xfe")]
        expected = self.reference.push_later(entries)
        assert self.ask(scripts.push_later(KEYS, entries)) == expected
        if expected is None:
            self.pushed.update(jid_of(job) for _, job in entries)

    # Processes fetch, finish and give back.

    @rule(slot=slots, again=st.booleans())
    def start(self, slot: int, again: bool) -> None:
        if self.callers[slot] is not None:
            return
        self.names += 1
        owner, token = f"owner-{self.names}", f"0:{self.names}"
        call = scripts.register(KEYS, owner, token, self.now, FACTS)
        for _ in range(1 + again):
            assert self.ask(call) == self.reference.register(owner, token, self.now)
        assert self.ask(scripts.register(KEYS, owner, "another", self.now, FACTS)) is False
        self.callers[slot] = Caller(owner, token)

    @rule(
        slot=slots,
        fates=fate_lists,
        close=st.booleans(),
        want=st.integers(0, 7),
        batch=st.booleans(),
        queues=queue_lists,
        network=networks,
    )
    def fetch(
        self, slot: int, fates: list[Fate], close: bool, want: int, batch: bool, queues: list[str], network: Network
    ) -> None:
        if (caller := self.ready(slot)) is not None:
            close = close and caller.has_batch
            request = caller.fetch(self.now, fates, close=close, want=want, batch=batch, queues=queues)
            self.exchange(caller, request, network)

    @rule(slot=slots, fates=fate_lists, close=st.booleans(), network=networks)
    def ack(self, slot: int, fates: list[Fate], close: bool, network: Network) -> None:
        if (caller := self.ready(slot)) is not None:
            self.exchange(caller, caller.ack(self.now, fates, close=close and caller.has_batch), network)

    @rule(slot=slots, fates=fate_lists, close=st.booleans(), network=networks)
    def settle(self, slot: int, fates: list[Fate], close: bool, network: Network) -> None:
        if (caller := self.ready(slot)) is not None:
            self.exchange(caller, caller.settle(self.now, fates, close=close and caller.has_batch), network)

    def ready(self, slot: int) -> Caller | None:
        """A process that may send something new."""
        caller = self.callers[slot]
        return None if caller is None or caller.pending or caller.resync else caller

    @rule(slot=slots, network=networks)
    def send_what_is_due(self, slot: int, network: Network) -> None:
        """Resend what was not answered, else settle what a fail-over made the server forget."""
        caller = self.callers[slot]
        if caller is not None and caller.pending is not None:
            self.exchange(caller, caller.pending, network)
        elif caller is not None and caller.resync is not None:
            self.exchange(caller, caller.settle_again(self.now), network)

    @rule(slot=slots)
    def a_request_arrives_twice(self, slot: int) -> None:
        """The network kept a copy; whatever is answered now, nobody hears it."""
        caller = self.callers[slot]
        if caller is not None and caller.answered is not None:
            before = self.reference.picture()
            self.ask(caller.answered.call())
            if caller.pending is None or caller.pending is not caller.answered:
                assert state.read(self.client) == before

    @rule(slot=slots)
    def leave(self, slot: int) -> None:
        caller = self.callers[slot]
        if caller is None or caller.pending or caller.resync:
            return
        for _ in range(2):
            expected = self.reference.leave(caller.owner)
            assert self.ask(scripts.leave(KEYS, caller.owner)) == expected
        self.callers[slot] = None

    @rule(slot=slots)
    def crash(self, slot: int) -> None:
        self.callers[slot] = None

    @rule(slot=slots)
    def beat(self, slot: int) -> None:
        caller = self.callers[slot]
        if caller is not None:
            expected = self.reference.beat(caller.owner, self.now)
            assert self.ask(scripts.beat(KEYS, caller.owner, self.now)) == expected

    @precondition(lambda self: self.ghosts)
    @rule(which=st.integers(0, 9), fates=fate_lists, close=st.booleans())
    def a_fenced_process_returns(self, which: int, fates: list[Fate], close: bool) -> None:
        ghost = self.ghosts[which % len(self.ghosts)]
        before = self.reference.picture()
        close = close and ghost.has_batch
        for request in (
            ghost.fetch(self.now, fates, close=close, want=5, batch=True, queues=QUEUES),
            ghost.ack(self.now, fates, close=close),
            ghost.settle(self.now, fates, close=close),
        ):
            assert self.ask(request.call()) == Fenced()
        assert self.ask(scripts.beat(KEYS, ghost.owner, self.now)) is False
        assert state.read(self.client) == before

    # The dead are recovered.

    @rule()
    def look_at_the_directory(self) -> None:
        self.seen = dict(self.reference.beats)

    @precondition(lambda self: self.seen or self.reference.beats)
    @rule(which=st.integers(0, 9), known_dead=st.booleans())
    def take(self, which: int, known_dead: bool) -> None:
        """By the word of a master, or by a beat that was seen earlier."""
        names = sorted(self.reference.beats if known_dead and self.reference.beats else self.seen)
        owner = names[which % len(names)] if names else "nobody"
        score = None if known_dead else self.seen.get(owner, 1.5)
        by = f"recoverer-{which}"
        expected = _comparable(self.reference.take(owner, by, score))
        got = self.ask(scripts.take(KEYS, owner, by, score))
        assert got == expected
        if got.state == "TAKEN":
            self.takeovers.append((owner, got.queues))

    @precondition(lambda self: self.takeovers)
    @rule(which=st.integers(0, 9), limit=st.integers(1, 4))
    def recover(self, which: int, limit: int) -> None:
        """One step by any of those who have begun; some find the work done."""
        owner, queues = takeover = self.takeovers[which % len(self.takeovers)]
        expected = _comparable(self.reference.recover(owner, limit, self.now))
        got = self.ask(scripts.recover(KEYS, owner, queues, self.now, LIMITS, limit))
        assert got == expected
        if isinstance(got, Recovered) and got.done:
            self.takeovers.remove(takeover)

    # Time, schedules and pauses.

    @rule(seconds=st.sampled_from((0.125, 20.0, 61.5, 1_800.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(source=st.sampled_from(("schedule", "retry")), twice=st.booleans())
    def promote(self, source: Literal["schedule", "retry"], twice: bool) -> None:
        """The whole set at once: what is not due stays; one member is named that is not there."""
        found: dict[bytes, float] = getattr(self.reference, source)
        members = [self.prepared(member) for member in [b"j0:low:", *found]]
        members += members if twice else []
        expected = _comparable(self.reference.promote(source, self.now, members))
        assert self.ask(scripts.promote(KEYS, getattr(KEYS, source), self.now, members, LIMITS)) == expected

    def prepared(self, member: bytes) -> tuple[bytes, str | None, bytes]:
        queue = member.split(b":")[1:-1]
        name = b":".join(queue).decode()
        return (member, name, member + b"+") if name in QUEUES else (member, None, b"")

    @rule(queue=queue_names)
    def pause(self, queue: str) -> None:
        note = f"at {self.now}"
        expected = self.reference.pause(queue, note)
        assert self.ask(scripts.pause(KEYS, queue, note)) == expected

    @rule(queue=queue_names)
    def resume(self, queue: str) -> None:
        expected = self.reference.resume(queue)
        assert self.ask(scripts.resume(KEYS, queue)) == expected

    @rule(slot=slots, busy=st.integers(0, 2))
    def heartbeat(self, slot: int, busy: int) -> None:
        self.reference.heartbeat(f"process-{slot}", busy)
        work = {str(thread): b"{}" for thread in range(busy)}
        assert self.ask(scripts.heartbeat(KEYS, f"process-{slot}", 3_600, {"busy": busy}, work)) == []

    @rule(slot=slots)
    def retire(self, slot: int) -> None:
        self.reference.retire(f"process-{slot}")
        self.ask(scripts.retire(KEYS, f"process-{slot}"))

    # The server has troubles.

    @rule(full=st.booleans())
    def memory(self, full: bool) -> None:
        self.client.config_set("maxmemory", 1 if full else 0)
        self.reference.full = full

    @rule()
    def scripts_are_forgotten(self) -> None:
        self.client.script_flush()

    @precondition(lambda self: not self.reference.full)
    @rule(key=st.sampled_from(SPOILABLE))
    def somebody_writes_over_a_key(self, key: str) -> None:
        if self.reference.spoilable(key):
            self.client.set(key, SPOILED)
            self.reference.spoiled.add(key)

    @rule(key=st.sampled_from(SPOILABLE))
    def somebody_mends_a_key(self, key: str) -> None:
        if key in self.reference.spoiled:
            self.client.delete(key)
            self.reference.spoiled.remove(key)

    @rule()
    def a_replica_catches_up(self) -> None:
        self.replica = Replica(state.save(self.client), copy.deepcopy(self.reference), frozenset(self.pushed))

    @precondition(lambda self: not self.reference.full)
    @rule()
    def fail_over(self) -> None:
        """Back to what the replica had. What was done or pushed since then is forgotten, by the server alone."""
        state.restore(self.client, self.replica.saved)
        self.reference = copy.deepcopy(self.replica.reference)
        self.reference.full = False
        self.pushed = set(self.replica.pushed)
        self.ghosts, self.takeovers = [], []
        for caller in self.callers:
            if caller is not None:
                caller.answered = None

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        type(self).steps += 1
        held = state.read(self.client)
        assert held == self.reference.picture()
        self.check_every_job_is_in_exactly_one_place(held)
        self.check_every_record_can_be_found(held)

    def check_every_job_is_in_exactly_one_place(self, held: state.State) -> None:
        places = Counter(jid_of(payload) for payload in _payloads(held))
        places.update(self.reference.gone)
        assert places == Counter(dict.fromkeys(self.pushed, 1))

    def check_every_record_can_be_found(self, held: state.State) -> None:
        """No record is without its entry in the directory, and no entry without a record."""
        directory: Any = held.get(KEYS.owners, state.Held({})).value
        records = {key.rpartition(":")[0] for key in held if key.endswith((":jobs", ":batch"))}
        assert records == {KEYS.jobs(owner.decode()).rpartition(":")[0] for owner in directory}


def _comparable(answer: Any) -> Any:
    """Notes say what is wrong in words that are nobody's promise; sequences are compared by their items."""
    if isinstance(answer, Settled | Taken | Recovered | Promoted):
        answer = replace(answer, note="x" if answer.note else "")
    if isinstance(answer, Taken):
        answer = replace(answer, jobs=list(answer.jobs))
    if isinstance(answer, Resync):
        answer = replace(answer, batch=list(answer.batch), jobs=dict(answer.jobs))
    if isinstance(answer, Takeover):
        answer = replace(answer, queues=sorted(answer.queues))
    return answer


def _payloads(held: state.State) -> Iterator[bytes]:
    """Every job in the server: in queues, batches, sets, and as single ones in records."""
    for key, entry in held.items():
        value: Any = entry.value
        if key.endswith(":batch") or (key.startswith(KEYS.queue("")) and isinstance(value, list)):
            yield from value
        elif key in (KEYS.schedule, KEYS.retry, KEYS.dead) and isinstance(value, dict):
            yield from value
        elif key.endswith(":jobs"):
            single = (job for name, job in value.items() if scripts.is_job_field(name.decode()))
            yield from (scripts.split_value(job)[1] for job in single)


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_redis_does_what_the_model_does(own_server: RedisServer) -> None:
    machine = seed(SEED)(type("Histories", (Protocol,), {"server": own_server}))
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis leaves it untyped
        machine,
        settings=settings(
            max_examples=-(-STEPS // STEPS_EACH),
            stateful_step_count=STEPS_EACH,
            deadline=None,
            database=None,
            print_blob=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert machine.steps >= STEPS, f"{machine.steps} steps were taken"
