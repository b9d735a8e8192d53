"""Which Redis a command talks to: `--redis-url`, else the configuration, else the environment, else the default."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from jobd.client.push import Client
    from jobd.supervisor.config import Config


@dataclass(frozen=True)
class Address:
    """What was given on the command line."""

    path: Path | None
    environment: str | None
    redis_url: str | None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client, closed at the end. Raises ConfigError; connecting is left to its first use.

        What neither the command line, nor the file, nor the environment gives is as `jobd.configure` has set it.
        """
        client = self._open()
        try:
            yield client
        finally:
            client.close()

    def config(self) -> Config | None:
        """The file, if one was given. Raises ConfigError."""
        if self.path is None:
            return None
        from jobd.supervisor.config import load

        return load(self.path, self.environment)

    def _open(self) -> Client:
        from jobd.client.push import Client

        config = self.config()
        if config is None:
            return Client(self.redis_url)
        given = {key for key, source in config.sources.items() if source != "default"}
        return Client(
            self.redis_url or (config.redis_url if "redis_url" in given else None),
            namespace=config.namespace if "namespace" in given else None,
            timestamps=config.timestamps if "timestamps" in given else None,
        )


def redis_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say where Redis is; the command gets them as one `address`."""

    @functools.wraps(command)
    def with_address(*args: Any, path: Path | None, environment: str | None, redis_url: str | None, **rest: Any) -> Any:
        if environment is not None and path is None:
            raise click.UsageError("-e chooses a section of a file; give the file with -C", click.get_current_context())
        return command(*args, address=Address(path, environment, redis_url), **rest)

    options = [
        click.option(
            "-C", "--config", "path", type=click.Path(path_type=Path), help="YAML file with redis_url and namespace."
        ),
        click.option("-e", "--environment", help="Section of the file to use. [JOBD_ENV, APP_ENV, else development]"),
        click.option(
            "--redis-url",
            metavar="URL",
            callback=_url,
            help="Address of Redis. [JOBD_REDIS_URL, REDIS_URL, else that of -C, else redis://localhost:6379/0]",
        ),
    ]
    result: Callable[..., Any] = with_address
    for option in reversed(options):
        result = option(result)
    return result


def _url(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from jobd.worker import checks

    if value is not None and (problem := checks.redis_url(value)):
        raise click.BadParameter(f"{checks.display(value)} {problem}")
    return value
