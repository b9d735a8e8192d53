"""What users get wrong: clear lines on the terminal, a documented exit code, no traceback of ours."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobd.client import defaults
from jobd.supervisor import exits
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import environment, run_jobd


def said(done: subprocess.CompletedProcess[str], code: int) -> list[str]:
    """The lines that jobd said, after it ended with `code` and without a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return [line for line in done.stderr.splitlines() if line.startswith("jobd: ")]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


class TestConfiguration:
    @pytest.mark.parametrize(
        ("text", "lines"),
        [
            pytest.param(
                "concurency: 3\n",
                ["c.yml:1: concurency = 3: unknown key; did you mean concurrency?"],
                id="unknown key",
            ),
            pytest.param("concurrency: many\n", ["c.yml:1: concurrency = many: must be a whole number"], id="type"),
            pytest.param("queues: [a\n", ["c.yml:2: bad YAML"], id="bad YAML"),
            pytest.param(
                "timeout: 1\ntimeout: 2\n", ["c.yml:2: timeout: given twice, first on line 1"], id="duplicate"
            ),
            pytest.param("queues: [[a, 0]]\n", ["c.yml:1: queues[0] = [a, 0]: the weight must be"], id="weights"),
            pytest.param("tag: <%= 1 %>\n", ["c.yml:1: ERB (<% … %>) is not evaluated; write ${VAR}"], id="ERB"),
            pytest.param("redis_url: http://x\n", ["c.yml:1: redis_url = http://x: must "], id="scheme"),
            pytest.param("redis_url: redis://h:99999999\n", ["c.yml:1: redis_url = "], id="port"),
            pytest.param("- a\n", ["c.yml:1: the file must be a mapping"], id="no mapping"),
            pytest.param(
                "concurrency: 0\ntimeout: never\nqueus: [a]\n",
                ["c.yml:1: concurrency = 0", "c.yml:2: timeout = never", "c.yml:3: queus = [a]: unknown key"],
                id="all at once",
            ),
        ],
    )
    @pytest.mark.parametrize("command", [["start"], ["check"]])
    def test_each_problem_is_a_line_with_its_place(
        self, tmp_path: Path, text: str, lines: list[str], command: list[str]
    ) -> None:
        (tmp_path / "c.yml").write_text(text)
        found = said(run_jobd(*command, "-C", "c.yml", cwd=tmp_path), exits.CONFIG)
        assert exits.CONFIG == 78
        assert len(found) == len(lines)
        for line, start in zip(found, lines, strict=True):
            assert line.startswith(f"jobd: {start}")

    @pytest.mark.parametrize("path", ["missing.yml", "."])
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path, path: str) -> None:
        (line,) = said(run_jobd("-C", path, cwd=tmp_path), exits.CONFIG)
        assert line.startswith(f"jobd: {path}: ")

    def test_wrong_flags_are_configuration_errors_too(self, tmp_path: Path) -> None:
        (line,) = said(run_jobd("-c", "0", cwd=tmp_path), exits.CONFIG)
        assert line.startswith("jobd: --concurrency = 0: must be")

    def test_a_variable_that_is_not_set_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "c.yml").write_text("redis_url: ${NO_SUCH}\n")
        (line,) = said(run_jobd("-C", "c.yml", cwd=tmp_path), exits.CONFIG)
        assert "the variable NO_SUCH is not set" in line


class TestRedis:
    def test_without_a_server_the_address_is_named(self, tmp_path: Path, closed_port: int) -> None:
        url = f"redis://:secret@127.0.0.1:{closed_port}/0"
        (line,) = said(run_jobd(cwd=tmp_path, REDIS_URL=url), exits.REDIS_UNAVAILABLE)
        assert exits.REDIS_UNAVAILABLE == 75
        assert f"redis://:***@127.0.0.1:{closed_port}/0" in line
        assert "secret" not in line

    def test_without_any_setting_the_embedded_store_is_offered(self, tmp_path: Path) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", 6379), 1):
            pytest.skip(f"something listens at {defaults.REDIS_URL}")
        (line,) = said(run_jobd(cwd=tmp_path), exits.REDIS_UNAVAILABLE)
        assert defaults.REDIS_URL in line
        assert "jobd --embedded" in line

    @pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
    def test_a_refused_login_ends_the_start(self, tmp_path: Path, login: str) -> None:
        with RedisServer(password="right") as server:
            url = f"unix://{login}{server.socket}"
            (line,) = said(run_jobd(cwd=tmp_path, REDIS_URL=url), exits.REDIS_UNAVAILABLE)
        assert str(server.socket) in line
        assert "uthentication" in line or "username-password" in line
        assert "wrong" not in line

    def test_a_server_that_is_too_old_is_refused(self, tmp_path: Path) -> None:
        with old_server() as port:
            (line,) = said(run_jobd(cwd=tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}"), exits.REDIS_UNAVAILABLE)
        assert line == "jobd: Redis 5.0.14 is too old: jobd needs Redis 6.2 or newer, or Valkey"

    def test_a_user_of_redis_who_would_lose_jobs_is_refused(self, tmp_path: Path) -> None:
        with RedisServer() as server, server.client() as client:
            client.execute_command("ACL", "SETUSER", "halfway", "on", ">word", "~*", "&*", "+@all", "-zadd")
            url = f"unix://halfway:word@{server.socket}"
            for command in ([], ["--check"]):
                (line,) = said(run_jobd(*command, cwd=tmp_path, REDIS_URL=url), exits.REDIS_UNAVAILABLE)
                assert "may not run ZADD" in line
                assert "ACL SETUSER" in line
                assert "word@" not in line

    def test_what_is_no_redis_at_all_is_said(self, tmp_path: Path) -> None:
        with answering({b"": b"HTTP/1.1 400 Bad Request\r\n\r\n"}) as port:
            (line,) = said(run_jobd(cwd=tmp_path, REDIS_URL=f"redis://127.0.0.1:{port}"), exits.REDIS_UNAVAILABLE)
        assert f"127.0.0.1:{port}" in line

    def test_a_second_jobd_on_one_embedded_directory_is_refused(self, start_jobd: StartJobd, tmp_path: Path) -> None:
        jobd = start_jobd(f"embedded:{tmp_path}/store")
        (line,) = said(run_jobd("--embedded", "store", cwd=tmp_path), exits.ALREADY_RUNNING)
        assert exits.ALREADY_RUNNING == 73
        assert f"(pid {jobd.pid}) owns the embedded store in {tmp_path}/store" in line
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)


