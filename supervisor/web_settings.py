"""The key `web` of the configuration: where the dashboard listens, what it allows, and whether it may be served so.

Nothing here imports the dashboard: the master, which never serves it itself, reads and judges these settings too.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec

from jobd.client import defaults, source_links
from jobd.client.errors import ConfigError, PortUnavailable
from jobd.supervisor import listener
from jobd.worker import checks
from jobd.worker.checks import Check

BIND = "127.0.0.1:7433"
"""Where `jobd web` listens unless it is told otherwise."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names under which it answers without authentication: a page elsewhere can give this machine any other one."""
READ_ONLY = "JOBD_WEB_READ_ONLY"
NEEDED = ("starlette", "jinja2", "uvicorn")
"""Packages without which it cannot be served."""
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


def _path(value: object) -> str | None:
    if isinstance(value, str) and value.startswith("/") and len(value) > 1 and value == value.rstrip("/"):
        return None
    return "must be the path that a proxy takes away, such as /jobs"


def _origin(value: object) -> str | None:
    if isinstance(value, str) and "://" in value and value.count("/") == 2:
        return None
    return "must be an origin, such as https://ops.example.com"


def _host(value: object) -> str | None:
    if isinstance(value, str) and value and not any(char in value for char in "/ ,") and not _has_port(value):
        return None
    return "must be the name of a host without a port, such as ops.example.com"


def _has_port(name: str) -> bool:
    return name.count(":") == 1


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """How the dashboard is served.

    `bind` is host and port, or the path of a unix socket; `root_path` the path that a proxy takes away. Changes may
    come from pages of `trusted_origins` besides its own; it answers to the names in `hosts`, to any if there are none.
    `title` is what its pages are called; `environment` stands above them [the section of the file that is used].
    `source_link` and `source_root` are as in `jobd.web.app`.
    """

    bind: str
    read_only: bool = False
    root_path: str = ""
    trusted_origins: tuple[str, ...] = field(default=())
    hosts: tuple[str, ...] = field(default=())
    title: str = "jobd"
    environment: str = ""
    source_link: str = ""
    source_root: str = ""

    def named(self, environment: str) -> WebSettings:
        """These for a section of the file, whose name is shown unless it is that of development."""
        shown = self.environment or (environment if environment != defaults.ENVIRONMENT else "")
        return replace(self, environment=shown)


CHECKS: Mapping[str, Check] = {
    "bind": checks.listening_address,
    "read_only": checks.switch,
    "root_path": _path,
    "trusted_origins": _origin,
    "hosts": _host,
    "title": checks.name,
    "environment": checks.text,
    "source_link": checks.text,
    "source_root": checks.text,
}
"""How each is checked; of a list, each item."""
LISTS = ("trusted_origins", "hosts")
_KEYS = tuple(each.name for each in fields(WebSettings))


def check(value: object) -> str | None:
    """A check for `WebSettings`."""
    if not isinstance(value, WebSettings):
        return f"must be WebSettings with {', '.join(_KEYS)}"
    if problem := checks.listening_address(value.bind):
        return problem
    if value.root_path and (problem := _path(value.root_path)):
        return f"root_path {problem}"
    for name in ("title", "environment", "source_link", "source_root"):
        if problem := CHECKS[name](getattr(value, name)):
            return f"{name} {problem}"
    if fault := source_links.problem(value.source_link, value.source_root):
        return " ".join(fault)
    items = [(each, CHECKS[name](each)) for name in LISTS for each in getattr(value, name)]
    return next((f"{checks.display(each)} {problem}" for each, problem in items if problem), None)


def refuse_unsafe(settings: WebSettings | None, variables: Mapping[str, str], place: str = "web") -> None:
    """Raise `ConfigError` when the dashboard cannot be served so: without its packages, or open to everybody."""
    if settings is None:
        return
    switch(variables, READ_ONLY)
    if not has_credentials(variables) and not is_private(settings.bind):
        raise ConfigError(
            f"{place} {settings.bind}: whoever reaches it could look at all jobs and delete them; "
            "set JOBD_WEB_USER and JOBD_WEB_PASSWORD, or JOBD_WEB_TOKEN, or bind to 127.0.0.1"
        )
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ConfigError(
            f"{place} {settings.bind}: the dashboard needs the extra `web`: pip install '.[web]' in the checkout "
            f"(not found: {', '.join(missing)})"
        )


def credentials(variables: Mapping[str, str]) -> tuple[str, str, str]:
    """User, password and token of the environment, empty where not set. Raises `ConfigError` for half of a pair."""
    user, password, token = (variables.get(f"JOBD_WEB_{name}", "") for name in ("USER", "PASSWORD", "TOKEN"))
    if bool(user) != bool(password):
        missing = "JOBD_WEB_PASSWORD" if user else "JOBD_WEB_USER"
        raise ConfigError(f"{missing} is not set, and means nothing without the other of the two; set both")
    return user, password, token


def has_credentials(variables: Mapping[str, str]) -> bool:
    """Whether the environment says who may come in. Raises `ConfigError` for half of a name and password."""
    return any(credentials(variables))


def switch(variables: Mapping[str, str], name: str) -> bool:
    """A variable that is on or off. Raises `ConfigError`."""
    value = variables.get(name, "").lower()
    if value not in (*_TRUE, *_FALSE):
        raise ConfigError(f"{name} is {value!r}; write 1 or 0")
    return value in _TRUE


def is_private(bind: str) -> bool:
    """Whether only this machine reaches an address."""
    if "/" in bind:
        return True
    host = bind.rpartition(":")[0].strip("[]")
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # by the time it is listened on it may mean any place
    return all(_is_loopback(place) for *_, place in found)


def listen(bind: str, variables: Mapping[str, str]) -> socket.socket:
    """Listen for the dashboard. Raises `PortUnavailable`, also where its name has come to mean more than this machine.

    Names are looked up for each attempt, and what they mean may have changed since `refuse_unsafe` has judged them.
    """
    found = listener.listen(bind, warn=False)
    if found.family != socket.AF_UNIX and not has_credentials(variables) and not _is_loopback(found.getsockname()):
        place = found.getsockname()[0]
        found.close()
        raise PortUnavailable(
            f"cannot listen on {bind}: that is {place} now, where others than this machine reach it; "
            "set JOBD_WEB_USER and JOBD_WEB_PASSWORD, or JOBD_WEB_TOKEN, or bind to 127.0.0.1"
        )
    return found


def _is_loopback(place: Sequence[object]) -> bool:
    return ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback


def shown(bind: str, port: int | None = None) -> str:
    """An address for people, with the port that was found where any was taken."""
    if "/" in bind:
        return f"unix:{bind}"
    host, _, wanted = bind.rpartition(":")
    return f"http://{host}:{wanted if port is None else port}/"
