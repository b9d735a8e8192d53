"""What `/metrics` and the probes say, without HTTP."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from jobd.supervisor.ends import Reason
from jobd.supervisor.metrics import CACHED_SECONDS, Metrics, prefers_openmetrics
from jobd.supervisor.probes import Probes, need, obstacles
from jobd.supervisor.snapshot import CHILD_STATES, ClusterFigures, SlotFigures, Snapshot
from jobd.worker.page import BUCKETS, LABEL_SETS, RESULTS, Page, Result

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
CLUSTER: ClusterFigures = {"queues": {"high": [3, 1.5], "low": [10, 0.0]}, "schedule": 4, "retry": 5, "dead": 6}
WELL = Snapshot(
    children={"ready": 2, "stopping": 1},
    desired=2,
    slots=[SlotFigures(1, {"rss": 1000}, 0.5), SlotFigures(2, {}, None)],
    threads=20,
    busy=3,
    threads_per_process=10,
    is_quiet=False,
    redis_seen_ago=1.0,
    lease=60.0,
    cluster=CLUSTER,
)
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Server:
    """Worker processes' pages, and the metrics made of them; each scrape is a second after the one before."""

    def __init__(self, *, cluster: bool = True, queues: Iterable[str] = (), per_job: bool = True) -> None:
        self.now, self.snapshot, self.snapshots_taken = 1000.0, WELL, 0
        self.pages: list[Page] = []
        self.metrics = Metrics(
            lambda: self.pages,
            self._take_snapshot,
            started=1_700_000_000.0,
            queues=list(queues),
            per_job=per_job,
            cluster=cluster,
            monotonic=lambda: self.now,
        )

    def _take_snapshot(self) -> Snapshot:
        self.snapshots_taken += 1
        return self.snapshot

    def child(self) -> Page:
        """The page of a new worker process."""
        self.pages.append(Page(1))
        return self.pages[-1]

    def end(self, page: Page) -> None:
        """The process of a page has ended."""
        self.pages.remove(page)
        self.metrics.fold(page)
        page.close()

    def families(self) -> list[Metric]:
        """All metrics."""
        self.now += 1.0
        return self.metrics.collect()

    def samples(self) -> Samples:
        """All samples, by name and labels."""
        return samples_of(self.families())

    def text(self, accept: str = "") -> str:
        """The exposition."""
        self.now += 1.0
        return self.metrics.render(accept)[1].decode()


