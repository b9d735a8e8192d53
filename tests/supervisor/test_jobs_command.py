"""`jobd jobs`: what is listed, what is done to what matches, and what is asked before."""

from __future__ import annotations

import getpass
import io
import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from jobd.client import audit, payload
from jobd.supervisor import cli, exits
from tests.proxy import Proxy
from tests.servers import RedisServer

Jobs = Callable[..., int]
Captured = pytest.CaptureFixture[str]


class Answers(io.StringIO):
    """A terminal on which somebody has typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def jobs(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Jobs:
    """Runs `jobd jobs`; `typed` is what somebody types, on a terminal then."""
    monkeypatch.setenv("JOBD_REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, typed: str | None = None) -> int:
        monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else Answers(typed))
        return cli.main(["jobs", *words])

    return run


def job(number: int, name: str = "app.send", **fields: Any) -> bytes:
    """A payload; its jid is its number."""
    now = time.time()
    base = {"class": name, "args": [number], "jid": f"{number:024}", "queue": "default", "retry": True}
    return payload.encode({**base, "created_at": now - 100, "enqueued_at": now - 90, **fields})


def failed(number: int, error: str = "TimeoutError", **fields: Any) -> bytes:
    """A payload that has failed once."""
    since = {"failed_at": time.time() - 60, "retry_count": 0}
    return job(number, **since, error_class=error, error_message="too slow", **fields)


def jids(raws: Any) -> list[str]:
    return [str(int(payload.decode(raw)["jid"])) for raw in raws]


def printed(capsys: Captured) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def dead(redis: Redis) -> None:
    """Three dead jobs: 1 and 3 of a timeout, 2 of another error; 3 died last."""
    now = time.time()
    redis.zadd("dead", {failed(1): now - 30, failed(2, "KeyError"): now - 20, failed(3): now - 10})


@pytest.mark.usefixtures("dead")
def test_dead_jobs_are_listed_latest_first_with_what_they_died_of(jobs: Jobs, capsys: Captured) -> None:
    assert jobs("dead") == exits.OK
    shown = capsys.readouterr()
    heading, *rows = shown.out.splitlines()
    assert heading.split() == ["died", "failures", "jid", "queue", "job", "arguments", "error"]
    assert [row.split()[3:5] for row in rows] == [["1", f"{number:024}"] for number in (3, 2, 1)]
    assert rows[1].endswith("default  app.send  2          KeyError: too slow")
    assert "3 of 3 jobs in the dead set" in shown.err


@pytest.mark.usefixtures("dead")
def test_json_has_every_field(jobs: Jobs, capsys: Captured) -> None:
    assert jobs("dead", "--grep", "KeyError", "--json") == exits.OK
    document = printed(capsys)
    assert document["size"] == 3
    (found,) = document["jobs"]
    assert (found["jid"], found["args"], found["error_class"], found["retry_count"]) == (f"{2:024}", [2], "KeyError", 0)
    assert found["key"] == f"{found['at']!r}-{found['jid']}"


@pytest.mark.usefixtures("dead")
def test_what_a_search_finds_is_in_order_too(jobs: Jobs, capsys: Captured) -> None:
    assert jobs("dead", "--grep", "Timeout", "--json") == exits.OK
    assert [int(found["jid"]) for found in printed(capsys)["jobs"]] == [3, 1]


def test_scheduled_jobs_and_retries_are_listed_in_the_order_in_which_they_run(
    jobs: Jobs, redis: Redis, capsys: Captured
) -> None:
    now = time.time()
    redis.zadd("schedule", {job(1): now + 400, job(2): now + 300})
    redis.zadd("retry", {failed(3): now + 400, failed(4): now - 5})
    for where, order in (("scheduled", [2, 1]), ("retry", [4, 3])):
        assert jobs(where, "--json") == exits.OK
        assert [int(found["jid"]) for found in printed(capsys)["jobs"]] == order
    assert jobs("retry") == exits.OK
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split("  ")[0].strip() for row in rows][1] == "in 7 min"


def test_a_queue_is_listed_from_the_job_that_is_next(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    redis.lpush("queue:low", job(1), job(2), b"no json")
    assert jobs("queue", "low", "--limit", "2") == exits.OK
    shown = capsys.readouterr()
    assert [row.split()[2] for row in shown.out.splitlines()[1:]] == [f"{1:024}", f"{2:024}"]
    assert "2 of 3 jobs in the queue low; --limit shows more" in shown.err
    assert jobs("queue", "low", "--json") == exits.OK
    assert printed(capsys)["jobs"][2]["raw"] == "no json"


def test_what_a_terminal_would_obey_is_escaped(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    redis.lpush("queue:low", job(1, "evil\x1b]0;owned\x07", jid="\x1b[2J"))
    assert jobs("queue", "low") == exits.OK
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    assert "evil\\u001b" in shown.out


@pytest.mark.usefixtures("dead")
def test_retry_puts_what_matches_into_its_queue_and_says_how_many(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    assert jobs("dead", "--grep", "Timeout", "--retry") == exits.OK
    shown = capsys.readouterr()
    assert "retrying 2 jobs in the dead set that hold 'Timeout'" in shown.err
    assert shown.out == "put into their queues: 2 jobs\n"
    assert sorted(jids(redis.lrange("queue:default", 0, -1))) == ["1", "3"]
    assert jids(redis.zrange("dead", 0, -1)) == ["2"]


def test_scheduled_jobs_can_be_run_now(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    redis.zadd("schedule", {job(1): time.time() + 400})
    assert jobs("scheduled", "--retry", "--json") == exits.OK
    assert printed(capsys)["moved"] == 1
    assert redis.llen("queue:default") == 1


@pytest.mark.usefixtures("dead")
def test_without_a_terminal_and_without_yes_nothing_is_deleted(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    assert jobs("dead", "--delete") == exits.USAGE
    assert "Delete 3 jobs in the dead set?" in capsys.readouterr().err
    assert redis.zcard("dead") == 3


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize(("typed", "left"), [("n\n", 3), ("\n", 3), ("", 3), ("y\n", 1)])
def test_a_delete_is_asked_for_and_only_yes_is_yes(
    jobs: Jobs, redis: Redis, capsys: Captured, typed: str, left: int
) -> None:
    code = jobs("dead", "--grep", "Timeout", "--delete", typed=typed)
    assert code == (exits.OK if left == 1 else exits.FAILED)
    assert redis.zcard("dead") == left
    assert capsys.readouterr().out == ("deleted 2 jobs\n" if left == 1 else "")


@pytest.mark.usefixtures("dead")
def test_a_limit_takes_those_that_are_listed_first(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    assert jobs("dead", "--limit", "1", "--delete", "--yes", "--json") == exits.OK
    document = printed(capsys)
    assert (document["matched"], document["moved"]) == (1, 1)
    assert jids(redis.zrange("dead", 0, -1)) == ["1", "2"]


def test_a_kill_says_before_what_the_full_dead_set_will_drop(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    now = time.time()
    redis.zadd("dead", {failed(number): now - 20_000 + number for number in range(9_999)})
    redis.zadd("retry", {failed(20_000 + number): now + number for number in range(3)})
    assert jobs("retry", "--kill", typed="n\n") == exits.FAILED
    assert "Kill 3 jobs in the retry set? The dead set keeps 10,000" in capsys.readouterr().err
    assert redis.zcard("retry") == 3
    assert jobs("retry", "--kill", "--yes") == exits.OK
    shown = capsys.readouterr().out
    assert shown.startswith("moved to the dead set: 3 jobs; the dead set dropped its oldest ")
    assert (redis.zcard("retry"), redis.zcard("dead")) == (0, 10_000)


def test_jobs_of_a_queue_can_be_deleted_and_killed(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    redis.sadd("queues", "low")
    redis.lpush("queue:low", *(job(number, "app.index" if number % 2 else "app.send") for number in range(6)))
    assert jobs("queue", "low", "--grep", "app.index", "--kill", "--yes") == exits.OK
    assert jobs("queue", "low", "--limit", "1", "--delete", "--yes") == exits.OK
    assert jids(redis.lrange("queue:low", 0, -1)) == ["4", "2"]
    assert sorted(jids(redis.zrange("dead", 0, -1))) == ["1", "3", "5"]
    assert jobs("queue", "low", "--delete", "--yes") == exits.OK
    assert capsys.readouterr().out.splitlines() == ["moved to the dead set: 3 jobs", "deleted 1 job", "deleted 2 jobs"]
    assert redis.llen("queue:low") == 0


def test_what_is_no_job_stays_at_a_retry_and_can_be_deleted(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    redis.zadd("dead", {b"no json": time.time()})
    assert jobs("dead", "--retry") == exits.OK
    assert "1 left, which are no jobs: --kill or --delete them" in capsys.readouterr().out
    assert jobs("dead", "--limit", "1", "--delete", "--yes") == exits.OK
    assert redis.zcard("dead") == 0


def records(redis: Redis) -> list[audit.Record]:
    """What people did by hand, the first first."""
    found: Any = redis.xrevrange("jobd:audit")
    return audit.records(found)[::-1]


@pytest.mark.usefixtures("dead")
def test_who_acts_on_which_jobs_is_recorded(jobs: Jobs, redis: Redis) -> None:
    jobs("dead", "--grep", "KeyError", "--retry")
    jobs("dead", "--limit", "1", "--delete", "--yes")
    jobs("dead", "--delete", typed="no\n")
    jobs("dead")
    retried, deleted = records(redis)
    assert (retried.user, retried.address) == (getpass.getuser(), f"command line on {socket.gethostname()}")
    assert (retried.action, retried.page, retried.filter, retried.counts) == (
        "retry",
        "jobs dead",
        "KeyError",
        {"moved": 1},
    )
    assert (deleted.action, deleted.filter, deleted.counts) == ("delete", "the first 1", {"moved": 1})


def test_an_action_that_is_refused_by_redis_is_recorded_as_failed(jobs: Jobs, redis: Redis) -> None:
    redis.zadd("retry", {failed(1): 1.0})
    redis.set("dead", "x")
    assert jobs("retry", "--kill", "--yes") != exits.OK
    [record] = records(redis)
    assert (record.result, record.action) == ("failed", "kill")
    assert "RedisRefused" in record.error


def test_where_nothing_matches_nothing_is_asked(jobs: Jobs, capsys: Captured) -> None:
    assert jobs("dead", "--grep", "nothing", "--delete", "--json") == exits.OK
    document = printed(capsys)
    assert (document["matched"], document["moved"]) == (0, 0)


def test_a_change_whose_answer_is_lost_has_an_exit_code_of_its_own(
    redis_server: RedisServer, redis: Redis, jobs: Jobs, capsys: Captured
) -> None:
    redis.sadd("queues", "low")
    redis.lpush("queue:low", job(1))
    with Proxy(redis_server.socket) as proxy:
        proxy.lose("reply")
        assert jobs("queue", "low", "--delete", "--yes", "--redis-url", proxy.url) == exits.OUTCOME_UNKNOWN
    assert "it may have been made" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["queue"], "queue takes the name of one"),
        (["dead", "low"], "dead takes no name"),
        (["dead", "--kill"], "killed already"),
        (["queue", "low", "--retry"], "runs anyhow"),
        (["dead", "--grep", "", "--delete", "--yes"], "--grep is empty"),
        (["morgue"], "morgue"),
        (["dead", "--limit", "0"], "0"),
    ],
)
@pytest.mark.usefixtures("dead")
def test_what_makes_no_sense_is_a_usage_error(
    jobs: Jobs, redis: Redis, capsys: Captured, words: list[str], complaint: str
) -> None:
    assert jobs(*words) == exits.USAGE
    assert complaint in capsys.readouterr().err
    assert redis.zcard("dead") == 3


def test_an_endless_time_is_still_json(jobs: Jobs, redis: Redis, capsys: Captured) -> None:
    redis.zadd("schedule", {job(1): float("inf")})
    assert jobs("scheduled") == exits.OK
    assert "never" in capsys.readouterr().out
    assert jobs("scheduled", "--json") == exits.OK
    [found] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["jobs"]
    assert found["at"] is None
