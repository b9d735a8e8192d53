"""What browsers are sent besides pages: vendored files as they were published, small, and kept for good."""

from __future__ import annotations

import gzip
import hashlib

from redis import Redis

from jobd.client.push import Client
from jobd.web import assets
from tests.web.browser import Browser, Page, fill

VENDOR = assets.FOLDER / "vendor"


def test_vendored_files_are_those_of_the_list_each_with_its_licence() -> None:
    listed = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    assert {name: digest for name, digest in found.items() if name not in ("README.md", "SHA256SUMS")} == listed
    for name in listed:
        assert f"{name.partition('.')[0]}.LICENSE" in listed
    told = (VENDOR / "README.md").read_text()
    assert "htmx.org 4.0.1" in told
    assert "uplot 1.6.32" in told


def test_a_file_is_kept_for_good_by_its_digest_alone(browser: Browser) -> None:
    address = assets.address("app.css")
    assert browser.get(address).headers["cache-control"] == "public, max-age=31536000, immutable"
    for other in ("/static/app.css", "/static/app.css?v=0123456789abcdef"):
        assert browser.get(other).headers["cache-control"] == "no-cache"
    packed = browser.get(address, **{"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == browser.get(address, **{"accept-encoding": "identity"}).text
    assert packed.headers["content-type"] == "text/css; charset=utf-8"


def test_scripts_are_sent_line_by_line_without_indents_and_comments(browser: Browser) -> None:
    for path in assets.FOLDER.glob("*.js"):
        lines = path.read_text().splitlines()
        assert all(line.count("`") % 2 == 0 for line in lines), f"{path.name}: a text of several lines would change"
        sent = browser.get(assets.address(path.name)).text.splitlines()
        assert sent == ["" if line.lstrip().startswith("//") else line.lstrip() for line in lines]


def test_nothing_but_scripts_and_styles_is_sent(browser: Browser) -> None:
    for name in ("vendor/SHA256SUMS", "../assets.py", "vendor/../../site.py", "%2e%2e/assets.py", "none.js", ""):
        assert browser.get(f"/static/{name}").status_code == 404, name


def test_the_first_load_is_small(browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client)
    page = browser.get("/")
    links = [str(each.get("src") or each["href"]) for each in Page.of(page.text).all("script")]
    links += [str(each["href"]) for each in Page.of(page.text).all("link") if each["rel"] == "stylesheet"]
    links += [str(each["data-uplot"]) for each in Page.of(page.text).all("script") if "data-uplot" in each]
    assert len(links) == 7
    whole = sum(len(gzip.compress(browser.get(link).content)) for link in links) + len(gzip.compress(page.content))
    assert whole < 90_000
    own = {name: len(asset.compressed) for name, asset in assets.assets().items() if "/" not in name}
    assert sum(size for name, size in own.items() if name.endswith(".js")) < 10_000
    assert own["app.css"] < 14_000
