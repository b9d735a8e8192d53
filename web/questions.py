"""Questions to Redis that travel together.

A question is a generator: it yields what puts commands into a pipeline and is sent their answers, once or twice, and
returns what it makes of them. All questions of a page share their round trips, so a page costs two at most.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from jobd.client.access import Access

T = TypeVar("T")

Ask: TypeAlias = Callable[[Any], object]
"""Puts commands into a pipeline of redis-py."""


@dataclass(frozen=True, slots=True)
class Bearing:
    """An `Ask` that bears refusals: they are exceptions among its answers, and the page is shown without them."""

    ask: Ask

    def __call__(self, pipeline: Any) -> object:
        return self.ask(pipeline)


Question: TypeAlias = Generator[Ask, list[Any], T]


def answer(access: Access, *questions: Question[Any]) -> list[Any]:
    """What the questions return, in their order; a refused command is answered by None.

    Raises `RedisUnavailable` or `RedisRefused`.
    """
    results: list[Any] = [None] * len(questions)
    waiting: dict[int, Ask] = {}
    for place, question in enumerate(questions):
        try:
            waiting[place] = next(question)
        except StopIteration as ended:  # it knew its answer
            results[place] = ended.value
    while waiting:
        told = _together(access, waiting)
        for place in list(waiting):
            try:
                waiting[place] = questions[place].send(told[place])
            except StopIteration as ended:
                results[place] = ended.value
                del waiting[place]
    return results


def _together(access: Access, waiting: dict[int, Ask]) -> dict[int, list[Any]]:
    """The answers to each of the questions that wait, from one round trip."""
    ends: dict[int, tuple[int, int]] = {}

    def ask(pipeline: Any) -> None:
        for place, commands in waiting.items():
            before = len(pipeline)
            commands(pipeline)
            ends[place] = (before, len(pipeline))

    answers = access.read_each(ask)
    found = {}
    for place, (first, last) in ends.items():
        told = answers[first:last]
        found[place] = told if isinstance(waiting[place], Bearing) else access.all_judged(told)
    return found


def together(*questions: Question[Any]) -> Question[list[Any]]:
    """One question of several, which share their round trips; none of them may bear refusals."""
    results: list[Any] = [None] * len(questions)
    waiting: dict[int, Ask] = {}
    told: list[Any] = [None] * len(questions)
    places = list(range(len(questions)))
    while places:
        for place in places:
            try:
                waiting[place] = questions[place].send(told[place])
            except StopIteration as ended:
                results[place] = ended.value
                waiting.pop(place, None)
        places = list(waiting)
        if not places:
            break
        counts: list[int] = []

        def ask(pipeline: Any, counts: list[int] = counts) -> None:
            counts.clear()
            for commands in waiting.values():
                before = len(pipeline)
                commands(pipeline)
                counts.append(len(pipeline) - before)

        answers = iter((yield ask))
        for place, count in zip(places, counts, strict=True):
            told[place] = list(islice(answers, count))
    return results


def name_of(raw: bytes) -> str:
    """A name read from Redis, of which `scripts.raw_bytes` makes the same bytes again."""
    return raw.decode("utf-8", "surrogateescape")
