"""Who counts as dead, and what becomes of the jobs of the dead; and what a process does that was taken for dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.payload import decode, decode_backtrace, encode
from jobd.client.scripts import DeadLimits, Finished, Record
from jobd.worker import host
from jobd.worker.clock import ServerClock
from jobd.worker.host import is_gone, read_facts
from jobd.worker.process import WorkerProcess
from jobd.worker.recovery import Crash, Orphan, Recovery
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.conftest import Events, RunWorker

KEYS = Keys()
LEASE = 60.0
release = threading.Event()
calls: list[int] = []


@jobd.job(name="recovery.block")
def block(number: int) -> None:
    calls.append(number)
    assert release.wait(10)
    if number < 0:
        raise ValueError("failed after all")


@pytest.fixture(autouse=True)
def nothing_called() -> Iterator[None]:
    calls.clear()
    release.clear()
    yield
    release.set()


class Watch:
    """A monotonic clock in the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def connector(redis_url: str) -> Iterator[Connector]:
    made = Connector(redis_url)
    yield made
    made.close()


def make(connector: Connector, watch: Callable[[], float], own: str = "me", **given: Any) -> Recovery:
    return Recovery(
        connector,
        KEYS,
        ServerClock(),
        here=read_facts(os.getpid()),
        identity=lambda: own,
        is_own=lambda owner: owner == own,
        limits=DeadLimits(),
        lease=LEASE,
        monotonic=watch,
        **given,
    )


@pytest.fixture
def recovery(connector: Connector, watch: Watch) -> Recovery:
    return make(connector, watch)


def enter(connector: Connector, owner: str, jobs: list[bytes], facts: dict[str, str] | None = None) -> None:
    """An owner that has `jobs` in progress, the first one fetched first, and last beat at 100."""
    with connector.connection() as connection:
        scripts.send(connection, scripts.register(KEYS, owner, "0", 100.0, facts or {"host": "elsewhere"}))
        if jobs:
            scripts.send(connection, scripts.push_now(KEYS, "q", jobs))
            record = Record(KEYS, owner, "0", "1", 100.0)
            call = scripts.fetch(record, Finished(), call=1, want=len(jobs), mode="single", queues=[("q", len(jobs))])
            scripts.send(connection, call)


def ended(*owners: str) -> list[Orphan]:
    """Owners whose processes ended in order."""
    return [Orphan(owner, "its process ended") for owner in owners]


def queued(redis: Redis) -> list[bytes]:
    """The queue, the job to be taken first in front."""
    raw: Any = redis.lrange("queue:q", 0, -1)
    return list(reversed(raw))


def test_an_owner_that_has_not_beaten_for_a_lease_is_recovered(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis, events: Events
) -> None:
    jobs = [b'{"a": 1}', b"\xff not json", b'{"a": 3}']
    enter(connector, "other", jobs)
    redis.lpush("queue:q", b"pushed later")
    recovery.expired()
    watch.now += LEASE - 0.1
    recovery.expired()
    assert queued(redis) == [b"pushed later"]
    watch.now += 0.1
    recovery.expired()
    assert queued(redis) == [*jobs, b"pushed later"]
    assert not redis.exists("jobd:procs", "jobd:other:jobs")
    [values] = events.named("owner.recovered")
    assert (values["owner"], values["jobs"]) == ("other", 3)


def test_an_owner_that_beats_is_left_alone(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis
) -> None:
    enter(connector, "other", [b"{}"])
    for beat in range(5):
        redis.zadd("jobd:procs", {"other": 101.0 + beat})
        recovery.expired()
        watch.now += LEASE - 0.1
    assert queued(redis) == []


def test_a_beat_is_a_beat_even_with_a_clock_that_went_back(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis
) -> None:
    enter(connector, "other", [b"{}"])
    for beat in range(3):
        redis.zadd("jobd:procs", {"other": 50.0 - beat})
        recovery.expired()
        watch.now += LEASE - 0.1
    assert queued(redis) == []


def test_nobody_recovers_himself(recovery: Recovery, connector: Connector, watch: Watch, redis: Redis) -> None:
    enter(connector, "me", [b"{}"])
    recovery.expired()
    watch.now += 10 * LEASE
    recovery.expired()
    assert queued(redis) == []


