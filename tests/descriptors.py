"""Count the descriptors that a block leaves open."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

HERE = "/proc/self/fd"


@contextmanager
def no_new_descriptors() -> Iterator[None]:
    """Fail where the block leaves a descriptor open.

    Those of earlier tests may be closed meanwhile: by the garbage collector, which runs before, or by threads that end.
    """
    gc.collect()
    before = len(os.listdir(HERE))
    yield
    after = len(os.listdir(HERE))
    assert after <= before, f"{after} descriptors, {before} before"
