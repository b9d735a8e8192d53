"""Generated payloads go from jobd through Ruby's real code and back. `JOBD_INTEROP_PAYLOADS` says how many [10,000]."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest
from redis import Redis

import jobd
from jobd.client import payload as wire
from tests.interop.generated import payloads
from tests.interop.ruby_process import Console

COUNT = int(os.environ.get("JOBD_INTEROP_PAYLOADS", "10000"))
SEED = int(os.environ.get("JOBD_INTEROP_SEED", "20261122"))


def items() -> list[dict[str, Any]]:
    """The generated items; the seed is printed with a failure."""
    print(f"JOBD_INTEROP_SEED={SEED}")
    return payloads(SEED, COUNT)


def meaning(payload: dict[str, Any]) -> str:
    """Equal for equal values of equal types, whatever the order of keys: 1 is not 1.0, and -0.0 is not 0.0."""
    return repr(_sorted(payload))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _sorted(value[name])) for name in sorted(value)]
    return [_sorted(each) for each in value] if isinstance(value, list) else value


def wanted(item: dict[str, Any]) -> dict[str, Any]:
    """What must come back of an item."""
    return {"retry": True, **item}


def without_times(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload but for what a push adds."""
    return {name: value for name, value in payload.items() if name not in ("created_at", "enqueued_at")}


def read(redis: Redis, queue: str) -> dict[str, dict[str, Any]]:
    """The jobs of a queue by jid, as a worker of jobd reads them."""
    found: Any = redis.lrange(f"queue:{queue}", 0, -1)
    decoded = [wire.decode(raw) for raw in found]
    return {job["jid"]: job for job in decoded}


def assert_all_there(found: dict[str, dict[str, Any]], given: list[dict[str, Any]]) -> None:
    """All came back, with their meaning."""
    assert len(found) == len(given)
    for item in given:
        assert meaning(without_times(found[item["jid"]])) == meaning(wanted(item))


def test_what_ruby_takes_and_gives_back_keeps_its_bytes_and_place(
    ruby: Console, client: jobd.Client, redis: Redis
) -> None:
    """With Ruby's own fetch and give-back, as at a stop of a process."""
    for item in items():
        client.push(item)
    before: Any = redis.lrange("queue:generated", 0, -1)
    taken = ruby(
        """
        fetch = Sidekiq::BasicFetch.new(queues: ["generated"], strict: true)
        works = Array.new(Sidekiq::Queue.new("generated").size) { fetch.retrieve_work }
        left = Sidekiq::Queue.new("generated").size
        works.each { |work| Sidekiq.load_json(work.job).fetch("class") }
        fetch.bulk_requeue(works.reverse, {})
        left
        """
    )
    assert taken == 0
    assert redis.lrange("queue:generated", 0, -1) == before
    assert len(before) == COUNT


def test_what_rubys_poller_writes_anew_means_the_same(ruby: Console, client: jobd.Client, redis: Redis) -> None:
    """Jobs that jobd has scheduled, moved into their queue by Ruby, read by jobd."""
    given = items()
    for item in given:
        client.push({**item, "at": 4e9})
    scheduled: Any = redis.zrange("schedule", 0, -1)
    created = {job["jid"]: job["created_at"] for job in map(json.loads, scheduled)}
    redis.zunionstore("schedule", {"schedule": 0})
    ruby("Sidekiq::Scheduled::Enq.new.enqueue_jobs(['schedule'])")
    assert not redis.exists("schedule", "dead")
    found = read(redis, "generated")
    assert_all_there(found, given)
    assert {jid: job["created_at"] for jid, job in found.items()} == created


def test_what_ruby_pushes_means_the_same(ruby: Console, redis: Redis) -> None:
    """And once more through jobd's encoder, as at a retry."""
    given = items()
    for first in range(0, len(given), 1000):
        ruby("given.each { |item| Sidekiq::Client.push(item) }; nil", given=given[first : first + 1000])
    found = read(redis, "generated")
    assert_all_there(found, given)
    assert all(meaning(wire.decode(wire.encode(job))) == meaning(job) for job in found.values())


