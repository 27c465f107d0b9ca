"""What a person wants of all training runs: the price of an hour, trackers, a webhook. No torch.

Kept in one file that only its owner may read, for a webhook's address is a secret. A missing or damaged file means the
defaults: a preference is not worth a run that does not start.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from minimind import paths
from minimind.declaration import Config, setting
from minimind.errors import UserError
from minimind.training.run_files import read_json, write_atomic

TRACKERS = ("none", "tensorboard", "trackio", "wandb")


@dataclass(frozen=True, kw_only=True)
class Preferences(Config):
    """The settings of ``minimind settings``."""

    price_per_hour: float | None = setting(
        None,
        "what an hour on this machine costs (none: unknown)",
        "这台机器每小时的价格（none：未知）",
        low=0.0,
        high=1e6,
    )
    currency: str = setting("USD", "currency of that price", "价格的货币")
    track: str = setting(
        "none", "where the figures of live runs are also sent", "训练指标同时发往何处", choices=TRACKERS
    )
    webhook: str | None = setting(
        None,
        "URL that is told of the end and of the alerts of a run (none: nobody)",
        "训练结束和告警时通知的 URL（none：不通知）",
    )

    def __post_init__(self) -> None:
        self._check(
            (
                self.webhook is None or _is_web_address(self.webhook),
                "webhook: not a web address: write http(s)://HOST/…",
                "webhook：不是网址：请写成 http(s)://主机/…",
            ),
            (
                0 < len(self.currency) <= 8 and self.currency.isprintable(),
                "currency: use 1 to 8 characters (USD, CNY, ¥)",
                "currency：请用 1 到 8 个字符（USD、CNY、¥）",
            ),
        )

    def cost(self, seconds: float) -> float | None:
        """What `seconds` cost; None where no price is set."""
        return None if self.price_per_hour is None else seconds / 3600 * self.price_per_hour


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def without_secrets(address: str) -> str:
    """A web address for a person's eyes: path, query and password may be keys."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}/…"


def load_preferences() -> Preferences:
    """What is stored; each value that is missing or not allowed has its default."""
    stored = read_json(paths.preferences()) or {}
    kept: dict[str, object] = {}
    for name, value in stored.items():
        try:
            Preferences.from_dict({name: value})
        except UserError:
            continue
        kept[name] = value
    return Preferences.from_dict(kept)


def save_preferences(preferences: Preferences) -> None:
    """Store them, readable for their owner only. Raises UserError where that is impossible."""
    path = paths.preferences()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(path, preferences.to_dict())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}", f"{path}：无法写入：{error.strerror}") from None
