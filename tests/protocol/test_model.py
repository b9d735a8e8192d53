"""Random histories of pushes, processes, crashes and fail-overs, on a real server and beside a model of it.

After every step Redis must hold exactly what the model holds: every queue in its order, every record, set and counter,
and no other key; and every job must be in exactly one place, or have left for a reason. A fail-over takes both back to
an older state, while the processes remember. `$JOBD_MODEL_STEPS` sets how many steps are taken [1,000],
`$JOBD_MODEL_SEED` which histories [1].
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.exceptions import OutOfMemoryError, ResponseError

from jobd.client import scripts
from jobd.client.scripts import Blame, Call, Fenced, Promoted, Recovered, Resync, Settled, Taken, Takeover
from tests.protocol import state
from tests.protocol.caller import FATES, KINDS, Caller, Wish
from tests.protocol.reference import ASIDE, FACTS, KEYS, LIMITS, SPOILED, Reference, Refused, Request, jid_of
from tests.servers import RedisServer

STEPS = int(os.environ.get("JOBD_MODEL_STEPS", "1000"))
SEED = int(os.environ.get("JOBD_MODEL_SEED", "1"))
STEPS_EACH = 50

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
    KEYS.suspects,
)
Network = Literal["works", "request lost", "reply lost"]
networks = st.sampled_from(("works", "works", "works", "request lost", "reply lost"))
slots = st.integers(0, 2)
queue_names = st.sampled_from(QUEUES)
limits = st.integers(1, 4)
Verdict = Literal["innocent", "crash", "host", "dead"]
verdicts = st.lists(st.sampled_from(("innocent", "innocent", "crash", "host", "dead")), max_size=4)
calls = st.builds(
    Wish,
    kind=st.sampled_from(("fetch", *KINDS)),
    fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=4),
    close=st.booleans(),
    want=st.integers(0, 12),
    batch=st.booleans(),
    quotas=st.lists(st.integers(0, 5), max_size=3),
    queues=st.one_of(st.permutations(QUEUES), st.lists(queue_names, unique=True)),
)


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
        for queue in QUEUES:
            self.push(queue, 4, b"")
            self.push_later(queue, 60.25)

    def teardown(self) -> None:
        self.connection.disconnect()
        self.client.close()

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

    def caller(self, slot: int) -> Caller:
        """The process in this slot; a new one registers, and repeats that as if the reply had been lost."""
        if (caller := self.callers[slot]) is not None:
            return caller
        self.names += 1
        owner, token = f"owner-{self.names}", f"0:{self.names}"
        call = scripts.register(KEYS, owner, token, self.now, FACTS)
        for _ in range(2):
            assert self.ask(call) == self.reference.register(owner, token, self.now)
        assert self.ask(scripts.register(KEYS, owner, "another", self.now, FACTS)) is False
        made = self.callers[slot] = Caller(owner, token)
        return made

    @rule(slot=slots, call=calls, network=networks)
    def a_process_calls(self, slot: int, call: Wish, network: Network) -> None:
        """It fetches, acknowledges or gives back; but first resends what was not answered, or repairs its record."""
        caller = self.caller(slot)
        if caller.pending is not None:
            request = caller.pending
        elif caller.resync is not None:
            request = caller.settle_again(self.now)
        else:
            request = caller.request(self.now, call)
        self.exchange(caller, request, network)

    @rule(slot=slots, wishes=st.lists(calls, min_size=2, max_size=4), answered=st.integers(0, 3))
    def a_process_works(self, slot: int, wishes: list[Wish], answered: int) -> None:
        """Some calls in a row; the reply to one is lost, and the next is its resend."""
        for i, wish in enumerate(wishes):
            self.a_process_calls(slot, wish, "reply lost" if i == answered else "works")
            self.check()

    @rule(slot=slots, wish=calls, network=networks)
    def a_process_fetches_and_gives_back(self, slot: int, wish: Wish, network: Network) -> None:
        self.a_process_calls(slot, replace(wish, kind="fetch"), "works")
        self.a_process_calls(slot, replace(wish, kind="settle"), network)

    @rule(slot=slots)
    def a_request_arrives_twice(self, slot: int) -> None:
        """The network kept a copy; whatever is answered now, nobody hears it."""
        caller = self.callers[slot]
        if caller is not None and caller.answered is not None and caller.pending is not caller.answered:
            before = self.reference.picture()
            self.ask(caller.answered.call())
            assert state.read(self.client) == before

    @rule(slot=slots, cleanly=st.booleans())
    def a_process_ends(self, slot: int, cleanly: bool) -> None:
        """Killed; or by a clean exit, also with jobs in progress, and said twice."""
        if cleanly:
            owner = self.caller(slot).owner
            for _ in range(2):
                expected = self.reference.leave(owner)
                assert self.ask(scripts.leave(KEYS, owner)) == expected
        self.callers[slot] = None

    @rule(
        slot=slots,
        wish=calls,
        by_master=st.booleans(),
        dissolve=st.booleans(),
        limits=st.lists(limits, max_size=4),
        verdicts=verdicts,
    )
    def a_process_dies_with_jobs(
        self, slot: int, wish: Wish, by_master: bool, dissolve: bool, limits: list[int], verdicts: list[Verdict]
    ) -> None:
        """They come from several calls. Its recovery begins at once, perhaps by dissolving its batch, or much later."""
        wish = replace(wish, batch=wish.batch or dissolve, close=wish.close and not dissolve)
        for fates in (wish.fates, ("run",), ("run",)):
            self.a_process_calls(slot, replace(wish, kind="fetch", fates=fates), "works")
        caller, self.callers[slot] = self.callers[slot], None
        if by_master and caller is not None:
            self.begin_recovery(caller.owner, None, "master")
            if dissolve:
                self.dissolve_batch(caller.owner)
            for limit in limits:
                self.check()
                self.recover(-1, limit, verdicts)

    @rule(slot=slots, limit=limits)
    def beat(self, slot: int, limit: int) -> None:
        """Who beats, or may, is not recovered by somebody who has not taken it."""
        self.now += 10
        owner = self.caller(slot).owner
        beating = self.reference.beat(owner, self.now)
        assert self.ask(scripts.beat(KEYS, owner, self.now)) == beating
        expected = _comparable(self.reference.recover(owner, limit, self.now))
        assert self.ask(scripts.recover(KEYS, owner, QUEUES, self.now, LIMITS, limit=limit)) == expected

    @precondition(lambda self: self.ghosts)
    @rule(which=st.integers(0, 9), call=calls)
    def a_fenced_process_returns(self, which: int, call: Wish) -> None:
        ghost = self.ghosts[which % len(self.ghosts)]
        before = self.reference.picture()
        for kind in KINDS:
            request = ghost.request(self.now, replace(call, kind=kind))
            assert self.ask(request.call()) == Fenced()
        assert self.ask(scripts.beat(KEYS, ghost.owner, self.now)) is False
        assert state.read(self.client) == before

    @rule(
        which=st.integers(0, 9),
        known_dead=st.booleans(),
        look_first=st.booleans(),
        limits=st.lists(limits, max_size=3),
        verdicts=verdicts,
    )
    def somebody_recovers(
        self, which: int, known_dead: bool, look_first: bool, limits: list[int], verdicts: list[Verdict]
    ) -> None:
        """By the word of a master, or by a beat that was seen now or earlier; perhaps only some steps of it."""
        if look_first:
            self.seen = dict(self.reference.beats)
        names = sorted(self.reference.beats if known_dead else self.seen)
        owner = names[which % len(names)] if names else "nobody"
        self.begin_recovery(owner, None if known_dead else self.seen.get(owner, 1.5), f"recoverer-{which}")
        for limit in limits:
            self.check()
            self.recover(which, limit, verdicts)

    def begin_recovery(self, owner: str, score: float | None, by: str) -> None:
        expected = _comparable(self.reference.take(owner, by, score))
        got = self.ask(scripts.take(KEYS, owner, by, score))
        assert got == expected
        if got.state == "TAKEN":
            self.takeovers.append((owner, got.queues))

    def recover(self, which: int, limit: int, verdicts: Sequence[Verdict]) -> None:
        """One step by any of those who have begun; some find the work done."""
        if not self.takeovers:
            return
        owner, queues = takeover = self.takeovers[which % len(self.takeovers)]
        blames = self.blames(owner, verdicts)
        expected = _comparable(self.reference.recover(owner, limit, self.now, blames))
        got = self.ask(scripts.recover(KEYS, owner, queues, self.now, LIMITS, blames=blames, limit=limit))
        assert got == expected
        if isinstance(got, Recovered) and got.done:
            self.takeovers.remove(takeover)

    def blames(self, owner: str, verdicts: Sequence[Verdict]) -> list[Blame]:
        """Verdicts are dealt to the single jobs in turn; one is against a job that is not there."""
        record = self.reference.owners.get(owner)
        singles = {} if record is None else record.jobs
        made = [Blame("99.9", "nobody", dead=b"nothing")] if verdicts else []
        for verdict, (name, (_, payload)) in zip(verdicts, singles.items(), strict=False):
            if verdict != "innocent":
                dead = payload + b"c" if verdict == "dead" else b""
                made.append(Blame(name, jid_of(payload), host=verdict == "host", dead=dead))
        return made

    @rule(which=st.integers(0, 9))
    def the_batch_of_a_dead_one_is_dissolved(self, which: int) -> None:
        """Of one that is taken, or of one that lives: then nothing changes."""
        owners = sorted(self.reference.owners) or ["nobody"]
        self.dissolve_batch(owners[which % len(owners)])

    def dissolve_batch(self, owner: str) -> None:
        assert self.ask(scripts.unbatch(KEYS, owner)) == self.reference.unbatch(owner)

    @rule(which=st.integers(0, 9))
    def a_suspect_comes_to_an_end(self, which: int) -> None:
        """Or a job against which there is nothing."""
        jids = [*sorted(self.reference.suspects), "nobody"]
        jid = jids[which % len(jids)]
        assert self.ask(scripts.absolve(KEYS, jid)) == self.reference.absolve(jid)

    @rule(
        seconds=st.sampled_from((0.125, 61.5, 3_000.0)),
        source=st.sampled_from(("schedule", "retry")),
        twice=st.booleans(),
    )
    def promote_later(self, seconds: float, source: Literal["schedule", "retry"], twice: bool) -> None:
        """The whole set at once: what is not due stays; one member is named that is not there."""
        self.now += seconds
        found: dict[bytes, float] = getattr(self.reference, source)
        members = [self.prepared(member) for member in [b"j0:low:", *found]]
        members += members if twice else []
        expected = _comparable(self.reference.promote(source, self.now, members))
        assert self.ask(scripts.promote(KEYS, getattr(KEYS, source), self.now, members, LIMITS)) == expected

    def prepared(self, member: bytes) -> tuple[bytes, str | None, bytes]:
        queue = member.split(b":")[1:-1]
        name = b":".join(queue).decode()
        return (member, name, member + b"+") if name in QUEUES else (member, None, b"")

    @rule(queue=queue_names, paused=st.booleans())
    def pause_or_resume(self, queue: str, paused: bool) -> None:
        note = f"at {self.now}"
        expected = self.reference.pause(queue, note) if paused else self.reference.resume(queue)
        assert self.ask(scripts.pause(KEYS, queue, note) if paused else scripts.resume(KEYS, queue)) == expected

    @rule(slot=slots, busy=st.integers(-1, 2))
    def show_or_retire(self, slot: int, busy: int) -> None:
        """The views of a process, which its owners do not depend on."""
        identity = f"process-{slot}"
        if busy < 0:
            self.reference.retire(identity)
            self.ask(scripts.retire(KEYS, identity))
            return
        self.reference.heartbeat(identity, busy)
        work = {str(thread): b"{}" for thread in range(busy)}
        assert self.ask(scripts.heartbeat(KEYS, identity, 3_600, {"busy": busy}, work)) == []

    @rule(full=st.booleans(), forget_scripts=st.booleans())
    def memory_is_full_or_not(self, full: bool, forget_scripts: bool) -> None:
        self.fill(full)
        if forget_scripts:
            self.client.script_flush()

    def fill(self, full: bool) -> None:
        self.client.config_set("maxmemory", 1 if full else 0)
        self.reference.full = full

    @rule(keys=st.sets(st.sampled_from(SPOILABLE), max_size=3))
    def somebody_writes_over_keys(self, keys: set[str]) -> None:
        """These keys and no others are of a wrong type from now on; what they held lies aside until they are mended."""
        self.fill(False)
        for key in sorted(self.reference.spoiled - keys):
            self.client.delete(key)
            if self.client.exists(ASIDE + key):
                self.client.rename(ASIDE + key, key)
        for key in sorted(keys - self.reference.spoiled):
            if self.client.exists(key):
                self.client.rename(key, ASIDE + key)
            self.client.set(key, SPOILED)
        self.reference.spoiled = set(keys)

    @rule(
        slot=slots, keys=st.sets(st.sampled_from(SPOILABLE), min_size=1, max_size=4), wishes=st.lists(calls, min_size=1)
    )
    def a_process_meets_keys_of_a_wrong_type(self, slot: int, keys: set[str], wishes: list[Wish]) -> None:
        """It asks again until they are mended, where nothing else can be done."""
        self.a_process_calls(slot, replace(wishes[0], kind="fetch"), "works")
        self.somebody_writes_over_keys(keys)
        for wish in wishes:
            self.a_process_calls(slot, wish, "works")
            self.check()
        self.promote_later(61.5, "schedule", twice=False)
        self.check()
        self.somebody_writes_over_keys(set())
        self.a_process_calls(slot, wishes[0], "works")

    @rule(slot=slots, before=st.lists(calls, max_size=2), after=st.lists(calls, min_size=1, max_size=3))
    def a_fail_over_forgets_calls(self, slot: int, before: list[Wish], after: list[Wish]) -> None:
        """The process goes on, and repairs its record."""
        for wish in before:
            self.a_process_calls(slot, wish, "works")
        self.replication(keep=True)
        for wish in after:
            self.a_process_calls(slot, wish, "works")
        self.fail_over()
        for wish in (*after[:1], *after):
            self.a_process_calls(slot, wish, "works")
            self.check()
        self.a_process_calls(slot, replace(after[0], kind="settle", fates=("done", "back"), close=True), "works")

    @rule(keep=st.booleans())
    def replication(self, keep: bool) -> None:
        """A replica catches up; or it takes over, and the server, but nobody else, has forgotten what came since."""
        if keep:
            self.replica = Replica(state.save(self.client), copy.deepcopy(self.reference), frozenset(self.pushed))
        else:
            self.fail_over()

    def fail_over(self) -> None:
        self.fill(False)
        state.restore(self.client, self.replica.saved)
        self.reference = copy.deepcopy(self.replica.reference)
        self.reference.full = False
        self.pushed = set(self.replica.pushed)
        self.ghosts, self.takeovers = [], []
        for caller in self.callers:
            if caller is not None:
                caller.answered = None

    @invariant()
    def after_every_step(self) -> None:
        type(self).steps += 1
        self.check()

    def check(self) -> None:
        """Redis holds what the model holds; and what the model holds makes sense."""
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
    for name, entry in held.items():
        key, value = name.removeprefix(ASIDE), cast(Any, entry.value)
        in_set = key in (KEYS.schedule, KEYS.retry, KEYS.dead) and isinstance(value, dict)
        in_queue = key.startswith(KEYS.queue("")) and isinstance(value, list)
        if in_set or in_queue or key.endswith(":batch"):
            yield from value
        elif key.endswith(":jobs"):
            single = (job for place, job in value.items() if scripts.is_job_field(place.decode()))
            yield from (scripts.split_value(job)[1] for job in single)


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_redis_does_what_the_model_does(own_server: RedisServer) -> None:
    class Histories(Protocol):
        server = own_server

    run_state_machine_as_test(
        seed(SEED)(Histories),
        settings=settings(
            max_examples=STEPS // STEPS_EACH * 3 // 2,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            database=None,
            print_blob=False,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Histories.steps >= STEPS, f"{Histories.steps} steps were taken"
