"""`jobd init` writes what starts at once, and harms nothing that is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.supervisor import cli, exits
from jobd.supervisor.commands.init import Place
from jobd.supervisor.config import load
from tests.supervisor.jobd_command import environment, run_jobd

ROOT = Path(__file__).parents[2]
FILES = {"config.yml", "jobs.py", "jobd-shop.service", "Procfile", ".env.example"}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder named shop, and the current one."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_named_after_the_folder_and_is_right(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init"]) == exits.OK
    assert names(shop) == FILES
    config = load(Path("config.yml"), "production", {}, {})
    assert (config.tag, config.require, config.notices) == ("shop", ("jobs",), ())
    shown = capsys.readouterr().out.splitlines()
    assert shown[-3:] == [
        "  jobd check -C config.yml",
        "  jobd --embedded -C config.yml",
        "  jobd push --redis-url embedded:var/jobd jobs.hello world",
    ]


def test_what_is_commented_out_is_right_too(shop: Path) -> None:
    assert cli.main(["init"]) == exits.OK
    text = (shop / "config.yml").read_text()
    (shop / "config.yml").write_text(re.sub(r"^#(?! )|^#(?=  )", "", text, flags=re.MULTILINE))
    (entry,) = load(Path("config.yml"), None, {}, {}).cron
    assert entry.name == "morning"


def test_the_next_commands_work_as_they_are_printed(tmp_path: Path) -> None:
    done = run_jobd("init", "shop", "--json", cwd=tmp_path)
    enter, check, start, push = json.loads(done.stdout)["next"]
    folder = tmp_path / enter.removeprefix("cd ")
    assert run_jobd(*check.split()[1:], cwd=folder).returncode == exits.OK
    with subprocess.Popen(
        [sys.executable, "-m", *start.split()], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as jobd:
        assert jobd.stderr is not None
        next(line for line in jobd.stderr if "process.ready" in line)
        pushed = run_jobd(*push.split()[1:], cwd=folder)
        done_line = next(line for line in jobd.stderr if "job.done" in line)
        jobd.terminate()
        jobd.stderr.read()
    assert pushed.stdout.strip() in done_line
    assert jobd.returncode == exits.OK


def test_files_that_exist_are_kept_and_the_rest_is_written(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "Procfile").write_text("web: gunicorn app:app\n")
    (shop / "jobs.py").symlink_to("nowhere.py")
    assert cli.main(["init"]) == exits.OK
    assert (shop / "Procfile").read_text() == "web: gunicorn app:app\n"
    assert (shop / "jobs.py").is_symlink()
    assert not (shop / "nowhere.py").exists()
    assert names(shop) == FILES
    shown = capsys.readouterr().out
    assert "exists   Procfile, kept as it is; it needs a line `jobd: jobd -C config.yml -e production`" in shown
    assert "jobs.hello" not in shown


def test_force_without_a_terminal_and_without_yes_is_refused_before_anything_is_written(shop: Path) -> None:
    (shop / "config.yml").write_text("mine\n")
    done = run_jobd("init", "--force", cwd=shop)
    assert done.returncode == exits.USAGE
    assert "config.yml" in done.stderr
    assert "--yes" in done.stderr
    assert names(shop) == {"config.yml"}
    assert (shop / "config.yml").read_text() == "mine\n"


def test_force_with_yes_overwrites(shop: Path) -> None:
    (shop / "config.yml").write_text("mine\n")
    assert cli.main(["init", "--force", "--yes"]) == exits.OK
    assert load(Path("config.yml"), None, {}, {}).tag == "shop"


@pytest.mark.parametrize("package", ["shop", "app", "jobs"])
def test_jobs_go_into_the_package_of_the_application(shop: Path, package: str) -> None:
    (shop / package).mkdir()
    (shop / package / "__init__.py").touch()
    assert cli.main(["init"]) == exits.OK
    assert (shop / package / "jobs.py").exists()
    assert load(Path("config.yml"), None, {}, {}).require == (f"{package}.jobs",)


@pytest.mark.parametrize("name", ["2026", "Ünïcode shop", "true", "...", 'a "b" %h $c'])
def test_any_name_of_a_folder_gives_a_configuration_that_is_right(tmp_path: Path, name: str) -> None:
    assert cli.main(["init", str(tmp_path / name)]) == exits.OK
    assert load(tmp_path / name / "config.yml", None, {}, {}).require == ("jobs",)


def test_a_unit_takes_paths_with_blanks_and_signs_that_systemd_reads() -> None:
    place = Place(Path("x"), Path('/srv/my "shop" 5%'), "jobs", Path("/srv/my shop/bin/jobd"), "app")
    unit = place.files()[2].text
    assert 'ExecStart="/srv/my shop/bin/jobd" -C config.yml' in unit
    assert 'WorkingDirectory=/srv/my "shop" 5%%\n' in unit
    assert 'ReadWritePaths="/srv/my \\"shop\\" 5%%"\n' in unit


def test_the_unit_is_the_one_of_the_documentation_in_all_that_is_no_name() -> None:
    place = Place(Path("x"), Path("/srv/app"), "jobs", Path("/srv/app/.venv/bin/jobd"), "app")
    ours = {line for line in place.files()[2].text.splitlines() if not line.startswith("#")}
    theirs = {line for line in (ROOT / "systemd/jobd.service").read_text().splitlines() if not line.startswith("#")}
    assert ours - theirs == {"Description=jobd background jobs: app", "EnvironmentFile=-/srv/app/.env"}
    assert theirs - ours == {"Description=jobd background jobs"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_one_clear_error(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop.chmod(0o500)
    assert cli.main(["init"]) == exits.NOT_PERMITTED
    assert "config.yml cannot be written" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shop / "taken").touch()
    assert cli.main(["init", "taken"]) == exits.FAILED
    printed = capsys.readouterr()
    assert printed.err.startswith("jobd: taken")
    assert printed.out == ""


def test_a_folder_that_may_not_be_looked_at_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    script = """
import os, sys
from jobd.supervisor import cli
if os.getuid() == 0:
    os.setuid(65534)  # root may look everywhere
sys.exit(cli.main(["init", "closed/shop"]))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == exits.NOT_PERMITTED
    assert re.fullmatch(r"jobd: closed/shop\S* cannot be .*\n", done.stderr)
