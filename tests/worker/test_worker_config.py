"""Configuration built by a program is checked like a file."""

from __future__ import annotations

from typing import Any

import pytest

from jobd.client.errors import ConfigErrors
from jobd.worker.config import Capsule, WorkerConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "concurrency = 0: must be a whole number from 1 to 1000"),
        ({"concurrency": True}, "concurrency = true: must be a whole number from 1 to 1000"),
        (
            {"timeout": "5"},
            'timeout = "5": must be a number of seconds from 0 to 86400; write it without quotes',
        ),
        ({"timeout": float("nan")}, "timeout = nan: must be a number of seconds from 0 to 86400"),
        ({"require": "app"}, "require = app: must be a tuple"),
        (
            {"require": ("a", "b c")},
            'require = [a, "b c"]: "b c" must be the dotted name of a module, such as app.jobs',
        ),
        ({"lease": 20}, "lease = 20: must be more than two heartbeats (20 seconds)"),
        (
            {"queues": ()},
            'queues = []: must be a tuple of pairs of name and weight, such as (("default", 0),)',
        ),
        ({"queues": ("a",)}, 'queues = [a]: a must be a pair of name and weight, such as ("default", 0)'),
        ({"queues": (("a", -1),)}, "queues = [[a, -1]]: [a, -1]: must be a whole number from 0 to 1000"),
        (
            {"queues": (("a", 1), ("a", 1))},
            "queues = [[a, 1], [a, 1]]: names a queue twice; give each once",
        ),
        (
            {"queues": (("a", 2), ("b", 0))},
            "queues = [[a, 2], [b, 0]]: mixes weight 0 with others; give all 0 or all 1 to 1000",
        ),
        ({"capsules": ("a",)}, "capsules = [a]: must be a tuple of Capsule"),
        (
            {"capsules": (Capsule(name="a"), Capsule(name="a"))},
            "capsules = a: two capsules have this name; rename one",
        ),
    ],
)
def test_a_wrong_value_is_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        WorkerConfig(**settings)
    assert str(caught.value) == message


def test_a_named_capsule_may_not_be_called_default() -> None:
    with pytest.raises(ConfigErrors, match="choose another name"):
        WorkerConfig(capsules=(Capsule(),))


def test_a_capsule_says_which_one_is_wrong() -> None:
    with pytest.raises(ConfigErrors, match=r"^capsule slow: concurrency = 0: must be"):
        Capsule(name="slow", concurrency=0)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        WorkerConfig(concurrency=0, max_retries=-1)
    assert [problem.partition(" =")[0] for problem in caught.value.problems] == ["concurrency", "max_retries"]


@pytest.mark.parametrize(
    ("queues", "order"),
    [
        ((("a", 0), ("b", 0)), "strict"),
        ((("a", 1), ("b", 1)), "random"),
        ((("a", 2), ("b", 1)), "weighted"),
    ],
)
def test_the_order_of_queues_follows_from_their_weights(queues: Any, order: str) -> None:
    assert Capsule(queues=queues).order == order
