"""The address of an embedded store: which directory and which unix socket `embedded:var/jobd` means.

It only computes and looks. `supervisor/store.py` runs the server.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jobd.client import defaults
from jobd.client.errors import ConfigError, StoreUnavailable

SCHEME = "embedded:"
SOCKET_NAME = "valkey.sock"
MAX_SOCKET_PATH = 100
"""Bytes of a socket's path; the kernels take 104 (macOS) or 108 (Linux) with the closing zero."""


def is_embedded(url: str) -> bool:
    """Whether `url` names an embedded store and not a server of its own."""
    return url.startswith(SCHEME)


@dataclass(frozen=True)
class EmbeddedAddress:
    """An embedded store, named by its absolute directory with symbolic links resolved."""

    directory: Path

    @classmethod
    def of(cls, url: str, cwd: Path | None = None) -> EmbeddedAddress:
        """Read `embedded:DIR`; DIR is relative to `cwd` [the current directory], and `var/jobd` when empty.

        Raises `ConfigError` for any other address.
        """
        path = url.removeprefix(SCHEME)
        if not is_embedded(url) or path.startswith("//") or "\0" in path:
            raise ConfigError(
                f"redis_url: {url!r} is no address of an embedded store; "
                f"write embedded:{defaults.EMBEDDED_DIR} or embedded:/absolute/directory"
            )
        return cls((cwd or Path.cwd()).joinpath(path or defaults.EMBEDDED_DIR).resolve())

    @property
    def socket(self) -> Path:
        """Where the server listens: `DIR/valkey.sock`, or a short place when that path is too long.

        A running server has left a link to the short place in DIR, so that a client with another
        environment finds it too.
        """
        socket = self.directory / SOCKET_NAME
        if len(os.fsencode(socket)) <= MAX_SOCKET_PATH:
            return socket
        try:
            return Path(os.readlink(socket))
        except OSError:
            return short_socket(socket)

    @property
    def url(self) -> str:
        """The same address for a Redis client: `unix://…`, special characters quoted."""
        return f"unix://{quote(str(self.socket))}"

    def unavailable(self) -> StoreUnavailable:
        """The error for a client that could not connect; it says what is missing and what to do."""
        place = str(self.directory)
        if self.directory.is_dir() and not os.access(self.directory, os.X_OK):
            owner = self.directory.stat().st_uid
            return StoreUnavailable(f"the embedded store in {place} is private to uid {owner}: run as that user")
        found = "refuses connections" if _exists(self.socket) else "is not there"
        return StoreUnavailable(
            f"no jobd runs on {place} (its socket {self.socket} {found}). "
            f"Start one: jobd --embedded {shlex.quote(place)}"
        )

    def check_private(self) -> None:
        """Make sure that nobody else can have put the socket into a shared temporary directory.

        Call it before connecting. Raises `StoreUnavailable`.
        """
        folder = self.socket.parent
        if folder == self.directory or not _exists(folder):
            return
        found, owner = folder.lstat(), self.directory.stat().st_uid
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            raise StoreUnavailable(
                f"{folder}, where the socket of {self.directory} belongs, is not a directory of uid {owner} "
                "with mode 0700: remove it, or use a directory with a shorter path"
            )


def short_socket(socket: Path) -> Path:
    """A short path standing for a socket whose own path is too long: the same for everybody who asks."""
    digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    return runtime_directory() / f"{digest}.sock"


def runtime_directory() -> Path:
    """Where this user's short sockets live; it need not exist yet."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        return Path(runtime, "jobd")
    return Path(tempfile.gettempdir(), f"jobd-{os.geteuid()}")


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True
