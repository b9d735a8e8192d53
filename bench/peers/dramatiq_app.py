"""The jobs of `effects.py` for Dramatiq, its settings left as they are."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from effects import EFFECTS, QUEUE
from producer import main

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_URL"]))
ACTORS = {name: dramatiq.actor(effect, queue_name=QUEUE, actor_name=name) for name, effect in EFFECTS.items()}

if __name__ == "__main__":
    main(
        {name: actor.send for name, actor in ACTORS.items()},
        later=lambda delay, name, args: ACTORS[name].send_with_options(args=args, delay=round(delay * 1_000)),
    )
