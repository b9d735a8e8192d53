"""What the worker does for the application."""

from __future__ import annotations

import jobd
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

import database

LANGUAGES = ("python", "ruby", "javascript", "html", "sql", "bash", "text")


@jobd.job(queue="highlight", retry=5)
def highlight_snippet(snippet_id: int) -> None:
    """Save a snippet's HTML. The same comes out however often it runs, so running twice does no harm."""
    snippet = database.find(snippet_id)
    if snippet is None:  # deleted since the push: nothing to do, and nothing that a retry would mend
        return
    html = highlight(snippet["code"], get_lexer_by_name(snippet["language"]), HtmlFormatter())
    database.keep_html(snippet_id, html)
