"""Addresses of lines of code: made of a template, for files of the application alone."""

from __future__ import annotations

import pytest

from jobd.client.source_links import SourceLinks, problem

MAIN = "https://github.com/acme/shop/blob/main"
GITHUB = MAIN + "/{path}#L{line}"


@pytest.mark.parametrize(
    ("template", "root", "file", "address"),
    [
        (GITHUB, "/srv/shop", "/srv/shop/app/jobs.py", MAIN + "/app/jobs.py#L7"),
        (GITHUB, "/srv/shop/releases/*", "/srv/shop/releases/20271122/app/jobs.py", MAIN + "/app/jobs.py#L7"),
        ("vscode://file{file}:{line}", "", "/srv/a b/jobs.py", "vscode://file/srv/a%20b/jobs.py:7"),
        ("https://x.test/?f={path}", "/srv", "/srv/{line}&l=1#.py", "https://x.test/?f=%7Bline%7D%26l%3D1%23.py"),
        (GITHUB, "/srv/shop", "/srv/shopping/jobs.py", None),
        (GITHUB, "/srv/shop", "/srv/shop/.venv/lib/python3.13/site-packages/redis/client.py", None),
        (GITHUB, "/srv/shop", "/srv/shop/../../etc/passwd", None),
        (GITHUB, "/srv/shop", "/srv/shop/\u202ejobs.py", None),
        ("vscode://file{file}:{line}", "", "jobs.py", None),
        ("", "", "/srv/shop/jobs.py", None),
    ],
)
def test_a_line_has_the_address_of_its_file(template: str, root: str, file: str, address: str | None) -> None:
    assert problem(template, root) is None
    assert SourceLinks(template, root).of(file, 7) == address


@pytest.mark.parametrize(
    ("template", "root", "names", "says"),
    [
        ("javascript:alert(1)//{file}", "", "source_link", "must be an address, of http, https"),
        ("github.com/{path}", "/srv", "source_link", "must be an address"),
        ("https://ann:secret@git.test/{path}", "/srv", "source_link", "no name or password"),
        ("https://git.test/#{line}", "", "source_link", "must hold {path} or {file}"),
        (GITHUB, "", "source_root", "to which {path} of source_link is relative"),
        (GITHUB, "srv/shop", "source_root", "must be a folder"),
        ("", "/srv/shop", "source_root", "means nothing without source_link"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_remedy(template: str, root: str, names: str, says: str) -> None:
    found = problem(template, root)
    assert found is not None
    assert found[0] == names
    assert says in found[1]
