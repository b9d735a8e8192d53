"""The whole content of a server as plain values, so that a test can compare it with what should be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

_READ = """
local out = {}
for _, key in ipairs(redis.call("KEYS", "*")) do
  local kind, value = redis.call("TYPE", key).ok, nil
  if kind == "list" then value = redis.call("LRANGE", key, 0, -1)
  elseif kind == "set" then value = redis.call("SMEMBERS", key)
  elseif kind == "zset" then value = redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
  elseif kind == "hash" then value = redis.call("HGETALL", key)
  else value = redis.call("GET", key) end
  out[#out + 1] = {key, kind, value, redis.call("PTTL", key) >= 0 and 1 or 0}
end
return out
"""


@dataclass(frozen=True)
class Held:
    """The value of a key: bytes, list, frozenset, or dict (of a hash, or member to score); and whether it expires."""

    value: object
    expires: bool = False


State = Mapping[str, Held]


def read(client: Redis) -> dict[str, Held]:
    """Everything in the database of `client`, in one step."""
    rows: Any = client.eval(_READ, 0)
    return {key.decode(): Held(_value(kind, value), bool(expires)) for key, kind, value, expires in rows}


def _value(kind: bytes, value: Any) -> object:
    if kind == b"set":
        return frozenset(value)
    if kind == b"hash":
        return dict(zip(value[::2], value[1::2], strict=True))
    if kind == b"zset":
        return {member: float(score) for member, score in zip(value[::2], value[1::2], strict=True)}
    return value


Saved = list[tuple[bytes, int, bytes]]


def save(client: Redis) -> Saved:
    """A copy of everything, as a replica would have it."""
    keys: Any = client.keys("*")
    return [(key, max(_any(client.pttl(key)), 0), _any(client.dump(key))) for key in keys]


def restore(client: Redis, saved: Saved) -> None:
    """Put the server back to what it was at `save`."""
    client.flushall()
    for key, ttl, dump in saved:
        client.restore(key, ttl, dump)


def _any(value: Any) -> Any:
    return value
