"""Addresses of lines of code, in a repository or an editor, made from a template.

Pure: whether there is anything at the address is not asked.
"""

from __future__ import annotations

import re
from urllib.parse import quote

SCHEMES = ("http", "https", "vscode", "vscode-insiders", "cursor", "zed", "idea", "pycharm", "jetbrains", "txmt")
"""Of the addresses: a repository or an editor."""
VENDORED = ("site-packages", "dist-packages", "/lib/python3", "/lib64/python3", "<frozen", "/gems/", "/lib/ruby/")
"""Parts of the names of files that are no application's."""
_PLACES = ("{path}", "{file}")


def problem(template: str, root: str) -> tuple[str, str] | None:
    """Which of the two cannot be used, `source_link` or `source_root`, and why; None when both can."""
    if not template:
        return ("source_root", "means nothing without source_link") if root else None
    scheme, mark, rest = template.partition("://")
    if not mark or scheme not in SCHEMES or not rest or not template.isprintable() or " " in template:
        return "source_link", f"must be an address, of {', '.join(SCHEMES)}"
    if "@" in rest.partition("/")[0]:
        return "source_link", "must hold no name or password: every page would show it"
    if not any(place in template for place in _PLACES):
        return (
            "source_link",
            "must hold {path} or {file}, such as https://github.com/acme/shop/blob/main/{path}#L{line}",
        )
    if root and not (root.startswith("/") and root == root.rstrip("/")):
        return "source_root", "must be a folder, such as /srv/shop or /srv/shop/releases/*"
    if "{path}" in template and not root:
        return "source_root", "must be the folder to which {path} of source_link is relative, such as /srv/shop"
    return None


class SourceLinks:
    """Makes the addresses of the lines of one application.

    In `template` `{file}` stands for the whole name of a file, `{path}` for what comes after `root`, and `{line}` for
    the number of the line. Only files below `root` have an address, if there is one; a `*` in it is any one folder.
    """

    def __init__(self, template: str = "", root: str = "") -> None:
        self._template = template
        folders = (re.escape(part).replace(r"\*", "[^/]+") for part in root.split("/"))
        self._below = re.compile("/".join(folders) + "/(.+)", re.DOTALL)

    def of(self, file: str, line: int) -> str | None:
        """The address of a line; None when there is none."""
        found = self._below.fullmatch(file) if self._template and is_own(file) else None
        if found is None or ".." in file.split("/") or not file.isprintable():
            return None
        parts = {"{path}": quote(found[1]), "{file}": quote(file), "{line}": str(line)}
        return re.sub(r"\{(?:path|file|line)\}", lambda part: parts[part[0]], self._template)


def is_own(file: str) -> bool:
    """Whether a file is the application's, and no library's."""
    return not any(part in file for part in VENDORED)
