"""The doctor: what it finds, what it says to do, and what it puts right."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from minimind import doctor, doctor_terminal, paths
from minimind.commands import doctor as command
from minimind.commands.output import Output
from minimind.doctor import Finding
from minimind.events import Text

ROOT = Path(__file__).resolve().parents[2]


def test_every_finding_speaks_both_languages_and_bad_ones_have_a_remedy(home: Path) -> None:
    findings = [*doctor.examine(), *doctor_terminal.examine({"TERM": "xterm-256color", "LANG": "C"})]
    assert {"python", "packages", "clash", "torch", "processor", "memory", "home", "disk", "lock", "logout"} <= {
        finding.id for finding in findings
    }
    for finding in findings:
        assert finding.text.en
        assert finding.text.zh
        assert finding.level == "ok" or (finding.remedy and finding.remedy.en and finding.remedy.zh), finding.id
    by_id = {finding.id: finding for finding in findings}
    assert by_id["torch"].facts["device"] in {"cpu", "cuda", "mps"}
    assert by_id["processor"].facts["cores"] >= 1
    assert by_id["lock"].level == "ok"
    assert not home.exists()  # looking changes nothing


def test_the_packages_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=!~\[ ]", requirement)[0].lower() for requirement in project["dependencies"]}
    only_in_commands = {"plotext"}
    assert set(doctor.PACKAGES) == declared - only_in_commands
    pins = {name: spec for name, _, spec in (item.partition("==") for item in project["dependencies"]) if spec}
    assert all(pins[name] == version for name, version in doctor.PINNED.items())


def test_missing_and_wrong_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("textual", "no-such-package"))
    monkeypatch.setattr(doctor, "PINNED", {"textual": "0.0.1"})
    missing, wrong = doctor.check_packages()
    assert missing.level == "error"
    assert missing.facts == {"missing": ["no-such-package"]}
    assert missing.remedy == Text("pip install no-such-package", "pip install no-such-package")
    assert wrong.level == "warning"
    assert wrong.remedy is not None
    assert wrong.remedy.en == "pip install textual==0.0.1"


def test_another_distribution_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_clash().level == "ok"
    info = tmp_path / "minimind-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: minimind\nVersion: 9.9\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor.clashing_distribution() == "minimind"
    assert doctor.check_clash().level == "error"


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_PYTHON", (9, 9))
    assert doctor.check_python().level == "error"


def test_a_torch_that_does_not_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    finding = doctor.check_torch()
    assert finding.level == "error"
    assert "ModuleNotFoundError" in finding.text.en or "ImportError" in finding.text.en


def test_whether_there_is_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINIMIND_KERNELS", str(tmp_path))
    monkeypatch.setenv("CC", "")
    monkeypatch.setattr("minimind.native.COMPILERS", ("sh",))
    found = doctor.check_native()
    assert (found.level, found.facts) == ("ok", {"built": False, "compiler": "sh"})
    monkeypatch.setattr("minimind.native.COMPILERS", ("no-such-compiler",))
    missing = doctor.check_native()
    assert (missing.level, missing.remedy) == ("warning", Text("install gcc or clang", "请安装 gcc 或 clang"))


def test_home_missing_written_and_refusing(home: Path) -> None:
    missing = doctor.check_home()
    assert (missing.level, missing.facts["path"]) == ("ok", str(home))
    assert missing.fix is not None
    missing.fix()
    assert home.stat().st_mode & 0o777 == 0o700
    assert doctor.check_home().level == "ok"
    assert list(home.iterdir()) == []
    home.rmdir()
    home.write_text("in the way", encoding="utf-8")
    refused = doctor.check_home()
    assert refused.level == "error"
    assert refused.remedy is not None
    assert paths.HOME_VARIABLE in refused.remedy.en


@pytest.mark.parametrize(("free", "level"), [(50 << 30, "ok"), (1 << 30, "warning"), (1 << 20, "error")])
def test_disk_and_memory(free: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=free))
    assert doctor.check_disk().level == level
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=64 << 30, available=free // 2))
    assert doctor.check_memory().level == ("ok" if level == "ok" else "warning")


def test_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert doctor.check_processor().level == "warning"
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert doctor.check_processor().level == "ok"


def test_locks_that_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_arguments: None)
    assert doctor.check_lock().level == "error"

    def unsupported(*_arguments: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    assert "Operation not supported" in doctor.check_lock().text.en


def test_a_log_out_that_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, linger = tmp_path / "logind.conf.d", tmp_path / "linger"
    folder.mkdir()
    linger.mkdir()
    monkeypatch.setattr(doctor, "_LOGIND", (folder,))
    monkeypatch.setattr(doctor, "_LINGER", linger)
    monkeypatch.setenv("USER", "ada")
    (folder / "10.conf").write_text("[Login]\n#KillUserProcesses=yes\n", encoding="utf-8")
    assert doctor.check_logout().level == "ok"
    (folder / "20.conf").write_text("[Login]\nKillUserProcesses = yes\n", encoding="utf-8")
    assert doctor.check_logout().level == "warning"
    (linger / "ada").touch()
    assert doctor.check_logout().level == "ok"


@pytest.mark.parametrize(
    ("check", "values", "level"),
    [
        (doctor_terminal.check_kind, {"TERM": "dumb"}, "error"),
        (doctor_terminal.check_kind, {"TERM": "linux"}, "warning"),
        (doctor_terminal.check_kind, {"TERM": "tmux-256color"}, "ok"),
        (doctor_terminal.check_colors, {"TERM": "xterm", "COLORTERM": "truecolor"}, "ok"),
        (doctor_terminal.check_colors, {"TERM": "xterm-256color"}, "warning"),
        (doctor_terminal.check_colors, {"NO_COLOR": "1"}, "ok"),
        (doctor_terminal.check_encoding, {"LANG": "zh_CN.utf8"}, "ok"),
        (doctor_terminal.check_encoding, {"LC_ALL": "C", "LANG": "en_US.UTF-8"}, "warning"),
        (doctor_terminal.check_encoding, {}, "warning"),
    ],
)
def test_terminals(check: object, values: dict[str, str], level: str) -> None:
    assert callable(check)
    assert check(values).level == level


@pytest.mark.parametrize(("size", "level"), [((40, 10), "error"), ((70, 20), "warning"), ((80, 24), "ok")])
def test_sizes(size: tuple[int, int], level: str) -> None:
    assert doctor_terminal.check_size(*size).level == level


@pytest.mark.parametrize(("width", "level"), [(1, "ok"), (2, "warning"), (None, "ok")])
def test_ambiguous_widths(width: int | None, level: str) -> None:
    assert doctor_terminal.check_widths(width).level == level


def test_the_width_is_asked_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that draws the character two cells wide answers with the third column."""
    master, slave = os.openpty()
    asked: list[bytes] = []

    def answer() -> None:
        asked.append(os.read(master, 100))
        os.write(master, b"\x1b[5;3R")

    thread = threading.Thread(target=answer)
    thread.start()
    with os.fdopen(slave, "r") as stdin, os.fdopen(os.dup(slave), "w") as stdout:
        monkeypatch.setattr("sys.stdin", stdin)
        monkeypatch.setattr("sys.stdout", stdout)
        width = doctor_terminal.ambiguous_width()
        monkeypatch.undo()
    thread.join()
    os.close(master)
    assert width == 2
    assert "…\x1b[6n".encode() in asked[0]


