"""What an application tells of its own secrets, and jobs that are encrypted."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from redis import Redis

import jobd.web
from jobd.client.cron_set import CronSet
from jobd.client.entry import JobEntry
from jobd.client.errors import ConfigError
from jobd.client.push import Client
from jobd.web import masking
from jobd.web.masking import ENCRYPTED, HIDDEN, Masker, Open, Path
from jobd.web.pages.edit import REFUSALS
from tests.client.api import fill_queue, payload
from tests.web.browser import PROCESS, Browser
from tests.web.test_jobs import address

PLANTED = "0171-555-0199"
CALL: dict[str, Any] = {
    "class": "app.Pay",
    "args": [7, PLANTED, {"phones": [1, PLANTED], "card_type": "visa", "note": "plain"}],
    "kwargs": {"phone": PLANTED, "card_type": "visa"},
}
RAILS: dict[str, Any] = {
    "class": "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
    "wrapped": "PayJob",
    "args": [{"job_class": "PayJob", "job_id": "1", "arguments": [7, PLANTED]}],
}


def phones(job: Mapping[str, Any], path: Path, value: Any) -> bool | None:
    """Hides telephone numbers wherever they stand."""
    return True if isinstance(value, str) and value.startswith("0171-") else None


def hold(redis: Redis, client: Client, **fields: Any) -> None:
    """This job in each place where one can be."""
    now = time.time()
    failed = {**fields, "error_class": "Refused", "error_message": "no", "failed_at": now, "retry_count": 1}
    fill_queue(redis, 1, **fields)
    redis.zadd("retry", {payload("r1", **failed): now + 60})
    redis.zadd("schedule", {payload("s1", **fields): now + 60})
    redis.zadd("dead", {payload("d1", **failed): now})
    info = {"hostname": "a", "pid": 1, "concurrency": 1, "queues": ["default"]}
    redis.sadd("processes", PROCESS)
    redis.hset(PROCESS, mapping={"info": json.dumps(info), "busy": 1, "beat": now, "quiet": "false"})
    work = {"queue": "default", "run_at": int(now) - 5, "payload": payload("b1", **fields).decode()}
    redis.hset(f"{PROCESS}:work", "t1", json.dumps(work))
    CronSet(client).create("pay", "@daily", fields["class"], args=fields["args"], kwargs=fields.get("kwargs", {}))


def everywhere(browser: Browser) -> dict[str, str]:
    """The text of each answer that shows such a job, by its address."""
    jobs = [address(browser, f"/{place}") for place in ("retries", "scheduled", "dead", "queues/default")]
    paths = ["/retries", "/scheduled", "/dead", "/queues/default", "/jobs/b1", "/busy", f"/busy/{PROCESS}"]
    paths += ["/failures", "/cron", "/cron/pay", "/cron-edit?name=pay", *jobs]
    exports = [f"/export?{urlencode({'in': place})}" for place in ("retries", "scheduled", "dead")]
    live = [f"/live?{urlencode({'once': 1, 'page': path})}" for path in paths if not path.startswith("/cron-edit")]
    answers = {path: browser.get(path) for path in [*paths, *(f"/api/v1{path}" for path in paths), *exports, *live]}
    assert {answer.status_code for answer in answers.values()} == {200}
    return {path: answer.text for path, answer in answers.items()}


def test_a_function_of_the_application_hides_values_wherever_a_job_is_shown(redis: Redis, client: Client) -> None:
    hold(redis, client, **CALL)
    assert PLANTED in everywhere(Browser(jobd.web.app(client, read_only=False)))["/retries"]
    browser = Browser(jobd.web.app(client, read_only=False, mask_value=phones))
    for path, text in everywhere(browser).items():
        assert PLANTED not in text, path
    assert HIDDEN in browser.data("/retries")["jobs"][0]["args"]


@pytest.mark.parametrize("call", [CALL, RAILS])
@pytest.mark.parametrize("q", [PLANTED, f'args:"{PLANTED}"', f"args.phone:{PLANTED}", f"args.1:{PLANTED}"])
def test_what_it_hides_cannot_be_searched_for(q: str, call: dict[str, Any], redis: Redis, client: Client) -> None:
    redis.zadd("retry", {payload("r1", **call): time.time()})
    find = f"/retries?{urlencode({'q': q})}"
    if call is CALL:
        assert len(Browser(jobd.web.app(client, read_only=True)).data(find)["jobs"]) == 1
    browser = Browser(jobd.web.app(client, read_only=True, mask_value=phones))
    assert browser.data(find)["jobs"] == []
    assert len(browser.data(f"/retries?{urlencode({'q': 'args.0:7'})}")["jobs"]) == 1


def test_a_job_with_such_values_is_not_edited_and_not_copied_whole(redis: Redis, client: Client) -> None:
    redis.zadd("retry", {payload("r1", **CALL): time.time()})
    browser = Browser(jobd.web.app(client, read_only=False, mask_value=phones))
    where = address(browser, "/retries")
    job = browser.data(where)
    assert (job["complete"], PLANTED in job["python"], HIDDEN in job["python"]) == (False, False, True)
    answer = browser.get(where.replace("/jobs/r1", "/edit"))
    assert (answer.status_code, REFUSALS["secret"] in answer.text) == (409, True)


def test_keys_of_a_class_that_are_no_secrets_are_shown_and_only_there(redis: Redis, client: Client) -> None:
    browser = Browser(jobd.web.app(client, read_only=True, unmasked={"app.Pay": ["card_type"]}))
    for place, name in ((1.0, "app.Pay"), (2.0, "app.PayLater")):
        redis.zadd("retry", {payload("r", **{**CALL, "class": name}): place})
    pay, later = browser.data("/retries")["jobs"]
    assert pay["args"].count("visa") == 2
    assert later["args"].count("visa") == 0
    assert [len(browser.data(f"/retries?q=args.2.card_type:{text}")["jobs"]) for text in ("visa", HIDDEN)] == [1, 1]


def test_keys_are_meant_whole_and_what_looks_like_a_secret_below_them_stays_hidden() -> None:
    masker = Masker(unmasked={"app.Pay": ["card"]})
    job = {"class": "app.Pay"}
    assert masker.argument(job, (0,), {"card": {"pin": "Bearer abc", "password": "x"}, "card_no": "4"}) == {
        "card": {"pin": f"Bearer {HIDDEN}", "password": HIDDEN},
        "card_no": HIDDEN,
    }
    with pytest.raises(ConfigError, match=r"app.Pay.*\['card'\]"):
        Masker(unmasked={"app.Pay": "card"})


def test_the_function_is_told_job_place_and_value_and_decides_before_the_words() -> None:
    asked = list[tuple[Path, Any]]()

    def decide(job: Mapping[str, Any], path: Path, value: Any) -> bool | None:
        assert job["class"] == "app.Pay"
        asked.append((path, value))
        return {"password": False, "note": True}.get(str(path[-1]))

    entry = JobEntry(payload("j", **{"class": "app.Pay", "args": [{"password": "hunter2", "note": "x"}], "kwargs": {}}))
    masker = Masker(mask_value=decide)
    assert masker.arguments(entry.payload, entry.args) == [{"password": "hunter2", "note": HIDDEN}]
    assert asked == [((0,), entry.args[0]), ((0, "password"), "hunter2"), ((0, "note"), "x")]
    assert masker.keywords(entry.payload, {"note": 1, "token": 2}) == {"note": HIDDEN, "token": HIDDEN}
    assert isinstance(entry.payload, MappingProxyType)  # which it cannot change


@pytest.mark.parametrize("answer", [RuntimeError("no"), 1, "yes", 0, ""])
def test_where_the_function_fails_or_says_nonsense_the_value_is_hidden(
    answer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(masking, "time", SimpleNamespace(monotonic=lambda: moment))
    masker, moment = Masker(mask_value=decide), 1_000.0
    assert masker.arguments({"class": "A"}, ["plain", 1]) == [HIDDEN, HIDDEN]
    moment += 59.0
    assert masker.arguments({"class": "A"}, ["plain"]) == [HIDDEN]
    assert caplog.text.count("web.mask_failed") == isinstance(answer, Exception)
    moment += 2.0
    assert masker.arguments({"class": "A"}, ["plain"]) == [HIDDEN]
    assert caplog.text.count("web.mask_failed") == 2 * isinstance(answer, Exception)


def test_the_last_argument_of_an_encrypted_job_is_shown_nowhere(redis: Redis, client: Client) -> None:
    hold(redis, client, **{"class": "app.Pay", "args": [7, PLANTED], "encrypt": True})
    redis.delete("cron_jobs")  # entries have no such option
    CronSet(client).create("pay", "@daily", "app.Pay")
    app = jobd.web.app(client, auth=lambda _: "ann", authorize=lambda *_: True)
    for path, text in everywhere(Browser(app)).items():
        assert PLANTED not in text, path
    assert Browser(app).data("/retries")["jobs"][0]["args"] == f'7, "{ENCRYPTED}"'
    for q in (PLANTED, f"args.1:{PLANTED}", f"args:{PLANTED}"):
        assert Browser(app).data(f"/retries?{urlencode({'q': q})}")["jobs"] == []
    where = address(Browser(app), "/retries")
    assert PLANTED not in Browser(app).act(where, action="reveal").text
    assert Browser(app).get(where.replace("/jobs/r1", "/edit")).status_code == 409


def test_of_encrypted_jobs_only_the_last_argument_is_a_cipher() -> None:
    job: dict[str, Any] = {"class": "A", "args": ["plain", "cipher"], "encrypt": True}
    for masker in (Masker(), Masker(mask_value=lambda *_: False), Open()):
        assert masker.arguments(job, job["args"]) == ["plain", ENCRYPTED]
    assert Masker().arguments({**job, "encrypt": False}, job["args"]) == job["args"]
    assert Masker().arguments({**RAILS, "encrypt": True}, [7, PLANTED]) == [ENCRYPTED, ENCRYPTED]
