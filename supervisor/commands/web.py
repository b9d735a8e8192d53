"""`jobd web`: serves the dashboard by itself. What it shows is in the folder `web/`."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace

import click

from jobd.client.errors import ConfigError
from jobd.supervisor import exits, web_settings
from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.web_settings import BIND, WebSettings
from jobd.worker import checks


@click.command()
@click.option("--bind", metavar="ADDRESS", help=f"Host and port, or path of a unix socket. [`web` of -C, else {BIND}]")
@click.option("--read-only", is_flag=True, help="Nothing can be changed. [JOBD_WEB_READ_ONLY]")
@click.option("--root-path", metavar="PATH", default="", help="Path under which a proxy has it, which it takes away.")
@click.option(
    "--trusted-origin", "trusted", multiple=True, metavar="ORIGIN", help="Origin of pages that may change something."
)
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Name under which it answers, and no other.")
@click.option("--title", metavar="TEXT", help="What the pages are called. [jobd]")
@click.option("--source-link", metavar="URL", help="Address of a line of code, with {path} or {file}, and {line}.")
@click.option("--source-root", metavar="DIR", help="Folder of the application, to which {path} is relative.")
@redis_options
def web(
    bind: str | None,
    read_only: bool,
    root_path: str,
    trusted: tuple[str, ...],
    hosts: tuple[str, ...],
    title: str | None,
    source_link: str | None,
    source_root: str | None,
    address: Address,
) -> None:
    """Serve the dashboard until TERM or INT.

    \b
    jobd web
    jobd web -C config.yml --bind 127.0.0.1:8080
    JOBD_WEB_USER=ann JOBD_WEB_PASSWORD=... jobd web --bind 0.0.0.0:7433

    Beyond this machine it serves only with a password (JOBD_WEB_USER and JOBD_WEB_PASSWORD), a token for programs
    (JOBD_WEB_TOKEN), or both; put TLS before it then. It needs the extra `web`. With -C what is not given here is
    as the key `web` of the file says.
    """
    config = address.config()
    settings = (config and config.web) or WebSettings(bind=BIND)
    settings = replace(
        settings,
        bind=bind or settings.bind,
        read_only=read_only or settings.read_only,
        root_path=root_path.rstrip("/") or settings.root_path,
        trusted_origins=trusted or settings.trusted_origins,
        hosts=hosts or settings.hosts,
        title=title or settings.title,
        source_link=source_link or settings.source_link,
        source_root=source_root or settings.source_root,
    )
    if config:
        settings = settings.named(config.environment)
    web_settings.refuse_unsafe(settings, os.environ, "--bind" if bind else "web")
    _refuse_wrong(settings)
    _run(settings, address)


def _refuse_wrong(settings: WebSettings) -> None:
    """Port 0, any that is free, is for this command only."""
    host, _, port = settings.bind.rpartition(":")
    asked = settings if port != "0" else replace(settings, bind=f"{host}:1")
    if problem := web_settings.check(asked):
        raise ConfigError(f"web {checks.display(settings.bind)}: {problem}")


def _run(settings: WebSettings, address: Address) -> None:
    from jobd.supervisor import web_server
    from jobd.supervisor.listener import file_of, remove_file

    with address.client() as client:
        app = web_server.application(settings, client, os.environ)
        _log_to_standard_error()
        listener = web_settings.listen(settings.bind, os.environ)
        file = file_of(listener)
        port = None if "/" in settings.bind else listener.getsockname()[1]
        shown = web_settings.shown(settings.bind, port)

        def ready() -> None:
            exits.complain(f"web.ready: {shown} shows {client.connector.address.shown}")

        # The server closes what it is given, and a closed socket does not tell its path.
        ours = listener.dup()
        try:
            web_server.serve(app, listener, root_path=settings.root_path, ready=ready)
        finally:
            remove_file(ours, file)
            ours.close()


def _log_to_standard_error() -> None:
    logger = logging.getLogger("jobd")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
