"""A desk for each test of an example."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.examples.terminals import Desk


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    """Make the desk of an example: `desk("mailer", SMTP_PORT="0")`. What it left is killed and removed in the end."""
    desks: list[Desk] = []
    # Not tmp_path: it is so long that the store's socket would lie elsewhere, and stay there after a failure.
    with tempfile.TemporaryDirectory(prefix="jobd-test-") as directory:

        def make(name: str, **environment: str) -> Desk:
            desks.append(Desk(name, Path(directory), **environment))
            return desks[-1]

        yield make
        for made in desks:
            made.clear()
