"""A web page for code snippets. It saves them and pushes a job for each; jobs.py highlights them."""

from __future__ import annotations

import os

import jobd
from flask import Flask, Response, abort, redirect, render_template, request, url_for
from pygments.formatters import HtmlFormatter
from werkzeug.wrappers import Response as BaseResponse

import database
import jobs

# The store of config.yml, unless a variable names another: jobd lets the same variables win.
jobd.configure(redis_url=os.environ.get("JOBD_REDIS_URL") or os.environ.get("REDIS_URL") or "embedded:var/jobd")
database.create()
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 200_000  # bytes


@app.get("/")
def form() -> str:
    """Ask for a snippet."""
    return render_template("form.html", languages=jobs.LANGUAGES)


@app.post("/")
def save() -> BaseResponse:
    """Save a snippet and have it highlighted."""
    language, code = request.form.get("language", ""), request.form.get("code", "")
    if language not in jobs.LANGUAGES or not code.strip():
        abort(400, f"Give some code, and a language out of {', '.join(jobs.LANGUAGES)}.")
    snippet_id = database.add(language, code)
    # After the commit: a worker that is quicker would not find the snippet. Its id is all that travels.
    jobs.highlight_snippet.perform_async(snippet_id)
    return redirect(url_for("show", snippet_id=snippet_id), 303)


@app.get("/snippets/<int:snippet_id>")
def show(snippet_id: int) -> str:
    """Show a snippet; until it is highlighted the page says so and loads itself again."""
    snippet = database.find(snippet_id)
    if snippet is None:
        abort(404)
    return render_template("snippet.html", snippet=snippet)


@app.get("/style.css")
def style() -> Response:
    """The colours of the highlighted code."""
    return Response(HtmlFormatter().get_style_defs(".highlight"), mimetype="text/css")


@app.errorhandler(jobd.JobdError)
def not_pushed(error: jobd.JobdError) -> tuple[str, int]:
    """Say that the snippet is saved all the same; `catch-up` pushes its job later."""
    app.logger.error("the job was not pushed: %s", error)
    return "Your snippet is saved. It cannot be highlighted now, but will be.", 503


@app.cli.command("catch-up")
def catch_up() -> None:
    """Push a job for each snippet that is not highlighted."""
    pushed = jobs.highlight_snippet.perform_bulk((snippet_id,) for snippet_id in database.waiting())
    print(f"pushed {len(pushed)} jobs")
