"""Registering hooks for the life of a worker; that they are called is shown in `tests/worker/test_hooks.py`."""

from __future__ import annotations

from typing import Any

import pytest

import jobd
from jobd.client import events
from jobd.client.errors import ConfigError


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_hooks", {})


def first() -> None: ...


def second() -> None: ...


def test_hooks_run_in_the_order_of_registration_and_ends_in_reverse() -> None:
    for event in ("startup", "quiet", "shutdown", "exit", "resume"):
        jobd.on(event)(first)  # type: ignore[arg-type]
        jobd.on(event)(second)  # type: ignore[arg-type]
    assert events.hooks("startup") == events.hooks("resume") == (first, second)
    assert events.hooks("quiet") == events.hooks("shutdown") == events.hooks("exit") == (second, first)


def test_one_hook_is_called_once_however_often_it_is_registered() -> None:
    source = "import jobd\n@jobd.on('beat')\ndef look(): ...\n"
    for _ in range(2):
        exec(compile(source, "reloaded.py", "exec"), {"__name__": "reloaded"})
    jobd.on("beat")(first)
    jobd.on("beat")(first)
    assert [events.name_of(hook) for hook in events.hooks("beat")] == ["reloaded.look", f"{__name__}.first"]


def test_hooks_made_by_one_factory_are_all_kept() -> None:
    class Pool:
        def close(self) -> None: ...

    def closing(pool: Pool) -> Any:
        return lambda: pool.close()

    pools = Pool(), Pool()
    for pool in pools:
        jobd.on("exit")(pool.close)
        jobd.on("exit")(closing(pool))
    assert len(events.hooks("exit")) == 4
    events.remove("exit", pools[0].close)
    assert len(events.hooks("exit")) == 3


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("event", "hook", "complaint"),
    [
        ("start", first, r"on\('start'\): there is no such event; give one of startup, quiet"),
        ("startup", 5, "is not a plain function"),
        ("startup", coroutine, "is not a plain function"),
        ("startup", lambda worker: None, "must be callable without arguments"),
    ],
)
def test_what_cannot_be_a_hook_is_refused(event: Any, hook: Any, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        jobd.on(event)(hook)