class TestApplication:
    @pytest.mark.parametrize("processes", ["0", "4"])
    def test_a_missing_module_is_one_line(self, tmp_path: Path, redis_url: str, processes: str) -> None:
        done = run_jobd("-r", "no_such_app", "--processes", processes, cwd=tmp_path, REDIS_URL=redis_url)
        (line,) = said(done, exits.CHILDREN_CANNOT_BOOT)
        assert exits.CHILDREN_CANNOT_BOOT == 70
        assert "cannot import no_such_app" in line
        assert str(tmp_path) in line

    @pytest.mark.parametrize("processes", ["0", "4"])
    def test_a_module_that_raises_shows_its_own_traceback_once(
        self, tmp_path: Path, redis_url: str, processes: str
    ) -> None:
        (tmp_path / "broken.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
        done = run_jobd("-r", "broken", "--processes", processes, cwd=tmp_path, REDIS_URL=redis_url)
        assert done.returncode == exits.CHILDREN_CANNOT_BOOT
        assert done.stderr.count("jobd: cannot import broken: ZeroDivisionError") == 1
        assert done.stderr.count("Traceback") == 1
        assert [line for line in done.stderr.splitlines() if line.strip().startswith("File ")] == [
            f'  File "{tmp_path}/broken.py", line 4, in <module>',
            f'  File "{tmp_path}/broken.py", line 2, in f',
        ]

    def test_a_module_with_a_syntax_error_shows_the_place(self, tmp_path: Path, redis_url: str) -> None:
        (tmp_path / "broken.py").write_text("def f(:\n")
        done = run_jobd("-r", "broken", "--processes", "1", cwd=tmp_path, REDIS_URL=redis_url)
        assert done.returncode == exits.CHILDREN_CANNOT_BOOT
        assert f'File "{tmp_path}/broken.py", line 1' in done.stderr
        assert "jobd/" not in done.stderr.partition("Traceback")[2]

    def test_a_module_that_exits_is_a_failed_start(self, tmp_path: Path, redis_url: str) -> None:
        (tmp_path / "broken.py").write_text("raise SystemExit(0)\n")
        done = run_jobd("-r", "broken", "--processes", "1", cwd=tmp_path, REDIS_URL=redis_url)
        assert done.returncode == exits.CHILDREN_CANNOT_BOOT
        assert "jobd: cannot import broken: SystemExit" in done.stderr

    @pytest.mark.parametrize("processes", ["0", "2"])
    def test_two_jobs_of_one_name_are_one_line(self, tmp_path: Path, redis_url: str, processes: str) -> None:
        twice = "import jobd\n@jobd.job(name='same')\ndef a(): ...\n@jobd.job(name='same')\ndef b(): ...\n"
        (tmp_path / "twice.py").write_text(twice)
        done = run_jobd("-r", "twice", "--processes", processes, cwd=tmp_path, REDIS_URL=redis_url)
        (line,) = said(done, exits.CHILDREN_CANNOT_BOOT)
        assert line.startswith("jobd: twice: ")
        assert "'same'" in line


@contextlib.contextmanager
def answering(replies: dict[bytes, bytes]) -> Iterator[int]:
    """A server that answers each packet by the first word found in it; the empty word fits all. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_all, args=(listener, replies))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer_all(listener: socket.socket, replies: dict[bytes, bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                while packet := connection.recv(65536):
                    count = packet.count(b"\r\n*") + 1
                    reply = next((reply for word, reply in replies.items() if word in packet), b"+OK\r\n")
                    connection.sendall(reply * count)


@contextlib.contextmanager
def old_server() -> Iterator[int]:
    """A server that says it is Redis 5."""
    info = b"# Server\r\nredis_version:5.0.14\r\nrole:master\r\n"
    replies = {b"INFO\r\n": b"$%d\r\n%s\r\n" % (len(info), info), b"TIME\r\n": b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n"}
    with answering(replies) as port:
        yield port


@pytest.mark.parametrize("option", ["-P", "-L"])
def test_a_file_that_this_user_may_not_write_has_a_code_of_its_own(tmp_path: Path, option: str) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    script = """
import os, sys
from jobd.supervisor import cli, start  # that user may not read the installation
if os.getuid() == 0:
    os.setuid(65534)  # root may write everywhere
sys.exit(cli.main([sys.argv[1], "closed/file", "-r", "jobs"]))
"""
    command = [sys.executable, "-c", script, option]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    (line,) = said(done, exits.NOT_PERMITTED)
    assert "closed/file" in line
    assert f"with {option}" in line
