"""`jobd mark-deploy`: what it marks, what it prints, and how it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

import jobd
from jobd.client.push import Client
from jobd.supervisor import cli, exits

Run = Callable[..., int]


@pytest.fixture
def mark(redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command on the empty database, in a directory without git."""
    monkeypatch.setenv("JOBD_REDIS_URL", redis_url)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return lambda *words: cli.main(["mark-deploy", *words])


def test_a_deploy_is_marked_once(mark: Run, redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = str(int(time.time()) - 600)
    assert mark("v1.4", "--at", at) == exits.OK
    first = capsys.readouterr().out
    assert mark("v1.4", "--at", at) == exits.OK
    again = capsys.readouterr().out
    assert (first.startswith("marked 20"), first.endswith(" UTC v1.4\n")) == (True, True)
    assert again == first.replace("marked ", "was marked already: ")
    assert mark("v1.4", "--at", at, "--json") == exits.OK
    told = json.loads(capsys.readouterr().out)
    assert told == {"at": int(at) // 60 * 60, "label": "v1.4", "new": False}
    client = Client(redis_url)
    assert [each.label for each in jobd.deploy_marks(client=client)] == ["v1.4"]
    client.close()


def test_another_deploy_in_the_same_minute_is_not_passed_over(mark: Run, capsys: pytest.CaptureFixture[str]) -> None:
    at = str(int(time.time()) - 600)
    assert mark("a", "--at", at) == exits.OK
    assert mark("b", "--at", at) == exits.FAILED
    error = capsys.readouterr().err
    assert "has the mark of another deploy, a, and a minute has one: b was not marked; mark it in the next" in error


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "no label is given, and git knows no commit in"),
        (("",), "the label of a deploy is ''"),
        (("v1", "--at", "yesterday"), "--at yesterday: give a time such as"),
        (("v1", "--at", "2020-01-01T00:00:00Z"), "at is 2020-01-01T00:00:00Z; give a time of the last 90 days"),
    ],
)
def test_what_cannot_be_marked_is_a_mistake_of_usage(
    mark: Run, redis: Redis, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert mark(*words) == exits.USAGE
    assert problem in capsys.readouterr().err
    assert redis.keys() == []
