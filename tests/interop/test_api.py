"""Sidekiq's API and `sidekiqmon` look at a jobd at work; its signals reach the processes of jobd."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client.payload import Timestamps
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console
from tests.supervisor.jobd_command import Jobd, has_ended
from tests.waiting import wait_until

ARGS = ["é <b>", {"a": [1.5, None]}]


@pytest.fixture
def at_work(start_jobd: StartJobd, client: jobd.Client, seen: Seen, redis: Redis) -> Jobd:
    """A jobd with a job of each state: one runs, two wait, one is scheduled, one failed, one is dead."""
    ours = start_jobd(tag="myapp", labels=["eu", "blue"], queues=[["python", 2], ["low", 1]], pidfile="jobd.pid")
    client.push({"class": "Hold", "args": ARGS, "queue": "python", "jid": "held", "tags": ["red"]})
    client.push({"class": "BothBreak", "args": ["later"], "queue": "python", "jid": "failed", "backtrace": True})
    client.push({"class": "BothBreak", "args": ["never"], "queue": "low", "jid": "died", "retry": 0, "tags": ["t"]})
    client.push({"class": "Any", "args": ["soon"], "queue": "python", "jid": "later", "at": time.time() + 3600})
    client.push_bulk({"class": "Any", "args": [[1], [2]], "queue": "default"})
    seen.wait(3)
    wait_until(lambda: redis.exists("retry", "dead") == 2, "both failures")
    wait_until(lambda: redis.hget(ours.identities[0], "busy") == b"1", "the heartbeat")
    return ours


def test_statistics(ruby: Console, at_work: Jobd) -> None:
    counts = "processed failed enqueued retry_size scheduled_size dead_size processes_size workers_size"
    found = ruby("s = Sidekiq::Stats.new; names.split.to_h { |name| [name, s.public_send(name)] }", names=counts)
    assert found == {
        "processed": 2,
        "failed": 2,
        "enqueued": 2,
        "retry_size": 1,
        "scheduled_size": 1,
        "dead_size": 1,
        "processes_size": 1,
        "workers_size": 1,
    }
    assert 0 <= ruby("Sidekiq::Stats.new.default_queue_latency") < 30
    assert ruby("h = Sidekiq::Stats::History.new(1); [h.processed.values.sum, h.failed.values.sum]") == [2, 2]


def test_queues(ruby: Console, at_work: Jobd) -> None:
    assert ruby("Sidekiq::Stats.new.queues") == {"default": 2, "python": 0, "low": 0}
    assert ruby("Sidekiq::Queue.new('default').map { |job| [job.klass, job.args] }") == [["Any", [2]], ["Any", [1]]]
    assert 0 <= ruby("Sidekiq::Queue.new('default').latency") < 30
    jid = ruby("Sidekiq::Queue.new('default').first.jid")
    assert ruby("Sidekiq::Queue.new('default').find_job(jid).delete", jid=jid) is True
    assert ruby("Sidekiq::Queue.new('default').size") == 1
    ruby("Sidekiq::Queue.new('default').clear")
    assert ruby("Sidekiq::Queue.all.map(&:name).sort") == ["low", "python"]


def test_sets(ruby: Console, at_work: Jobd) -> None:
    entry = "e.map { |j| [j.jid, j.klass, j.args, j.queue, j.tags, j['error_class'], j['error_message']] }"
    read = f"e = Object.const_get(name).new.to_a; {entry}"
    assert ruby(read, name="Sidekiq::RetrySet") == [
        ["failed", "BothBreak", ["later"], "python", [], "RuntimeError", "later"]
    ]
    assert ruby(read, name="Sidekiq::DeadSet") == [
        ["died", "BothBreak", ["never"], "low", ["t"], "RuntimeError", "never"]
    ]
    assert ruby(read, name="Sidekiq::ScheduledSet") == [["later", "Any", ["soon"], "python", [], None, None]]
    assert 3500 < ruby("Sidekiq::ScheduledSet.new.first.at.to_f - Time.now.to_f") < 3600
    assert 10 < ruby("Sidekiq::RetrySet.new.first.at.to_f - Time.now.to_f") < 25
    assert any("both_break" in line for line in ruby("Sidekiq::RetrySet.new.first.error_backtrace"))
    assert ruby("Sidekiq::DeadSet.new.scan('never').map(&:jid)") == ["died"]
    dates = "j = Sidekiq::RetrySet.new.first; [j.created_at, j.enqueued_at].map { |t| (Time.now - t).abs < 30 }"
    assert ruby(dates) == [True, True]


def test_processes(ruby: Console, at_work: Jobd) -> None:
    [identity], [worker] = at_work.identities, at_work.workers
    fields = "identity hostname pid tag labels queues concurrency busy quiet rss beat started_at rtt_us"
    [shown] = ruby("Sidekiq::ProcessSet.new.map { |p| names.split.to_h { |n| [n, p[n]] } }", names=fields)
    assert (shown["identity"], shown["pid"], shown["hostname"]) == (identity, worker.pid, identity.split(":")[0])
    assert (shown["tag"], shown["labels"], shown["queues"]) == ("myapp", ["eu", "blue"], ["python", "low"])
    assert (shown["concurrency"], shown["busy"], shown["quiet"]) == (4, 1, "false")
    assert abs(int(shown["rss"]) * 1024 - worker.memory_info().rss) < 20_000_000
    assert abs(shown["started_at"] - worker.create_time()) < 10
    assert ruby("s = Sidekiq::ProcessSet.new; [s.size, s.total_concurrency, s.total_rss > 0]") == [1, 4, True]


def test_running_jobs(ruby: Console, at_work: Jobd) -> None:
    [[process, thread, work]] = ruby("Sidekiq::Workers.new.map { |process, thread, work| [process, thread, work] }")
    payload = work["payload"]
    assert process == at_work.identities[0]
    assert int(thread, 36) > 0
    assert (work["queue"], payload["jid"], payload["class"], payload["args"]) == ("python", "held", "Hold", ARGS)
    assert type(work["run_at"]) is int
    assert abs(work["run_at"] - payload["enqueued_at"]) <= 5


def test_when_it_ends_nothing_is_left_of_it_for_ruby(ruby: Console, at_work: Jobd, redis: Redis) -> None:
    redis.set("release", "1")
    wait_until(lambda: ruby("Sidekiq::Workers.new.size") == 0, "nothing at work")
    assert at_work.stop() == 0
    assert ruby("[Sidekiq::ProcessSet.new.size, Sidekiq::Stats.new.processed]") == [0, 3]


def test_sidekiqmon_shows_it(at_work: Jobd, redis_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "REDIS_URL": redis_url, "LANG": "C.UTF-8"}
    done = subprocess.run(["sidekiqmon"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for shown in ("Processed: 2", "Failed: 2", "Busy: 1", "Enqueued: 2", "Retries: 1", "Scheduled: 1", "Dead: 1"):
        assert shown in lines
    assert f"{at_work.identities[0]} [myapp] [eu] [blue]" in lines
    assert {"---- Processes (1) ----", "Threads: 4 (1 busy)", "Queues: low, python"} <= set(lines)
    assert [line for line in lines if line.startswith("default 2 ")]


def signalled(ruby: Console, identity: str, call: str) -> None:
    """Have Ruby send a signal to one process, once it shows itself."""
    shown = "Sidekiq::ProcessSet.new.map(&:identity)"
    wait_until(lambda: identity in ruby(shown), "its first heartbeat")
    ruby(f"Sidekiq::ProcessSet.new.find {{ |p| p.identity == identity }}.{call}", identity=identity)


def test_quiet_from_ruby_quiets_that_process_alone(
    ruby: Console, start_jobd: StartJobd, client: jobd.Client, seen: Seen
) -> None:
    ours = start_jobd(processes=2, pidfile="jobd.pid")
    quiet, other = ours.workers
    identity = next(name for name in ours.identities if f":{quiet.pid}:" in name)
    signalled(ruby, identity, "quiet!")
    stopping = "Sidekiq::ProcessSet.new.select(&:stopping?).map(&:identity)"
    wait_until(lambda: ruby(stopping) == [identity], "its being quiet")
    client.push_bulk({"class": "PythonSeen", "args": [[number] for number in range(50)], "queue": "python"})
    assert {call["pid"] for call in seen.wait(50)} == {other.pid}
    assert sorted(child["state"] for child in ours.status()["children"]) == ["quiet", "ready"]
    assert ours.status()["state"] == "running"
    assert ours.count("process.stopped") == 0


def test_stop_from_ruby_ends_that_process_in_time_and_jobd_starts_another(
    ruby: Console, start_jobd: StartJobd, client: jobd.Client, seen: Seen, redis: Redis
) -> None:
    """A job that lasts longer than `timeout` goes back with its bytes, and the next process runs it."""
    ours = start_jobd(processes=1, timeout=1, pidfile="jobd.pid")
    [stopped] = ours.workers
    client.push({"class": "Hold", "args": ["é"], "queue": "python", "jid": "held"})
    seen.wait(1)
    began = time.monotonic()
    signalled(ruby, ours.identities[0], "stop!")
    wait_until(lambda: has_ended(stopped), "its end", 10)
    assert time.monotonic() - began < 1 + 3
    ours.wait_for("process.ready", count=2)
    again = seen.wait(2)[1]
    redis.set("release", "1")
    assert (again["jid"], again["args"]) == ("held", ["é"])
    assert again["pid"] == ours.workers[-1].pid != stopped.pid
    wait_until(lambda: redis.get("stat:processed") == b"1", "the end of the job")
    assert redis.get("stat:failed") in (None, b"0")
    assert ours.wait_for("child.ended")["reason"] == "clean"
    wait_until(lambda: ruby("Sidekiq::ProcessSet.new.map { |p| p['pid'] }") == [again["pid"]], "its successor alone")


def test_ruby_asks_for_the_stacks_of_a_process(ruby: Console, start_jobd: StartJobd) -> None:
    ours = start_jobd(pidfile="jobd.pid")
    signalled(ruby, ours.identities[0], "dump_threads")
    wait_until(lambda: "interop" in ours.text() and "Thread" in ours.text(), "the stacks in the log")
    assert ours.count("process.stopped") == 0


def test_ruby_forgets_no_process_that_lives(ruby: Console, at_work: Jobd, redis: Redis) -> None:
    """Its clean-up drops processes without a heartbeat, and only those."""
    redis.sadd("processes", "gone:1:abc")
    assert ruby("Sidekiq::ProcessSet.new(false).cleanup") == 1
    found: Any = redis.smembers("processes")
    assert found == {at_work.identities[0].encode()}


def test_before_sidekiq_8_only_times_in_seconds_are_read(ruby: Console, redis_url: str, redis: Redis) -> None:
    """Which is why they are the default, and whole milliseconds an option for those who have left 7 behind."""
    years = []
    forms: tuple[Timestamps, ...] = ("s", "ms")
    for timestamps in forms:
        with closing(jobd.Client(redis_url, timestamps=timestamps)) as client:
            jid = client.push({"class": "Any", "args": [], "queue": timestamps})
        years.append(ruby("Sidekiq::Queue.new(queue).find_job(jid).created_at.year", queue=timestamps, jid=jid))
    assert years[0] == time.gmtime().tm_year
    assert years[1] > 50_000


def test_a_paused_queue_keeps_only_jobd_from_it(
    ruby: Console, sidekiq: StartSidekiq, start_jobd: StartJobd, client: jobd.Client, seen: Seen, redis: Redis
) -> None:
    """Sidekiq fetches on, and shows nothing of it: pausing is a feature of its paid editions."""
    redis.sadd("paused", "ruby", "python")
    assert ruby("Sidekiq::Queue.new('ruby').paused?") is False
    start_jobd()
    sidekiq("ruby")
    client.push({"class": "PythonSeen", "args": [], "queue": "python"})
    client.push({"class": "RubySeen", "args": [], "queue": "ruby"})
    assert [call["by"] for call in seen.wait(1)] == ["ruby"]
    assert redis.llen("queue:python") == 1
    redis.srem("paused", "python")
    assert [call["by"] for call in seen.wait(2)] == ["ruby", "python"]
