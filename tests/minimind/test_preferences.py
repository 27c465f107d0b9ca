"""What holds for all runs: stored for its owner only, with a default for whatever is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind import cli, paths
from minimind.errors import UserError
from minimind.preferences import Preferences, load_preferences, save_preferences, without_secrets


def test_preferences_are_kept_for_their_owner_only(home: Path) -> None:
    assert load_preferences() == Preferences()
    made = Preferences(price_per_hour=1.3, currency="¥", track="tensorboard", webhook="https://host.invalid/key?a=b")
    save_preferences(made)
    assert load_preferences() == made
    assert paths.preferences().stat().st_mode & 0o777 == 0o600
    assert made.cost(7200) == pytest.approx(2.6)
    assert Preferences().cost(7200) is None


def test_what_is_damaged_has_its_default(home: Path) -> None:
    home.mkdir()
    stored = {"price_per_hour": "much", "currency": "EUR", "track": "excel", "webhook": "ftp://x", "other": 1}
    paths.preferences().write_text(json.dumps(stored))
    assert load_preferences() == Preferences(currency="EUR")
    paths.preferences().write_text("{")
    assert load_preferences() == Preferences()


@pytest.mark.parametrize("address", ["host.invalid", "ftp://host.invalid", "http://", "http://host:port/", "file:///x"])
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="not a web address"):
        Preferences(webhook=address)


def test_an_address_is_shown_without_its_secrets() -> None:
    assert without_secrets("https://user:pass@host.invalid:8443/services/KEY?token=1") == "https://host.invalid/…"


def test_the_command_changes_and_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli, "COMMANDS", ("settings",))
    assert cli.main(["settings", "price_per_hour=2.5", "webhook=http://host.invalid/SECRET", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["price_per_hour"], shown["webhook"]) == (2.5, "http://host.invalid/…")
    assert cli.main(["settings", "webhook=none"]) == 0
    assert "SECRET" not in capsys.readouterr().out
    assert load_preferences() == Preferences(price_per_hour=2.5)
    for wrong in ("track=excel", "prize=1", "track"):
        assert cli.main(["settings", wrong]) == 2
