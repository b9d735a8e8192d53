"""Many jobs into one queue at once, as a transaction: a script would have Redis copy each of them twice more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hiredis import pack_command
from redis.exceptions import ResponseError

from jobd.client.keys import Keys
from jobd.client.scripts import Argument


class Transaction(msgspec.Struct, frozen=True, eq=False):
    """Commands that Redis carries out together; the first is the one that counts."""

    commands: Sequence[tuple[Argument, ...]]

    def packed(self) -> bytes:
        """What is sent."""
        commands: list[Any] = [("MULTI",), *self.commands, ("EXEC",)]  # hiredis declares a tuple of one element
        return b"".join(map(pack_command, commands))


def push_many(keys: Keys, queue: str, payloads: Sequence[bytes]) -> Transaction:
    """Put up to 1,000 jobs into one queue; as `scripts.push_now`."""
    return Transaction([("LPUSH", keys.queue(queue), *payloads), ("SADD", keys.queues, queue)])


def receive(connection: Any, transaction: Transaction) -> None:
    """Read all answers. Raises redis-py's errors, as `scripts.send` does."""
    answers: list[Any] = []
    for _ in range(len(transaction.commands) + 2):
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    _judge(answers)


async def asend(connection: Any, transaction: Transaction) -> None:
    """Carry it out once, with asyncio. Raises as `receive` does."""
    await connection.send_packed_command(transaction.packed())
    answers: list[Any] = []
    for _ in range(len(transaction.commands) + 2):
        try:
            answers.append(await connection.read_response())
        except ResponseError as error:
            answers.append(error)
    _judge(answers)


def _judge(answers: Sequence[Any]) -> None:
    """The first command that was refused says why; if all were accepted, what the first one came to."""
    *accepted, done = answers
    for answer in (*accepted, done, *(done[:1] if isinstance(done, list) else ())):
        if isinstance(answer, Exception):
            raise answer