def test_a_file_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").touch()
    with (tmp_path / "x").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert doctor_terminal.ambiguous_width() is None
        monkeypatch.undo()


def test_tmux_is_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(doctor_terminal, "_tmux", lambda *arguments: calls.append(arguments) or "external")
    finding = next(f for f in doctor_terminal.examine({"TERM": "tmux-256color", "TMUX": "/x"}) if f.id == "clipboard")
    assert finding.level == "warning"
    assert finding.fix is not None
    finding.fix()
    assert calls[-1] == ("set-option", "-g", "set-clipboard", "on")
    assert doctor_terminal.check_tmux_clipboard("on").level == "ok"


def run(
    monkeypatch: pytest.MonkeyPatch, findings: list[Finding], *flags: str, as_json: bool = False
) -> tuple[int, str]:
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    monkeypatch.setattr(doctor_terminal, "examine", lambda _environment: iter(()))
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())
    options = parser.parse_args(["doctor", *flags])
    out = io.StringIO()
    status = options.run(options, Output(as_json=as_json, language="zh", stdout=out, stderr=io.StringIO()))
    return status, out.getvalue()


def test_the_command_prints_marks_remedies_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed: list[int] = []
    findings = [
        Finding("a", "ok", Text("fine", "很好")),
        Finding("b", "warning", Text("odd", "奇怪"), Text("turn it", "转一下"), {"n": 1}, lambda: fixed.append(1)),
    ]
    status, text = run(monkeypatch, findings)
    assert (status, fixed) == (0, [])
    assert text == "✓ 很好\n! 奇怪\n    → 转一下\n"
    status, text = run(monkeypatch, findings, "--fix", as_json=True)
    assert fixed == [1]
    assert [json.loads(line) for line in text.splitlines()][1] == {
        "id": "b",
        "level": "warning",
        "text": {"en": "odd", "zh": "奇怪"},
        "remedy": {"en": "turn it", "zh": "转一下"},
        "facts": {"n": 1},
        "fixed": True,
    }
    status, text = run(monkeypatch, [Finding("c", "error", Text("bad", "坏"), Text("mend", "修"))])
    assert status == 1


def test_a_fix_that_fails_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("no")

    findings = [Finding("b", "warning", Text("odd", "奇怪"), Text("turn it", "转一下"), fix=refuse)]
    _, text = run(monkeypatch, findings, "--fix")
    assert "→ 转一下" in text
