"""The frame of every page: what a user chooses for a browser, the finder, the name of the site."""

from __future__ import annotations

import pytest
from redis import Redis

import jobd.web
from jobd.client.push import Client
from jobd.web import assets, render, settings
from tests.client.api import fill_queue, fill_set
from tests.web.browser import Browser, Page

JID = "0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("theme", "dark"), ("clock", "local"), ("times", "exact"), ("rows", "compact"), ("keys", "off")],
)
def test_a_choice_is_kept_in_a_cookie_and_drawn_by_the_server(setting: str, value: str, browser: Browser) -> None:
    answer = browser.get(f"/{setting}?to={value}&from=/retries%3Fq%3Dx")
    assert (answer.status_code, answer.headers["location"]) == (303, "/retries?q=x")
    cookie = answer.headers["set-cookie"]
    assert "Path=/; SameSite=lax" in cookie
    [html] = Page.of(browser.get("/", cookie=cookie.split(";")[0]).text).all("html")
    assert html[f"data-{setting}"] == value
    [html] = Page.of(browser.get("/", cookie=f"jobd_{setting}=nonsense").text).all("html")
    assert html[f"data-{setting}"] != "nonsense"


def test_the_columns_of_lists_are_chosen_under_display(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 1)

    def offered(cookie: str, path: str = "/retries") -> dict[str, tuple[bool, str]]:
        links = [
            each for each in Page.of(browser.get(path, cookie=cookie).text).all("a") if each.get("data-set") == "hide"
        ]
        names = settings.COLUMNS["queue" if path.startswith("/queues") else path[1:]]
        return {name: ("aria-current" in link, str(link["href"])) for name, link in zip(names, links, strict=True)}

    first = offered("")
    assert [shown for shown, _ in first.values()] == [True] * 5
    cookie = browser.get(first["error"][1]).headers["set-cookie"].split(";")[0]
    cookie = browser.get(offered(cookie)["queue"][1]).headers["set-cookie"].split(";")[0]
    assert cookie == "jobd_hide-retries=queue.error"
    assert {name for name, (shown, _) in offered(cookie).items() if not shown} == {"queue", "error"}
    [html] = Page.of(browser.get("/retries", cookie=cookie).text).all("html")
    assert html["data-hide"] == "queue error"
    again = browser.get(offered(cookie)["queue"][1])
    assert (again.headers["location"], again.headers["set-cookie"].split(";")[0]) == (
        "/retries",
        "jobd_hide-retries=error",
    )
    assert settings.toggled("retries", "error", "error") == settings.SHOW_ALL


@pytest.mark.parametrize("path", ["/dead", "/scheduled", "/queues/default", "/"])
def test_what_is_hidden_of_one_list_is_there_in_the_others(path: str, browser: Browser, redis: Redis) -> None:
    for key in ("dead", "schedule"):
        fill_set(redis, key, 1)
    fill_queue(redis, 1)
    for cookie in ("jobd_hide-retries=when", "jobd_hide=when", "jobd_hide-dead=nonsense", "jobd_hide-queue=error"):
        [html] = Page.of(browser.get(path, cookie=cookie).text).all("html")
        assert html["data-hide"] in ("", settings.SHOW_ALL)


def test_each_column_that_can_be_hidden_has_its_rule() -> None:
    style = (assets.FOLDER / "app.css").read_text()
    names = {name for columns in settings.COLUMNS.values() for name in columns}
    assert [name for name in names if f'[data-hide~="{name}"]' not in style] == []


@pytest.mark.parametrize("back", ["//evil.test", "https://evil.test", "/\\evil.test", "/a\nb"])
def test_a_choice_leads_to_no_other_site(back: str, browser: Browser) -> None:
    assert browser.get("/theme").status_code == 400
    assert browser.send("GET", "/theme?to=dark&from=" + back.replace("\n", "%0A")).status_code == 400


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        (JID, f"/jobs/{JID}"),
        (f"jid:{JID}", f"/jobs/{JID}"),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("default", "/queues/default"),
        ("Timeout", "/retries?q=Timeout"),
        ("Timeout&here=/dead", "/dead?q=Timeout"),
        ("Timeout&here=//evil.test", "/retries?q=Timeout"),
        ("&here=/scheduled", "/scheduled"),
        ("", "/"),
    ],
)
def test_the_finder_leads_to_a_job_a_queue_or_a_search(typed: str, place: str, browser: Browser, redis: object) -> None:
    fill_queue(redis, 1)  # type: ignore[arg-type]
    answer = browser.get(f"/find?q={typed}")
    assert (answer.status_code, answer.headers["location"]) == (303, place)


def test_the_name_of_the_site_and_its_environment_are_shown(client: Client) -> None:
    app = jobd.web.app(client, read_only=True, title="Shop <1>", environment="Production")
    page = Page.of(Browser(app).get("/").text)
    assert "Shop <1>" in page.text
    [bar] = [each for each in page.all("aside") if "environment" in str(each.get("class"))]
    assert bar["class"] == "environment production"


def test_the_foot_says_which_redis_without_its_password() -> None:
    app = jobd.web.app(Client("redis://ann:hunter2@127.0.0.1:1/3"), read_only=True)
    text = Browser(app).get("/").text
    assert "127.0.0.1:1/3" in text
    assert "hunter2" not in text


def test_each_page_of_the_menu_has_a_key_of_its_own() -> None:
    assert len(set(render.KEYS.values())) == len(render.KEYS)
    assert {path for path, _, _, _ in render.PAGES} <= set(render.KEYS)
    assert set(render.ON_PHONES) <= {path for path, _, _, _ in render.PAGES}
