"""Payloads made up from a seed: every kind of value, name and option that may travel."""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Callable
from typing import Any

_ALPHABETS = (
    string.ascii_letters + string.digits,
    string.punctuation + " \t\n\r\x00\x1f\x7f",
    "éàüßœ日本語кириллица" + "\u2028\u2029\ufeff\u200d\uffff",
    "🎉👩‍🚀🇻🇳\U0010ffff",
)


def payloads(seed: int, count: int) -> list[dict[str, Any]]:
    """Return `count` items for a push, each with its number as jid; the same for the same seed."""
    chance = random.Random(seed)
    return [_payload(chance, number) for number in range(count)]


def _payload(chance: random.Random, number: int) -> dict[str, Any]:
    item = {
        "class": chance.choice(["Plain", "Mod::Inner", "pkg.mod.fn", "Ünï"]),
        "args": [_value(chance, 0) for _ in range(chance.randrange(5))],
        "jid": f"{number:024x}",
        "queue": "generated",
    }
    options: dict[str, Callable[[], Any]] = {
        "retry": lambda: chance.choice([True, False, 0, 7]),
        "tags": lambda: [_text(chance) for _ in range(chance.randrange(3))],
        "backtrace": lambda: chance.choice([True, 3]),
        "retry_queue": lambda: "elsewhere",
        "dead": lambda: False,
        "own field é": lambda: _value(chance, 0),
        "kwargs": lambda: {_text(chance) or "k": _value(chance, 1)},
    }
    chosen = chance.sample(sorted(options), chance.randrange(len(options)))
    return item | {name: options[name]() for name in chosen}


def _value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(6 if depth >= 5 else 9)
    match kind:
        case 0:
            return chance.choice([None, True, False, "", [], {}, 0, -0.0])
        case 1:
            return _integer(chance)
        case 2 | 3:
            return _float(chance)
        case 4 | 5:
            return _text(chance)
        case 6 | 7:
            return [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case _:
            return {_text(chance): _value(chance, depth + 1) for _ in range(chance.randrange(4))}


def _integer(chance: random.Random) -> int:
    bits = chance.choice([3, 31, 32, 53, 54, 63, 64, 65, 128, 1024])
    return chance.choice([-1, 1]) * ((1 << bits) + chance.randrange(-2, 3))


def _float(chance: random.Random) -> float:
    match chance.randrange(4):
        case 0:
            return chance.choice([0.1, 1e15, 1e16, 1e17, 1e20, 1e-4, 1e-5, 1e-7, 5e-324, 1.7976931348623157e308, 2.0])
        case 1:
            return round(chance.uniform(-1e6, 1e6), chance.randrange(6))
        case 2:
            return 1.7e9 + chance.random()
        case _:
            bits = struct.pack("<Q", chance.getrandbits(64) & 0xFFEF_FFFF_FFFF_FFFF)
            return float(struct.unpack("<d", bits)[0])


def _text(chance: random.Random) -> str:
    alphabet = chance.choice(_ALPHABETS)
    return "".join(chance.choice(alphabet) for _ in range(chance.randrange(12)))
