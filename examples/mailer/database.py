"""Users, newsletters, and who got which, in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = Path(__file__).resolve().parent / "var" / "mailer.db"
USERS = 500
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS newsletter (id INTEGER PRIMARY KEY, subject TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sent (newsletter_id INTEGER, user_id INTEGER, PRIMARY KEY (newsletter_id, user_id))
"""
UNSENT = """
SELECT user.id, address, newsletter.id AS newsletter_id, subject FROM newsletter JOIN user
LEFT JOIN sent ON sent.newsletter_id = newsletter.id AND sent.user_id = user.id
WHERE sent.user_id IS NULL AND newsletter.id = :newsletter
"""


@contextmanager
def connection() -> Iterator[sqlite3.Connection]:
    """A connection for one job, so that no two threads share it; commits at the end."""
    opened = sqlite3.connect(FILE, timeout=30)
    opened.row_factory = sqlite3.Row
    try:
        with opened:
            yield opened
    finally:
        opened.close()


def create() -> None:
    """Make the file with its 500 users unless they are there."""
    FILE.parent.mkdir(exist_ok=True)
    with connection() as db:
        db.executescript(SCHEMA)
        users = [(number, address(number)) for number in range(1, USERS + 1)]
        db.executemany("INSERT OR IGNORE INTO user (id, address) VALUES (?, ?)", users)


def address(number: int) -> str:
    """The address of a user; smtp_server.py refuses those of `busy…` and `gone…`."""
    kind = "gone" if number % 100 == 0 else "busy" if number % 25 == 0 else "user"
    return f"{kind}{number}@example.com"


def add_newsletter(subject: str) -> int:
    """Save a newsletter; returns its id."""
    with connection() as db:
        row = db.execute("INSERT INTO newsletter (subject) VALUES (?) RETURNING id", (subject,)).fetchone()
        return int(row["id"])


def unsent(newsletter_id: int) -> list[int]:
    """Ids of the users who have not got a newsletter."""
    with connection() as db:
        return [row["id"] for row in db.execute(UNSENT, {"newsletter": newsletter_id})]


def mail(newsletter_id: int, user_id: int) -> sqlite3.Row | None:
    """The `address` and `subject` of a mail that is to be sent; None when it was sent or its user is gone."""
    with connection() as db:
        given = {"newsletter": newsletter_id, "user": user_id}
        row: sqlite3.Row | None = db.execute(f"{UNSENT} AND user.id = :user", given).fetchone()
        return row


def note_sent(newsletter_id: int, user_id: int) -> None:
    """Remember that a user got a newsletter."""
    with connection() as db:
        db.execute("INSERT OR IGNORE INTO sent VALUES (?, ?)", (newsletter_id, user_id))
