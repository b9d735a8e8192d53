"""Where the control socket is, and which places are refused."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.client.errors import ConfigError
from jobd.supervisor.control_path import LONGEST, find_socket, socket_path


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary directory with a short name; pytest's own may be too long for what is tested here."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def long_pidfile(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pidfile beside which no socket fits, on a system without a runtime directory for this user."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / "missing"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(short))
    directory = short / ("d" * LONGEST)
    directory.mkdir()
    return directory / "jobd.pid"


needs_no_runtime_directory = pytest.mark.skipif(
    Path(f"/run/user/{os.getuid()}").exists(), reason="the system has a runtime directory for this user"
)


def test_the_socket_is_beside_the_pidfile_up_to_the_longest_path(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(short))
    room = LONGEST - len(os.fsencode(short)) - len("/.sock")
    fits, too_long = short / ("p" * room), short / ("p" * (room + 1))
    assert socket_path(fits) == short / f"{fits.name}.sock"
    assert socket_path(too_long).parent != short


def test_every_way_to_a_pidfile_leads_to_one_socket(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short / "shared").mkdir()
    (short / "current").symlink_to("shared")
    monkeypatch.chdir(short)
    ways = [Path("shared/jobd.pid"), Path("current/jobd.pid"), short / "current" / "jobd.pid"]
    assert {socket_path(way) for way in ways} == {short / "shared" / "jobd.pid.sock"}


def test_a_long_path_gets_a_name_of_its_own_in_the_runtime_directory(
    long_pidfile: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = short / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    path, other = socket_path(long_pidfile), socket_path(long_pidfile.with_name("other.pid"))
    assert (path.parent, other.parent) == (runtime, runtime)
    assert path != other
    assert len(os.fsencode(path)) <= LONGEST


@needs_no_runtime_directory
def test_without_a_runtime_directory_one_is_made_for_this_user_alone(long_pidfile: Path, short: Path) -> None:
    before = os.umask(0)
    try:
        directory = socket_path(long_pidfile).parent
    finally:
        os.umask(before)
    assert directory.parent == short
    assert directory.stat().st_mode & 0o777 == 0o700
    assert socket_path(long_pidfile).parent == directory


@needs_no_runtime_directory
@pytest.mark.parametrize("kind", ["open to others", "symlink", "file", "of another user"])
def test_a_directory_that_others_control_is_refused(long_pidfile: Path, short: Path, kind: str) -> None:
    directory = short / f"jobd-{os.getuid()}"
    if kind == "symlink":
        (short / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to("elsewhere")
    elif kind == "file":
        directory.touch()
    else:
        directory.mkdir(mode=0o700)
    if kind == "open to others":
        directory.chmod(0o770)
    if kind == "of another user":
        if os.getuid() != 0:
            pytest.skip("only root can give a directory away")
        os.chown(directory, 1, 1)
    for look in (socket_path, find_socket):
        with pytest.raises(ConfigError, match=f"{directory}.*-P"):
            look(long_pidfile)


@needs_no_runtime_directory
def test_a_runtime_directory_that_others_control_is_passed_over(
    long_pidfile: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short / "runtime").mkdir()
    (short / "runtime").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short / "runtime"))
    assert socket_path(long_pidfile).parent == short / f"jobd-{os.getuid()}"


@needs_no_runtime_directory
def test_a_client_with_another_environment_finds_the_socket(
    long_pidfile: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = socket_path(long_pidfile)
    runtime = short / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert find_socket(long_pidfile) == path
