"""In which order a fetch tries the queues."""

from __future__ import annotations

import random
from collections import Counter

from jobd.worker.config import Capsule
from jobd.worker.queue_order import order_of

DRAWS = 20_000


def firsts(capsule: Capsule) -> dict[str, float]:
    """How often each queue comes first."""
    rng = random.Random(7)
    counts = Counter(order_of(capsule, rng)[0] for _ in range(DRAWS))
    return {name: counts[name] / DRAWS for name in capsule.names}


def test_strict_order_is_the_order_given() -> None:
    capsule = Capsule(queues=(("b", 0), ("a", 0), ("c", 0)))
    assert {tuple(order_of(capsule, random.Random(seed))) for seed in range(50)} == {("b", "a", "c")}


def test_every_queue_is_tried_once() -> None:
    capsule = Capsule(queues=(("a", 1000), ("b", 1), ("c", 7)))
    for seed in range(200):
        assert sorted(order_of(capsule, random.Random(seed))) == ["a", "b", "c"]


def test_a_queue_comes_first_as_often_as_its_weight_says() -> None:
    shares = firsts(Capsule(queues=(("a", 6), ("b", 3), ("c", 1))))
    assert abs(shares["a"] - 0.6) < 0.02
    assert abs(shares["b"] - 0.3) < 0.02
    assert abs(shares["c"] - 0.1) < 0.02


def test_the_rest_is_drawn_by_weight_too() -> None:
    capsule, rng = Capsule(queues=(("a", 6), ("b", 3), ("c", 1))), random.Random(7)
    after_a = Counter(order[1] for _ in range(DRAWS) if (order := order_of(capsule, rng))[0] == "a")
    assert abs(after_a["b"] / after_a.total() - 0.75) < 0.02


def test_equal_weights_are_a_random_order() -> None:
    shares = firsts(Capsule(queues=(("a", 1), ("b", 1), ("c", 1), ("d", 1))))
    assert all(abs(share - 0.25) < 0.02 for share in shares.values())
