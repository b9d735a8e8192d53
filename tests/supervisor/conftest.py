"""The command `jobd` for tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.supervisor.jobd_command import Jobd


class StartJobd(Protocol):
    """Starts `jobd` with these settings on the empty database of the test."""

    def __call__(self, redis_url: str = ..., **settings: Any) -> Jobd: ...


@pytest.fixture
def start_jobd(tmp_path: Path, redis_url: str) -> Iterator[StartJobd]:
    """Starts `jobd`; at the end of the test it is killed if it still runs, and its log must be free of defects."""
    with ExitStack() as stack:
        database = redis_url

        def start(redis_url: str = database, **settings: Any) -> Jobd:
            return stack.enter_context(Jobd(tmp_path, redis_url, **settings))

        yield start
