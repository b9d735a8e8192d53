"""Failed jobs by cause: what the page says, and that an action takes exactly the jobs that were counted."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import pytest
from redis import Redis

import jobd.web
from jobd.client.push import Client
from jobd.client.sets import DeadSet, RetrySet
from jobd.web import causes
from jobd.web.causes import normalise
from jobd.web.pages import failures
from tests.client.api import fill_set, jids, payload, queued
from tests.web.browser import PROCESS, Browser, Page, fill


def put(
    redis: Redis, key: str, count: int, name: str = "PayJob", message: str = "no account {}", **fields: Any
) -> None:
    """Jobs of one cause, which failed a second apart."""
    now = time.time()
    for i in range(count):
        error = {"error_class": "LookupError", "error_message": message.format(i), "failed_at": now - 100 + i}
        raw = payload(f"{key[0]}{name}{i}", **{"class": name, "retry_count": 4, **error, **fields})
        redis.zadd(key, {raw: now + 60 + i if key == "retry" else now - 100 + i})


def test_jobs_of_one_cause_are_one_row_whatever_is_in_their_messages(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 5)
    put(redis, "dead", 3, queue="low")
    put(redis, "dead", 2, "MailJob", "refused by {}")
    told = browser.data("/failures")
    assert (told["seen"], told["retries"], told["dead"], told["count"]) == (10, 5, 5, 2)
    first = told["causes"][0]
    assert (first["class"], first["error_class"], first["message"]) == ("PayJob", "LookupError", "no account <n>")
    assert (first["count"], first["in_retries"], first["in_dead"], first["queues"]) == (8, 5, 3, ["default", "low"])
    assert [each["jid"] for each in first["samples"]][:2] == ["rPayJob4", "rPayJob3"]
    assert (sum(first["curve"]), first["last"] - first["first"]) == (8, 4)
    page = Page.of(browser.get("/failures").text)
    assert "8 × PayJob" in page.text
    links = [str(each["href"]) for each in page.all("a")]
    assert f"/retries?q=class%3A%22PayJob%22+error%3A%22LookupError%22+cause%3A{first['id']}" in links
    for sample in first["samples"]:
        assert browser.get(f"/jobs/{sample['jid']}?in={sample['place']}&key={sample['key']}").status_code == 200


def test_what_a_cause_links_to_are_its_jobs_and_no_others_of_the_class_and_error(
    browser: Browser, redis: Redis, client: Client
) -> None:
    put(redis, "retry", 5)
    put(redis, "retry", 3, message="too late by {} s", args=[1])
    put(redis, "dead", 2, message="too late by {} s")
    for cause in browser.data("/failures")["causes"]:
        for place, count in (("retries", cause["in_retries"]), ("dead", cause["in_dead"])):
            jobs = browser.data(f"/{place}?{urlencode({'q': cause['q']})}")["jobs"]
            assert [normalise(job["error_message"]) for job in jobs] == [cause["message"]] * count
    answer = browser.act("/retries", action="kill", all="yes", q=cause["q"], confirmed="yes")
    assert answer.json()["moved"] == 3
    assert redis.zcard("retry") == 5


def test_nothing_has_failed(browser: Browser) -> None:
    assert "No job waits for a retry, and none is dead." in browser.get("/failures").text


def test_a_thousand_are_looked_at_and_the_page_says_so(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 1_500)
    fill_set(redis, "dead", 700)
    told = browser.data("/failures")
    assert (told["seen"], told["causes"][0]["in_retries"], told["causes"][0]["in_dead"]) == (1_000, 500, 500)
    assert "At most 1,000 are looked at, and about 7.6 MB" in browser.get("/failures").text
    assert [failures._shares(*sizes) for sizes in ((10, 5), (5_000, 0), (5_000, 10), (10, 5_000), (5_000, 5_000))] == [
        (10, 0, 5),
        (500, 500, 0),
        (495, 495, 10),
        (10, 0, 990),
        (250, 250, 500),
    ]


def test_of_large_jobs_fewer_are_read_and_the_page_says_how_many(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_BYTES", 100_000)
    put(redis, "retry", 60, args=["x" * 5_000])
    put(redis, "dead", 60, "SmallJob")
    told = browser.data("/failures")
    large, small = sorted(cause["count"] for cause in told["causes"])
    assert (5 <= large <= 12, small, told["seen"]) == (True, 60, large + 60)
    assert f"Looked at: {told['seen']}." in browser.get("/failures").text
    assert failures.fitting((0, 0, 0), ([], [], [])) == [0, 0, 0]
    assert failures.fitting((500, 0, 500), ([200_000], [], [10**9])) == [1, 0, 1]


def test_many_causes_are_shown_by_pages_that_are_small(browser: Browser, redis: Redis) -> None:
    names = [f"Job{chr(65 + i % 26)}{chr(65 + i // 26)}" for i in range(45)]
    for name in names:
        put(redis, "dead", 1, name, "it failed because of something that takes some words to be said, {}")
    seen, offset = [], 0
    while offset is not None:
        page = browser.data(f"/failures?offset={offset}")
        seen += [cause["class"] for cause in page["causes"]]
        offset = page["next"]
    assert sorted(seen) == sorted(names)
    assert len(browser.get("/failures").content) < 60_000


def ask(browser: Browser, action: str, **fields: Any) -> dict[str, Any]:
    """Ask for an action on the first cause, as a program; the answer is what has to be sent to carry it out."""
    told = browser.data("/failures")
    asked = browser.act("/failures", action=action, group=told["causes"][0]["id"], until=told["until"], **fields)
    assert asked.status_code == 409, asked.text
    found: dict[str, Any] = asked.json()
    return found


def confirm(browser: Browser, asked: dict[str, Any]) -> dict[str, Any]:
    """Carry it out."""
    done = browser.act("/failures", **dict(asked["fields"]), confirmed="yes")
    assert done.status_code == 200, done.text
    told: dict[str, Any] = done.json()
    return told


def test_exactly_the_jobs_that_were_counted_are_retried(browser: Browser, redis: Redis, client: Client) -> None:
    put(redis, "retry", 3)
    put(redis, "dead", 2)
    put(redis, "dead", 1, "OtherJob")
    asked = ask(browser, "retry")
    assert asked["count"] == 5
    [(changed, score)] = redis.zrange("retry", 0, 0, withscores=True)
    redis.zrem("retry", changed)
    redis.zadd("retry", {changed.replace(b"[1]", b"[2]"): score})
    late = payload("late", **{"class": "PayJob", "error_class": "LookupError", "error_message": "no account 9"})
    redis.zadd("retry", {late: time.time() + 60})
    assert confirm(browser, asked) == {"action": "retry", "moved": 4, "gone": 1}
    assert sorted(job["jid"] for job in queued(redis)) == ["dPayJob0", "dPayJob1", "rPayJob1", "rPayJob2"]
    assert {job["retry_count"] for job in queued(redis)} == {3}
    assert (jids(RetrySet(client)), jids(DeadSet(client))) == (["rPayJob0", "late"], ["dOtherJob0"])


def test_what_failed_after_the_page_was_drawn_is_not_counted(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 3)
    told = browser.data("/failures")
    put(redis, "retry", 2, "PayJob", "no account {}", extra="later", failed_at=time.time() + 60)
    form = {"action": "delete", "group": told["causes"][0]["id"], "until": repr(told["until"])}
    assert browser.act("/failures", **form).json()["count"] == 3


def test_waves_are_reckoned_before_they_begin_and_put_into_the_retries(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 3)
    put(redis, "dead", 4)
    group = browser.data("/failures")["causes"][0]["id"]
    first = Page.of(browser.post("/failures", {"action": "waves", "group": group}).text)
    assert "50 jobs every 30 s: the last runs in 0 s. Waves: 1." in first.text
    hidden = {str(each["name"]): str(each["value"]) for each in first.all("input") if each.get("type") == "hidden"}
    other = {**hidden, "size": "2", "every": "60"}
    again = Page.of(browser.post("/failures", {**other, "confirmed": "yes"}).text)
    assert "2 jobs every 1 min: the last runs in 3 min. Waves: 4." in again.text
    assert redis.zcard("dead") == 4
    assert "2 jobs every 10 s" in browser.post("/failures", {**other, "every": "10", "again": "yes"}).text
    hidden = {str(each["name"]): str(each["value"]) for each in again.all("input") if each.get("type") == "hidden"}
    done = browser.post("/failures", {**hidden, "size": "2", "every": "60", "confirmed": "yes"})
    assert done.headers["location"] == "/failures?did=waves&moved=7"
    assert "Put into waves: 7." in browser.get(done.headers["location"]).text
    scores = [score for _, score in redis.zrange("retry", 0, -1, withscores=True)]
    assert [round(score - scores[0]) for score in scores] == [0, 0, 60, 60, 120, 120, 180]
    assert abs(scores[0] - time.time()) < 60
    assert redis.zcard("dead") == 0


def test_a_program_gets_the_same_waves(browser: Browser, redis: Redis) -> None:
    put(redis, "dead", 5)
    asked = ask(browser, "waves", size=2, every=10)
    assert (asked["count"], asked["waves"], asked["lasts"]) == (5, 3, 20)
    assert confirm(browser, asked) == {"action": "waves", "moved": 5}
    assert redis.zcard("retry") == 5


def test_only_retries_are_killed_and_what_the_limit_drops_is_said(
    browser: Browser, redis: Redis, client: Client
) -> None:
    fill(redis, client)
    redis.delete("retry", "dead")
    redis.hset(PROCESS, "info", b'{"concurrency": 1, "dead_max_jobs": 4, "dead_timeout": 15552000}')
    put(redis, "retry", 3)
    put(redis, "dead", 2)
    asked = ask(browser, "kill")
    assert (asked["count"], asked["drops"]) == (3, 1)
    assert confirm(browser, asked) == {"action": "kill", "moved": 3, "dropped": 1}
    assert (redis.zcard("retry"), redis.zcard("dead")) == (0, 4)
    assert 'value="kill"' not in browser.get("/failures").text


def test_a_thousand_are_deleted_once_the_word_is_typed(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "dead", 1_000, score=5.0)
    asked = ask(browser, "delete")
    assert (asked["count"], asked["typed"]) == (1_000, "failures")
    fields = dict(asked["fields"])
    assert browser.act("/failures", **fields, confirmed="yes").status_code == 409
    assert browser.act("/failures", **fields, confirmed="yes", typed="failures").json()["moved"] == 1_000
    assert redis.zcard("dead") == 0


def test_damaged_entries_are_a_cause_and_can_be_deleted_and_not_retried(browser: Browser, redis: Redis) -> None:
    redis.zadd("dead", {b"{bad": 1.0, b"{worse": 2.0})
    page = browser.get("/failures").text
    assert "Damaged entry" in page
    assert confirm(browser, ask(browser, "retry")) == {"action": "retry", "moved": 0, "malformed": 2}
    assert confirm(browser, ask(browser, "delete"))["moved"] == 2


def test_a_cause_of_which_nothing_is_left_says_so(browser: Browser, redis: Redis) -> None:
    put(redis, "dead", 2)
    asked = ask(browser, "retry")
    redis.delete("dead")
    gone = browser.act("/failures", **dict(asked["fields"]), confirmed="yes")
    assert (gone.status_code, "no job of this cause is left" in gone.text) == (404, True)
    assert browser.act("/failures", action="retry", group="nothing").status_code == 404


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"action": "explode"}, "give one of retry, waves, kill, delete"),
        ({"action": "waves", "size": "0"}, "size is"),
        ({"action": "waves", "size": "²"}, "size is"),
        ({"action": "waves", "every": "-3"}, "every is"),
        ({"action": "waves", "every": "100000"}, "every is"),
        ({"action": "delete", "jobs": "x:1~0123456789abcdef"}, "names no failed job"),
        ({"action": "delete", "jobs": "r:nonsense"}, "names no failed job"),
        ({"action": "delete", "jobs": "d:1.0~0123456789abcdef " * 1_001}, "name at most 1,000"),
        ({"action": "delete", "until": "soon"}, "until is no time"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, str], complaint: str, browser: Browser) -> None:
    answer = browser.act("/failures", **fields)
    assert (answer.status_code, complaint in answer.json()["error"]) == (400, True)


def test_waves_that_would_take_too_long_are_refused_before_anybody_confirms(browser: Browser, redis: Redis) -> None:
    put(redis, "dead", 40)
    group = browser.data("/failures")["causes"][0]["id"]
    answer = browser.act("/failures", action="waves", group=group, size=1, every=86_400)
    assert (answer.status_code, "take larger waves" in answer.text) == (400, True)


@pytest.mark.parametrize(("action", "right"), failures.RIGHTS.items())
def test_who_may_not_do_it_in_a_list_may_not_do_it_here(action: str, right: str, redis: Redis, client: Client) -> None:
    put(redis, "retry", 2)
    app = jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, asked: asked != right)
    group = Browser(app).data("/failures")["causes"][0]["id"]
    assert Browser(app).post("/failures", {"action": action, "group": group}).status_code == 403
    assert f'value="{action}"' not in Browser(app).get("/failures").text
    assert redis.zcard("retry") == 2


def test_secrets_are_hidden_before_messages_are_told_apart(browser: Browser, redis: Redis) -> None:
    for i in range(3):
        put(
            redis,
            "dead",
            1,
            f"J{i}",
            f"login failed: password=hunter2-{i} " + "x " * 220 + f"redis://ann:hunter2{'hunter2' * 20}@host",
        )
    put(redis, "dead", 1, "Job password=", "Bearer hunter2hunter2", error_class="token=hunter2", args=["hunter2"][:0])
    for path in ("/failures", "/api/v1/failures"):
        assert "hunter2" not in browser.get(path).text
    assert "hunter2" not in str(ask(browser, "delete")["about"])


def test_what_is_made_of_failures_serves_until_one_of_them_changes(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped = list[int]()

    def counted(found: list[causes.Failure]) -> list[causes.Cause]:
        grouped.append(len(found))
        return causes.group(found)

    monkeypatch.setattr("jobd.web.pages.failures.group", counted)
    redis.zadd(
        "retry", {payload("a", error_class="E", error_message="x", failed_at=time.time() - 60): time.time() + 60}
    )
    first, again = ([each["samples"] for each in browser.data("/failures")["causes"]] for _ in range(2))
    assert (first, grouped) == (again, [1])
    redis.zadd("dead", {payload("b", error_class="E", error_message="x", failed_at=time.time() - 60): time.time()})
    assert [each["count"] for each in browser.data("/failures")["causes"]] == [2]
    assert grouped == [1, 2]
