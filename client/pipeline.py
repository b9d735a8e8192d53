"""Many jobs into one queue at once, as plain commands: a script would have Redis copy each job twice more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hiredis import pack_command
from redis.exceptions import ResponseError

from jobd.client.keys import Keys
from jobd.client.scripts import Argument


class Pipeline(msgspec.Struct, frozen=True, eq=False):
    """Commands that travel in one packet. The first one counts; should another be refused, that changes nothing."""

    commands: Sequence[tuple[Argument, ...]]

    def packed(self) -> bytes:
        """What is sent."""
        commands: Sequence[Any] = self.commands  # hiredis declares a tuple of one element
        return b"".join(map(pack_command, commands))


def push_many(keys: Keys, queue: str, payloads: Sequence[bytes]) -> Pipeline:
    """Put up to 1,000 jobs into one queue, all or none of them."""
    # In this order Redis reads the short command together with the end of the long one, and serves nobody in between.
    return Pipeline([("LPUSH", keys.queue(queue), *payloads), ("SADD", keys.queues, queue)])


def receive(connection: Any, pipeline: Pipeline) -> None:
    """Read all answers. Raises redis-py's errors, as `scripts.send` does."""
    answers: list[Any] = []
    for _ in pipeline.commands:
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    _judge(answers)


async def asend(connection: Any, pipeline: Pipeline) -> None:
    """Carry it out once, with asyncio. Raises as `receive` does."""
    await connection.send_packed_command(pipeline.packed())
    answers: list[Any] = []
    for _ in pipeline.commands:
        try:
            answers.append(await connection.read_response())
        except ResponseError as error:
            answers.append(error)
    _judge(answers)


def _judge(answers: Sequence[Any]) -> None:
    if isinstance(answers[0], Exception):
        raise answers[0]
