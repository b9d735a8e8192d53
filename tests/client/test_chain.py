"""The chains of middleware as objects: add, prepend, insert, remove, clear, look."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jobd
from jobd.client.chain import Chain
from jobd.client.errors import ConfigError

Proceed = Callable[[], Any]


@jobd.job(name="chain_tests.numbers")
def numbers() -> list[int]:
    return []


def marking(number: int) -> Callable[[jobd.RunningJob, Proceed], Any]:
    def mark(job: jobd.RunningJob, proceed: Proceed) -> Any:
        return [number, *proceed()]

    mark.__qualname__ = f"mark_{number}"
    return mark


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


ONE, TWO, THREE, FOUR = (marking(number) for number in range(1, 5))


def test_each_edit_puts_a_middleware_in_its_place() -> None:
    jobd.server_middleware.add(TWO)
    jobd.server_middleware.prepend(ONE)
    jobd.server_middleware.insert_after(TWO, FOUR)
    jobd.server_middleware.insert_before(FOUR, THREE)
    assert numbers.perform_inline() == [1, 2, 3, 4]
    assert list(jobd.server_middleware) == [ONE, TWO, THREE, FOUR]
    assert len(jobd.server_middleware) == 4


def test_a_middleware_that_is_there_already_is_moved() -> None:
    jobd.configure(server_middleware=[ONE, TWO, THREE])
    jobd.server_middleware.add(ONE)
    assert numbers.perform_inline() == [2, 3, 1]
    jobd.server_middleware.insert_before(THREE, ONE)
    assert numbers.perform_inline() == [2, 1, 3]


def test_a_removed_middleware_runs_no_more() -> None:
    jobd.configure(server_middleware=[ONE, TWO])
    jobd.server_middleware.remove(ONE)
    assert numbers.perform_inline() == [2]
    assert ONE not in jobd.server_middleware
    assert TWO in jobd.server_middleware
    jobd.server_middleware.clear()
    assert len(jobd.server_middleware) == 0
    assert numbers.perform_inline() == []


def test_configure_sets_the_chain_as_a_whole() -> None:
    jobd.server_middleware.add(ONE)
    jobd.configure(server_middleware=[TWO])
    assert list(jobd.server_middleware) == [TWO]


def test_add_decorates() -> None:
    @jobd.client_middleware.add
    def stop(payload: dict[str, Any], proceed: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        return None

    assert numbers.perform_inline() is None
    jobd.client_middleware.remove(stop)
    assert numbers.perform_inline() == []


@pytest.mark.parametrize("edit", ["insert_before", "insert_after", "remove"])
def test_an_edit_beside_a_middleware_that_is_not_there_names_it_and_what_is(edit: str) -> None:
    jobd.configure(server_middleware=[ONE, TWO])
    arguments = (THREE,) if edit == "remove" else (THREE, FOUR)
    with pytest.raises(ConfigError, match=rf"{edit}: mark_3 is not in the chain, which holds mark_1, mark_2"):
        getattr(jobd.server_middleware, edit)(*arguments)
    assert list(jobd.server_middleware) == [ONE, TWO]


@pytest.mark.parametrize("wrong", [5, list])
def test_what_is_no_function_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="is not a plain function"):
        jobd.client_middleware.add(wrong)
    assert list(jobd.client_middleware) == []


def test_edits_of_many_threads_are_all_kept(threads_take_turns_often: None) -> None:
    barrier = threading.Barrier(8)

    def edit(first: int) -> None:
        barrier.wait(10)
        for number in range(first, first + 25):
            jobd.server_middleware.add(marking(number))

    threads = [threading.Thread(target=edit, args=(25 * each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(numbers.perform_inline() or []) == list(range(200))


def test_a_chain_shows_what_it_holds() -> None:
    jobd.configure(server_middleware=[ONE, TWO])
    assert repr(jobd.server_middleware) == "<jobd.server_middleware: [mark_1, mark_2]>"
    assert isinstance(jobd.client_middleware, Chain)
