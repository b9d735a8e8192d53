"""`jobd push`: what is pushed, what is printed, and what is refused before anything is pushed."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from jobd.client import payload
from jobd.supervisor import cli, exits
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.supervisor.jobd_command import run_jobd

Push = Callable[..., int]


@pytest.fixture
def push(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Push:
    """Runs `jobd push` on the empty database, with these lines as its standard input."""
    monkeypatch.setenv("JOBD_REDIS_URL", redis_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*words: str, lines: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        return cli.main(["push", *words])

    return run


def queued(redis: Redis, queue: str = "default") -> list[dict[str, Any]]:
    """The jobs of a queue, oldest first."""
    found: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [payload.decode(raw) for raw in reversed(found)]


def test_the_printed_id_is_that_of_the_job(push: Push, redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("app.send", "7", "bob") == exits.OK
    (job,) = queued(redis)
    assert (job["class"], job["args"], job["jid"]) == ("app.send", [7, "bob"], capsys.readouterr().out.strip())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("7", 7), ("-1.5", -1.5), ("true", True), ("null", None), ('"7"', "7"), ('{"a": [1]}', {"a": [1]})],
        *[("bob", "bob"), ("007", "007"), ("NaN", "NaN"), ("", ""), ("[1", "[1"), ("7 pm", "7 pm")],
    ],
)
def test_an_argument_is_json_where_it_can_be(push: Push, redis: Redis, text: str, value: object) -> None:
    assert push("app.send", "--", text) == exits.OK
    assert push("app.send", "--string", "--", text) == exits.OK
    assert [job["args"] for job in queued(redis)] == [[value], [text]]


def test_options_reach_the_job(push: Push, redis: Redis) -> None:
    assert push("app.send", "7", "--queue", "low", "--kwargs", '{"locale": "vi"}') == exits.OK
    (job,) = queued(redis, "low")
    assert (job["args"], job["kwargs"]) == ([7], {"locale": "vi"})


@pytest.mark.parametrize(
    ("words", "due"),
    [
        (["--in", "90"], lambda now: now + 90),
        (["--in", "1.5h"], lambda now: now + 5400),
        (["--at", "2100-01-01T07:00:00+07:00"], lambda now: 4102444800),
        (["--at", "4102444800"], lambda now: 4102444800),
    ],
)
def test_a_job_can_be_put_off(push: Push, redis: Redis, words: list[str], due: Callable[[float], float]) -> None:
    before = time.time()
    assert push("app.send", *words) == exits.OK
    [(_, score)] = redis.zrange("schedule", 0, -1, withscores=True)  # type: ignore[misc]
    assert due(before) <= score <= due(time.time())


def test_each_line_is_a_job(push: Push, redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    lines = '[1]\n\n{"args": [2], "queue": "low"}\n{"args": [3], "at": "2100-01-01T00:00:00Z"}\n[4, "x"]\n'
    assert push("app.send", "-", lines=lines) == exits.OK
    assert [job["args"] for job in queued(redis)] == [[1], [4, "x"]]
    assert [job["args"] for job in queued(redis, "low")] == [[2]]
    assert redis.zrange("schedule", 0, -1, withscores=True)[0][1] == 4102444800  # type: ignore[index]
    assert len(capsys.readouterr().out.split()) == 4


def test_lines_can_name_their_classes(push: Push, redis: Redis) -> None:
    assert push("-", "-q", "low", lines='{"class": "A", "args": []}\n{"class": "B", "args": [1]}\n') == exits.OK
    assert [(job["class"], job["args"]) for job in queued(redis, "low")] == [("A", []), ("B", [1])]


def test_many_lines_take_few_round_trips(push: Push, redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    before: Any = redis.info("commandstats")
    assert push("app.send", "-", "--json", lines="".join(f"[{number}]\n" for number in range(2500))) == exits.OK
    after: Any = redis.info("commandstats")
    calls = [stats.get("cmdstat_lpush", {"calls": 0})["calls"] for stats in (before, after)]
    assert calls[1] - calls[0] < 10
    assert [job["args"] for job in queued(redis)] == [[number] for number in range(2500)]
    document = json.loads(capsys.readouterr().out)
    assert document == {"jids": [job["jid"] for job in queued(redis)], "unknown": []}


@pytest.mark.parametrize(
    ("words", "lines", "complaint"),
    [
        (["app.send", "-"], "[1]\nnonsense\n", "line 2: not JSON"),
        (["app.send", "-"], "7\n", "line 1: is 7; write an array"),
        (["-"], "[1]\n", "line 1: is [1]; write an object"),
        (["-"], '{"args": []}\n', "line 1: class=None"),
        (["A", "-"], '{"class": "B", "args": []}\n', "line 1: has the class 'B'"),
        (["A", "-"], '{"args": 7}\n', "line 1: A: args=7"),
        (["A", "-"], '{"args": [], "at": "noon"}\n', "line 1: at noon"),
        (["A", "-", "1"], "", "no other ARG"),
        (["A", "--kwargs", "[1]"], "", "kwargs=[1]"),
        (["A", "--kwargs", "{"], "", "--kwargs: not JSON"),
        (["A", "--in", "soon"], "", "--in soon"),
        (["A", "--at", "2100-01-01T00:00:00"], "", "says no time zone"),
        (["A", "--at", "noon"], "", "--at noon"),
        (["A", "--in", "1", "--at", "1"], "", "--in and --at"),
        (["A", "-q", "my queue"], "", "my queue"),
        (["", "1"], "", "class=''"),
        (["A", "-5"], "", "-5 is taken for an option; write -- before it"),
        (["A", "--quueue", "low"], "", "--queue"),
        (["A", "-e", "production"], "", "-e chooses a section of a file"),
        (["A", "--redis-url", "localhost"], "", "localhost must be an address"),
    ],
)
def test_what_is_wrong_is_a_usage_error_and_pushes_nothing(
    push: Push, redis: Redis, capsys: pytest.CaptureFixture[str], words: list[str], lines: str, complaint: str
) -> None:
    assert push(*words, lines=lines) == exits.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert redis.keys() == []


def test_a_call_can_be_checked_against_the_job(redis: Redis, redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import jobd\n@jobd.job(queue='mailers', retry=3)\ndef send(user_id: int, *, locale: str = 'en') -> None: ...\n"
    )

    def push(*words: str) -> Any:
        return run_jobd("push", *words, cwd=tmp_path, JOBD_REDIS_URL=redis_url)

    wrong, right = (push(*words, "-r", "app") for words in (["app.send"], ["app.send", "7"]))
    assert (wrong.returncode, right.returncode) == (exits.USAGE, exits.OK)
    assert "user_id" in wrong.stderr
    (job,) = queued(redis, "mailers")
    assert (job["args"], job["retry"], job["jid"]) == ([7], 3, right.stdout.strip())


def test_a_job_that_the_modules_do_not_define_is_refused_with_a_near_one(
    push: Push, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push("jobd.supervisor.demo_jobs.quik", "-r", "jobd.supervisor.demo_jobs") == exits.USAGE
    assert "did you mean jobd.supervisor.demo_jobs.quick?" in capsys.readouterr().err
    assert redis.keys() == []


def test_a_module_that_cannot_be_imported_ends_with_70(push: Push, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("A", "-r", "nowhere_at_all") == exits.CHILDREN_CANNOT_BOOT
    assert "cannot import nowhere_at_all" in capsys.readouterr().err


def test_the_configuration_says_where_redis_is_and_what_stands_before_the_keys(
    push: Push, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOBD_REDIS_URL")
    Path("c.yml").write_text(f"redis_url: {redis_url}\nproduction: {{namespace: 'shop:'}}\n")
    assert push("A", "-C", "c.yml", "-e", "production") == exits.OK
    assert redis.llen("shop:queue:default") == 1


def test_without_redis_it_says_so_and_ends_with_75(push: Push, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("A", "--redis-url", "embedded:var/jobd") == exits.REDIS_UNAVAILABLE
    printed = capsys.readouterr()
    assert "jobd --embedded" in printed.err
    assert printed.out == ""


def test_a_push_whose_answer_is_lost_has_an_exit_code_of_its_own(
    redis_server: RedisServer, redis: Redis, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push("A") == exits.OK  # from now on the server knows the script
    capsys.readouterr()
    with Proxy(redis_server.socket) as proxy:
        proxy.lose("reply")
        code = push("A", "--json", "--redis-url", proxy.url)
    printed = capsys.readouterr()
    assert code == exits.OUTCOME_UNKNOWN
    assert json.loads(printed.out) == {"jids": [], "unknown": [queued(redis)[1]["jid"]]}
    assert "may be queued or not" in printed.err


def test_what_was_pushed_before_a_lost_answer_is_told(
    redis_server: RedisServer, redis: Redis, push: Push, capsys: pytest.CaptureFixture[str]
) -> None:
    with Proxy(redis_server.socket) as proxy:
        proxy.lose("reply", lambda request: b"queue:low" in request)
        lines = '{"args": [1]}\n{"args": [2], "queue": "low"}\n'
        assert push("A", "-", "--redis-url", proxy.url, lines=lines) == exits.OUTCOME_UNKNOWN
    printed = capsys.readouterr()
    assert printed.out.split() == [job["jid"] for job in queued(redis)]
    assert "jobd: unknown: " in printed.err


def test_what_a_terminal_would_obey_is_escaped_in_a_refusal(push: Push, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("-", lines='{"class": "\\u001b[31m", "args": {}}\n') == exits.USAGE
    assert r"\u001b[31m: args={}" in capsys.readouterr().err


def test_a_name_that_is_no_utf_8_is_refused(push: Push, capsys: pytest.CaptureFixture[str]) -> None:
    assert push("app.send\udcff") == exits.USAGE
    assert "clean it" in capsys.readouterr().err
