"""Source code by name: found without importing, fingerprinted by its syntax tree."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.code import module_path, resolve
from minimind import safe_text
from minimind.errors import UserError


def test_finds_what_inspect_finds() -> None:
    source = resolve("minimind.safe_text:clean")
    lines, first = inspect.getsourcelines(safe_text.clean)
    assert (source.text, source.first_line) == ("".join(lines).rstrip("\n"), first)
    assert source.docstring.startswith("Return `text` with control")


def test_finds_methods_and_constants_and_packages() -> None:
    assert resolve("minimind.events:Text.of").text.startswith("def of(self")
    assert resolve("minimind.safe_text:_DELETE").text == "_DELETE = 0x7F"
    assert module_path("minimind").name == "__init__.py"


def test_does_not_import_the_module() -> None:
    code = (
        "import sys\nfrom lessons.code import resolve\n"
        "assert 'RMSNorm' in resolve('minimind.model.transformer:RMSNorm').text\n"
        "print('torch' in sys.modules, 'minimind.model.transformer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("minimind.events", "not a code reference"),
        ("minimind.nothing:Text", "no module"),
        ("nothing.at.all:Text", "no module"),
        ("minimind.events:Nothing", "no 'Nothing'"),
        ("minimind.events:Text.nothing", "no 'nothing'"),
        ("minimind.events:Text#missing", "no region"),
    ],
)
def test_what_is_missing_is_named(reference: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        resolve(reference)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "sample_package"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return package / "part.py"


def test_fingerprint_follows_meaning_not_layout(module: Path) -> None:
    def of(source: str) -> str:
        module.write_text(source, encoding="utf-8")
        return resolve("sample_package.part:double").fingerprint

    plain = of("def double(x):\n    return x * 2\n")
    assert (
        of('import os\n\n\ndef double(x):\n    """Twice x."""\n    # moved\n    return (x *\n            2)\n') == plain
    )
    assert of("def double(x):\n    return x * 3\n") != plain
    assert of("def double(y):\n    return x * 2\n") != plain


def test_region(module: Path) -> None:
    module.write_text(
        "def f(x):\n    y = x\n    # region: core\n    y = y * 2\n    # end region\n    return y\n", encoding="utf-8"
    )
    core = resolve("sample_package.part:f#core")
    assert (core.text, core.first_line) == ("y = y * 2", 4)
    assert core.fingerprint != resolve("sample_package.part:f").fingerprint
