"""Serves each application of the page on the dashboard, as its own kind of server does, and uses what is mounted there.

A program of its own, in the directory of the examples, as Django can be set up once in a process: `try_mounted.py URL`.
"""

from __future__ import annotations

import importlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import django.conf
import httpx
import uvicorn
from a2wsgi import ASGIMiddleware
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

import jobd
import jobd.web
from tests.web.browser import Page

urlpatterns: list[object] = []
NAME = "jobs.test"


@contextmanager
def asgi(application: Any) -> Iterator[int]:
    """Serve it by uvicorn; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def wsgi(application: Any) -> Iterator[int]:
    """Serve it by Werkzeug's server; gives the port."""
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def use(port: int, base: str, *, streams: bool) -> None:
    """Look at a page, press a button, and be refused what is not allowed, by plain HTTP under a name."""
    host = f"{NAME}:{port}"
    base_url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base_url, headers={"host": host}, timeout=10, verify=False) as stranger:
        assert stranger.get(f"{base}/queues").status_code == 401
        assert stranger.get("/other").status_code == 404
        assert stranger.get(f"{base}/health").text == "ok\n"
    login = ("ann", "password")
    with httpx.Client(base_url=base_url, headers={"host": host}, auth=login, timeout=10, verify=False) as ann:
        page = ann.get(f"{base}/queues")
        assert page.status_code == 200, page.text
        links = [str(each["href"]) for each in Page.of(page.text).all("a") + Page.of(page.text).all("link")]
        assert links
        assert all(link.startswith((f"{base}/", "#", "data:")) for link in links), links
        assert ann.get(next(link for link in links if link.startswith(f"{base}/static/"))).status_code == 200
        for action in ("pause", "resume"):
            done = ann.post(f"{base}/queues/low", data={"action": action}, headers={"origin": f"http://{host}"})
            assert done.status_code == 303, done.text
            assert done.headers["location"] == f"{base}/queues?did={action}&moved=1"
        evil = ann.post(f"{base}/queues/low", data={"action": "pause"}, headers={"origin": "http://evil.test"})
        assert evil.status_code == 403
        with ann.stream("GET", f"{base}/live") as stream:
            assert stream.status_code == (200 if streams else 204)
            assert not streams or next(stream.iter_text())
        assert ann.get(f"{base}/api/v1/totals").json()["retries"] == 0


def main(url: str) -> None:
    """Use each of them; prints its name when it worked."""
    jobd.configure(redis_url=url)
    django.conf.settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"])
    sites: list[tuple[str, Callable[[Any], Any], bool]] = [
        ("starlette_site", asgi, True),
        ("fastapi_site", asgi, True),
        ("django_site", asgi, True),
        ("flask_site", wsgi, False),
        ("django_wsgi_site", wsgi, False),
    ]
    for name, serve, streams in sites:
        with serve(importlib.import_module(name).application) as port:
            use(port, "/jobs", streams=streams)
        print(name)
    dashboard = jobd.web.app(auth=jobd.web.Basic({"ann": "password"}))
    deep = Starlette(routes=[Mount("/a", Starlette(routes=[Mount("/b/c", dashboard)]))])
    with asgi(deep) as port:
        use(port, "/a/b/c", streams=True)
    nobody = ASGIMiddleware(Starlette())
    with wsgi(DispatcherMiddleware(nobody, {"/a/b/c": ASGIMiddleware(dashboard)})) as port:
        use(port, "/a/b/c", streams=False)
    print("deep")


if __name__ == "__main__":
    sys.path.insert(0, "")
    main(sys.argv[1])
