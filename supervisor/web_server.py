"""Serves the dashboard over HTTP in this process, until a signal or the end of its master; `web/` has its pages."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette

from jobd import web
from jobd.client.push import Client
from jobd.supervisor import web_settings
from jobd.supervisor.web_settings import WebSettings

GRACE = 2
"""Seconds for requests that are under way at the end; streams end at once."""
_YOUNG = 20_000
"""Objects after which the garbage collector looks at them: most pages are made, and gone, before."""
_TURN = 0.001
"""Seconds after which a thread of Python lets another one go on."""
_STOPS = (signal.SIGTERM, signal.SIGINT)


def application(settings: WebSettings, client: Client, variables: Mapping[str, str]) -> Starlette:
    """The dashboard for those whom the environment names, for all of this machine when it names nobody.

    Raises `ConfigError`.
    """
    authenticators = authentication(variables)
    return web.app(
        client,
        auth=authenticators or None,
        read_only=settings.read_only or web_settings.switch(variables, web_settings.READ_ONLY),
        trusted_origins=settings.trusted_origins,
        hosts=settings.hosts or (() if authenticators else web_settings.LOOPBACK_NAMES),
        title=settings.title,
        environment=settings.environment,
        source_link=settings.source_link,
        source_root=settings.source_root,
    )


def authentication(variables: Mapping[str, str]) -> list[Any]:
    """Who may look, by the environment. Raises `ConfigError` for half of a name and password."""
    user, password, token = web_settings.credentials(variables)
    basic = [web.Basic({user: password})] if user else []
    return [*basic, *([web.Tokens({"token": token})] if token else [])]


def serve(
    app: Starlette,
    listener: socket.socket,
    *,
    root_path: str = "",
    master: int | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Answer what comes to `listener` until TERM or INT, or until the pipe `master` ends; closes the listener.

    `ready` is called once requests are answered.
    """
    _calm_the_collector()
    _take_short_turns()
    # They come here before uvicorn handles them itself, and once more when it is through.
    server = server_of(app, root_path=root_path, master=master, ready=ready)

    def stop(*_: object) -> None:
        server.should_exit = True

    for name in _STOPS:
        signal.signal(name, stop)
    server.run(sockets=[listener])


def server_of(
    app: Starlette, *, root_path: str = "", master: int | None = None, ready: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """What serves it, to be run; `should_exit` ends it from any thread. The rest is as in `serve`."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        root_path=root_path.rstrip("/"),
        timeout_graceful_shutdown=GRACE,
    )
    _log_as_jobd("uvicorn.error")
    return _Server(config, app, master, ready)


def _calm_the_collector() -> None:
    """Have it leave alone what lives as long as this process: to look at all of that delays a page by 40 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def _take_short_turns() -> None:
    """Have a page not wait long, whenever it goes on, for a thread that reads figures or changes many jobs."""
    sys.setswitchinterval(_TURN)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: Starlette, master: int | None, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._master, self._ready = app, master, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer; then watch the pipe that ends with the master."""
        await super().startup(sockets)
        if self._master is not None:
            asyncio.get_running_loop().add_reader(self._master, self._master_ended, self._master)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, the streams first: each would be waited for."""
        self._app.state.live.close()
        await super().shutdown(sockets)

    def _master_ended(self, pipe: int) -> None:
        with contextlib.suppress(BlockingIOError):
            if not os.read(pipe, 1):
                asyncio.get_running_loop().remove_reader(pipe)
                self.should_exit = True


def _log_as_jobd(name: str) -> None:
    """Have a logger write where jobd's does, also after that has got another destination."""
    logging.getLogger(name).parent = logging.getLogger("jobd")