def test_what_was_seen_before_an_own_failure_does_not_count(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis
) -> None:
    enter(connector, "other", [b"{}"])
    recovery.expired()
    watch.now += LEASE
    recovery.forget()
    recovery.expired()
    assert queued(redis) == []
    watch.now += LEASE
    recovery.expired()
    assert queued(redis) == [b"{}"]


def test_what_another_server_showed_does_not_count(watch: Watch) -> None:
    with RedisServer(appendonly=True) as server:
        connector = Connector(server.url)
        recovery = make(connector, watch)
        enter(connector, "other", [b"{}"])
        recovery.expired()
        watch.now += LEASE
        server.restart()
        connector.close()
        recovery.expired()
        with server.client() as client:
            assert queued(client) == []
            watch.now += LEASE
            recovery.expired()
            assert queued(client) == [b"{}"]
        connector.close()


def test_a_beat_in_the_last_moment_wins(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(connector, "other", [b"{}"])
    recovery.expired()
    watch.now += LEASE
    before = recovery._directory

    def then_it_beats() -> dict[str, float]:
        found = before()
        redis.zadd("jobd:procs", {"other": 200.0})
        return found

    monkeypatch.setattr(recovery, "_directory", then_it_beats)
    recovery.expired()
    assert queued(redis) == []
    assert redis.hexists("jobd:other:jobs", "taken") is False


def test_a_recovery_that_was_broken_off_is_finished_by_another(
    connector: Connector, recovery: Recovery, watch: Watch, redis: Redis
) -> None:
    enter(connector, "other", [b"1", b"2", b"3"])
    with connector.connection() as connection:
        found = scripts.send(connection, scripts.take(KEYS, "other", "somebody", None))
        scripts.send(connection, scripts.recover(KEYS, "other", found.queues, 100.0, DeadLimits(), limit=1))
    recovery.expired()
    watch.now += LEASE
    recovery.expired()
    assert queued(redis) == [b"1", b"2", b"3"]
    assert not redis.exists("jobd:procs", "jobd:other:jobs")


def test_many_jobs_are_given_back_in_several_calls_in_their_order(
    recovery: Recovery, connector: Connector, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [b"%04d" % i for i in range(900)]
    enter(connector, "other", jobs)
    monkeypatch.setattr(scripts, "recover", partial(scripts.recover, limit=400))
    recovery.named(ended("other"))
    assert queued(redis) == jobs


def test_named_owners_are_recovered_at_once_and_unknown_ones_are_no_harm(
    recovery: Recovery, connector: Connector, redis: Redis
) -> None:
    enter(connector, "other", [b"1"])
    recovery.named(ended("nobody", "other", "other"))
    assert queued(redis) == [b"1"]


def test_an_owner_whose_keys_are_damaged_does_not_keep_others_from_recovery(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis, events: Events
) -> None:
    enter(connector, "first", [b'{"a": 1}'])
    redis.rename("jobd:first:jobs", "kept")
    redis.set("jobd:first:jobs", "text")
    enter(connector, "second", [b'{"a": 2}'])
    recovery.expired()
    watch.now += LEASE
    recovery.expired()
    assert queued(redis) == [b'{"a": 2}']
    [damage] = events.named("redis.damaged")
    assert str(damage["note"]).startswith("first cannot be recovered: WRONGTYPE")
    redis.rename("kept", "jobd:first:jobs")
    recovery.expired()
    assert queued(redis) == [b'{"a": 1}', b'{"a": 2}']


def test_an_entry_without_a_record_is_removed(recovery: Recovery, redis: Redis, watch: Watch, events: Events) -> None:
    redis.zadd("jobd:procs", {"ghost": 1.0})
    recovery.expired()
    watch.now += LEASE
    recovery.expired()
    assert not redis.exists("jobd:procs")
    assert events.named("owner.recovered") == []


def test_the_dead_leave_sidekiqs_views(recovery: Recovery, connector: Connector, redis: Redis) -> None:
    enter(connector, "h:1:n/slow", [b"1"])
    redis.sadd("processes", "h:1:n")
    redis.hset("h:1:n", "info", "{}")
    redis.hset("h:1:n:work", "t", "{}")
    recovery.named(ended("h:1:n/slow"))
    assert not redis.exists("processes", "h:1:n", "h:1:n:work")


def ended_child() -> tuple[str, str]:
    """Pid and start time of a process that has ended."""
    child, facts = running_child()
    end(child)
    return facts


def running_child() -> tuple[subprocess.Popen[bytes], tuple[str, str]]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    return child, (str(child.pid), host.start_time(child.pid))


def end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    child.stdin.close()
    child.kill()
    child.wait()


def record(pid: str, start: str, master: tuple[str, str] | None = None) -> dict[str, str]:
    """The record of a process of this system, with itself or another as its master."""
    master_pid, master_start = master or (pid, start)
    return {
        **read_facts(os.getpid()).as_fields(),
        "pid": pid,
        "start": start,
        "master_pid": master_pid,
        "master_start": master_start,
    }


def test_a_process_is_gone_when_it_and_its_master_have_ended() -> None:
    here = read_facts(os.getpid())
    me = (str(here.pid), here.start)
    ended = ended_child()
    child, alive = running_child()
    assert is_gone(record(*ended), here)
    assert is_gone(record(*ended, master=ended), here)
    assert not is_gone(record(*ended, master=me), here)
    assert not is_gone(record(*me, master=ended), here)
    assert not is_gone(record(*alive), here)
    end(child)
    assert is_gone(record(*alive), here)


def test_a_pid_that_another_process_has_now_is_not_the_one_that_left_the_record() -> None:
    here = read_facts(os.getpid())
    assert is_gone(record(str(here.pid), f"{here.start}1"), here)


def test_a_process_that_nobody_has_waited_for_yet_is_gone() -> None:
    child, facts = running_child()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(record(*facts), read_facts(os.getpid()))
    end(child)


@pytest.mark.parametrize(
    "change",
    [
        {"boot": "another"},
        {"pid_namespace": "1"},
        {"boot": None},
        {"pid_namespace": None},
        {"pid": None},
        {"pid": "-1"},
        {"pid": "text"},
        {"start": ""},
        {"master_start": None},
        {"master_pid": None},
    ],
)
def test_what_cannot_be_told_is_not_gone(change: dict[str, str | None]) -> None:
    changed = {**record(*ended_child()), **change}
    known = {name: value for name, value in changed.items() if value is not None}
    assert not is_gone(known, read_facts(os.getpid()))


def test_on_a_system_without_a_boot_id_nobody_is_gone() -> None:
    here = replace(read_facts(os.getpid()), boot="")
    assert not is_gone({**record(*ended_child()), "boot": ""}, here)


def test_a_process_of_another_user_that_proc_does_not_show_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    gone = record(*ended_child())
    monkeypatch.setattr(os, "kill", forbidden)
    assert not is_gone(gone, read_facts(os.getpid()))


def test_at_start_the_jobs_of_ended_processes_of_this_system_go_back(
    recovery: Recovery, connector: Connector, redis: Redis
) -> None:
    here = read_facts(os.getpid())
    enter(connector, "gone", [b"1"], record(*ended_child()))
    enter(connector, "alive", [b"2"], here.as_fields())
    enter(connector, "elsewhere", [b"3"], {**record(*ended_child()), "boot": "another"})
    enter(connector, "me", [b"4"], record(*ended_child()))
    recovery.earlier_here()
    assert queued(redis) == [b"1"]
    assert redis.zrange("jobd:procs", 0, -1) == [b"alive", b"elsewhere", b"me"]


def owners(redis: Redis) -> list[str]:
    found: Any = redis.zrange("jobd:procs", 0, -1)
    return [owner.decode() for owner in found]


def test_a_process_whose_record_is_gone_takes_a_new_owner_and_goes_on(
    run_worker: RunWorker, redis: Redis, events: Events
) -> None:
    with run_worker(concurrency=1, heartbeat_interval=0.02) as worker:
        block.perform_async(-1)
        wait_until(lambda: calls == [-1], "the job at work")
        assert owners(redis) == [worker.identity]
        redis.delete(f"jobd:{worker.identity}:jobs", "jobd:procs")
        release.set()
        wait_until(lambda: events.named("owner.fenced"), "the process to notice")
        block.perform_async(2)
        wait_until(lambda: redis.get("stat:processed") == b"1", "the next job done")
        [owner] = owners(redis)
        assert owner != worker.identity
        assert owner.rsplit(":", 1)[0] == worker.identity.rsplit(":", 1)[0]
    assert calls == [-1, 2]
    assert redis.get("stat:failed") is None
    assert not redis.exists("retry")
    assert [values["owner"] for values in events.named("owner.fenced")] == [worker.identity]


def test_an_idle_process_notices_too(run_worker: RunWorker, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.client.defaults.MAX_WAIT", 0.1)
    release.set()
    with run_worker(heartbeat_interval=0.02) as worker:
        wait_until(lambda: owners(redis) == [worker.identity], "the owner entered")
        redis.flushall()
        wait_until(lambda: len(owners(redis)) == 1, "a new owner")
        assert owners(redis) != [worker.identity]
        block.perform_async(1)
        wait_until(lambda: redis.get("stat:processed") == b"1", "a job done")


def test_a_new_owner_is_announced_before_it_takes_jobs(redis_url: str, redis: Redis) -> None:
    announced: list[tuple[str, bool]] = []
    jobd.configure(redis_url=redis_url)
    worker = WorkerProcess(
        jobd.WorkerConfig(redis_url=redis_url, heartbeat_interval=0.02, concurrency=1),
        on_owner=lambda owner: announced.append((owner, bool(redis.exists(f"jobd:{owner}:jobs")))),
    )
    release.set()
    worker.start()
    wait_until(lambda: owners(redis), "the first owner")
    redis.delete(f"jobd:{worker.identity}:jobs")
    block.perform_async(1)
    wait_until(lambda: redis.get("stat:processed") == b"1", "a job done")
    second = owners(redis)
    worker.stop()
    assert announced == [(worker.identity, False), *((owner, False) for owner in second if owner != worker.identity)]
    assert len(announced) == 2


def test_a_job_that_was_given_to_others_has_no_effect_where_it_still_runs(
    run_worker: RunWorker, redis: Redis, connector: Connector, watch: Watch, events: Events
) -> None:
    with run_worker(concurrency=2, heartbeat_interval=0.02) as worker:
        block.perform_async(1)
        wait_until(lambda: calls == [1], "the job at work")
        make(connector, watch, own="another").named(ended(worker.identity))
        wait_until(lambda: calls == [1, 1], "the same job at work again")
        release.set()
        wait_until(lambda: events.named("job.not_ours"), "the first run to end")
        wait_until(lambda: redis.get("stat:processed") == b"1", "the second run counted")
    assert redis.get("stat:processed") == b"1"
    assert not redis.exists("queue:default", "retry", "dead")


def test_a_process_gives_back_what_a_dead_one_had_when_it_starts(
    run_worker: RunWorker, redis: Redis, connector: Connector
) -> None:
    release.set()
    payload = b'{"class":"recovery.block","args":[7],"jid":"a","retry":true,"queue":"q"}'
    enter(connector, "gone", [payload], record(*ended_child()))
    with run_worker(queues=(("q", 0),)):
        wait_until(lambda: redis.get("stat:processed") == b"1", "the job run again")
    assert calls == [7]


def test_a_living_process_recovers_another_after_its_lease(
    run_worker: RunWorker, redis: Redis, connector: Connector
) -> None:
    release.set()
    payload = b'{"class":"recovery.block","args":[8],"jid":"a","retry":true,"queue":"q"}'
    with run_worker(queues=(("q", 0),), heartbeat_interval=0.02, lease=0.2):
        enter(connector, "other", [])
        redis.hset("jobd:other:jobs", "1.1", b"q\n" + payload)
        wait_until(lambda: redis.get("stat:processed") == b"1", "the job run again")
    assert calls == [8]


def job(jid: str, **fields: object) -> bytes:
    """The bytes of a job that waits for the test."""
    return encode({"class": "recovery.block", "args": [1], "jid": jid, "queue": "q", "retry": True, **fields})


def crash(*jids: str, cause: str = "killed by SIGSEGV") -> Crash:
    return Crash(cause, jids, 400 * 2**20, "Thread 1 (most recent call first):\n  File a.py, line 3 in f")


def crashed(owner: str, *jids: str) -> list[Orphan]:
    """An owner whose process crashed while it ran these."""
    return [Orphan(owner, "killed by SIGSEGV", crash(*jids))]


def count(redis: Redis, key: str) -> int:
    value: Any = redis.get(key)
    return int(value or 0)


def test_only_jobs_that_ran_are_to_blame_for_a_crash(
    recovery: Recovery, connector: Connector, redis: Redis, events: Events
) -> None:
    jobs = [job("a"), job("b"), b"no job", job("")]
    enter(connector, "other", jobs)
    recovery.named(crashed("other", "b", "ran under another owner"))
    assert queued(redis) == jobs
    assert redis.smembers("jobd:suspects") == {b"b"}
    assert redis.keys("jobd:*crashes:*") == [b"jobd:crashes:b"]
    [line] = events.named("job.crashed")
    assert (line["jid"], line["job"], line["queue"], line["crashes"]) == ("b", "recovery.block", "q", 1)
    assert "killed by SIGSEGV" in line["error"]


def test_an_end_in_order_is_held_against_nobody(recovery: Recovery, connector: Connector, redis: Redis) -> None:
    enter(connector, "other", [job("a")])
    recovery.named(ended("other"))
    assert queued(redis) == [job("a")]
    assert not redis.keys("jobd:*")


def test_the_third_crash_is_the_death_of_a_job(
    recovery: Recovery, connector: Connector, redis: Redis, events: Events
) -> None:
    poison = job("p", unknown_since=1.0)
    for number in range(1, 4):
        redis.delete("queue:q")
        enter(connector, f"owner-{number}", [job("a"), poison], {"host": "web-1"})
        recovery.named(crashed(f"owner-{number}", "p"))
        assert count(redis, "jobd:crashes:p") == (number if number < 3 else 0)
    assert queued(redis) == [job("a")]
    assert not redis.exists("jobd:suspects")
    members: Any = redis.zrange("dead", 0, -1, withscores=True)
    [(raw, score)] = members
    entry = decode(raw)
    assert entry["error_class"] == "jobd.Crashed"
    assert entry["error_message"] == (
        "its process crashed 3 times while it ran; the last time: killed by SIGSEGV, on web-1, with 400 MiB of memory"
    )
    assert decode_backtrace(entry["error_backtrace"]) == crash().stacks.splitlines()
    assert (entry["failed_at"], entry["retry_count"], entry["queue"]) == (pytest.approx(score, abs=1), 0, "q")
    assert {name: entry[name] for name in ("class", "args", "jid", "retry")} == {
        name: decode(poison)[name] for name in ("class", "args", "jid", "retry")
    }
    assert count(redis, "stat:processed") == count(redis, "stat:failed") == 1
    [line] = events.named("job.dead")
    assert (line["jid"], line["error"]) == ("p", entry["error_message"])


def test_how_many_crashes_are_too_many_is_configured(connector: Connector, watch: Watch, redis: Redis) -> None:
    enter(connector, "other", [job("a")])
    make(connector, watch, max_crashes=1, timestamps="ms").named(crashed("other", "a"))
    members: Any = redis.zrange("dead", 0, -1)
    entry = decode(members[0])
    assert "crashed once" in entry["error_message"]
    assert isinstance(entry["failed_at"], int)


def test_a_lost_host_counts_against_all_jobs_in_progress_and_ten_of_them_are_a_death(
    recovery: Recovery, connector: Connector, redis: Redis
) -> None:
    redis.set("jobd:crashes:a", 2)
    for number in range(1, 11):
        assert count(redis, "jobd:host-crashes:a") == number - 1
        assert redis.smembers("jobd:suspects") == ({b"a", b"b"} if number > 1 else set())
        redis.delete("queue:q")
        enter(connector, f"gone-{number}", [job("a"), job("b")], record(*ended_child()) | {"host": "web-1"})
        if number == 5:
            redis.delete("jobd:host-crashes:b")
        recovery.earlier_here()
    assert queued(redis) == [job("b")]
    assert count(redis, "jobd:host-crashes:b") == 6
    assert not redis.exists("jobd:crashes:a", "jobd:host-crashes:a")
    members: Any = redis.zrange("dead", 0, -1)
    assert decode(members[0])["error_message"] == (
        "its process was lost with its host 10 times while it ran; the last time: "
        "its process and its master are gone, on web-1"
    )


def test_an_expired_lease_counts_as_a_lost_host(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis
) -> None:
    enter(connector, "other", [job("a")])
    recovery.expired()
    watch.now += LEASE
    recovery.expired()
    assert queued(redis) == [job("a")]
    assert (count(redis, "jobd:host-crashes:a"), count(redis, "jobd:crashes:a")) == (1, 0)


def enter_batch(connector: Connector, owner: str, jobs: list[bytes]) -> None:
    """Have `owner` hold these jobs as its open batch."""
    enter(connector, owner, [])
    with connector.connection() as connection:
        scripts.send(connection, scripts.push_now(KEYS, "q", jobs))
        call = Record(KEYS, owner, "0", "1", 100.0)
        asked = scripts.fetch(call, Finished(), call=1, want=len(jobs), mode="batch", queues=[("q", len(jobs))])
        scripts.send(connection, asked)


def test_of_an_open_batch_only_those_that_ran_are_to_blame(
    recovery: Recovery, connector: Connector, redis: Redis
) -> None:
    jobs = [job("a"), job("b"), job("c")]
    for crashes in (1, 2):
        redis.delete("queue:q")
        enter_batch(connector, f"other-{crashes}", jobs)
        recovery.named(crashed(f"other-{crashes}", "b"))
        assert queued(redis) == jobs
        assert [count(redis, f"jobd:crashes:{jid}") for jid in "abc"] == [0, crashes, 0]


def test_nobody_knows_what_of_a_batch_ran_when_its_host_was_lost(
    recovery: Recovery, connector: Connector, watch: Watch, redis: Redis
) -> None:
    enter_batch(connector, "other", [job("a"), job("b")])
    recovery.expired()
    watch.now += LEASE
    recovery.expired()
    assert queued(redis) == [job("a"), job("b")]
    assert not redis.exists("jobd:suspects")


def test_what_somebody_wrote_over_a_count_is_no_count(
    recovery: Recovery, connector: Connector, redis: Redis, events: Events
) -> None:
    redis.set("jobd:crashes:a", "text")
    enter(connector, "other", [job("a")])
    recovery.named(crashed("other", "a"))
    assert queued(redis) == [job("a")]
    assert "jobd:crashes:a" in events.named("redis.damaged")[0]["note"]


def test_many_jobs_of_a_lost_host_are_each_counted_and_told_of_once(
    recovery: Recovery, connector: Connector, redis: Redis, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job(f"j{i}") for i in range(30)]
    enter(connector, "gone", jobs, record(*ended_child()))
    monkeypatch.setattr("jobd.client.defaults.RECOVER_LIMIT", 10)
    monkeypatch.setattr(scripts, "recover", partial(scripts.recover, limit=7))
    recovery.earlier_here()
    assert queued(redis) == jobs
    assert [count(redis, f"jobd:host-crashes:j{i}") for i in range(30)] == [1] * 30
    assert sorted(line["jid"] for line in events.named("job.crashed")) == sorted(f"j{i}" for i in range(30))


def test_a_death_by_crashes_is_among_the_figures_of_the_process_that_recovers(
    run_worker: RunWorker, redis: Redis, connector: Connector
) -> None:
    redis.set("jobd:host-crashes:a", 9)
    strange = job("b", **{"class": "nobody.knows_it"})
    redis.set("jobd:host-crashes:b", 9)
    enter(connector, "gone", [job("a"), strange, job("c", args=[3])], record(*ended_child()))
    release.set()
    with run_worker(queues=(("q", 0),)) as worker:
        wait_until(lambda: redis.get("stat:processed") == b"3", "the third job run")
        dead = {names: counts.results["dead"] for names, counts in worker.page.jobs().items()}
    assert (dead["q", "recovery.block"], dead["q", "other"]) == (1, 1)
    assert calls == [3]
    assert redis.get("stat:failed") == b"2"
