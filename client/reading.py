"""Reads that travel in one packet: redis-py's methods, without what its own pipeline adds to each command.

That is twice as much as the reading itself, and a page of the dashboard asks some two thousand commands. What the
answers mean, and what an error does, is left to `access.py`.
"""

from __future__ import annotations

from typing import Any

from hiredis import pack_command
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.client import EMPTY_RESPONSE, NEVER_DECODE, Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError


class Reads(Pipeline):
    """A pipeline of commands that only read; it is filled by redis-py's methods, and asked once by `answers`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made: dict[str, Any] = dict(self.response_callbacks)  # its own look-up takes longer than what it finds
        self._packets: list[bytes] = []
        self._makers: list[tuple[int, Any, dict[str, Any]]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Put a command into it."""
        if args[0] in self._made:
            self._makers.append((self._count, self._made[args[0]], _known(options)))
        return self.put(_packed(args), 1)

    def put(self, packet: bytes, count: int) -> Reads:
        """Put so many commands into it that `packed` has made before; their answers stay as Redis gives them."""
        self._packets.append(packet)
        self._count += count
        return self

    def answers(self) -> list[Any]:
        """The answer to each command; that to a refused one is its `ResponseError`.

        Raises redis-py's other errors, and OSError; the connection is closed then: answers may be on their way.
        """
        if not self._count:
            return []
        connection: Any = self.connection_pool.get_connection()
        try:
            connection.send_packed_command([b"".join(self._packets)])
            answers = _read(connection._parser, self._count)
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self.connection_pool.release(connection)
        for place, make, options in self._makers:
            if not isinstance(answers[place], Exception):
                answers[place] = make(answers[place], **options)
        return answers


def _read(parser: Any, count: int) -> list[Any]:
    """So many answers. redis-py's parser waits for them; what has come by then is taken without its look at each."""
    answers: list[Any] = []
    reader = parser._reader  # whoever closes the pool takes it away; the parser says then that there is no connection
    while len(answers) < count:
        answers.append(parser.read_response())
        answers.extend(iter(reader.gets, NOT_ENOUGH_DATA))
    for answer in answers:
        if isinstance(answer, RedisConnectionError):  # such as that Redis is still loading
            raise answer
    return answers


def packed(*commands: tuple[Any, ...]) -> bytes:
    """Commands for `Reads.put`, for those who ask the same again and again."""
    return b"".join(map(pack_command, commands))


def _packed(args: Any) -> bytes:
    name = args[0]
    # redis-py writes the name of some commands as two words.
    packed: bytes = pack_command((*name.split(), *args[1:]) if " " in name else args)
    return packed


def _known(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are for what makes of an answer its value."""
    return {name: value for name, value in options.items() if name not in _OWN}


_OWN = frozenset({"keys", EMPTY_RESPONSE, NEVER_DECODE})
