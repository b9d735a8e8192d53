"""A mail server to try with. It delivers nothing, counts everything, and refuses what real ones refuse."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter

from aiosmtpd.smtp import SMTP, Envelope, Session

PORT = int(os.environ.get("SMTP_PORT", "8025"))


class Inbox:
    """Takes every mail, except those to `gone…`, and to `busy…` at the first try."""

    def __init__(self) -> None:
        self.delivered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer whether a mail to `address` is welcome."""
        if address.startswith("gone"):
            return self._refuse(address, "550 5.1.1 no such user")
        if address.startswith("busy") and not self.refused[address]:
            return self._refuse(address, "451 4.2.1 mailbox is busy, try again later")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail."""
        for address in envelope.rcpt_tos:
            self.delivered[address] += 1
            say(f"{self.delivered.total()} delivered: {address}")
        return "250 OK"

    def _refuse(self, address: str, answer: str) -> str:
        self.refused[address] += 1
        say(f"refused: {address}: {answer}")
        return answer


def say(line: str) -> None:
    """Print at once, wherever the output goes."""
    print(line, flush=True)


async def main() -> None:
    """Serve until Ctrl-C or TERM, then tell the totals."""
    inbox, loop, end = Inbox(), asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    server = await loop.create_server(lambda: SMTP(inbox, hostname="localhost", loop=loop), "127.0.0.1", PORT)
    say(f"listening on port {server.sockets[0].getsockname()[1]}")
    await end.wait()
    server.close()
    say(f"{inbox.delivered.total()} mails to {len(inbox.delivered)} addresses, {inbox.refused.total()} refusals")


if __name__ == "__main__":
    asyncio.run(main())
