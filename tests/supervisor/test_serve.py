"""What a process shows of itself."""

from __future__ import annotations

import pytest

from jobd.client.version import VERSION
from jobd.supervisor.config import Config
from jobd.supervisor.serve import title
from jobd.worker.config import Capsule


@pytest.mark.parametrize(
    ("tag", "busy", "quiet", "shown"),
    [
        ("shop", 0, False, "shop [0 of 7 busy]"),
        ("shop", 7, True, "shop [7 of 7 busy] stopping"),
        ("", 1, False, "[1 of 7 busy]"),
    ],
)
def test_the_title_counts_the_threads_of_all_capsules(tag: str, busy: int, quiet: bool, shown: str) -> None:
    config = Config(tag=tag, concurrency=4, capsules=(Capsule(name="ordered", concurrency=3, queues=(("o", 0),)),))
    assert title(config, busy, quiet=quiet) == f"jobd {VERSION} {shown}"
