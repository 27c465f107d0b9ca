"""Tell a web address of the end of a run, and of its alerts: one POST of JSON each. Standard library only.

Sent by processes beside the trainer (`afterwards`, `follower`), never by the trainer: nothing waits for an answer that
matters. The address is a secret: only its host appears in what is said about a failure.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from minimind.events import Alert, Text
from minimind.figures import number
from minimind.preferences import without_secrets
from minimind.safe_text import clean_line
from minimind.training.processes import host_name
from minimind.training.run_status import STATE_NAMES, RunStatus
from minimind.training.run_view import RunView

TIMEOUT_SECONDS = 10.0
ATTEMPTS = 3
_PAUSE_SECONDS = 2.0
_TOLD = (("reward", "reward"), ("validation_loss", "held-out loss"), ("loss", "loss"))
"""The figure by which a run is judged: the first of these that it has."""


def message_of_end(view: RunView, status: RunStatus) -> dict[str, Any]:
    """What is said when a run has ended: its state and reason, its last figures, and a line of text for a chat."""
    glance = view.glance()
    figures = {name: value for name, value in glance.latest.items() if abs(value) < float("inf")}
    said = next((f", {label} {number(figures[name])}" for name, label in _TOLD if name in figures), "")
    line = f"{_called(view)}: {STATE_NAMES[status.state].en} at step {glance.step or 0}{said} ({status.reason.en})"
    return {
        **_head(view, "ended", line),
        "state": status.state,
        "reason": _both(status.reason),
        "step": glance.step,
        "figures": figures,
    }


def message_of_alert(view: RunView, alert: Alert) -> dict[str, Any]:
    """What is said of an alert of a run that goes on."""
    line = f"{_called(view)}: {alert.level}: {clean_line(alert.text.en, 400)}"
    return {
        **_head(view, "alert", line),
        "level": alert.level,
        "code": clean_line(alert.code, 60),
        "reason": _both(alert.text),
        "step": alert.step,
    }


def _head(view: RunView, event: str, line: str) -> dict[str, Any]:
    about = {"event": event, "run": view.id, "name": view.name, "tags": list(view.about.tags)}
    return {**about, "host": host_name(), "time": time.time(), "text": line}


def _called(view: RunView) -> str:
    return f"{view.name} ({view.id})" if view.name else view.id


def _both(text: Text) -> dict[str, str]:
    return {"en": clean_line(text.en, 500), "zh": clean_line(text.zh, 500)}


def post(
    address: str, message: Mapping[str, Any], *, attempts: int = ATTEMPTS, pause: float = _PAUSE_SECONDS
) -> Text | None:
    """Send `message` to `address` as JSON; returns what went wrong, None where it was taken.

    Tries again after what may pass (no connection, a status of 429 or 5xx). A redirection is not followed: the message
    would go to another address than the person named.
    """
    problem: Text | None = None
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * attempt)
        problem, again = _post_once(address, message)
        if problem is None or not again:
            break
    return problem


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Leaves a redirection what it is: an answer that is not 2xx."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Make no second request."""
        return None  # noqa: RET501 (what urllib asks for is a request or None)


def _post_once(address: str, message: Mapping[str, Any]) -> tuple[Text | None, bool]:
    """One attempt: what went wrong, and whether it may go right later."""
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "minimind-tui"}
    request = urllib.request.Request(address, body, headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirection).open(request, timeout=TIMEOUT_SECONDS):
            return None, False
    except urllib.error.HTTPError as error:
        code = error.code
        error.close()
        return _failed(address, f"HTTP {code}"), code == 429 or code >= 500
    except (OSError, ValueError) as error:  # URLError is an OSError; its reason never names the path or query
        reason = error.reason if isinstance(error, urllib.error.URLError) else type(error).__name__
        return _failed(address, clean_line(str(reason), 200)), True


def _failed(address: str, why: str) -> Text:
    shown = without_secrets(address)
    return Text(f"webhook {shown}: not delivered: {why}", f"webhook {shown}：没有送达：{why}")
