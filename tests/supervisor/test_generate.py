"""`jobd generate job` writes a job and a test of it that passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobd.supervisor import cli, exits
from jobd.supervisor.commands.generate import JobDraft
from tests.supervisor.jobd_command import environment


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def output_of(*command: str) -> str:
    """All that a command prints; pytest is one without plugins."""
    variables = environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    done = subprocess.run(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout


def script(name: str) -> str:
    """A program of the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


@pytest.mark.parametrize(
    ("name", "module", "symbol"),
    [
        ("Hard", "hard_job", "Hard"),
        ("HardJob", "hard_job", "HardJob"),
        ("HTTPPing", "http_ping_job", "HTTPPing"),
        ("send_invoice", "send_invoice_job", "send_invoice"),
        ("billing.jobs.Hard", "billing.jobs", "Hard"),
        ("job", "job_job", "job"),
    ],
)
def test_a_name_says_module_and_class_or_function(name: str, module: str, symbol: str) -> None:
    assert JobDraft.read(name, None, "") == JobDraft(module, symbol)


def test_every_form_passes_its_own_test_and_the_linter(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tests").mkdir()
    for words in (["Hard"], ["send_invoice"], ["billing.jobs.Refund"], ["Ping", "--module", "ops.ping"]):
        assert cli.main(["generate", "job", *words]) == exits.OK
    assert "add billing.jobs to `require`" in capsys.readouterr().out
    assert {path.name for path in (folder / "tests").iterdir()} == {
        *("test_hard_job.py", "test_send_invoice_job.py", "test_refund_job.py", "test_ping_job.py")
    }
    assert "8 passed" in output_of(sys.executable, "-m", "pytest", "-q")
    assert output_of(script("ruff"), "check", "--quiet", "--select", "E,F,W,B,UP,I", ".") == ""


def test_without_a_folder_for_tests_plain_pytest_finds_the_job(folder: Path) -> None:
    assert cli.main(["generate", "job", "Hard"]) == exits.OK
    assert "2 passed" in output_of(script("pytest"), "-q")


@pytest.mark.parametrize("taken", ["hard_job.py", "test_hard_job.py"])
def test_nothing_is_written_when_one_of_the_files_exists(
    folder: Path, taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / taken).write_text("mine\n")
    assert cli.main(["generate", "job", "Hard"]) == exits.FAILED
    assert f"{taken} exists" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == [taken]
    assert (folder / taken).read_text() == "mine\n"


@pytest.mark.parametrize(
    "words", [["my-job"], ["class"], [""], ["a..B"], ["a.B", "--module", "c"], ["B", "--module", "1"]]
)
def test_what_is_no_name_is_a_usage_error(folder: Path, words: list[str]) -> None:
    assert cli.main(["generate", "job", *words]) == exits.USAGE
    assert not list(folder.iterdir())


def test_jobs_go_into_the_package_of_the_application(folder: Path) -> None:
    (folder / "app").mkdir()
    (folder / "app" / "__init__.py").touch()
    assert cli.main(["generate", "job", "Hard"]) == exits.OK
    assert (folder / "app" / "hard_job.py").exists()
    assert "from app.hard_job import Hard" in (folder / "test_hard_job.py").read_text()
