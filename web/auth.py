"""Who asks: basic authentication, tokens, or a function of the host application; and what the user may do."""

from __future__ import annotations

import base64
import binascii
import hmac
import inspect
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.requests import Request

from jobd.client.errors import ConfigError
from jobd.web.reach import NOWHERE, Reach

ACTIONS = (
    *("view", "retry", "enqueue", "reschedule", "kill", "delete", "pause", "clear", "move", "limits", "mute"),
    *("quiet", "stop", "dump", "concurrency", "cancel", "cron", "cron_edit", "audit", "reveal"),
)
"""What `authorize` is asked about: to look at pages, each kind of change, who changed what, and what is hidden."""
LOOKING = ("view", "audit")
"""Those of them that a read-only dashboard has too."""
ASKED_FOR = ("reveal",)
"""Those of them that nobody has unless `authorize` gives them."""
OF_QUEUES = (
    *("retry", "enqueue", "reschedule", "kill", "delete", "pause", "clear", "move", "limits", "mute"),
    *("cancel", "cron", "cron_edit", "reveal"),
)
"""Those of them that can be judged by the queue of what is changed; who is limited to queues has no others."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. `by_token`: told by a header that no browser adds by itself."""

    name: str
    by_token: bool = False


Authenticator: TypeAlias = Callable[[Request], "User | str | Awaitable[User | str | None] | None"]
"""Tells the user of a request; None is nobody."""
Authorize: TypeAlias = Callable[[str, str], "bool | Awaitable[bool]"]
"""Whether a user, by name, may do one of ACTIONS."""
Queues: TypeAlias = "Iterable[str] | Callable[[str], Iterable[str] | Awaitable[Iterable[str]]]"
"""Patterns of the queues in which changes may be made, or what tells those of a user, by name."""


class _Secrets:
    """Names and what each has to show, compared in the same time whatever is shown."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._salt = secrets.token_bytes(32)
        self._known = {name: self._digest(secret) for name, secret in known.items()}

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._salt, secret.encode("utf-8", "surrogatepass"), "sha256")

    def matches(self, name: str, shown: str) -> bool:
        """Whether this is what `name` has to show."""
        known = self._known.get(name)
        return hmac.compare_digest(known or bytes(32), self._digest(shown)) and known is not None

    def owner(self, shown: str) -> str | None:
        """Whose secret this is."""
        found, digest = None, self._digest(shown)
        for name, known in self._known.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


class Basic:
    """HTTP's basic authentication: `Basic({"ann": "password"})`. Use it over TLS, or on this machine only."""

    challenge = 'Basic realm="jobd", charset="UTF-8"'

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = _checked(users, "password")

    def __call__(self, request: Request) -> User | None:
        """The user whose name and password the header holds."""
        shown = _credentials(request, "basic")
        if shown is None:
            return None
        try:
            name, _, password = base64.b64decode(shown, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        return User(name) if self._users.matches(name, password) else None


class Tokens:
    """Tokens for programs, `Authorization: Bearer TOKEN`: `Tokens({"ci": "token"})`."""

    challenge = 'Bearer realm="jobd"'

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = _checked(tokens, "token")

    def __call__(self, request: Request) -> User | None:
        """The user whose token the header holds."""
        shown = _credentials(request, "bearer")
        name = None if shown is None else self._tokens.owner(shown)
        return None if name is None else User(name, by_token=True)


class TrustedHeader:
    """A header in which a proxy names the user: `TrustedHeader("X-Forwarded-User", peers=["127.0.0.1"])`.

    Only from `peers`, addresses or networks (`10.0.0.0/8`), `"unix"` for whoever comes by a unix socket: anybody can
    send a header, so the proxy must remove what others sent. Raises `ConfigError`.
    """

    def __init__(self, header: str, *, peers: Collection[str]) -> None:
        self._header = header.lower()
        self._unix = "unix" in peers
        try:
            self._networks = [ipaddress.ip_network(peer) for peer in peers if peer != "unix"]
        except ValueError as error:
            raise ConfigError(f"peers: {error}; give addresses such as 127.0.0.1, networks, or unix") from None
        if not peers:
            raise ConfigError(f"peers: name the proxy whose {header} is to be believed, such as 127.0.0.1")

    def __call__(self, request: Request) -> User | None:
        """The user whom the proxy has named, once."""
        named = request.headers.getlist(self._header)
        if len(named) != 1 or not named[0].strip() or not self._believes(request):
            return None
        return User(named[0].strip())

    def _believes(self, request: Request) -> bool:
        host = request.client.host if request.client else ""
        if not host:
            return self._unix
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self._networks)


def _checked(known: Mapping[str, str], what: str) -> _Secrets:
    for name, secret in known.items():
        if not name or not secret or ":" in name:
            raise ConfigError(f"auth: user {name!r} needs a name without a colon, and a {what} that is not empty")
    return _Secrets(known)


def _credentials(request: Request, scheme: str) -> str | None:
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    return shown.strip() if kind.lower() == scheme else None


async def identify(request: Request, authenticators: Sequence[Authenticator]) -> User | None:
    """Who asks, by the first authenticator that tells; None is nobody."""
    for authenticator in authenticators:
        told = authenticator(request)
        found = await told if inspect.isawaitable(told) else told
        if found is not None:
            return found if isinstance(found, User) else User(str(found))
    return None


def checked_queues(queues: Queues | None) -> Queues | None:
    """The same, for many requests; None is all. Raises `ConfigError`."""
    return queues if queues is None or callable(queues) else Reach.of(queues).patterns


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may come in, what they may do, and where."""

    authenticators: tuple[Authenticator, ...]
    authorize: Authorize | None
    queues: Queues | None
    read_only: bool

    async def rights_of(self, user: str) -> tuple[frozenset[str], Reach]:
        """Which of ACTIONS a user may do, and within which queues. Raises `ConfigError`."""
        reach = await self._reach_of(user)
        asked = set(LOOKING if self.read_only or reach == NOWHERE else ACTIONS)
        if reach.limited:
            asked &= {*LOOKING, *OF_QUEUES}
        if self.authorize is None:
            return frozenset(asked - set(ASKED_FOR)), reach
        found = set()
        for action in (each for each in ACTIONS if each in asked):
            told = self.authorize(user, action)
            if (await told if inspect.isawaitable(told) else told) is True:
                found.add(action)
        return frozenset(found), reach

    async def _reach_of(self, user: str) -> Reach:
        if self.queues is None:
            return Reach()
        told = self.queues(user) if callable(self.queues) else self.queues
        return Reach.of(await told if inspect.isawaitable(told) else told)
