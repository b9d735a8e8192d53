"""The command's own options: what they print, and with which code they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobd.client.version import VERSION
from jobd.supervisor import cli, exits
from tests.servers import RedisServer
from tests.supervisor.conftest import StartJobd
from tests.supervisor.jobd_command import environment, run_jobd


def test_the_version_names_what_matters_in_a_report(tmp_path: Path) -> None:
    done = run_jobd("-V", cwd=tmp_path)
    assert done.returncode == exits.OK
    assert done.stdout.startswith(f"jobd {VERSION}, Python 3.")
    assert "redis-py" in done.stdout


def test_the_installed_script_is_the_same_command(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("jobd")
    done = subprocess.run([script, "-V"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == run_jobd("-V", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--help"], ["check", "demo", "start", "jobd --embedded"]),
        (["start", "--help"], ["--concurrency", "--queue", "--embedded", "--timeout"]),
        (["check", "-h"], ["--show"]),
        (["demo", "-h"], ["--for"]),
    ],
)
def test_help_shows_what_there_is(tmp_path: Path, args: list[str], shown: list[str]) -> None:
    done = run_jobd(*args, cwd=tmp_path)
    assert done.returncode == exits.OK
    assert [word for word in shown if word not in done.stdout] == []


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--concurency", "3"], "--concurrency"),
        (["-c", "many"], "many"),
        (["frobnicate"], "frobnicate"),
        (["check", "extra"], "extra"),
        (["demo", "--for", "soon"], "soon"),
    ],
)
def test_a_usage_error_ends_with_64_and_names_what_is_wrong(tmp_path: Path, args: list[str], named: str) -> None:
    done = run_jobd(*args, cwd=tmp_path)
    assert done.returncode == exits.USAGE == 64
    (line,) = done.stderr.splitlines()
    assert line.startswith("jobd: ")
    assert named in line
    assert line.endswith(" --help`")


@pytest.mark.parametrize(
    ("words", "offered"),
    [("jobd ", {"start", "jobs", "queues"}), ("jobd que", {"queues"}), ("jobd jobs --re", {"--retry", "--redis-url"})],
)
def test_a_shell_can_complete_commands_and_options(tmp_path: Path, words: str, offered: set[str]) -> None:
    position = str(len(words.split(" ")) - 1)
    variables = {"_JOBD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
    found = run_jobd(cwd=tmp_path, **variables).stdout.split()
    assert offered <= {line.partition(",")[2] for line in found}


def test_check_says_that_a_configuration_is_right_without_a_server(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("concurrency: 3\nenvironment: x\nredis_url: redis://nowhere.invalid\n")
    done = run_jobd("check", "-C", "c.yml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (exits.OK, "the configuration is right\n")
    assert done.stderr.startswith("jobd: c.yml:2: environment is not used")


def test_check_shows_each_value_and_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("concurrency: 3\nproduction:\n  timeout: 8\n")
    url = "redis://:secret@db.example/1"
    done = run_jobd("check", "-C", "c.yml", "-e", "production", "--show", "-t", "9", cwd=tmp_path, REDIS_URL=url)
    shown = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert shown["concurrency"] == ["3", "c.yml:1"]
    assert shown["timeout"] == ["9", "--timeout"]
    assert shown["environment"] == ["production", "-e"]
    assert shown["max_retries"] == ["25", "default"]
    assert shown["redis_url"] == ["redis://:***@db.example/1", "$REDIS_URL"]


def test_check_speaks_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@db.example/1")
    right, wrong = tmp_path / "right.yml", tmp_path / "wrong.yml"
    right.write_text("capsules: {ordered: {concurrency: 1, queues: [ordered]}}\nenvironment: x\nmax_memory: 512MB\n")
    wrong.write_text("concurrency: many\ntimeout: -1\n")
    assert cli.main(["check", "-C", str(right), "--show", "--json"]) == exits.OK
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert "environment is not used" in found["notices"][0]
    shown = found["values"]
    assert shown["redis_url"] == {"value": "redis://:***@db.example/1", "source": "$REDIS_URL"}
    assert shown["max_memory"]["value"] == 512 * 1024**2
    assert shown["capsules"]["value"] == [{"name": "ordered", "queues": [["ordered", 0]], "concurrency": 1}]
    assert cli.main(["check", "-C", str(wrong), "--json"]) == exits.CONFIG
    refused = json.loads(capsys.readouterr().out)
    assert (refused["ok"], len(refused["problems"])) == (False, 2)


def test_an_environment_without_a_section_is_fine(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "c.yml").write_text(f"redis_url: {redis_url}\nconcurrency: 3\n")
    done = run_jobd("-C", "c.yml", "-e", "production", "--check", cwd=tmp_path)
    assert done.returncode == exits.OK, done.stderr
    assert "ready to start" in done.stdout
    assert "environment production" in done.stdout


def test_check_of_a_start_tells_of_keys_without_effect_too(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "c.yml").write_text(f"environment: x\nredis_url: {redis_url}\n")
    done = run_jobd("-C", "c.yml", "--check", cwd=tmp_path)
    assert done.returncode == exits.OK
    assert done.stderr.startswith("jobd: c.yml:1: environment is not used")


def test_check_of_a_start_leaves_no_embedded_store_behind(tmp_path: Path) -> None:
    done = run_jobd("--embedded", "store", "--check", cwd=tmp_path)
    assert done.returncode == exits.OK, done.stderr
    assert not (tmp_path / "store" / "valkey.sock").exists()
    assert (tmp_path / "store" / "appendonlydir").exists()


def test_the_directory_of_the_start_is_first_on_the_path(start_jobd: StartJobd, tmp_path: Path) -> None:
    (tmp_path / "json_of_mine.py").write_text("import sys\nprint(sys.path[0])\n")
    jobd = start_jobd(require=["ledger_jobs", "json_of_mine"])
    assert str(tmp_path) in jobd.text().splitlines()


def test_flags_beat_the_file(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "c.yml").write_text(json.dumps({"redis_url": redis_url, "processes": 1, "concurrency": 7}))
    with subprocess.Popen(
        [sys.executable, "-m", "jobd", "-C", "c.yml", "-c", "3", "-q", "a,2", "-q", "b", "-r", "ledger_jobs"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if "process.ready" in line)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert "concurrency=3" in ready
    assert process.returncode == exits.OK


def test_a_server_that_may_delete_jobs_is_warned_about_with_the_remedy(start_jobd: StartJobd) -> None:
    with RedisServer(args=["--maxmemory-policy", "allkeys-lru"]) as server:
        jobd = start_jobd(server.url)
        warning = jobd.wait_for("redis.warning")["warning"]
    assert "allkeys-lru" in warning
    assert "redis-cli CONFIG SET maxmemory-policy noeviction" in warning


def test_keys_without_effect_are_told_at_the_start(start_jobd: StartJobd) -> None:
    jobd = start_jobd(poll_interval_average=5)
    assert "poll_interval_average is not used" in jobd.wait_for("config.notice")["notice"]


def test_a_start_says_with_what_it_starts(start_jobd: StartJobd) -> None:
    jobd = start_jobd()
    event = jobd.wait_for("jobd.start")
    assert event["environment"] == "development"
    assert event["server"].split()[0] in ("Valkey", "Redis")
    assert jobd.wait_for("application.loaded")["jobs"] > 5
