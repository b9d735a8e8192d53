"""Ends a wait for Redis from another thread."""

from __future__ import annotations

import contextlib
import os
import select


class Wakeup:
    """Once set it stays set, for all who wait, until it is cleared."""

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe()
        for end in (self.fd, self._write_end):
            os.set_blocking(end, False)

    def set(self) -> None:
        """Wake everybody who waits, now and later."""
        try:
            os.write(self._write_end, b"!")
        except BlockingIOError:
            return

    def clear(self) -> None:
        """Let whoever waits from now on wait. By the thread that sets it."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        poller.poll(timeout * 1000)

    def close(self) -> None:
        """Give the descriptors back; nobody may wait any more."""
        os.close(self.fd)
        os.close(self._write_end)
