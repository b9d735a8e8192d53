"""In which order a fetch tries the queues, and how much it takes from each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from redis import Redis

from jobd.client.scripts import Taken
from jobd.worker.config import Capsule
from jobd.worker.queue_order import draw
from tests.protocol.calls import KEYS, Owner

DRAWS = 20_000
WEIGHTED = Capsule(queues=(("a", 5), ("b", 3), ("c", 1)))
RANDOM = Capsule(queues=(("a", 1), ("b", 1), ("c", 1)))


def order_of(capsule: Capsule, want: int, rng: random.Random) -> list[str]:
    """The queues' names as they are tried."""
    return [name for name, _ in draw(capsule, want, rng)]


def firsts(capsule: Capsule) -> dict[str, float]:
    """How often each queue comes first when one job is wanted."""
    rng = random.Random(7)
    counts = Counter(order_of(capsule, 1, rng)[0] for _ in range(DRAWS))
    return {name: counts[name] / DRAWS for name in capsule.names}


def fetched(owner: Owner, capsule: Capsule, want: int, rng: random.Random) -> Sequence[tuple[str, bytes]]:
    """What a fetch gets on a real server."""
    taken = owner.fetch(want, *draw(capsule, want, rng), mode="batch")
    assert isinstance(taken, Taken)
    return taken.jobs


@pytest.fixture
def owner(redis: Redis) -> Owner:
    return Owner(redis).register()


def test_strict_order_is_the_order_given_and_each_queue_may_give_all() -> None:
    capsule = Capsule(queues=(("b", 0), ("a", 0), ("c", 0)))
    assert draw(capsule, 7, random.Random(1)) == [("b", 7), ("a", 7), ("c", 7)]


def test_a_queue_that_is_alone_may_give_all() -> None:
    assert draw(Capsule(queues=(("a", 3),)), 7, random.Random(1)) == [("a", 7)]


@pytest.mark.parametrize("capsule", [WEIGHTED, RANDOM])
@pytest.mark.parametrize("want", [0, 1, 3, 200])
def test_every_queue_is_tried_and_the_quotas_make_up_what_is_wanted(capsule: Capsule, want: int) -> None:
    for seed in range(100):
        drawn = draw(capsule, want, random.Random(seed))
        assert sorted(name for name, _ in drawn) == ["a", "b", "c"]
        assert sum(quota for _, quota in drawn) == want


def test_a_queue_comes_first_as_often_as_its_weight_says() -> None:
    shares = firsts(Capsule(queues=(("a", 6), ("b", 3), ("c", 1))))
    assert abs(shares["a"] - 0.6) < 0.02
    assert abs(shares["b"] - 0.3) < 0.02
    assert abs(shares["c"] - 0.1) < 0.02


def test_the_rest_is_drawn_by_weight_too() -> None:
    capsule, rng = Capsule(queues=(("a", 6), ("b", 3), ("c", 1))), random.Random(7)
    after_a = Counter(order[1] for _ in range(DRAWS) if (order := order_of(capsule, 1, rng))[0] == "a")
    assert abs(after_a["b"] / after_a.total() - 0.75) < 0.02


def test_equal_weights_are_a_random_order() -> None:
    shares = firsts(Capsule(queues=(("a", 1), ("b", 1), ("c", 1), ("d", 1))))
    assert all(abs(share - 0.25) < 0.02 for share in shares.values())


@pytest.mark.parametrize(("want", "calls"), [(1, 2_500), (3, 900), (200, 20)])
@pytest.mark.parametrize(("capsule", "shares"), [(WEIGHTED, (5 / 9, 3 / 9, 1 / 9)), (RANDOM, (1 / 3, 1 / 3, 1 / 3))])
def test_full_queues_are_served_by_weight_however_many_jobs_are_wanted(
    owner: Owner, capsule: Capsule, shares: Sequence[float], want: int, calls: int
) -> None:
    for queue in capsule.names:
        for _ in range(4):
            owner.push(*[b"job"] * 1_000, queue=queue)
    rng, got = random.Random(7), Counter[str]()
    for _ in range(calls):
        got.update(queue for queue, _ in fetched(owner, capsule, want, rng))
        owner.redis.delete(KEYS.batch(owner.name))
    assert got.total() == want * calls
    assert [got[queue] / got.total() for queue in capsule.names] == pytest.approx(shares, abs=0.035)


@pytest.mark.parametrize("capsule", [WEIGHTED, RANDOM, Capsule(queues=(("a", 0), ("b", 0), ("c", 0)))])
@pytest.mark.parametrize("want", [1, 3, 200])
def test_an_empty_or_paused_queue_that_is_drawn_leaves_no_place_unused(
    owner: Owner, capsule: Capsule, want: int
) -> None:
    owner.redis.sadd(KEYS.paused, "a")
    owner.push(b"paused", queue="a")
    rng = random.Random(7)
    for _ in range(30):
        owner.push(*[b"job"] * want, queue="c")
        assert fetched(owner, capsule, want, rng) == [("c", b"job")] * want
        owner.redis.delete(KEYS.batch(owner.name))
    assert fetched(owner, capsule, want, rng) == []


def test_what_a_drawn_queue_lacks_the_others_give_in_their_order(owner: Owner) -> None:
    owner.push(b"a1", b"a2", b"a3", b"a4", queue="a")
    owner.push(b"b1", queue="b")
    owner.push(b"c1", b"c2", queue="c")
    taken = owner.fetch(6, ("a", 1), ("b", 4), ("c", 1))
    assert isinstance(taken, Taken)
    assert [payload for _, payload in taken.jobs] == [b"a1", b"b1", b"c1", b"a2", b"a3", b"a4"]
    assert owner.queued("c") == [b"c2"]
