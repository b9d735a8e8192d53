"""The two chains of middleware as objects to edit: `jobd.client_middleware` and `jobd.server_middleware`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, Literal, TypeVar

from jobd.client import settings
from jobd.client.errors import ConfigError
from jobd.client.middleware import ClientMiddleware, ServerMiddleware

M = TypeVar("M", bound=Callable[..., Any])


class Chain(Generic[M]):
    """One chain of this process, outermost first. Safe across threads; each edit holds from the next push or fetch on.

    Whatever is put in and stands there already is moved. The edits that put one in return it, so that they decorate.
    """

    def __init__(self, setting: Literal["client_middleware", "server_middleware"]) -> None:
        self._setting: Final = setting

    def add(self, middleware: M) -> M:
        """Put one at the end: innermost, next to the push or the job."""
        return self._put(middleware, lambda others: len(others))

    def prepend(self, middleware: M) -> M:
        """Put one at the beginning: outermost."""
        return self._put(middleware, lambda others: 0)

    def insert_before(self, other: M, middleware: M) -> M:
        """Put one around `other`, next to it. Raises `ConfigError` when `other` is not in the chain."""
        return self._put(middleware, lambda others: self._place(others, other, "insert_before"))

    def insert_after(self, other: M, middleware: M) -> M:
        """Put one inside of `other`, next to it. Raises `ConfigError` when `other` is not in the chain."""
        return self._put(middleware, lambda others: self._place(others, other, "insert_after") + 1)

    def remove(self, middleware: M) -> None:
        """Take one out. Raises `ConfigError` when it is not in the chain."""

        def without(chain: tuple[M, ...]) -> tuple[M, ...]:
            place = self._place(chain, middleware, "remove")
            return chain[:place] + chain[place + 1 :]

        settings.edit_chain(self._setting, without)

    def clear(self) -> None:
        """Take all out."""
        settings.edit_chain(self._setting, lambda chain: ())

    def __iter__(self) -> Iterator[M]:
        """The chain as it is now; edits meanwhile do not show."""
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)

    def __contains__(self, middleware: object) -> bool:
        return middleware in self._now

    def __repr__(self) -> str:
        return f"<jobd.{self._setting}: [{', '.join(map(_named, self._now))}]>"

    @property
    def _now(self) -> tuple[M, ...]:
        chain: tuple[M, ...] = getattr(settings.current(), self._setting)
        return chain

    def _put(self, middleware: M, place: Callable[[tuple[M, ...]], int]) -> M:
        def edited(chain: tuple[M, ...]) -> tuple[M, ...]:
            others = tuple(each for each in chain if each != middleware)
            at = place(others)
            return (*others[:at], middleware, *others[at:])

        settings.edit_chain(self._setting, edited)
        return middleware

    def _place(self, chain: tuple[M, ...], other: M, operation: str) -> int:
        if other in chain:
            return chain.index(other)
        held = ", ".join(map(_named, chain)) or "nothing"
        raise ConfigError(
            f"{self._setting}.{operation}: {_named(other)} is not in the chain, which holds {held}; add it first"
        )


def _named(middleware: object) -> str:
    return getattr(middleware, "__qualname__", None) or repr(middleware)


client_middleware: Final[Chain[ClientMiddleware]] = Chain("client_middleware")
"""The chain around pushes."""
server_middleware: Final[Chain[ServerMiddleware]] = Chain("server_middleware")
"""The chain around runs."""
