"""Users who may change only what is of certain queues: every change there is, and what they see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client.cron_set import CronSet
from jobd.client.entry import JobEntry
from jobd.client.errors import ConfigError, RedisUnavailable
from jobd.client.push import Client
from jobd.client.queues import Queue, QueueEntry
from jobd.web import auth, openapi, reach
from jobd.web.reach import Reach
from tests.client.api import payload
from tests.web.browser import Browser, Page
from tests.web.test_bulk import finished
from tests.web.test_busy import process
from tests.web.test_security import state

RUN = "0123456789abcdef"
WORKER = "a:1:x"
ERROR = {"error_class": "Timeout", "error_message": "no answer", "failed_at": 1_795_305_700.0, "retry_count": 1}
Sent = tuple[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        (["mail"], ["mail"], ["Mail", "mail2", "my:mail", "", "mai", "mail\n"]),
        (["mail:*"], ["mail:", "mail:fast", "mail:a:b", "mail:\n"], ["mail", "email:x", "MAIL:x"]),
        (["*:eu"], [":eu", "mail:eu"], ["eu", "mail:eu:x"]),
        (["a*b*c"], ["abc", "axbxc", "abbc", "abcbc"], ["acb", "ac", "abca", "xabc"]),
        (["ab*ba"], ["abba", "ab-ba"], ["aba"]),
        (["a.c", "[ab]", "x?", "^d$"], ["a.c", "[ab]", "x?", "^d$"], ["abc", "a", "xy", "d"]),
        (["one", "two"], ["one", "two"], ["one,two", "three"]),
        ("mail", ["mail"], ["m"]),
        (["*"], ["mail", "", "\udcff"], []),
        (["**"], ["mail", "\udcff"], [""]),
        ([], [], ["mail", ""]),
        (None, [], ["mail"]),
    ],
)
def test_a_pattern_takes_whole_names_and_a_star_stands_for_any_text(
    patterns: Any, inside: list[str], outside: list[str]
) -> None:
    within = Reach.of(patterns)
    assert [name for name in (*inside, *outside) if within.takes(name)] == inside


def test_a_name_of_many_stars_is_matched_at_once() -> None:
    began = time.process_time()
    assert not Reach.of(["*a" * 2_000 + "b"]).takes("a" * 10_000)
    assert time.process_time() - began < 1.0


def test_what_is_of_two_queues_must_be_within_reach_in_both(client: Client) -> None:
    within = Reach.of(["ours*"])
    assert within.takes("ours", "ours:2")
    assert not within.takes("ours", "theirs")
    assert not within.takes()
    assert reach.queues_of(JobEntry(payload("a", queue="ours"))) == ("ours",)
    waiting = QueueEntry(payload("a", queue="ours"), Queue("theirs", client))
    assert reach.queues_of(waiting) == ("ours", "theirs")
    assert not within.takes_job(waiting)


@pytest.mark.parametrize("raw", [b"{broken", b"[]", b"\xff", b"{}", b'{"queue": ["ours"]}', b'{"queue": ""}'])
def test_a_job_that_names_no_queue_is_of_none(raw: bytes) -> None:
    assert not Reach.of(["ours", "**"]).takes_job(JobEntry(raw))
    assert Reach.of(["*"]).takes_job(JobEntry(raw))


def of(client: Client, *queues: str, **more: Any) -> Browser:
    """A browser whose user, Bob, may do all in these queues."""
    return Browser(jobd.web.app(client, auth=lambda _: "bob", authorize=lambda *_: True, queues=queues, **more))


def put(redis: Redis, *names: str) -> None:
    """Jobs of these queues everywhere, each with the name of its queue as its id, all that failed of one cause."""
    now = time.time()
    for place, name in enumerate(names):
        redis.sadd("queues", name)
        redis.lpush(f"queue:{name}", payload(f"q-{name}", queue=name), payload(f"q2-{name}", queue=name))
        redis.zadd("retry", {payload(name, queue=name, **ERROR): now + 60 + place})
        redis.zadd("schedule", {payload(name, queue=name): now + 60 + place})
        redis.zadd("dead", {payload(name, queue=name, secret="hidden", **ERROR): now - 60 + place})


def world(redis: Redis, client: Client) -> None:
    """Something of the queue `theirs` for each change."""
    redis.flushdb()
    put(redis, "theirs")
    process(redis, WORKER, capsules={"default": {"concurrency": 5, "weights": {}}}, most_threads=50)
    redis.hset(WORKER, mapping={"quiet": "true", "held": "0"})
    work = {"queue": "theirs", "run_at": int(time.time()) - 5, "payload": payload("w", queue="theirs").decode()}
    redis.hset(f"{WORKER}:work", "t1", json.dumps(work))
    entries = CronSet(client)
    entries.create("on", "0 3 * * *", "HardJob", queue="theirs")
    entries.create("off", "0 4 * * *", "HardJob", queue="theirs", status="disabled")
    run = {"action": "retry", "place": "retries", "queue": "", "user": "ann", "state": "running"}
    redis.hset(f"jobd:bulk:{RUN}", mapping={**run, "beat": time.time()})
    told = {"at": time.time(), "user": "ann", "places": [["dead", ""]], "deleted": 1, "kept": 1, "bytes": 99}
    redis.hset("jobd:trash", RUN, json.dumps(told))
    redis.zadd(f"jobd:trash:{RUN}:0", {payload("gone", queue="theirs"): 5.0})


def key(browser: Browser, path: str) -> str:
    """The key of the last job of a list."""
    return str(browser.data(path)["jobs"][-1]["key"])


def at(path: str, **document: Any) -> Callable[[Browser], Sent]:
    """A change of one thing."""
    return lambda browser: (path, document)


def one(path: str, **document: Any) -> Callable[[Browser], Sent]:
    """A change of the last job of a list."""
    return lambda browser: (path, {"key": [key(browser, path)], "confirmed": "yes", **document})


def cause(browser: Browser) -> Sent:
    return "/failures", {"group": browser.data("/failures")["causes"][0]["id"]}


def confirmed_cause(browser: Browser) -> Sent:
    """As somebody confirms it who found the keys elsewhere."""
    found = [f"r:{key(browser, '/retries')}", f"d:{key(browser, '/dead')}"]
    return "/failures", {"jobs": " ".join(found), "said": "50 30", "confirmed": "yes"}


def kill_cause(browser: Browser) -> Sent:
    return "/failures", {"jobs": f"r:{key(browser, '/retries')}", "confirmed": "yes"}


def unmute(browser: Browser) -> Sent:
    path, fields = cause(browser)
    assert browser.act(path, action="mute", **fields).status_code == 200
    return path, fields


def revised(browser: Browser) -> Sent:
    revision = browser.data("/cron-edit?name=on")["revision"]
    return "/cron/on", {"revision": revision, "cron": "0 5 * * *", "known": "yes"}


def edited(browser: Browser) -> Sent:
    return "/edit", {"in": "retries", "key": key(browser, "/retries"), "args": "[2]"}


def revealed(browser: Browser) -> Sent:
    return f"/jobs/theirs?in=dead&key={key(browser, '/dead').replace('+', '%2B')}", {}


CHANGES: dict[str, dict[str, Callable[[Browser], Sent]]] = {
    "/queues": dict.fromkeys(("pause", "resume"), at("/queues", key=["theirs"])),
    "/queues/{name}": {
        **dict.fromkeys(("pause", "resume"), at("/queues/theirs")),
        "clear": at("/queues/theirs", confirmed="yes"),
        "limits": at("/queues/theirs", wait="5m"),
        **dict.fromkeys(("delete", "front", "move", "copy"), one("/queues/theirs", to="other")),
    },
    **{
        path: dict.fromkeys(actions, one(path, at="10m"))
        for path, actions in (
            ("/retries", ("retry", "reschedule", "kill", "delete")),
            ("/scheduled", ("enqueue", "reschedule", "kill", "delete")),
            ("/dead", ("retry", "delete")),
        )
    },
    "/jobs/{jid}": {"reveal": revealed},
    "/bulk/{id}": {"stop": at(f"/bulk/{RUN}")},
    "/undo/{id}": {"undo": at(f"/undo/{RUN}")},
    "/edit": {"edit": edited},
    "/busy": {
        **dict.fromkeys(("quiet", "resume", "stop", "dump"), at("/busy", identity=WORKER)),
        "cancel": at("/busy", jid="w", confirmed="yes"),
    },
    "/busy/{identity}": {
        "stacks": at(f"/busy/{WORKER}"),
        "concurrency": at(f"/busy/{WORKER}", threads="3"),
    },
    "/failures": {
        **dict.fromkeys(("retry", "waves", "delete"), confirmed_cause),
        "kill": kill_cause,
        "mute": cause,
        "unmute": unmute,
    },
    "/cron": {
        "create": at("/cron", name="new", cron="@daily", **{"class": "A", "queue": "theirs"}),
        "edit": lambda browser: ("/cron", {"name": "on", **revised(browser)[1]}),
        **dict.fromkeys(("disable", "skip", "run", "delete", "unskip"), at("/cron", name="on", confirmed="yes")),
        "enable": at("/cron", name="off"),
        **dict.fromkeys(("enable_all", "disable_all"), at("/cron", confirmed="yes")),
    },
    "/cron/{name}": {
        "edit": revised,
        **dict.fromkeys(("disable", "skip", "run", "delete", "unskip"), at("/cron/on", confirmed="yes")),
        "enable": at("/cron/off"),
    },
}
"""For each change that the interface describes a request that makes it, of what is of the queue `theirs`."""


def test_no_change_there_is_reaches_what_is_of_another_queue(redis: Redis, client: Client) -> None:
    known = {path: set(actions) for path, (actions, _) in openapi._WRITES.items()}
    assert {path: set(sent) for path, sent in CHANGES.items()} == known
    limited, free = of(client, "ours", "their", "theirs:*", "Theirs"), of(client, "*")
    for path, changes in CHANGES.items():
        for action, make in changes.items():
            world(redis, client)
            if action == "unskip":
                CronSet(client).skip_next("on")
            if action == "resume" and path.startswith("/queues"):
                Queue("theirs", client).pause()
            where, document = make(free)
            before = state(redis)
            answer = limited.act(where, action=action, **document)
            assert (answer.status_code, state(redis) == before) == (403, True), (path, action, answer.text)
            # It is refused because of the queue: whoever may change all queues can do just that.
            answer = free.act(where, action=action, **document)
            assert answer.status_code == 200, (path, action, answer.text)
            assert action == "reveal" or state(redis) != before, (path, action)


def test_each_right_is_either_of_queues_or_refused_to_who_is_limited() -> None:
    assert set(auth.OF_QUEUES) | set(auth.LOOKING) < set(auth.ACTIONS)
    assert set(auth.ACTIONS) - set(auth.OF_QUEUES) - set(auth.LOOKING) == {"quiet", "stop", "dump", "concurrency"}


def test_who_may_change_a_queue_does_so_there_and_is_told_where_else_not(redis: Redis, client: Client) -> None:
    put(redis, "ours", "ours:2", "theirs")
    browser = of(client, "ours*")
    assert browser.post("/queues/ours:2", {"action": "pause"}).status_code == 303
    refused = browser.post("/queues/theirs", {"action": "pause"})
    assert refused.status_code == 403
    text = "You may not do this here: pause. You may change only what is of these queues: ours*."
    assert text in Page.of(refused.text).text
    last = browser.data("/activity")["records"][0]
    assert (last["result"], last["target"], last["error"]) == ("refused", "theirs", "pause outside of ours*")


def test_of_a_selection_the_jobs_of_other_queues_are_left_and_counted(redis: Redis, client: Client) -> None:
    put(redis, "ours", "theirs")
    browser = of(client, "ours")
    keys = [("key", job["key"]) for job in browser.data("/retries")["jobs"]]
    asked = Page.of(browser.post("/retries", [("action", "delete"), *keys]).text)
    assert "1 jobs" in asked.text
    assert "Only jobs of your queues are meant: ours. Left, as they are of other queues than yours: 1." in asked.text
    done = browser.post("/retries", [("action", "delete"), ("confirmed", "yes"), *keys])
    assert done.headers["location"].startswith("/retries?did=delete&moved=1&left=1&undo=")
    assert "Left, as they are of other queues than yours: 1." in browser.get(done.headers["location"]).text
    assert [job["jid"] for job in browser.data("/retries")["jobs"]] == ["theirs"]
    answer = browser.act("/dead", action="retry", key=[job["key"] for job in browser.data("/dead")["jobs"]])
    assert answer.json() == {"action": "retry", "moved": 1, "left": 1}
    shown = "\n".join(job["key"] for job in browser.data("/scheduled")["jobs"])
    assert (
        browser.post("/scheduled", {"page": "enqueue", "shown": shown}).headers["location"].endswith("moved=1&left=1")
    )


def test_all_that_match_are_those_of_the_queues_of_the_user(redis: Redis, client: Client) -> None:
    put(redis, "ours", "ours:2", "theirs")
    redis.zadd("retry", {b"{damaged": 5.0, payload("nowhere", queue=""): 6.0})
    browser = of(client, "ours*")
    for q, expected in (("", 2), ("Timeout", 2), ("queue:ours", 1), ("queue:theirs", 0)):
        asked = browser.act("/retries", action="delete", all="yes", q=q)
        assert (asked.status_code, asked.json()["count"], asked.json()["queues"]) == (409, expected, "ours*"), q
    asked = browser.act("/retries", action="delete", all="yes").json()
    redis.zadd("retry", {payload("late", queue="ours", **{**ERROR, "failed_at": time.time() + 5}): time.time() + 999})
    done = browser.act("/retries", **dict(asked["fields"]), confirmed="yes").json()
    assert (done["moved"], "left" in done) == (2, False)
    left = [job["jid"] for job in browser.data("/retries")["jobs"]]
    assert sorted(left) == ["", "late", "nowhere", "theirs"]
    record = browser.data("/activity")["records"][0]
    assert record["filter"] == "all, of ours*"


def test_a_change_that_outlasts_the_request_takes_those_alone_too(redis: Redis, client: Client) -> None:
    now = time.time()
    redis.zadd("dead", {payload(f"j{n}", queue="ours" if n % 3 else "theirs"): now - n for n in range(900)})
    browser = of(client, "ours")
    asked = browser.act("/dead", action="delete", all="yes").json()
    assert (asked["count"], asked["typed"]) == (600, "")
    answer = browser.act("/dead", **dict(asked["fields"]), confirmed="yes")
    ended = finished(browser, answer.json()["bulk"])
    assert (ended["state"], ended["moved"], ended["of"], ended["queues"]) == ("done", 600, 600, "ours")
    assert redis.zcard("dead") == 300
    assert "only of the queues ours" in Page.of(browser.get(f"/bulk/{ended['id']}").text).text
    record = next(each for each in browser.data("/activity")["records"] if each["page"].startswith("/bulk"))
    assert record["filter"] == "all, of ours"
    assert browser.act(f"/bulk/{ended['id']}", action="stop").status_code == 200, "it was begun by the same user"


def test_a_change_within_a_queue_is_stopped_by_who_may_change_that_queue(redis: Redis, client: Client) -> None:
    run = {"action": "delete", "place": "queue", "queue": "ours", "user": "ann", "state": "running"}
    redis.hset(f"jobd:bulk:{RUN}", mapping={**run, "beat": time.time()})
    refused, allowed = of(client, "theirs"), of(client, "ours")
    assert (refused.data(f"/bulk/{RUN}")["may_stop"], allowed.data(f"/bulk/{RUN}")["may_stop"]) == (False, True)
    assert refused.act(f"/bulk/{RUN}", action="stop").status_code == 403
    assert allowed.act(f"/bulk/{RUN}", action="stop").status_code == 200


def test_a_job_is_moved_only_between_queues_of_the_user(redis: Redis, client: Client) -> None:
    put(redis, "ours", "ours:2", "theirs")
    browser = of(client, "ours*")
    keys = [key(browser, "/queues/ours")]
    assert browser.act("/queues/ours", action="move", key=keys, to="theirs").status_code == 403
    assert browser.act("/queues/ours", action="move", all="yes", q="HardJob", to="theirs").status_code == 403
    assert browser.act("/queues/ours", action="move", key=keys, to="ours:2").json()["moved"] == 1
    assert redis.llen("queue:ours:2") == 3
    assert browser.data("/queues/ours")["other_queues"] == ["ours:2"]
    assert browser.act("/queues/theirs", action="delete", all="yes").status_code == 403


def test_a_job_in_a_queue_that_names_another_one_is_of_both(redis: Redis, client: Client) -> None:
    redis.rpush("queue:ours", payload("other", queue="theirs"), b"{damaged", payload("own", queue="ours"))
    browser = of(client, "ours")
    rows = browser.data("/queues/ours")["jobs"]
    assert [row["locked"] for row in rows] == [False, True, True]
    done = browser.act("/queues/ours", action="delete", key=[row["key"] for row in rows])
    assert (done.json()["moved"], done.json()["left"]) == (1, 2)
    asked = browser.act("/queues/ours", action="delete", all="yes", q="e").json()
    assert asked["count"] == 0
    assert browser.act("/queues/ours", action="delete", key=[rows[2]["key"]]).status_code == 403
    assert of(client, "ours", "theirs").act("/queues/ours", action="delete", key=[rows[2]["key"]]).status_code == 200
    assert of(client, "*").act("/queues/ours", action="delete", key=[rows[1]["key"]]).status_code == 200


def test_of_a_cause_the_jobs_of_other_queues_are_left(redis: Redis, client: Client) -> None:
    put(redis, "ours", "theirs")
    browser = of(client, "ours")
    [row] = browser.data("/failures")["causes"]
    assert (row["count"], row["locked"], row["mutable"]) == (4, False, False)
    assert 'value="mute"' not in browser.get("/failures").text
    asked = browser.act("/failures", action="waves", group=row["id"]).json()
    assert (asked["count"], asked["waves"], asked["left"], asked["queues"]) == (2, 1, 2, "ours")
    page = Page.of(browser.post("/failures", {"action": "delete", "group": row["id"]}).text)
    assert "Left, as they are of other queues than yours: 2." in page.text
    assert browser.act("/failures", **dict(asked["fields"]), confirmed="yes").json() == {"action": "waves", "moved": 2}
    assert (redis.zcard("retry"), redis.zcard("dead")) == (3, 1)
    assert browser.act("/failures", action="mute", group=row["id"]).status_code == 403
    both = of(client, "ours", "theirs")
    assert both.act("/failures", action="mute", group=row["id"]).status_code == 200
    assert browser.act("/failures", action="unmute", group=row["id"]).status_code == 403
    redis.delete("retry", "dead")
    assert both.act("/failures", action="unmute", group=row["id"]).status_code == 403, "it may be of any queue"
    assert of(client, "*").act("/failures", action="unmute", group=row["id"]).status_code == 200


def test_ticked_queues_of_others_are_left(redis: Redis, client: Client) -> None:
    put(redis, "ours", "theirs")
    browser = of(client, "ours")
    done = browser.post("/queues", [("action", "pause"), ("key", "ours"), ("key", "theirs")])
    assert done.headers["location"] == "/queues?did=pause_many&moved=1&left=1"
    assert redis.smembers("paused") == {b"ours"}
    page = Page.of(browser.get("/queues").text)
    assert [each["value"] for each in page.all("input") if each.get("name") == "key"] == ["ours"]
    buttons = {each["aria-label"] for each in page.all("button") if each.get("form") == "one"}
    assert buttons == {"Resume: ours", "Delete all jobs: ours"}


def test_cron_entries_are_judged_by_the_queue_before_and_after(redis: Redis, client: Client) -> None:
    entries = CronSet(client)
    for name in ("ours", "theirs"):
        entries.create(name, "0 3 * * *", "HardJob", queue=name)
    redis.hset("cron_job:ours", "message", "{broken")
    entries.create("mine", "0 3 * * *", "HardJob", queue="ours")
    browser = of(client, "ours")
    assert {row["name"]: row["locked"] for row in browser.data("/cron")["entries"]} == {
        "mine": False,
        "ours": True,
        "theirs": True,
    }
    assert [browser.data(f"/cron/{name}")["may_change"] for name in ("mine", "theirs")] == [True, False]
    assert browser.act("/cron", action="create", name="b", cron="@daily", **{"class": "A"}).status_code == 403
    made = {"name": "a", "cron": "@daily", "class": "A"}
    assert browser.act("/cron", action="create", queue="ours", **made).status_code == 200
    revision = browser.data("/cron-edit?name=mine")["revision"]
    fields = {"action": "edit", "revision": revision, "known": "yes"}
    assert browser.act("/cron/mine", **fields, queue="theirs").status_code == 403
    assert browser.act("/cron/mine", **fields, cron="0 4 * * *").status_code == 200
    revision = browser.data("/cron-edit?name=theirs")["revision"]
    assert browser.act("/cron/theirs", **{**fields, "revision": revision}, queue="ours").status_code == 403
    assert browser.act("/cron/none", action="disable").status_code == 404
    asked = browser.act("/cron", action="disable_all").json()
    assert (asked["count"], asked["left"]) == (2, 2)
    done = browser.act("/cron", action="disable_all", confirmed="yes").json()
    assert done == {"action": "disable_all", "moved": 2, "left": 2}
    assert {entry.name for entry in entries if entry.enabled} == {"ours", "theirs"}


def test_a_running_job_is_of_the_queue_it_was_taken_from_and_of_the_one_it_names(redis: Redis, client: Client) -> None:
    process(redis, WORKER)
    for name, (taken, named) in {"a": ("ours", "ours"), "b": ("ours", "theirs"), "c": ("theirs", "ours")}.items():
        work = {"queue": taken, "run_at": int(time.time()) - 5, "payload": payload(name, queue=named).decode()}
        redis.hset(f"{WORKER}:work", name, json.dumps(work))
    browser = of(client, "ours")
    data = browser.data("/busy")
    assert ({job["jid"]: job["cancellable"] for job in data["running"]}, data["actions"]) == (
        {"a": True, "b": False, "c": False},
        [],
    )
    told = [browser.act("/busy", action="cancel", jid=jid, confirmed="yes").status_code for jid in "abc"]
    assert told == [200, 403, 403]


def test_buttons_stand_only_where_the_user_may_press_them(redis: Redis, client: Client) -> None:
    put(redis, "ours", "theirs")
    browser = of(client, "ours")
    assert 'method="post"' not in browser.get("/queues/theirs").text
    assert 'value="clear"' in browser.get("/queues/ours").text
    page = Page.of(browser.get("/retries").text)
    ticks = [each for each in page.all("input") if each.get("name") == "key"]
    assert len(ticks) == 1
    [shown] = [each["value"] for each in page.all("input") if each.get("name") == "shown"]
    assert shown == ticks[0]["value"]
    assert "Your queues: ours" in page.text
    links = [str(each["href"]) for each in page.all("a") if each.get("class") == "jid"]
    own, other = (browser.get(link).text for link in links)
    assert 'value="kill"' in own
    assert "/edit?" in own
    assert 'method="post"' not in other
    assert "/edit?" not in other
    form = browser.get(f"/edit?in=retries&key={key(browser, '/retries?q=queue:theirs')}".replace("+", "%2B")).text
    assert "readonly" in form
    assert 'method="post"' not in form


def test_who_may_change_nothing_is_told_that_they_only_look(redis: Redis, client: Client) -> None:
    put(redis, "theirs")
    for queues in ([], lambda user: None, lambda user: []):
        browser = Browser(jobd.web.app(client, auth=lambda _: "bob", queues=queues))
        page = browser.get("/queues/theirs").text
        assert "Read only" in page
        assert 'method="post"' not in page
        assert browser.post("/queues/theirs", {"action": "pause"}).status_code == 403


@pytest.fixture
def shared(client: Client) -> Callable[[str], Browser]:
    """A dashboard of which Ann may change all queues, Bob and Cyd one each, and nobody else any."""

    async def queues(user: str) -> list[str]:
        return {"ann": ["*"], "bob": ["ours"], "cyd": ["theirs"]}.get(user, [])

    app = jobd.web.app(client, auth=lambda request: request.headers["x-user"], queues=queues)
    return lambda user: Browser(app, headers={"sec-fetch-site": "same-origin", "x-user": user})


def test_what_is_kept_up_to_date_for_one_user_is_not_shown_to_one_of_other_queues(
    redis: Redis, shared: Callable[[str], Browser]
) -> None:
    put(redis, "theirs")
    for user, buttons in (("ann", True), ("cyd", True), ("bob", False), ("eve", False), ("cyd", True)):
        html = shared(user).get("/live?once=1&page=/queues/theirs").json()["html"]
        assert ('value="clear"' in html) is buttons, user
        assert ('value="clear"' in shared(user).get("/queues/theirs").text) is buttons
    assert shared("ann").post("/queues/theirs", {"action": "pause"}).status_code == 303
    assert shared("bob").post("/queues/theirs", {"action": "resume"}).status_code == 403


def test_what_was_shown_last_to_one_user_is_not_shown_to_one_of_other_queues_when_redis_is_gone(
    redis: Redis, shared: Callable[[str], Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(redis, "ours")
    assert 'value="clear"' in shared("bob").get("/queues/ours").text

    def gone(*_: Any) -> Any:
        raise RedisUnavailable("gone")

    monkeypatch.setattr("jobd.client.access.Access.read", gone)
    told = {user: shared(user).get("/queues/ours").text for user in ("bob", "cyd")}
    assert ('value="clear"' in told["bob"], "This page was not read before." in told["bob"]) == (True, False)
    assert ('value="clear"' in told["cyd"], "This page was not read before." in told["cyd"]) == (False, True)


def test_patterns_that_are_none_are_refused(client: Client) -> None:
    for wrong in ([""], ["mail", 5]):
        with pytest.raises(ConfigError, match=r"queues: .* is no pattern; give names such as mail"):
            jobd.web.app(client, queues=wrong)  # type: ignore[arg-type]  # wrong on purpose
    browser = Browser(jobd.web.app(client, auth=lambda _: "bob", queues=lambda user: [""]))
    assert browser.post("/queues/mail", {"action": "pause"}).status_code == 409
