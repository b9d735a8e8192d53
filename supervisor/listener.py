"""Opens the socket on which jobd listens for HTTP: a TCP port, or a unix socket. Answering is left to `endpoint.py`."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

from jobd.client.errors import PortUnavailable
from jobd.worker import log

SOCKET_MODE = 0o660
"""A unix socket is for jobd's user and group."""
BACKLOG = 128

_REMEDIES = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another port",
    errno.EADDRNOTAVAIL: "this machine does not have that address; choose one that it has, such as 127.0.0.1",
    errno.EACCES: "that takes more rights than this user has; choose a port above 1023",
}


def listen(address: str, *, warn: bool = True) -> socket.socket:
    """Listen on `host:port`, `[IPv6]:port`, or the path of a unix socket (it contains a slash; mode 0660).

    The socket does not block. One that a dead process left at the path is replaced; folders that are missing are made.
    Port 0 takes any that is free. Beyond this machine it is logged, unless `warn` is false. Raises PortUnavailable.
    """
    try:
        listener = _listen_on_path(Path(address)) if "/" in address else _listen_on_port(address, warn)
    except (OSError, UnicodeError) as error:  # the latter for a name that is none, as a..b
        raise _unavailable(address, _remedy(address, error)) from error
    listener.setblocking(False)
    return listener


def file_of(listener: socket.socket) -> tuple[str, int, int] | None:
    """A unix socket's path, and which file is there now; None for other sockets or when it is gone."""
    if listener.family != socket.AF_UNIX:
        return None
    path = str(listener.getsockname())
    try:
        found = os.stat(path)
    except OSError:
        return None
    return path, found.st_dev, found.st_ino


def remove_file(listener: socket.socket, file: tuple[str, int, int] | None) -> None:
    """Remove a unix socket's file if it is still the one that `file_of` has told."""
    if file is not None and file == file_of(listener):
        with contextlib.suppress(OSError):
            os.unlink(file[0])


def _listen_on_port(address: str, warn: bool) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise _unavailable(address, "write host and port, such as 127.0.0.1:9394")
    family, _, _, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    listener = socket.create_server(place, family=family, backlog=BACKLOG)
    if warn and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        hint = "whoever reaches it can read the names of queues and jobs; 127.0.0.1 or a unix socket is private"
        log.event("metrics.exposed", level=log.WARNING, address=address, hint=hint)
    return listener


def _listen_on_path(path: Path) -> socket.socket:
    path = path.absolute()  # it is removed at the end, when the working directory may be another one
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that is gone; what else is there stays and is an error."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise _unavailable(str(path), "there is a file that is no socket; remove it, or choose another path")
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            if client.connect_ex(str(path)) != errno.ECONNREFUSED:
                raise _unavailable(str(path), "another program listens there; stop it, or choose another path")
        path.unlink()


def _remedy(address: str, error: OSError | UnicodeError) -> str:
    what = getattr(error, "strerror", None) or str(error)
    if "/" in address:
        return f"{what}; choose another path"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"{what}; write an address of this machine, such as 127.0.0.1:9394"
    return _REMEDIES.get(error.errno or 0, f"{what}; choose another one")


def _unavailable(address: str, remedy: str) -> PortUnavailable:
    return PortUnavailable(f"cannot listen on {address}: {remedy}")
