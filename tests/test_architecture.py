"""The dependency rules of CONTRIBUTING.md, tested: import-linter does not see folders without ``__init__.py``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("minimind", "lessons", "minimind_tui")
HEAVY = {"torch", "numpy", "safetensors", "tokenizers"}


def python_files(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def top_level(name: str) -> str:
    return name.partition(".")[0]


def imported(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Each imported module and whether the import runs when the file is imported (not in a function, not for types)."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and child.level == 0:
                yield child.module, at_import
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or (
                isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            ):
                yield from walk(child, False)
            else:
                yield from walk(child, at_import)

    yield from walk(tree, True)


def modules_of(path: Path) -> list[tuple[str, bool]]:
    return list(imported(ast.parse(path.read_text(encoding="utf-8"))))


def test_dependencies_point_inwards() -> None:
    allowed = {"minimind": {"minimind"}, "lessons": {"lessons", "minimind"}, "minimind_tui": set(PACKAGES)}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in PACKAGES
        for path in python_files(package)
        for name, _ in modules_of(path)
        if top_level(name) in PACKAGES and top_level(name) not in allowed[package]
    ]
    assert wrong == []


def test_core_and_course_draw_nothing() -> None:
    wrong = []
    for path in python_files("minimind", "lessons"):
        for name, at_import in modules_of(path):
            if top_level(name) in {"textual", "plotext"} or (top_level(name) == "rich" and at_import):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_experiments_import_only_torch_the_standard_library_and_minimind() -> None:
    allowed = {"torch", "minimind"} | set(sys.stdlib_module_names)
    files = list((ROOT / "lessons").glob("*/experiments/*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name, _ in modules_of(path)
        if top_level(name) not in allowed
    ]
    assert wrong == []


def test_the_terminal_imports_nothing_heavy_itself() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("minimind_tui")
        for name, _ in modules_of(path)
        if top_level(name) in HEAVY
    ]
    assert wrong == []


def test_one_file_draws_with_plotext() -> None:
    files = {
        path.relative_to(ROOT)
        for path in python_files(*PACKAGES)
        for name, _ in modules_of(path)
        if top_level(name) == "plotext"
    }
    assert len(files) <= 1, files


def test_one_file_builds_paths() -> None:
    """Only minimind/paths.py asks the platform or the environment where a person's directories are."""

    def asks(path: Path) -> bool:
        source = path.read_text(encoding="utf-8")
        told = re.search(r"""(environ|getenv)\W.*MINIMIND_HOME|Path\.home\(|expanduser\("~""", source)
        return told is not None or any(top_level(name) == "platformdirs" for name, _ in modules_of(path))

    assert [path.name for path in python_files(*PACKAGES) if asks(path)] == ["paths.py"]


@pytest.mark.parametrize(
    "statement",
    [
        "import minimind",
        "import minimind.events, minimind.experiment, minimind.config, minimind.errors, minimind.paths",
        "import minimind.training.runs",
        "import minimind.cli; minimind.cli.build_parser()",
        "import lessons.lesson; lessons.lesson.load_lessons()",
        "import minimind_tui.app, minimind_tui.screens.home",
    ],
)
def test_light_modules_stay_light(statement: str) -> None:
    """They must be up before torch, which costs seconds; the core and the course never load a terminal library."""
    forbidden = HEAVY | (set() if "minimind_tui" in statement else {"textual"})
    code = f"{statement}\nimport sys\nprint(sorted(set({sorted(forbidden)!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_files_and_functions_are_of_readable_length() -> None:
    long = []
    for path in [*python_files(*PACKAGES), *sorted((ROOT / "tests").rglob("*.py"))]:
        source = path.read_text(encoding="utf-8")
        if source.count("\n") > 500:
            long.append(f"{path.relative_to(ROOT)}: {source.count(chr(10))} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    long.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert long == []


def test_nothing_unexpected_at_the_top_level() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    expected = {"minimind", "minimind_tui", "lessons", "tests", "pyproject.toml", "README.md", "README.zh.md"}
    expected |= {"Makefile", "constraints.txt", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert {name for name in top if not name.startswith(".")} <= expected
