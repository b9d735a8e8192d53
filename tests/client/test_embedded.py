"""Which directory and socket an `embedded:` address means."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from jobd.client.embedded import EmbeddedAddress, is_embedded, runtime_directory
from jobd.client.errors import ConfigError, StoreUnavailable


@pytest.fixture
def long_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    directory = tmp_path / ("x" * 120)
    directory.mkdir(mode=0o700)
    return directory


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        ("embedded:", "/app/var/jobd"),
        ("embedded:store", "/app/store"),
        ("embedded:./a/../b", "/app/b"),
        ("embedded:/srv/with space", "/srv/with space"),
    ],
)
def test_the_directory_is_relative_to_the_current_one(url: str, directory: str) -> None:
    assert EmbeddedAddress.of(url, cwd=Path("/app")).directory == Path(directory)


def test_without_a_cwd_the_current_directory_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert EmbeddedAddress.of("embedded:store").directory == tmp_path.resolve() / "store"


@pytest.mark.parametrize("url", ["redis://localhost", "embedded://var/jobd", "embedded:a\0b", "", "store"])
def test_other_addresses_are_refused_with_the_right_spelling(url: str) -> None:
    with pytest.raises(ConfigError, match="write embedded:var/jobd or embedded:/"):
        EmbeddedAddress.of(url)


def test_only_embedded_addresses_are_embedded() -> None:
    assert is_embedded("embedded:")
    assert not is_embedded("unix:///tmp/embedded:")


def test_the_socket_is_in_the_directory() -> None:
    address = EmbeddedAddress(Path("/srv/a b"))
    assert address.socket == Path("/srv/a b/valkey.sock")
    assert address.url == "unix:///srv/a%20b/valkey.sock"


def test_a_path_of_100_bytes_is_kept_and_a_longer_one_shortened() -> None:
    fits = Path("/" + "d" * (100 - len("//valkey.sock")))
    assert len(str(EmbeddedAddress(fits).socket)) == 100
    assert EmbeddedAddress(fits).socket.parent == fits
    assert EmbeddedAddress(Path(f"{fits}d")).socket.parent == runtime_directory()
    # é is two bytes
    assert EmbeddedAddress(Path(f"{fits}"[:-1] + "é")).socket.parent == runtime_directory()


def test_long_paths_get_different_short_sockets() -> None:
    sockets = {EmbeddedAddress(Path("/" + "d" * 120 + end)).socket for end in "abc"}
    assert len(sockets) == 3


def test_two_spellings_of_one_directory_are_one_store(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert EmbeddedAddress.of("embedded:link", tmp_path) == EmbeddedAddress.of("embedded:real", tmp_path)


def test_without_a_runtime_directory_a_private_temporary_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert runtime_directory().name == f"jobd-{os.geteuid()}"


def test_the_error_without_a_socket_says_how_to_start_jobd(tmp_path: Path) -> None:
    directory = tmp_path / "a store"
    message = str(EmbeddedAddress(directory).unavailable())
    assert f"no jobd runs on {directory}" in message
    assert "is not there" in message
    assert f"jobd --embedded '{directory}'" in message


def test_the_error_with_a_dead_socket_says_that_it_refuses(tmp_path: Path) -> None:
    address = EmbeddedAddress(tmp_path)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(address.socket))
    assert "refuses connections" in str(address.unavailable())


def test_a_runtime_directory_open_to_others_is_not_trusted(long_directory: Path) -> None:
    address = EmbeddedAddress(long_directory)
    address.check_private()
    address.socket.parent.mkdir(parents=True, mode=0o700)
    address.check_private()
    address.socket.parent.chmod(0o777)
    with pytest.raises(StoreUnavailable, match="mode 0700"):
        address.check_private()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
def test_a_runtime_directory_of_another_user_is_not_trusted(long_directory: Path) -> None:
    address = EmbeddedAddress(long_directory)
    address.socket.parent.mkdir(parents=True, mode=0o700)
    os.chown(address.socket.parent, 65534, 65534)
    with pytest.raises(StoreUnavailable, match="uid 0"):
        address.check_private()
