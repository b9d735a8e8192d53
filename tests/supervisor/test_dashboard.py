"""The key `web`: a process beside the workers that serves the dashboard, looked after by the master."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from jobd.client.errors import ConfigError, ConfigErrors, PortUnavailable
from jobd.supervisor import exits, web_settings, web_thread
from jobd.supervisor.cli import main
from jobd.supervisor.config import Config, load, show
from jobd.supervisor.web_settings import WebSettings
from jobd.supervisor.web_thread import DashboardThread
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

AGAIN = {"jobd.supervisor.dashboard.LISTEN_AGAIN": 0.1}


def get(address: str, path: str = "/") -> httpx.Response:
    """Ask the dashboard at the path of a unix socket, or at a port."""
    if "/" not in address:
        return httpx.get(f"http://{address}{path}", timeout=10)
    with httpx.Client(transport=httpx.HTTPTransport(uds=address), timeout=10) as client:
        return client.get(f"http://localhost{path}")


def pid_of(jobd: Jobd) -> int:
    """The process that serves the dashboard now."""
    pid = jobd.status()["web"]["pid"]
    assert isinstance(pid, int)
    return pid


def sockets(pid: int) -> set[str]:
    """The sockets and pipes that a process has open."""
    return {link for entry in Path(f"/proc/{pid}/fd").iterdir() if (link := _target(entry)).startswith("socket:")}


def _target(entry: Path) -> str:
    try:
        return os.readlink(entry)
    except FileNotFoundError:
        return ""


def test_the_dashboard_is_served_beside_the_workers_and_comes_again_after_a_kill(
    start_jobd: StartJobd, tmp_path: Path
) -> None:
    address = str(tmp_path / "web.sock")
    jobd = start_jobd(web=address, pidfile=str(tmp_path / "jobd.pid"), tag="shop")
    jobd.wait_for("web.ready")
    assert get(address, "/api/v1/totals").json()["processes"] == 1
    web = psutil.Process(pid_of(jobd))
    assert " ".join(web.cmdline()).strip().endswith(f"shop web unix:{address}")
    assert web.pid not in {worker.pid for worker in jobd.workers}
    shared = {pid: sockets(web.pid) & sockets(pid) for pid in (jobd.pid, *(each.pid for each in jobd.workers))}
    assert [len(found) for found in shared.values()] == [1, 0], "only the listener, and that with the master alone"
    web.kill()
    assert "SIGKILL" in jobd.wait_for("web.ended")["cause"]
    jobd.wait_for("web.started", count=2)
    assert get(address).status_code == 200, "the master's socket refuses nobody meanwhile"
    jobd.signal(signal.SIGTSTP)
    os.kill(pid_of(jobd), signal.SIGTSTP)
    jobd.wait_for("master.quiet")
    assert get(address).status_code == 200
    assert jobd.stop() == exits.OK
    assert jobd.events("web.ended")[-1]["cause"] == "exit code 0"
    assert jobd.session == []
    assert not Path(address).exists()


def test_without_a_master_a_thread_of_the_process_serves_it(start_jobd: StartJobd, tmp_path: Path) -> None:
    address, again = str(tmp_path / "web.sock"), {"jobd.supervisor.web_thread.AGAIN": 0.1}
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(address)
        taken.listen()
        jobd = start_jobd(processes=0, web=address, pidfile=str(tmp_path / "jobd.pid"), constants=again)
        assert f"cannot listen on {address}" in jobd.wait_for("web.not_listening")["error"]
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        assert jobd.status()["web"]["listening"] is False
    jobd.wait_for("web.ready")
    assert get(address, "/api/v1/totals").json()["processed"] == 1
    assert jobd.status()["web"] == {"address": f"unix:{address}", "listening": True, "pid": jobd.pid}
    assert jobd.stop() == exits.OK
    assert jobd.count("web.not_listening") == 1
    assert (jobd.session, Path(address).exists()) == ([], False)


@pytest.mark.parametrize("lacking", ["sockets", "threads"])
def test_without_a_master_a_lack_of_means_stops_no_job_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lacking: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files") if lacking == "sockets" else RuntimeError("no thread")

    dashboard = DashboardThread(Config(redis_url="redis://127.0.0.1:1"), WebSettings(bind=str(tmp_path / "web.sock")))
    with monkeypatch.context() as short:
        short.setattr(*((socket.socket, "dup") if lacking == "sockets" else (threading.Thread, "start")), fail)
        dashboard.tick(100.0)
        client, before = dashboard._client, sockets(os.getpid())
        dashboard.tick(100.0 + web_thread.AGAIN - 1)
        dashboard.tick(100.0 + web_thread.AGAIN)
        assert sockets(os.getpid()) <= before  # others may be collected meanwhile
    try:
        dashboard.tick(100.0 + 2 * web_thread.AGAIN)
        wait_until(lambda: dashboard._server.started, "it to serve")
        assert get(str(tmp_path / "web.sock")).status_code == 503  # it answers, that there is no Redis
        assert dashboard._client is client
    finally:
        dashboard.close()
    assert [record.getMessage().split()[0] for record in caplog.records].count("web.defect") == 2


def test_a_reload_moves_it_and_a_port_that_is_taken_stops_no_job(start_jobd: StartJobd, tmp_path: Path) -> None:
    first = str(tmp_path / "first.sock")
    jobd = start_jobd(web=first, pidfile=str(tmp_path / "jobd.pid"), constants=AGAIN)
    jobd.wait_for("web.ready")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"127.0.0.1:{taken.getsockname()[1]}"
        jobd.configure(web={"bind": port, "root_path": "/jobs"})
        jobd.signal(signal.SIGHUP)
        told = jobd.wait_for("web.not_listening")
        assert f"cannot listen on {port}: another program listens there" in told["error"]
        jobd.push("quick", 1)
        jobd.wait_for_lines("ended", 1)
        assert jobd.status()["web"]["listening"] is False
        assert not Path(first).exists()
    jobd.wait_for("web.ready", count=2)
    assert 'href="/jobs/queues"' in get(port).text
    jobd.configure(web={"bind": port.replace("127.0.0.1", "127.1"), "root_path": "/jobs"})
    jobd.signal(signal.SIGHUP)
    jobd.wait_for("web.ready", count=3)
    assert jobd.count("web.not_listening") == 1, "once for one reason, and not for the port that was its own"
    jobd.configure(web="0.0.0.0:7433")
    jobd.signal(signal.SIGHUP)
    assert "set JOBD_WEB_USER" in jobd.wait_for("config.refused")["error"]
    jobd.configure(web="a..b:7433")
    jobd.signal(signal.SIGHUP)
    assert "web a..b:7433" in jobd.wait_for("config.refused", count=2)["error"]
    pid = pid_of(jobd)
    os.kill(jobd.pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid), "it ends with its master")


def test_a_start_that_would_let_everybody_in_ends_before_anything_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "open.yml"
    path.write_text("web: 0.0.0.0:7433\n")
    monkeypatch.chdir(tmp_path)
    for words in (["-C", str(path)], ["start", "--check", "-C", str(path)]):
        assert main(words) == exits.CONFIG
        assert "web 0.0.0.0:7433: whoever reaches it could look at all jobs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bind", "variables", "problem"),
    [
        ("127.0.0.1:1", {}, ""),
        ("/run/jobd/web.sock", {}, ""),
        ("[::1]:1", {}, ""),
        ("0.0.0.0:1", {"JOBD_WEB_TOKEN": "x"}, ""),
        ("0.0.0.0:1", {"JOBD_WEB_USER": "ann", "JOBD_WEB_PASSWORD": "x"}, ""),
        ("0.0.0.0:1", {}, "set JOBD_WEB_USER and JOBD_WEB_PASSWORD"),
        ("[::]:1", {}, "or bind to 127.0.0.1"),
        ("a..b:1", {}, "or bind to 127.0.0.1"),
        ("a..b:1", {"JOBD_WEB_TOKEN": "x"}, ""),
        ("127.0.0.1:1", {"JOBD_WEB_USER": "ann"}, "JOBD_WEB_PASSWORD is not set"),
        ("127.0.0.1:1", {"JOBD_WEB_READ_ONLY": "maybe"}, "write 1 or 0"),
    ],
)
def test_the_environment_decides_who_may_come_in(bind: str, variables: Mapping[str, str], problem: str) -> None:
    if problem:
        with pytest.raises(ConfigError, match=problem):
            web_settings.refuse_unsafe(WebSettings(bind=bind), variables)
    else:
        web_settings.refuse_unsafe(WebSettings(bind=bind), variables)


def test_a_name_that_has_come_to_mean_more_than_this_machine_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[str, str] = {}
    look_up = socket.getaddrinfo

    def known(host: str, *args: Any, **options: Any) -> Any:
        if host == "jobs.internal" and host not in places:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(places.get(host, host), *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    settings = WebSettings(bind="jobs.internal:0")
    with pytest.raises(ConfigError, match=r"or bind to 127\.0\.0\.1"):
        web_settings.refuse_unsafe(settings, {})
    places["jobs.internal"] = "127.0.0.1"
    web_settings.refuse_unsafe(settings, {})
    web_settings.listen(settings.bind, {}).close()
    places["jobs.internal"] = "0.0.0.0"
    with pytest.raises(PortUnavailable, match=r"jobs\.internal:0: that is 0\.0\.0\.0 now"):
        web_settings.listen(settings.bind, {})
    web_settings.listen(settings.bind, {"JOBD_WEB_TOKEN": "x"}).close()


def test_without_its_packages_the_start_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_settings, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(ConfigError, match=r"needs the extra `web`: pip install .*not found: uvicorn"):
        web_settings.refuse_unsafe(WebSettings(bind="127.0.0.1:1"), {})
    web_settings.refuse_unsafe(None, {})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("127.0.0.1:7433", WebSettings(bind="127.0.0.1:7433")),
        ("tmp/web.sock", WebSettings(bind="tmp/web.sock")),
        (
            "{bind: 127.0.0.1:1, read_only: true, root_path: /jobs, trusted_origins: https://a.example, hosts: [a, b], "
            "title: Shop, environment: production, source_link: 'https://git.test/{path}', source_root: /srv/shop}",
            WebSettings(
                bind="127.0.0.1:1",
                read_only=True,
                root_path="/jobs",
                trusted_origins=("https://a.example",),
                hosts=("a", "b"),
                title="Shop",
                environment="production",
                source_link="https://git.test/{path}",
                source_root="/srv/shop",
            ),
        ),
    ],
)
def test_the_key_is_an_address_or_a_mapping(written: str, read: WebSettings, tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text(f"web: {written}\n")
    assert load(path, None, {}, {}).web == read


def test_the_section_of_the_file_is_shown_unless_it_is_that_of_development_or_another_is_given() -> None:
    plain = WebSettings(bind="127.0.0.1:1")
    assert [plain.named(name).environment for name in ("development", "staging")] == ["", "staging"]
    assert WebSettings(bind="127.0.0.1:1", environment="canary").named("production").environment == "canary"


def test_the_settings_are_shown_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text("web: {bind: 127.0.0.1:1, read_only: true}\n")
    assert '{bind: "127.0.0.1:1", read_only: true}' in show(load(path, None, {}, {}))


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("':7433'", "must be host and port, such as 127.0.0.1:9394"),
        ("{read_only: true}", "must name where to listen: {bind: 127.0.0.1:7433}"),
        ("{bind: 127.0.0.1:1, readonly: true}", "web.readonly = true: unknown key; did you mean read_only?"),
        ("{bind: 127.0.0.1:1, root_path: jobs/}", "must be the path that a proxy takes away, such as /jobs"),
        ("{bind: 127.0.0.1:1, hosts: [a:80]}", "web.hosts[0] = a:80: must be the name of a host without a port"),
        ("{bind: 127.0.0.1:1, title: ''}", "web.title = "),
        ("{bind: 127.0.0.1:1, source_link: 'https://git.test/{path}'}", "source_root must be the folder to which"),
        ("{bind: 127.0.0.1:1, trusted_origins: a.b}", "must be an origin, such as https://ops.example.com"),
    ],
)
def test_what_is_wrong_with_the_key_is_said_with_its_place(written: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text(f"web: {written}\n")
    with pytest.raises(ConfigErrors) as caught:
        load(path, None, {}, {})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "127.0.0.1:1",
        WebSettings(bind="x"),
        WebSettings(bind="a:1", root_path="x"),
        WebSettings(bind="a:1", title=""),
        {"bind": "a:1"},
    ],
)
def test_settings_of_code_are_checked_too(wrong: Any) -> None:
    with pytest.raises(ConfigErrors, match="web = "):
        Config(web=wrong)
