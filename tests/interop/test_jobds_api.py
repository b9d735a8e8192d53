"""jobd's API looks at Sidekiq's processes and jobs at work, and changes them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis import Redis

import jobd
from tests.interop.conftest import Seen, StartJobd, StartSidekiq
from tests.interop.ruby_process import Console, Sidekiq, WebPages
from tests.interop.test_failures import members, the_only
from tests.interop.test_web import key_of
from tests.waiting import wait_until

ARGS = ["é <b>", {"a": [1.5, None]}]


@pytest.fixture
def at_work(ruby: Console, client: jobd.Client, sidekiq: StartSidekiq, seen: Seen, redis: Redis) -> Sidekiq:
    """A sidekiq with a job of each state: one runs, two wait, one is scheduled, one failed, one is dead."""
    process = sidekiq("ruby", "low", poll=30)
    held = ruby("RubyHold.set(tags: ['red']).perform_async(*args)", args=ARGS)
    ruby("BothBreak.set(backtrace: true).perform_async('later')")
    ruby("BothBreak.set(queue: 'low', retry: 0).perform_async('never')")
    ruby("RubySeen.perform_in(3600, 'soon')")
    ruby("Sidekiq::Client.push_bulk('class' => 'Any', 'args' => [[1], [2]], 'queue' => 'idle')")
    seen.wait(3)
    wait_until(lambda: redis.exists("retry", "dead") == 2, "both failures")
    wait_until(lambda: jobd.WorkSet(client).find(held), "the heartbeat")
    return process


def test_totals_and_queues(at_work: Sidekiq, client: jobd.Client) -> None:
    wait_until(lambda: jobd.Stats(client).processed == 2, "the counters")
    stats = jobd.Stats(client)
    assert (stats.failed, stats.enqueued, stats.scheduled, stats.retries, stats.dead) == (2, 2, 1, 1, 1)
    assert {queue.name: queue.size for queue in stats.queues} == {"idle": 2, "ruby": 0, "low": 0}
    assert sum(jobd.History(1, client=client).processed.values()) == 2
    queue = jobd.Queue("idle", client=client)
    assert [entry.args for entry in queue] == [[1], [2]]
    assert 0 <= queue.latency < 30


def test_sets(at_work: Sidekiq, client: jobd.Client) -> None:
    [scheduled], [retry], [dead] = jobd.ScheduledSet(client), jobd.RetrySet(client), jobd.DeadSet(client)
    assert (scheduled.name, scheduled.args, scheduled.queue) == ("RubySeen", ["soon"], "ruby")
    assert 3500 < scheduled.at - time.time() < 3600
    assert (retry.name, retry.error_class, retry.error_message) == ("BothBreak", "RuntimeError", "later")
    assert any("jobs.rb" in line for line in retry.error_backtrace)
    assert (retry.retry_count, dead.retry_count, dead.args) == (0, 0, ["never"])
    for moment in (retry.created_at, retry.enqueued_at, retry.failed_at):
        assert moment is not None
        assert abs(moment - time.time()) < 30


def test_processes_and_running_jobs(at_work: Sidekiq, client: jobd.Client) -> None:
    [process], [work] = jobd.ProcessSet(client), jobd.WorkSet(client)
    assert (process.pid, process.concurrency, process.busy, process.quiet) == (at_work.process.pid, 3, 1, False)
    assert (process.queues, process.embedded) == (("ruby", "low"), False)
    assert process.rss > 10_000
    assert abs(process.beat - time.time()) < 10
    assert (work.process, work.queue, work.entry.name, work.entry.args) == (process.identity, "ruby", "RubyHold", ARGS)
    assert work.entry.tags == ["red"]
    assert abs(work.run_at - time.time()) < 30


def test_its_signals_reach_a_process_of_ruby(at_work: Sidekiq, client: jobd.Client, redis: Redis) -> None:
    processes = jobd.ProcessSet(client)
    [process] = processes
    assert processes.quiet(process.identity)
    wait_until(lambda: (found := processes.get(process.identity)) and found.quiet, "quiet", 20)
    redis.set("release", "1")
    assert processes.stop(process.identity)
    assert at_work.process.wait(20) == 0
    assert list(processes) == []


def test_it_moves_retries_and_revives_jobs_of_ruby(
    at_work: Sidekiq, ruby: Console, client: jobd.Client, seen: Seen, redis: Redis
) -> None:
    [scheduled] = jobd.ScheduledSet(client)
    assert scheduled.reschedule(time.time() + 7200)
    assert 7100 < ruby("Sidekiq::ScheduledSet.new.first.at.to_f - Time.now.to_f") < 7200
    [moved] = jobd.ScheduledSet(client)
    assert moved.add_to_queue()
    [retry], [dead] = jobd.RetrySet(client), jobd.DeadSet(client)
    assert retry.retry()
    assert dead.retry()
    calls = seen.wait(6)
    assert sorted(call["args"][0] for call in calls[3:]) == ["later", "never", "soon"]
    wait_until(lambda: redis.zcard("dead") == 1, "the second death")
    wait_until(lambda: redis.zcard("retry") == 1, "the second failure")
    [(failed, _)], [(died, _)] = members(redis, "retry"), members(redis, "dead")
    # A retry by hand costs no attempt.
    assert (failed["retry_count"], died["retry_count"]) == (0, 0)
    [again] = jobd.RetrySet(client)
    assert again.kill()
    assert ruby("Sidekiq::DeadSet.new.map { |job| job.args[0] }.sort") == ["later", "never"]


def test_a_job_that_was_put_off_has_a_page_in_ruby(
    start_jobd: StartJobd, client: jobd.Client, web: WebPages, redis: Redis
) -> None:
    start_jobd()
    jid = client.push({"class": "NotNow", "args": [], "queue": "python"})
    assert jid is not None
    the_only(redis, "retry")
    assert "NotNow" in web.words("/retries")
    assert f"JID {jid}" in web.words(f"/retries/{key_of(redis, 'retry', jid)}")


def test_bulk_changes_take_entries_of_both(ruby: Console, client: jobd.Client, redis: Redis) -> None:
    for number in range(50):
        client.push({"class": "Any", "args": ["python"], "at": 4e9 + number, "queue": "q"})
    ruby("50.times { |n| Sidekiq::Client.push('class' => 'Any', 'args' => ['é'], 'at' => 4e9 + n, 'queue' => 'q') }")
    result = jobd.ScheduledSet(client).add_all_to_queue()
    assert (result.moved, result.gone, result.malformed) == (100, 0, 0)
    found: Any = ruby("Sidekiq::Queue.new('q').map { |job| job.args[0] }.tally")
    assert found == {"python": 50, "é": 50}
