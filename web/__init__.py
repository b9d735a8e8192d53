"""The dashboard and its JSON interface: `jobd.web.app(...)` is an ASGI application, `jobd web` runs it by itself."""

from __future__ import annotations

from importlib.util import find_spec

from jobd.client.errors import ConfigError

if any(find_spec(name) is None for name in ("starlette", "jinja2")):
    raise ConfigError("the dashboard needs the extra `web`: pip install '.[web]' in the checkout")

from jobd.web.auth import ACTIONS, Basic, Tokens, TrustedHeader, User
from jobd.web.masking import WORDS
from jobd.web.site import app

__all__ = ["ACTIONS", "WORDS", "Basic", "Tokens", "TrustedHeader", "User", "app"]
