"""The files that the page on deployment shows are right, and jobd is a good first process of a container."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from jobd.client import defaults
from jobd.client.push import Client
from jobd.supervisor import cli
from tests.page_runner import blocks
from tests.supervisor.apps import ledger_jobs
from tests.supervisor.jobd_command import environment
from tests.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
GONE_AFTER = 3.0
"""Seconds after `timeout` at which jobd has promised to be gone."""


def block(info: str) -> str:
    """The text of the page's only block with this info string."""
    [found] = [each.text for each in blocks(PAGE.read_text()) if each.info == info]
    return found


def dockerfile(instruction: str) -> str:
    """The last arguments of an instruction of the page's Dockerfile."""
    text = block("dockerfile").replace("\\\n", "")
    return str(re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)[-1])


def deployment() -> Any:
    return yaml.safe_load(block("yaml deployment"))["spec"]["template"]["spec"]


def test_every_file_starts_jobd_with_flags_that_exist() -> None:
    procfile = dict(line.split(": ", 1) for line in block("procfile").splitlines())
    image = json.loads(dockerfile("CMD"))
    pod = deployment()["containers"][0]["args"]
    known = {flag for option in cli.cli.commands["start"].params for flag in option.opts}
    for command in (shlex.split(procfile["jobd"]), image, pod):
        assert command[0] == "jobd"
        assert {word for word in command[1:] if word.startswith("-")} <= known
    assert pod == image


def test_the_image_stops_by_a_signal_that_stops_jobd_and_runs_without_rights() -> None:
    assert dockerfile("STOPSIGNAL") == "SIGTERM"
    assert dockerfile("USER") == "app"


def test_its_health_is_asked_by_a_program_that_python_understands() -> None:
    python, flag, program = json.loads(dockerfile("HEALTHCHECK").partition(" CMD ")[2])
    assert (python, flag) == ("python", "-c")
    compile(program, "HEALTHCHECK", "exec")
    [address] = re.findall(r"http://([\d.:]+)/ready", program)
    assert yaml.safe_load(block("yaml"))["metrics"] == address


def test_a_pod_has_longer_to_stop_than_jobd_needs_and_to_start_than_it_may_take() -> None:
    spec = deployment()
    start = spec["containers"][0]["startupProbe"]
    assert spec["terminationGracePeriodSeconds"] > defaults.TIMEOUT + 5
    assert start["periodSeconds"] * start["failureThreshold"] > defaults.BOOT_TIMEOUT
    assert defaults.TIMEOUT + GONE_AFTER < 30, "as long as Heroku waits"


def test_a_pod_is_restarted_only_when_jobd_itself_hangs() -> None:
    container = deployment()["containers"][0]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/ready", "liveness": "/live", "readiness": "/ready"}


@pytest.fixture
def container(tmp_path: Path, redis_url: str) -> Iterator[Container]:
    """The page's image in namespaces of its own, with the page's configuration and a module of jobs."""
    lacking = [program for program in ("unshare", "nsenter", "ip") if shutil.which(program) is None]
    if os.geteuid() != 0 or lacking:
        pytest.skip(f"namespaces need root, and {', '.join(lacking) or 'nothing else'}")
    (tmp_path / "config.yml").write_text(block("yaml"))
    shutil.copy(ledger_jobs.__file__, tmp_path / "jobs.py")
    with closing(Container(tmp_path, redis_url)) as running:
        yield running


class Container:
    """What Docker makes of CMD and HEALTHCHECK: jobd is the first process, network and `/tmp` are its own."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.ledger = directory / "ledger"
        words = [word.replace("/tmp/", f"{directory}/") for word in json.loads(dockerfile("CMD"))]
        spaces = ["unshare", "--pid", "--fork", "--mount-proc", "--net", "--kill-child"]
        up = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        self._process = subprocess.Popen(
            [*spaces, *up, sys.executable, "-m", *words],
            cwd=directory,
            env=environment(REDIS_URL=redis_url, **{ledger_jobs.LEDGER: str(self.ledger)}),
        )

        unshare = psutil.Process(self._process.pid)
        wait_until(unshare.children, "the first process")
        [self._first] = unshare.children()

    def is_healthy(self) -> bool:
        """Whether the page's HEALTHCHECK says so."""
        _, *words = json.loads(dockerfile("HEALTHCHECK").partition(" CMD ")[2])
        enter = ["nsenter", f"--target={self._first.pid}", "--net", sys.executable]
        return subprocess.run([*enter, *words], capture_output=True, check=False).returncode == 0

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the first process."""
        self._first.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait(10)

    def close(self) -> None:
        """Kill it; may come twice."""
        self._process.kill()
        self._process.wait()


def test_as_the_first_process_of_a_container_it_runs_jobs_tells_its_health_and_stops_on_term(
    container: Container, redis_url: str
) -> None:
    wait_until(container.is_healthy, "a healthy container", 20.0)
    with closing(Client(redis_url)) as client:
        client.push({"class": "quick", "args": [1]})
    wait_until(lambda: container.ledger.exists() and "ended 1 " in container.ledger.read_text(), "the end of a job")
    container.send(signal.SIGTSTP)
    wait_until(lambda: not container.is_healthy(), "the health of a container that takes no jobs")
    container.send(signal.SIGTERM)
    assert container.wait() == 0
