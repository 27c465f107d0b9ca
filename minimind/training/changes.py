"""What was changed between two starts of a run: refused with its differences, or allowed by name. No torch.

A resumed run repeats an uninterrupted one bit for bit, so it must go on with what it was begun with. Settings that do
not touch what is learned (how often is saved, how many processes compute) may change freely.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind.training.run_files import LOCK, RUN, take_lock, write_atomic
from minimind.training.run_view import RunView
from minimind.training.runs import fingerprint

FREE = frozenset(
    {
        "allow_bad",
        "compile",
        "deterministic",
        "device",
        "evaluate_every",
        "evaluation_tokens",
        "gradient_checkpointing",
        "keep_checkpoints",
        "process_timeout",
        "processes",
        "restarts",
        "sample_every",
        "save_every",
        "sharding",
        "threads",
    }
)
"""Settings that do not decide what is learned (beyond the last digits, about which a run warns)."""
FIXED = frozenset({"objective", "model", "tokenizer", "tune", "lora_rank", "lora_alpha", "lora_targets"})
"""Settings that a checkpoint cannot go on without."""
_SHOWN = 60


class Difference(NamedTuple):
    """A setting's name (or what else is compared), what it was and what it is."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name} {_shown(self.before)} → {_shown(self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The settings in which two configs (`TrainConfig.to_dict`, also read back from JSON) differ, in declared order.

    A setting that one of them does not know (it is older) had its default there.
    """
    found = []
    for declared in TrainConfig.declared():
        was, now = (_plain(config.get(declared.name, declared.default)) for config in (before, after))
        if was != now:
            found.append(Difference(declared.name, was, now))
    return found


def data_differences(request: Mapping[str, Any], before: str, after: str) -> list[Difference]:
    """How the data differ where their fingerprints do, `before` and `after` being those of the tokens.

    Where run.json (`request`) tells of files that have changed since, it is they that are named.
    """
    if before == after:
        return []
    known = request.get("data")
    found = []
    for entry in known if isinstance(known, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("source"), str) and "size" in entry:
            was, now = (_file_shown(about) for about in (entry, fingerprint(entry["source"])))
            found += [Difference(entry["source"], was, now)] if was != now else []
    return found or [Difference("contents of the data", before, after)]


def binding(changes: Iterable[Difference]) -> list[Difference]:
    """Those that change what is learned."""
    return [change for change in changes if change.name not in FREE]


def described(changes: Iterable[Difference]) -> Text:
    """The differences in a line."""
    shown = [str(change) for change in changes]
    return Text("; ".join(shown), "；".join(shown))


def refuse(changes: list[Difference], *, allowed: bool) -> None:
    """Raise UserError with the differences, where one of them changes what is learned and that is not `allowed`."""
    fixed = [change for change in changes if change.name in FIXED]
    if fixed:
        listed = described(fixed)
        raise UserError(
            f"a run cannot go on with another {fixed[0].name} ({listed.en}): start a new run from its checkpoint",
            f"训练不能换成别的 {fixed[0].name} 继续（{listed.zh}）：请以它的检查点新建一次训练",
        )
    refused = binding(changes)
    if refused and not allowed:
        listed = described(refused)
        raise UserError(
            f"not what the run was begun with: {listed.en}; put it back, or go on with "
            "`minimind train --run ID --allow-changes`",
            f"与训练开始时不同：{listed.zh}；请改回原样，或用 `minimind train --run ID --allow-changes` 继续",
        )


def change_settings(run_directory: Path, settings: Mapping[str, Any], *, allow: bool) -> list[Difference]:
    """Let a run that does not live go on with other `settings` from its next start; returns what differs.

    run.json keeps what was changed when. Raises UserError for a value that is not allowed, for a change of what is
    learned unless `allow`, and for a run that lives.
    """
    view = RunView(run_directory)
    config = view.config.replace(**settings)
    changes = differences(view.config.to_dict(), config.to_dict())
    if not changes:
        return []
    refuse(changes, allowed=allow)
    lock = take_lock(view.directory / LOCK, 0.5)
    if lock is None:
        raise UserError(
            f"{view.id}: is running: stop it before its settings are changed",
            f"{view.id}：正在运行：请先停止再修改设置",
        )
    try:
        earlier = view.request.get("changes")
        entry = {"time": time.time(), "settings": {change.name: [change.before, change.after] for change in changes}}
        history = [*(earlier if isinstance(earlier, list) else []), entry]
        write_atomic(
            view.directory / RUN, {**view.request, "config": config.to_dict(), "changes": history}, durable=True
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(
            f"{view.directory / RUN}: cannot be written: {reason}", f"{view.directory / RUN}：无法写入：{reason}"
        ) from None
    finally:
        os.close(lock)
    return changes


def approved(request: Mapping[str, Any], change: Difference) -> bool:
    """Whether run.json (`request`) tells that somebody allowed this very change of a setting."""
    entries = request.get("changes")
    for entry in entries if isinstance(entries, list) else []:
        settings = entry.get("settings") if isinstance(entry, dict) else None
        made = settings.get(change.name) if isinstance(settings, dict) else None
        if isinstance(made, list) and len(made) == 2 and made[1] == change.after:
            return True
    return False


def _file_shown(about: Mapping[str, Any]) -> str:
    """A file's size and the beginning of its checksum; "gone" where there is none."""
    size, digest = about.get("size"), about.get("edges_sha256")
    return f"{size} bytes ({str(digest)[:8]})" if isinstance(size, int) else "gone"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    text = (
        ", ".join(map(str, value)) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else value
    )
    return clean_line(str(text).lower() if value is None or isinstance(value, bool) else str(text), _SHOWN)
