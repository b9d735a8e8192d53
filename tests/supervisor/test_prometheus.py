"""A real Prometheus, its tool, and what ships for it: alert rules and a dashboard."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobd.supervisor.metrics import Metrics
from jobd.worker.page import Page
from tests.supervisor.conftest import StartJobd
from tests.supervisor.test_metrics import WELL
from tests.waiting import wait_until

SHIPPED = Path(__file__).parents[2] / "docs" / "prometheus"
ALERTS, DASHBOARD = SHIPPED / "alerts.yml", SHIPPED / "dashboard.json"
UNITS = Path(__file__).with_name("alerts_test.yml")
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def tool(name: str) -> str:
    """The path of a program of Prometheus', or the test is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} on this machine; Debian's package prometheus has it")
    return path


def promtool(*arguments: str | Path) -> str:
    """Run promtool, which must be content; returns what it printed."""
    done = subprocess.run(
        [tool("promtool"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def page() -> Iterator[Page]:
    """What one worker process has counted."""
    page = Page(1)
    page.count("low", "hello", "ok", 0.1, 0.2)
    yield page
    page.close()


@pytest.fixture
def metrics(page: Page) -> Metrics:
    """All metrics, with a sample in each."""
    metrics = Metrics(lambda: [page], lambda: WELL, started=time.time(), cluster=True)
    metrics.child_ended("clean", time.time())
    return metrics


def exported(metrics: Metrics) -> dict[str, set[str]]:
    """The labels of each sample's name, as Prometheus keeps them."""
    return {
        sample.name: {"exported_job" if label == "job" else label for label in sample.labels} | {"instance"}
        for family in metrics.collect()
        for sample in family.samples
    }


def alert_expressions() -> list[str]:
    """What the alerts ask."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    """What the dashboard asks, with its variables filled in."""
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    for variable, meaning in VARIABLES.items():
        asked = [each.replace(variable, meaning) for each in asked]
    return asked


@pytest.mark.parametrize("expression", [*alert_expressions(), *dashboard_expressions()])
def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_exist(expression: str, metrics: Metrics) -> None:
    known = exported(metrics)
    names = re.findall(r"\bjobd_\w+", expression)
    assert names or "up{" in expression
    assert [name for name in names if name not in known] == []
    for name, selected in re.findall(r"\b(jobd_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", selected)) <= known[name]
    grouped = {label for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", labels)}
    assert grouped <= set.union({"instance"}, *(known[name] for name in names))


def test_every_metric_of_jobs_and_processes_is_on_the_dashboard_or_in_an_alert(metrics: Metrics) -> None:
    asked = " ".join([*alert_expressions(), *dashboard_expressions(), DASHBOARD.read_text()])
    kinds = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported(metrics)}
    assert [kind for kind in sorted(kinds) if kind not in asked] == ["jobd_child_last_exit_timestamp_seconds"]


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) == 23


def test_prometheus_understands_the_dashboards_questions(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(dashboard_expressions())]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", path)


def test_the_alert_rules_are_valid() -> None:
    promtool("check", "rules", ALERTS)


def test_each_alert_fires_when_it_should_and_is_silent_when_all_is_well() -> None:
    promtool("test", "rules", UNITS)
    cases = yaml.safe_load(UNITS.read_text())["tests"]
    alerts = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    tested = {case["name"]: {each["alertname"] for each in case["alert_rule_test"]} for case in cases}
    assert tested["all is well"] == tested["everything is wrong"] == alerts


class Prometheus:
    """A Prometheus that scrapes `target` every 0.2 s."""

    def __init__(self, directory: Path, target: str) -> None:
        config = directory / "prometheus.yml"
        scrape = {"job_name": "jobd", "scrape_interval": "200ms", "scrape_timeout": "200ms"}
        jobs = [{**scrape, "static_configs": [{"targets": [target]}]}]
        config.write_text(json.dumps({"scrape_configs": jobs, "rule_files": [str(ALERTS)]}))
        self.address = f"127.0.0.1:{free_port()}"
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={self.address}",
                "--log.level=warn",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The result of a query; nothing while it does not answer."""
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return []
        return found

    def value(self, expression: str) -> float | None:
        """The only value of a query's result."""
        found = self.ask(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else None

    def close(self) -> None:
        """End it, and wait."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def ask(address: str, path: str) -> tuple[int, str]:
    """Status and text of a path."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_prometheus_scrapes_a_running_jobd_over_the_death_of_a_process(start_jobd: StartJobd, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    jobd = start_jobd(processes=2, metrics=address, metrics_cluster=True)
    with contextlib.closing(Prometheus(tmp_path, address)) as prometheus:
        done = 'sum(jobd_jobs_total{queue="default", exported_job=~"quick|hold", result="ok"})'
        jobd.push_many("quick", range(20))
        jobd.push_many("hold", range(15))
        jobd.wait_for_lines("began", 15)
        wait_until(lambda: prometheus.value(done) == 20, "20 jobs in Prometheus")
        jobd.workers[0].send_signal(signal.SIGKILL)
        jobd.wait_for("process.ready", count=3)
        jobd.release()
        wait_until(lambda: prometheus.value(done) == 35, "35 jobs in Prometheus")
        assert jobd.statistics() == (35, 0)
        assert prometheus.value('jobd_child_exits_total{reason="signal"}') == 1
        assert prometheus.value("jobd_child_starts_total") == 3
        assert prometheus.ask("resets(jobd_jobs_total[5m]) > 0") == []
        wait_until(lambda: prometheus.value('jobd_queue_size{queue="default"}') == 0, "the size of the queue")
    assert promtool_finds(address) == ""


def test_the_probes_of_a_running_jobd_say_what_it_does(start_jobd: StartJobd) -> None:
    address = f"127.0.0.1:{free_port()}"
    jobd = start_jobd(processes=2, concurrency=3, metrics=address)
    assert ask(address, "/live") == (200, "ok\n")
    wait_until(lambda: ask(address, "/ready") == (200, "ok\n"), "a ready jobd")
    wait_until(lambda: ask(address, "/scale")[0] == 200, "the sizes of the queues")
    jobd.push_many("hold", range(10))
    wait_until(lambda: needed(address) == (6, 4, 4), "6 threads busy and 4 jobs queued")
    jobd.signal(signal.SIGTSTP)
    wait_until(lambda: "quiet" in ask(address, "/ready")[1], "a quiet jobd")
    assert ask(address, "/ready")[0] == 503
    assert ask(address, "/live") == (200, "ok\n")
    jobd.release()


def needed(address: str) -> tuple[int, int, int]:
    """Busy threads, queued jobs and needed processes of /scale."""
    scale = json.loads(ask(address, "/scale")[1])
    return scale["busy"], scale["queued"], scale["processes_needed"]


def promtool_finds(address: str) -> str:
    """What `promtool check metrics` has to say of a scrape."""
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=ask(address, "/metrics")[1],
        text=True,
        capture_output=True,
        check=False,
    )
    return done.stdout + done.stderr
