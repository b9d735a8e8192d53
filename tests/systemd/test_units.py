"""The units under a real systemd, in a container: `make systemd-test` makes that and runs these tests."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.apps import ledger_jobs
from tests.systemd.container_root import APPLICATION, root_directory
from tests.systemd.machine import Machine
from tests.systemd.unit import IMPORT_SECONDS, Unit
from tests.waiting import wait_until

UNITS = Path(__file__).parents[2] / "systemd"

if not os.environ.get("JOBD_SYSTEMD_TEST"):
    pytest.skip("needs root and a container: run `make systemd-test`", allow_module_level=True)

MakeUnit = Callable[..., Unit]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The container, with the units of this checkout."""
    root = root_directory()
    folder = root / "etc" / "systemd" / "system"
    for old in folder.glob("jobd*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in ("jobd.service", "jobd@.service"):
        shutil.copy(UNITS / name, folder)
    with Machine(root, tmp_path_factory.mktemp("machine") / "boot.log") as booted:
        yield booted


@pytest.fixture
def make_unit(machine: Machine, request: pytest.FixtureRequest) -> Iterator[MakeUnit]:
    """Makes the test's instance of the template, with settings."""
    name = re.sub(r"\W", "", request.node.name.removeprefix("test_").replace("_", ""))[:40]
    with ExitStack() as stack:

        def make(**settings: Any) -> Unit:
            unit = Unit(machine, name, **settings)
            stack.callback(unit.close)
            return unit

        yield make


def test_a_start_lasts_until_the_application_is_loaded_and_every_process_ready(make_unit: MakeUnit) -> None:
    unit = make_unit(require=["slow_jobs"])
    began = time.monotonic()
    unit.systemctl("start")
    assert time.monotonic() - began >= IMPORT_SECONDS
    assert unit.journal().count("process.ready") == 2
    assert unit.shown("ActiveState") == "active"


def test_its_state_is_shown_in_words(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.systemctl("start")
    assert "2" in unit.shown("StatusText")
    assert unit.shown("StatusText") in unit.machine.run("systemctl", "status", "--no-pager", unit.unit)


def test_an_application_that_cannot_be_loaded_fails_the_start_with_its_exit_code(make_unit: MakeUnit) -> None:
    unit = make_unit(require=["no_such_module"])
    unit.set_in_unit("Restart=no")
    assert unit.machine.attempt("systemctl", "start", unit.unit).returncode != 0
    assert (unit.shown("ActiveState"), unit.shown("ExecMainStatus")) == ("failed", "70")
    assert "no_such_module" in unit.journal()


def test_it_becomes_quiet_and_stays_up(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.systemctl("start")
    unit.push("hold", 1)
    unit.wait_until_noted("began", ["1"])
    unit.signal("TSTP")
    wait_until(lambda: unit.shown("StatusText").startswith("quiet"), "a status that says so")
    unit.wait_for_event("process.quiet", count=2)
    unit.push("quick", 2)
    unit.release()
    unit.wait_until_noted("ended", ["1"])
    assert unit.shown("ActiveState") == "active"
    unit.systemctl("restart")
    unit.wait_until_noted("ended", ["1", "2"])


def test_a_reload_applies_a_changed_configuration_while_the_unit_stays_active(make_unit: MakeUnit) -> None:
    unit = make_unit(restart_probe=0.5)
    unit.systemctl("start")
    master, before = unit.shown("MainPID"), unit.journal().count("process.ready")
    unit.configure(concurrency=3)
    unit.systemctl("reload")
    wait_until(lambda: unit.journal().count("process.ready") == before + 2, "two new processes", 30.0)
    unit.wait_until_shown("ActiveState", "active")
    assert (unit.shown("MainPID"), unit.shown("NRestarts")) == (master, "0")


def test_a_reload_of_a_wrong_configuration_changes_nothing_and_is_logged(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.systemctl("start")
    before = unit.processes()
    unit.configure(concurrency=-3)
    unit.systemctl("reload")
    wait_until(lambda: "concurrency = -3" in unit.journal(), "the mistake in the journal", 15.0)
    unit.wait_until_shown("ActiveState", "active")
    assert unit.processes() == before


def test_with_the_drop_in_a_reload_lasts_until_the_configuration_is_judged(make_unit: MakeUnit) -> None:
    unit = make_unit(restart_probe=0.5)
    version = int(unit.machine.run("systemctl", "--version").split()[1])
    if version < 253:
        pytest.skip(f"systemd {version} has no Type=notify-reload: try JOBD_SYSTEMD_SUITE=trixie")
    unit.drop_in((UNITS / "notify-reload.conf").read_text())
    unit.systemctl("start")
    for concurrency, event in ((3, "config.reloaded"), (-3, "config.refused")):
        unit.configure(concurrency=concurrency)
        unit.systemctl("reload")
        unit.machine.run("journalctl", "--sync")
        assert event in unit.journal()
    assert (unit.shown("ActiveState"), unit.shown("NRestarts")) == ("active", "0")


def test_new_code_is_taken_by_new_processes_while_the_unit_stays_active(make_unit: MakeUnit) -> None:
    unit = make_unit(restart_probe=0.5)
    unit.systemctl("start")
    master, before = unit.shown("MainPID"), unit.processes()
    unit.signal("USR2")
    wait_until(lambda: unit.journal().count("process.ready") == 4, "two new processes", 30.0)
    unit.wait_for_event("process.stopped", count=2)
    # The master and the store are still the same.
    wait_until(lambda: len(unit.processes() & before) == 2, "the end of the old processes")
    assert (unit.shown("MainPID"), unit.shown("ActiveState"), unit.shown("NRestarts")) == (master, "active", "0")


def test_a_master_that_hangs_is_replaced_by_the_watchdog(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.set_in_unit("WatchdogSec=2")
    unit.systemctl("start")
    before = unit.processes()
    unit.signal("STOP")
    unit.wait_until_shown("NRestarts", "1", 30.0)
    unit.wait_until_shown("ActiveState", "active")
    assert not before & unit.processes()
    assert "Watchdog timeout" in unit.machine.run("journalctl", "--boot", "--no-pager", f"UNIT={unit.unit}")


def test_a_master_that_waits_for_nothing_to_do_keeps_the_watchdog_content(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.set_in_unit("WatchdogSec=1")
    unit.systemctl("start")
    unit.push("last", 3)
    unit.wait_until_noted("ended", ["3"])
    assert unit.shown("NRestarts") == "0"


def test_a_stop_ends_in_time_and_gives_back_what_runs(make_unit: MakeUnit) -> None:
    unit = make_unit(timeout=2)
    unit.systemctl("start")
    unit.push("hold", 1)
    unit.wait_until_noted("began", ["1"])
    began = time.monotonic()
    unit.systemctl("stop")
    assert time.monotonic() - began < 2 + 3
    assert (unit.shown("ActiveState"), unit.shown("Result"), unit.processes()) == ("inactive", "success", set())
    unit.release()
    unit.systemctl("start")
    unit.wait_until_noted("ended", ["1"])
    assert unit.noted("began") == ["1", "1"]


def test_one_that_was_stopped_by_hand_stays_stopped(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.systemctl("start")
    unit.signal("TERM")
    unit.wait_until_shown("SubState", "dead")
    assert (unit.shown("Result"), unit.shown("NRestarts")) == ("success", "0")


@pytest.mark.parametrize(
    ("settings", "in_unit", "code"),
    [
        ({}, f"ExecStart=\nExecStart=/{APPLICATION}/.venv/bin/jobd --no-such-flag", "64"),
        ({}, "ExecStartPre=/bin/sh -c 'echo not a pid > $RUNTIME_DIRECTORY/jobd.pid'", "73"),
        ({"concurrency": 0}, "", "78"),
    ],
    ids=["command line", "pidfile of another", "configuration"],
)
def test_what_does_not_go_away_by_itself_is_not_tried_again(
    make_unit: MakeUnit, settings: dict[str, Any], in_unit: str, code: str
) -> None:
    unit = make_unit(**settings)
    unit.set_in_unit(in_unit)
    assert unit.machine.attempt("systemctl", "start", unit.unit).returncode != 0
    # One that is to be tried again would be `activating (auto-restart)` now.
    assert (unit.shown("ActiveState"), unit.shown("SubState")) == ("failed", "failed")
    assert (unit.shown("ExecMainStatus"), unit.shown("NRestarts")) == (code, "0")


def test_a_killed_master_is_started_anew_and_nothing_of_the_old_one_is_left(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.systemctl("start")
    unit.push("hold", 1)
    unit.wait_until_noted("began", ["1"])
    before = unit.processes()
    assert len(before) == 4, "a master, two workers and the store"
    unit.signal("KILL")
    unit.wait_until_shown("NRestarts", "1")
    unit.wait_until_shown("ActiveState", "active")
    unit.wait_until_noted("began", ["1", "1"])
    assert len(unit.processes()) == 4
    assert not before & unit.processes()
    unit.release()
    unit.wait_until_noted("ended", ["1"])


def test_a_killed_worker_process_is_the_masters_business(make_unit: MakeUnit) -> None:
    unit = make_unit()
    unit.systemctl("start")
    unit.push("vanish", 9)
    unit.wait_until_noted("ended", ["9"])
    assert (unit.shown("ActiveState"), unit.shown("NRestarts")) == ("active", "0")


def test_its_files_are_its_users_and_gone_where_they_should_be(make_unit: MakeUnit) -> None:
    unit = make_unit(metrics="${RUNTIME_DIRECTORY}/metrics.sock", logfile="${LOGS_DIRECTORY}/jobd.log")
    unit.systemctl("start")
    name = unit.unit.removesuffix(".service").replace("@", "-")
    look = ("stat", "--format=%a %U %n")
    assert unit.machine.run(*look, f"/var/lib/{name}", f"/var/log/{name}", f"/run/{name}").splitlines() == [
        f"700 app /var/lib/{name}",
        f"750 app /var/log/{name}",
        f"755 app /run/{name}",
    ]
    assert unit.machine.run("cat", f"/run/{name}/jobd.pid").strip() == unit.shown("MainPID")
    assert unit.machine.run("stat", "--format=%F", f"/run/{name}/metrics.sock").strip() == "socket"
    assert "process.ready" in unit.machine.run("cat", f"/var/log/{name}/jobd.log")
    unit.systemctl("stop")
    assert unit.machine.attempt("ls", f"/run/{name}").returncode != 0


def test_jobs_cannot_write_where_they_have_no_business(make_unit: MakeUnit) -> None:
    unit = make_unit(redis_url="embedded:/srv/app/store")
    assert unit.machine.attempt("systemctl", "start", unit.unit).returncode != 0
    assert "Read-only file system" in unit.journal()


def test_the_unit_of_a_single_application_works_as_it_is(machine: Machine) -> None:
    application = machine.root / APPLICATION
    shutil.copy(Path(ledger_jobs.__file__), application)
    (application / "config.yml").write_text(
        "require: [ledger_jobs]\nprocesses: 1\ntimeout: 2\nredis_url: embedded:var/jobd\npidfile: tmp/jobd.pid\n"
    )
    machine.run("systemctl", "start", "jobd")
    try:
        assert machine.run("systemctl", "is-active", "jobd").strip() == "active"
        assert (application / "tmp" / "jobd.pid").exists()
        machine.run("systemctl", "stop", "jobd")
        assert not (application / "tmp" / "jobd.pid").exists()
        assert machine.run("systemctl", "show", "--value", "--property=Result", "jobd").strip() == "success"
    finally:
        machine.run("systemctl", "kill", "-s", "KILL", "jobd", check=False)
        machine.run("systemctl", "stop", "jobd")


@pytest.mark.parametrize("name", ["jobd.service", "jobd@any.service"])
def test_little_is_left_that_a_job_could_do_to_the_machine(
    machine: Machine, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = machine.run("systemd-analyze", "security", "--no-pager", name)
    [line] = [line for line in found.splitlines() if "exposure level" in line]
    with capsys.disabled():
        print(f"\n{line.strip(' →')}")
    assert float(re.findall(r": ([\d.]+) ", line)[0]) <= 3.0
