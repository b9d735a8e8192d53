"""What is answered over HTTP: the metrics, two probes for whoever watches jobd, and a number for autoscalers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from jobd.supervisor.http_head import Response, text
from jobd.supervisor.metrics import Metrics
from jobd.supervisor.snapshot import Snapshot


class Probes:
    """Answers `/metrics`, `/live`, `/ready` and `/scale` from a snapshot of the moment."""

    def __init__(self, metrics: Metrics, snapshot: Callable[[], Snapshot]) -> None:
        self._metrics, self._snapshot = metrics, snapshot
        self._routes: dict[str, Callable[[str], Response]] = {
            "/metrics": self._show_metrics,
            "/live": lambda accept: text(HTTPStatus.OK, "ok"),
            "/ready": lambda accept: _readiness(self._snapshot()),
            "/scale": lambda accept: _scale(self._snapshot()),
        }

    def answer(self, path: str, accept: str) -> Response:
        """The response for a path; `accept` chooses the format of metrics."""
        route = self._routes.get(path)
        return route(accept) if route else text(HTTPStatus.NOT_FOUND, f"there is only {', '.join(self._routes)}")

    def _show_metrics(self, accept: str) -> Response:
        content_type, body = self._metrics.render(accept)
        return Response(HTTPStatus.OK, body, content_type)


def obstacles(snapshot: Snapshot) -> list[str]:
    """Why jobd is not ready for work, in words; empty when it is."""
    found = []
    if snapshot.ready < snapshot.desired:
        found.append(f"{snapshot.ready} of {snapshot.desired} worker processes are ready")
    if snapshot.is_quiet:
        found.append("quiet: no more jobs are taken")
    if snapshot.redis_seen_ago is None:
        found.append("Redis has not answered yet")
    elif not snapshot.is_redis_up:
        found.append(f"Redis has not answered for {snapshot.redis_seen_ago:.0f} s")
    return found


def need(snapshot: Snapshot) -> dict[str, Any] | None:
    """How many worker processes the work asks for, and what that was made of; None while queues are unknown."""
    if snapshot.cluster_now is None:
        return None
    queues = snapshot.cluster_now["queues"].values()
    queued = sum(int(size) for size, _ in queues)
    return {
        "processes_needed": math.ceil((snapshot.busy + queued) / max(1, snapshot.threads_per_process)),
        "processes": sum(snapshot.children.values()),
        "ready": snapshot.ready,
        "threads": snapshot.threads,
        "busy": snapshot.busy,
        "queued": queued,
        "latency": max((latency for _, latency in queues), default=0.0),
    }


def _readiness(snapshot: Snapshot) -> Response:
    found = obstacles(snapshot)
    return text(HTTPStatus.SERVICE_UNAVAILABLE if found else HTTPStatus.OK, "; ".join(found) or "ok")


def _scale(snapshot: Snapshot) -> Response:
    needed = need(snapshot)
    if needed is None:
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "the sizes of the queues are not known; /ready may say why")
    return Response(HTTPStatus.OK, json.dumps(needed).encode() + b"\n", "application/json")
