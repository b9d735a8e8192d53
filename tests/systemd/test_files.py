"""The files in `systemd/` are understood by the programs that read them, and agree with what jobd does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jobd.client import defaults
from jobd.supervisor import cli, exits
from tests.supervisor.jobd_command import Jobd
from tests.waiting import wait_until

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = ["jobd.service", "jobd@.service"]
NOT_AGAIN = {"USAGE", "ALREADY_RUNNING", "CONFIG"}
PRIVILEGES = 77
"""Exit code of a start without the rights it needs."""

every_unit = pytest.mark.parametrize("name", UNITS)


def program(name: str) -> str:
    """The path of a program, without which the test is skipped."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"there is no {name} on this machine")
    return found


def run(*command: str | Path) -> tuple[int, str]:
    """A command's exit code, and all that it prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def setting(unit: str, name: str) -> str:
    """The value of a setting that a unit has once."""
    [value] = re.findall(rf"^{name}=(.*)$", (FOLDER / unit).read_text(), re.MULTILINE)
    return str(value)


def seconds(unit: str, name: str) -> float:
    return float(setting(unit, name))


def for_this_machine(name: str, target: Path) -> Path:
    """A copy of a unit that starts a program which is there."""
    unit, found = re.subn(r"^ExecStart=\S+", "ExecStart=/bin/true", (FOLDER / name).read_text(), flags=re.MULTILINE)
    assert found == 1
    (target / name).write_text(unit)
    return target / name


@every_unit
def test_systemd_has_nothing_to_say_against_a_unit(name: str, tmp_path: Path) -> None:
    assert run(program("systemd-analyze"), "verify", for_this_machine(name, tmp_path)) == (0, "")


def test_systemd_has_nothing_to_say_against_the_drop_in(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    version = int(run(analyze, "--version")[1].split()[1])
    if version < 253:
        pytest.skip(f"systemd {version} does not know Type=notify-reload, which came with 253")
    unit = for_this_machine("jobd.service", tmp_path)
    (tmp_path / "jobd.service.d").mkdir()
    shutil.copy(FOLDER / "notify-reload.conf", tmp_path / "jobd.service.d")
    assert run(analyze, "verify", unit) == (0, "")


def test_a_mistake_in_a_unit_would_be_found(tmp_path: Path) -> None:
    unit = for_this_machine("jobd.service", tmp_path)
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notified"))
    assert run(program("systemd-analyze"), "verify", unit)[1] != ""


@every_unit
def test_a_command_has_only_flags_that_exist(name: str) -> None:
    flags = [word for word in setting(name, "ExecStart").split() if word.startswith("-")]
    known = {flag for option in cli.cli.commands["start"].params for flag in option.opts}
    assert flags
    assert set(flags) <= known


@every_unit
def test_the_limits_fit_the_defaults_of_the_configuration(name: str) -> None:
    assert seconds(name, "TimeoutStopSec") == defaults.TIMEOUT + 10
    assert seconds(name, "TimeoutStartSec") > defaults.BOOT_TIMEOUT


@every_unit
def test_starts_are_not_repeated_after_what_does_not_go_away_by_itself(name: str) -> None:
    codes = {getattr(exits, code) for code in NOT_AGAIN} | {PRIVILEGES}
    assert set(map(int, setting(name, "RestartPreventExitStatus").split())) == codes


def test_the_units_differ_in_paths_and_names_alone() -> None:
    single, template = ({*(FOLDER / name).read_text().splitlines()} for name in UNITS)
    own = (
        r"#|(Description|ExecStart|EnvironmentFile|ReadWritePaths|(Configuration|Runtime|State|Logs)Directory(Mode)?)="
    )
    assert [line for line in single ^ template if not re.match(own, line)] == []


def logrotate_file(tmp_path: Path) -> Path:
    """The file for logrotate with paths and user of this test."""
    text = (FOLDER / "jobd.logrotate").read_text()
    text = text.replace("/srv/app/", f"{tmp_path}/").replace("/var/log/jobd-", f"{tmp_path}/var/")
    text = text.replace("/run/jobd-", f"{tmp_path}/run/")
    # `su` needs a user that exists; without root there is no other than one's own.
    text = re.sub(r"^ *su .*\n", "", text, flags=re.MULTILINE)
    path = tmp_path / "jobd.logrotate"
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_logrotate_understands_its_file(tmp_path: Path) -> None:
    logrotate = program("logrotate")
    code, said = run(logrotate, "--debug", "--state", tmp_path / "state", logrotate_file(tmp_path))
    assert code == 0
    assert "error" not in said


def test_a_rotation_loses_no_line_and_has_every_process_go_on_in_a_new_file(tmp_path: Path, redis_url: str) -> None:
    logrotate = program("logrotate")
    rules, new, old = logrotate_file(tmp_path), tmp_path / "log/jobd.log", tmp_path / "log/jobd.log.1"
    new.parent.mkdir(mode=0o755)
    jobd = Jobd(tmp_path, redis_url, processes=2, logfile="log/jobd.log", pidfile="tmp/pids/jobd.pid")
    jobd.log = new
    with jobd:
        jobd.push_many("quick", range(50))
        jobd.wait_for("job.done", count=50)
        before = new.read_text()
        assert run(logrotate, "--force", "--state", tmp_path / "state", rules) == (0, "")
        # Nothing happens that would be logged: jobd opens the new file since it was told to.
        wait_until(new.exists, "a new log file")
        jobd.push_many("quick", range(50, 100))
        jobd.wait_for("job.done", count=50)
        assert jobd.stop() == 0
        assert old.read_text() == before
        assert jobd.count("process.stopped") == 2
