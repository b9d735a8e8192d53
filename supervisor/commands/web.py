"""`jobd web`: serves the dashboard by itself. What it shows is in the folder `web/`."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from jobd.client.errors import ConfigError
from jobd.supervisor import exits
from jobd.supervisor.commands.address import Address, redis_options

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from jobd.client.push import Client

BIND = "127.0.0.1:7433"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names under which it answers without authentication: a page elsewhere can give this machine any other one."""
_STOP_SECONDS = 2
_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


@click.command()
@click.option("--bind", metavar="ADDRESS", default=BIND, help=f"Host and port, or path of a unix socket. [{BIND}]")
@click.option("--read-only", is_flag=True, help="Nothing can be changed. [JOBD_WEB_READ_ONLY]")
@click.option("--root-path", metavar="PATH", default="", help="Path under which a proxy has it, which it takes away.")
@click.option(
    "--trusted-origin", "trusted", multiple=True, metavar="ORIGIN", help="Origin of pages that may change something."
)
@redis_options
def web(bind: str, read_only: bool, root_path: str, trusted: tuple[str, ...], address: Address) -> None:
    """Serve the dashboard until TERM or INT.

    \b
    jobd web
    jobd web -C config.yml --bind 127.0.0.1:8080
    JOBD_WEB_USER=ann JOBD_WEB_PASSWORD=... jobd web --bind 0.0.0.0:7433

    Beyond this machine it serves only with a password (JOBD_WEB_USER and JOBD_WEB_PASSWORD), a token for programs
    (JOBD_WEB_TOKEN), or both; put TLS before it then. It needs the extra `web`.
    """
    authenticators = authentication(os.environ)
    if not authenticators and not is_private(bind):
        raise ConfigError(
            f"--bind {bind}: whoever reaches it could look at all jobs and delete them; "
            "set JOBD_WEB_USER and JOBD_WEB_PASSWORD, or JOBD_WEB_TOKEN, or bind to 127.0.0.1"
        )
    from jobd import web as dashboard

    with address.client() as client:
        hosts = () if authenticators else LOOPBACK_NAMES
        looks_only = read_only or _switch(os.environ, "JOBD_WEB_READ_ONLY")
        app = dashboard.app(
            client, auth=authenticators or None, read_only=looks_only, trusted_origins=trusted, hosts=hosts
        )
        _serve(app, bind, root_path, client)


def authentication(variables: Mapping[str, str]) -> list[Any]:
    """Who may look, by the environment. Raises `ConfigError` for half of a name and password, or without the extra."""
    user, password, token = (variables.get(f"JOBD_WEB_{name}", "") for name in ("USER", "PASSWORD", "TOKEN"))
    if bool(user) != bool(password):
        missing = "JOBD_WEB_PASSWORD" if user else "JOBD_WEB_USER"
        raise ConfigError(f"{missing} is not set, and means nothing without the other of the two; set both")
    if not user and not token:
        return []
    from jobd.web import Basic, Tokens

    return [*([Basic({user: password})] if user else []), *([Tokens({"token": token})] if token else [])]


def _switch(variables: Mapping[str, str], name: str) -> bool:
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
    except OSError:
        return True  # listening on it will say what is wrong
    return all(ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback for *_, place in found)


def _serve(app: Starlette, bind: str, root_path: str, client: Client) -> None:
    import uvicorn

    from jobd.supervisor.listener import listen

    _log_to_standard_error()
    listener = listen(bind, warn=False)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        root_path=root_path.rstrip("/"),
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    # uvicorn raises the signals that ended it once more when it is through.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    exits.complain(f"web.ready: {_shown(bind, listener)} shows {client.connector.address.shown}")
    server = uvicorn.Server(config)
    close_connections = server.shutdown

    async def shutdown(sockets: list[socket.socket] | None = None) -> None:
        app.state.live.close()
        await close_connections(sockets)

    server.shutdown = shutdown  # type: ignore[method-assign]
    server.run(sockets=[listener])


def _shown(bind: str, listener: socket.socket) -> str:
    if "/" in bind:
        return f"unix:{bind}"
    return f"http://{bind.rpartition(':')[0]}:{listener.getsockname()[1]}/"


def _log_to_standard_error() -> None:
    logger = logging.getLogger("jobd")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