@pytest.mark.parametrize(
    ("value", "ours", "theirs"),
    [
        (1e15, "1000000000000000.0", "1.0e+15"),
        (1e16, "1e16", "1.0e+16"),
        (1e20, "1e20", "1.0e+20"),
        (1e-4, "0.0001", "0.0001"),
        (1e-5, "0.00001", "1.0e-05"),
        (1e-7, "1e-7", "1.0e-07"),
        (5e-324, "5e-324", "5.0e-324"),
        (1.5, "1.5", "1.5"),
        (1795305954.66, "1795305954.66", "1795305954.66"),
        (2**70, str(2**70), str(2**70)),
    ],
)
def test_how_each_side_writes_a_number(value: float, ours: str, theirs: str, ruby: Console) -> None:
    assert wire.encode({"v": value}) == f'{{"v":{ours}}}'.encode()
    assert ruby("Sidekiq.dump_json({'v' => value})", value=value) == f'{{"v":{theirs}}}'


def test_floats_are_written_alike_from_a_ten_thousandth_to_a_thousand_billions(ruby: Console) -> None:
    chance = random.Random(SEED)
    values = [chance.choice([-1, 1]) * 10 ** chance.uniform(-4, 14.999) for _ in range(5_000)]
    values += [float(round(value, 3)) for value in values]
    theirs = ruby("values.map { |value| Sidekiq.dump_json(value) }", values=values)
    assert [wire.encode({"v": value}).decode() for value in values] == [f'{{"v":{text}}}' for text in theirs]


def test_a_member_that_ruby_would_write_otherwise_is_doubled_by_its_reschedule(
    ruby: Console, client: jobd.Client, redis: Redis
) -> None:
    """Sidekiq moves a member by bytes that it writes anew. Retry, kill and delete take the bytes as they are."""
    client.push({"class": "Any", "args": [1e20], "at": 4e9})
    client.push({"class": "Any", "args": [1e14], "at": 4e9})
    ruby("Sidekiq::ScheduledSet.new.each { |entry| entry.reschedule(Time.at(4_000_000_060)) }")
    members: Any = redis.zrange("schedule", 0, -1, withscores=True)
    scores = sorted((json.loads(raw)["args"][0], score) for raw, score in members)
    assert scores == [(1e14, 4e9 + 60), (1e20, 60.0), (1e20, 4e9)]
    ruby("Sidekiq::ScheduledSet.new.each(&:delete)")
    assert not redis.exists("schedule")


def test_ordinary_payloads_are_written_alike_to_the_byte(ruby: Console) -> None:
    """Sidekiq's `reschedule` finds a member by the bytes that Ruby would write."""
    job = {"class": "A::B", "args": ['é 🎉 \u2028 \x7f </a> " \\ \b\f\n\r\t\x01', {"a": [1, -2.5, None, True]}, 2**64]}
    raw = wire.encode({**job, "created_at": 1795305954.66})
    assert ruby("Sidekiq.dump_json(Sidekiq.load_json(raw))", raw=raw.decode()).encode() == raw


@pytest.mark.parametrize("text", ["[" * 120 + "]" * 120, "NaN", "1e400"], ids=["too deep", "NaN", "1e400"])
def test_what_ruby_reads_and_jobd_does_not(text: str, ruby: Console) -> None:
    """Ruby takes a number beyond a double for infinity; nothing that jobd accepts for a push is like these."""
    raw = f'{{"class":"A","args":[{text}]}}'
    with pytest.raises(jobd.errors.MalformedPayload):
        wire.decode(raw)
    read_by_ruby = ruby("begin; Sidekiq.load_json(raw)['args'][0].to_s; rescue => e; e.class.name; end", raw=raw)
    assert read_by_ruby == ("Infinity" if text == "1e400" else "JSON::" + read_by_ruby.removeprefix("JSON::"))
