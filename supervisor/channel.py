"""What master and child say to each other: whole messages, both ways, until one of the two ends.

A sequenced-packet socket keeps messages apart and ends with its last holder, so it also tells each side of the other's
end. What has to survive a kill is not said here but kept in the child's shared page.
"""

from __future__ import annotations

import json
import select
import socket
from typing import Any

_LARGEST = 256 * 1024
"""Bytes of a message that is received; senders stay far below."""
MAX_TEXT = 16_000
"""Characters of a text in a message: a longer one is cut in the middle, or the socket would refuse it."""
_PATIENCE = 5.0
"""Seconds that an important message waits for room: a master that was suspended does not read."""


class Channel:
    """One end. Not for use by several threads, but for `send`."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)
        self.ended = False
        """Whether the other side is known to have gone."""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends. Raises OSError when descriptors are used up."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    def fileno(self) -> int:
        """The descriptor to watch: readable when there is a message or the other side has ended."""
        return self._socket.fileno()

    def send(self, *, droppable: bool = False, **message: Any) -> bool:
        """Send one message. False when the other side is gone, or does not read and cannot be waited for."""
        data = json.dumps(message).encode()
        while True:
            try:
                self._socket.send(data)
            except BlockingIOError:
                if droppable or not select.select([], [self._socket], [], _PATIENCE)[1]:
                    return False
            except OSError:
                return False
            else:
                return True

    def receive(self) -> list[dict[str, Any]]:
        """All messages that have come."""
        messages: list[dict[str, Any]] = []
        while not self.ended:
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                break
            except OSError:  # the other side ended with messages unread
                data = b""
            if data:
                messages.append(json.loads(data))
            self.ended = not data
        return messages

    def close(self) -> None:
        """Close this end. May come twice."""
        self._socket.close()


def shortened(text: str) -> str:
    """`text`, without its middle if it is too long for a message."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
