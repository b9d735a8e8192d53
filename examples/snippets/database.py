"""The snippets, in an SQLite file of the application's instance folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = Path(__file__).resolve().parent / "instance" / "snippets.db"
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS snippet (id INTEGER PRIMARY KEY, language TEXT NOT NULL, code TEXT NOT NULL, html TEXT)
"""


@contextmanager
def connection() -> Iterator[sqlite3.Connection]:
    """A connection for one request or one job, so that no two threads share it; commits at the end."""
    opened = sqlite3.connect(FILE, timeout=10)
    opened.row_factory = sqlite3.Row
    try:
        with opened:
            yield opened
    finally:
        opened.close()


def create() -> None:
    """Make the file and its table unless they are there."""
    FILE.parent.mkdir(exist_ok=True)
    with connection() as db:
        db.executescript(SCHEMA)


def add(language: str, code: str) -> int:
    """Save a snippet; returns its id."""
    with connection() as db:
        row = db.execute("INSERT INTO snippet (language, code) VALUES (?, ?) RETURNING id", (language, code)).fetchone()
        return int(row["id"])


def find(snippet_id: int) -> sqlite3.Row | None:
    """The snippet with columns `language`, `code` and `html` (None until it is highlighted), or None."""
    with connection() as db:
        row: sqlite3.Row | None = db.execute("SELECT * FROM snippet WHERE id = ?", (snippet_id,)).fetchone()
        return row


def keep_html(snippet_id: int, html: str) -> None:
    """Save what a snippet looks like."""
    with connection() as db:
        db.execute("UPDATE snippet SET html = ? WHERE id = ?", (html, snippet_id))


def waiting() -> list[int]:
    """Ids of the snippets that are not highlighted."""
    with connection() as db:
        return [row["id"] for row in db.execute("SELECT id FROM snippet WHERE html IS NULL")]
