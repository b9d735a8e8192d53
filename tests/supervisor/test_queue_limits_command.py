"""`jobd queues limit`: shows alert limits, sets what is given, and records who did."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from jobd.client import audit
from jobd.supervisor import cli, exits

Command = Callable[..., int]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def limit(redis_url: str, monkeypatch: pytest.MonkeyPatch, redis: Redis) -> Command:
    """Runs `jobd queues limit` on a database with one queue."""
    monkeypatch.setenv("JOBD_REDIS_URL", redis_url)
    redis.sadd("queues", "mailers")
    return lambda *words: cli.main(("queues", "limit", *words))


def test_limits_are_set_shown_and_cleared(limit: Command, redis: Redis, capsys: Captured) -> None:
    assert limit() == 0
    assert limit("mailers", "--wait", "5m", "--size", "1,000") == 0
    assert limit("mailers", "--size", "none") == 0
    assert limit("mailers") == limit() == 0
    assert limit("mailers", "--clear") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "no queue has alert limits of its own",
        "mailers: wait 5m, size 1000",
        *["mailers: wait 5m, size none"] * 3,
        "mailers: wait default, size default",
    ]
    assert captured.err == ""
    found: Any = redis.xrange("jobd:audit")
    assert [(each.action, each.page, each.target) for each in audit.records(found)] == [
        ("limits", "queues", "mailers: wait 5m, size 1000"),
        ("limits", "queues", "mailers: size none"),
        ("limits", "queues", "mailers: wait default, size default"),
    ]
    assert redis.exists("jobd:queue-limits") == 0


def test_programs_get_numbers_and_what_is_damaged(limit: Command, redis: Redis, capsys: Captured) -> None:
    redis.hset("jobd:queue-limits", "s|mailers", "x")
    assert limit("mailers", "--wait", "90", "--json") == 0
    told = {"queue": "mailers", "wait": 90, "size": None, "damaged": ["size"]}
    assert json.loads(capsys.readouterr().out) == told
    assert limit("--json") == 0
    assert json.loads(capsys.readouterr().out) == {"limits": [told]}
    assert limit() == 0
    assert capsys.readouterr().out == "mailers: wait 90s, size default; damaged, so the default holds: size\n"


def test_a_queue_that_is_not_there_may_have_limits_and_it_is_said(limit: Command, capsys: Captured) -> None:
    assert limit("mialers", "--wait", "5m") == 0
    assert "there is no queue mialers yet; its limits hold from its first job on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("limit", "mailers", "--wait", "soon"), "--wait is 'soon'; give a time such as 90s, 5m or 1h"),
        (("limit", "mailers", "--size", "1.5"), "--size is '1.5'; give a whole number, none or default"),
        (("limit", "mailers", "--clear", "--size", "1"), "--clear sets both limits to the default; give it alone"),
        (("limit", "--wait", "5m"), "are for `jobd queues limit NAME`"),
        (("pause", "mailers", "--wait", "5m"), "are for `jobd queues limit NAME`"),
        (("clear",), "clear takes the name of a queue"),
    ],
)
def test_a_wrong_use_says_what_is_right(words: tuple[str, ...], said: str, limit: Command, capsys: Captured) -> None:
    assert cli.main(("queues", *words)) == exits.USAGE
    assert said in capsys.readouterr().err
