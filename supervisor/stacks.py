"""The stacks of all threads of this process, in words."""

from __future__ import annotations

import sys
import threading
import traceback


def stacks() -> str:
    """One block for each thread, headed by its name, innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = (
        f"{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )
    return "\n".join(parts)
