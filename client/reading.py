"""Reads that travel in one packet: redis-py's methods, without what its own pipeline adds to each command.

That is twice as much as the reading itself, and a page of the dashboard asks some two thousand commands. What the
answers mean, and what an error does, is left to `access.py`.
"""

from __future__ import annotations

from typing import Any

from hiredis import pack_command
from redis.client import EMPTY_RESPONSE, NEVER_DECODE, Pipeline


class Reads(Pipeline):
    """A pipeline of commands that only read; it is filled by redis-py's methods, and asked once by `answers`."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Put a command into it."""
        self.command_stack.append((args, options))
        return self

    def answers(self) -> list[Any]:
        """The answer to each command; that to a refused one is its `ResponseError`.

        Raises redis-py's other errors, and OSError; the connection is closed then: answers may be on their way.
        """
        commands, self.command_stack = self.command_stack, []
        if not commands:
            return []
        packet = b"".join([_packed(args) for args, _ in commands])
        connection: Any = self.connection_pool.get_connection()
        try:
            connection.send_packed_command([packet])
            read = connection._parser.read_response  # that of the connection writes its address down for each answer
            answers = [read() for _ in commands]
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self.connection_pool.release(connection)
        made: dict[str, Any] = dict(self.response_callbacks)  # its own look-up takes longer than what it finds
        return [
            made[args[0]](answer, **_known(options))
            if args[0] in made and not isinstance(answer, Exception)
            else answer
            for (args, options), answer in zip(commands, answers, strict=True)
        ]


def _packed(args: Any) -> bytes:
    name = args[0]
    # redis-py writes the name of some commands as two words.
    packed: bytes = pack_command((*name.split(), *args[1:]) if " " in name else args)
    return packed


def _known(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are for what makes of an answer its value."""
    return {name: value for name, value in options.items() if name not in _OWN}


_OWN = frozenset({"keys", EMPTY_RESPONSE, NEVER_DECODE})