def samples_of(families: Iterable[Metric]) -> Samples:
    """The samples by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """One sample."""
    return samples.get((name, tuple(sorted(labels.items()))))


def counters(families: Iterable[Metric]) -> Samples:
    """The samples that must never decrease."""
    return samples_of(family for family in families if family.type in ("counter", "histogram"))


def test_the_page_for_users_lists_exactly_what_is_exported() -> None:
    rows = re.findall(r"^\| `(jobd_\w+)` \| (\w+) \|([^|]*)\| .+ \|$", PAGE.read_text(), re.MULTILINE)
    listed = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    server = Server()
    server.child().count("low", "hello", "ok", 0.1, 0.2)
    server.metrics.child_ended("clean", 5.0)
    exported = set()
    for family in server.families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert family.samples, name
        labels = tuple(label for label in family.samples[0].labels if label != "le")
        exported.add((name, family.type, labels))
    assert len(listed) == len(rows)
    assert listed == exported


def test_the_page_for_users_lists_every_reason_result_and_state() -> None:
    text = PAGE.read_text()
    for word in (*get_args(Reason), *RESULTS, *CHILD_STATES):
        assert f"`{word}`" in text, word


def test_all_known_label_sets_are_there_at_zero_from_the_start() -> None:
    server = Server(queues=["high", "low"])
    server.child().know("low", "hello")
    samples = server.samples()
    for reason in get_args(Reason):
        assert value(samples, "jobd_child_exits_total", reason=reason) == 0
    for result in RESULTS:
        assert value(samples, "jobd_jobs_total", queue="low", job="hello", result=result) == 0
    for result in ("ok", "failed"):
        assert value(samples, "jobd_reloads_total", result=result) == 0
    assert value(samples, "jobd_child_starts_total") == 0
    assert value(samples, "jobd_job_duration_seconds_count", queue="low", job="hello") == 0
    assert value(samples, "jobd_job_wait_seconds_count", queue="high") == 0
    assert value(samples, "jobd_children", state="starting") == 0


def test_gauges_show_the_moment() -> None:
    samples = Server().samples()
    assert value(samples, "jobd_children", state="ready") == 2
    assert value(samples, "jobd_children_desired") == 2
    assert value(samples, "jobd_threads", state="busy") == 3
    assert value(samples, "jobd_threads", state="idle") == 17
    assert value(samples, "jobd_quiet") == 0
    assert value(samples, "jobd_up_redis") == 1
    assert value(samples, "jobd_child_memory_bytes", slot="1", kind="rss") == 1000
    assert value(samples, "jobd_child_heartbeat_age_seconds", slot="1") == 0.5
    assert value(samples, "jobd_child_heartbeat_age_seconds", slot="2") is None
    assert value(samples, "jobd_queue_size", queue="high") == 3
    assert value(samples, "jobd_queue_latency_seconds", queue="high") == 1.5
    assert [value(samples, f"jobd_{name}_jobs") for name in ("scheduled", "retry", "dead")] == [4, 5, 6]


def test_the_master_counts_what_it_does() -> None:
    server = Server()
    assert value(server.samples(), "jobd_child_last_exit_timestamp_seconds") is None
    assert value(server.samples(), "jobd_config_last_reload_success_timestamp_seconds") == 1_700_000_000
    server.metrics.child_started()
    server.metrics.child_started()
    server.metrics.child_ended("oom", 1_700_000_100.0)
    server.metrics.reloaded(True, 1_700_000_200.0)
    server.metrics.reloaded(False, 1_700_000_300.0)
    samples = server.samples()
    assert value(samples, "jobd_child_starts_total") == 2
    assert value(samples, "jobd_child_exits_total", reason="oom") == 1
    assert value(samples, "jobd_child_last_exit_timestamp_seconds") == 1_700_000_100
    assert value(samples, "jobd_reloads_total", result="ok") == 1
    assert value(samples, "jobd_reloads_total", result="failed") == 1
    assert value(samples, "jobd_config_last_reload_success_timestamp_seconds") == 1_700_000_200


def test_figures_of_the_cluster_are_there_when_wanted_and_known() -> None:
    unwanted, unknown = Server(cluster=False), Server()
    unknown.snapshot = replace(WELL, cluster=None)
    assert "jobd_dead_jobs" not in unwanted.text()
    assert "# TYPE jobd_dead_jobs gauge" in unknown.text()
    assert value(unknown.samples(), "jobd_dead_jobs") is None
    unknown.snapshot = replace(WELL, redis_seen_ago=61.0)
    assert value(unknown.samples(), "jobd_dead_jobs") is None
    unknown.snapshot = WELL
    assert value(unknown.samples(), "jobd_dead_jobs") == 6


def test_redis_is_up_while_it_answers_within_the_lease() -> None:
    server = Server()
    found = []
    for ago in (None, 0.0, 60.0, 60.1):
        server.snapshot = replace(WELL, redis_seen_ago=ago)
        found.append(value(server.samples(), "jobd_up_redis"))
    assert found == [0, 1, 1, 0]


def test_histograms_are_cumulative_and_end_with_all() -> None:
    server = Server()
    page = server.child()
    for seconds in (0.001, 0.005, 0.3, 4000.0):
        page.count("low", "hello", "ok", seconds, None)
    samples = server.samples()
    buckets = [
        value(samples, "jobd_job_duration_seconds_bucket", queue="low", job="hello", le=le)
        for le in (*(repr(float(bound)) for bound in BUCKETS), "+Inf")
    ]
    assert buckets == [2] * 5 + [2, 3] + [3] * 9 + [4]
    assert value(samples, "jobd_job_duration_seconds_count", queue="low", job="hello") == 4
    assert value(samples, "jobd_job_duration_seconds_sum", queue="low", job="hello") == pytest.approx(4000.306)


@pytest.mark.parametrize("seconds", [1e308, float("inf"), float("nan")])
def test_times_that_no_job_can_take_end_no_scrape(seconds: float) -> None:
    server = Server()
    page = server.child()
    for _ in range(2):
        page.count("low", "hello", "ok", seconds, seconds)
    first = server.samples()
    server.end(page)
    assert server.samples() == first
    assert value(first, "jobd_jobs_total", queue="low", job="hello", result="ok") == 2


def test_durations_can_be_kept_by_queue_alone() -> None:
    server = Server(per_job=False)
    for page in (server.child(), server.child()):
        page.count("low", "hello", "ok", 1.0, None)
        page.count("low", "bye", "dead", 1.0, None)
    server.end(server.pages[0])
    samples = server.samples()
    assert value(samples, "jobd_job_duration_seconds_count", queue="low", job="all") == 4
    assert value(samples, "jobd_job_duration_seconds_count", queue="low", job="hello") is None
    assert value(samples, "jobd_jobs_total", queue="low", job="bye", result="dead") == 2


def test_later_label_sets_are_counted_together() -> None:
    server = Server()
    for number in range(3 * LABEL_SETS):
        page = server.child()
        page.count(f"q{number % 2}", f"job{number}", "ok", 0.1, None)
        server.end(page)
    samples = server.samples()
    totals = [key for key in samples if key[0] == "jobd_jobs_total"]
    assert len(totals) == (LABEL_SETS + 2) * len(RESULTS)
    assert value(samples, "jobd_jobs_total", queue="q0", job="other", result="ok") == LABEL_SETS
    assert sum(samples[key] for key in totals) == 3 * LABEL_SETS


def test_over_ten_thousand_scrapes_with_random_deaths_no_counter_decreases_and_none_is_lost() -> None:
    chance, server = random.Random(25), Server(cluster=False)
    ledger: Counter[tuple[str, str]] = Counter()
    results: tuple[Result, ...] = RESULTS
    before: Samples = {}
    for _ in range(10_000):
        if len(server.pages) < 3:
            server.child()
        job, result = chance.choice(("hello", "bye")), chance.choice(results)
        chance.choice(server.pages).count("low", job, result, chance.random(), chance.random())
        ledger[job, result] += 1
        if chance.random() < 0.05:
            server.end(chance.choice(server.pages))
            server.metrics.child_ended("signal", 0.0)
        after = counters(server.families())
        assert [key for key, number in before.items() if after.get(key, -1) < number] == []
        before = after
    found = {key: value(before, "jobd_jobs_total", queue="low", job=key[0], result=key[1]) for key in ledger}
    assert found == ledger
    assert value(before, "jobd_job_wait_seconds_count", queue="low") == 10_000


def test_label_sets_beyond_the_cap_never_decrease_either() -> None:
    chance, server = random.Random(25), Server(cluster=False)
    before: Samples = {}
    for _ in range(60):
        page = server.child()
        for _ in range(20):
            page.count(f"q{chance.randrange(5)}", f"job{chance.randrange(60)}", "ok", 0.1, 0.1)
        if len(server.pages) > 3:
            server.end(chance.choice(server.pages))
        after = counters(server.families())
        assert [key for key, number in before.items() if after.get(key, -1) < number] == []
        before = after
    assert sum(number for (name, _), number in before.items() if name == "jobd_jobs_total") == 60 * 20


def test_scrapes_close_together_cost_nothing_and_agree() -> None:
    server = Server()
    page = server.child()
    page.count("low", "hello", "ok", 0.1, None)
    first = server.metrics.render("")
    page.count("low", "hello", "ok", 0.1, None)
    server.now += CACHED_SECONDS - 0.01
    assert server.metrics.render("") is first
    _, other_format = server.metrics.render(PROMETHEUS)
    assert b'jobd_jobs_total{job="hello",queue="low",result="ok"} 1.0' in other_format
    assert server.snapshots_taken == 1
    server.now += 0.01
    assert b'jobd_jobs_total{job="hello",queue="low",result="ok"} 2.0' in server.metrics.render("")[1]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (PROMETHEUS, True),
        ("text/plain;q=0.9, Application/OpenMetrics-Text; version=1.0.0; q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=high", False),
        ("application/openmetrics-text; version=; q=1;;,,", True),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(accept: str, wanted: bool) -> None:
    assert prefers_openmetrics(accept) is wanted
    assert Server().metrics.render(accept)[0].startswith("application/openmetrics-text" if wanted else "text/plain")


def test_both_formats_can_be_read_and_hold_the_same_without_creation_times() -> None:
    server = Server(queues=['a "queue"\\\n'])
    server.child().count("low", "hello", "ok", 0.1, 0.2)
    text, openmetrics = server.text(), server.text(PROMETHEUS)
    assert samples_of(parse_text(text)) == samples_of(parse_openmetrics(openmetrics)) == server.samples()
    assert "_created" not in text + openmetrics
    assert openmetrics.endswith("# EOF\n")


def test_promtool_finds_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine")
    server = Server()
    server.child().count("low", "hello", "ok", 0.1, 0.2)
    server.metrics.child_ended("clean", 5.0)
    for text in (server.text(), Server(queues=["low"]).text()):
        done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"children": {"ready": 1, "starting": 1}}, ["1 of 2 worker processes are ready"]),
        ({"children": {}, "desired": 1}, ["0 of 1 worker processes are ready"]),
        ({"is_quiet": True}, ["quiet: no more jobs are taken"]),
        ({"redis_seen_ago": None}, ["Redis has not answered yet"]),
        ({"redis_seen_ago": 60.0}, []),
        ({"redis_seen_ago": 75.2}, ["Redis has not answered for 75 s"]),
        (
            {"children": {"quiet": 2}, "is_quiet": True},
            ["0 of 2 worker processes are ready", "quiet: no more jobs are taken"],
        ),
    ],
)
def test_ready_means_that_all_wanted_processes_take_jobs(change: dict[str, Any], words: list[str]) -> None:
    snapshot = replace(WELL, **change)
    assert obstacles(snapshot) == words
    answer = Probes(Server().metrics, lambda: snapshot).answer("/ready", "")
    assert (answer.status, answer.body.decode()) == (503 if words else 200, ("; ".join(words) or "ok") + "\n")


@pytest.mark.parametrize(
    ("busy", "queued", "needed"), [(0, 0, 0), (0, 1, 1), (10, 0, 1), (10, 1, 2), (3, 13, 2), (20, 13, 4)]
)
def test_scale_asks_for_the_processes_that_the_work_would_fill(busy: int, queued: int, needed: int) -> None:
    cluster: ClusterFigures = {"queues": {"a": [queued, 1.5], "b": [0, 0.0]}, "schedule": 9, "retry": 9, "dead": 9}
    found = need(replace(WELL, busy=busy, cluster=cluster))
    assert found == {
        "processes_needed": needed,
        "processes": 3,
        "ready": 2,
        "threads": 20,
        "busy": busy,
        "queued": queued,
        "latency": 1.5,
    }


@pytest.fixture
def probe() -> Callable[[str, Snapshot], tuple[int, str, str]]:
    """What a path answers: status, content type, text."""

    def ask(path: str, snapshot: Snapshot) -> tuple[int, str, str]:
        answer = Probes(Server().metrics, lambda: snapshot).answer(path, "")
        return answer.status, answer.content_type, answer.body.decode()

    return ask


def test_scale_is_json_with_the_words_of_the_page(probe: Callable[[str, Snapshot], tuple[int, str, str]]) -> None:
    status, content_type, text = probe("/scale", WELL)
    shown = re.search(r"^```json\n(.+)\n```$", PAGE.read_text(), re.MULTILINE)
    assert (status, content_type) == (200, "application/json")
    assert shown
    assert list(json.loads(text)) == list(json.loads(shown[1]))


def test_scale_says_nothing_while_queues_are_unknown(probe: Callable[[str, Snapshot], tuple[int, str, str]]) -> None:
    status, _, text = probe("/scale", replace(WELL, cluster=None))
    assert status == 503
    assert "/ready" in text
    assert probe("/scale", replace(WELL, redis_seen_ago=61.0))[0] == 503


def test_live_only_says_that_it_answers(probe: Callable[[str, Snapshot], tuple[int, str, str]]) -> None:
    assert probe("/live", replace(WELL, children={}, redis_seen_ago=None))[::2] == (200, "ok\n")


def test_an_unknown_path_is_told_which_there_are(probe: Callable[[str, Snapshot], tuple[int, str, str]]) -> None:
    assert probe("/", WELL)[::2] == (404, "there is only /metrics, /live, /ready, /scale\n")
