"""What a person installs: a wheel, in a fresh environment, outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built with the build tools already installed."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a fresh environment with the wheel in it.

    The dependencies are lent by this environment through a path file (its own editable install is not: path files
    are not read there), so that the test needs no network and no second copy of torch.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    purelib = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(purelib) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        wheel,
    ]
    subprocess.run(install, check=True)
    return place / "bin"


def run(environment: Path, cwd: Path, *command: str) -> str:
    env = {"PATH": f"{environment}:{os.environ['PATH']}", "MINIMIND_HOME": str(cwd / "home"), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [environment / command[0], *command[1:]],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "minimind/data/tokenizers/minimind-6400/tokenizer.json",
        "minimind/data/tokenizers/nano-2048/tokenizer.json",
        "minimind/models/nano-chat/model.safetensors",
        "minimind/inference/native/step.c",
        "minimind/inference/native/model.h",
        "lessons/normalization/en.md",
        "lessons/normalization/zh.md",
        "lessons/normalization/quiz.toml",
        "minimind_tui/strings/common.toml",
    ):
        assert needed in names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        "minimind",
        "minimind_tui",
        "lessons",
    }


def test_installed_package_is_the_wheels_own(environment: Path, tmp_path: Path) -> None:
    where = run(environment, tmp_path, "python", "-c", "import minimind; print(minimind.__file__)")
    assert Path(where.strip()).is_relative_to(environment.parent)


def test_command_lines_work_outside_the_checkout(environment: Path, tmp_path: Path) -> None:
    info = json.loads(run(environment, tmp_path, "minimind", "model", "info", "nano", "--json"))
    assert info["parameters"] > 0
    lessons = [
        json.loads(line)
        for line in run(environment, tmp_path, "python", "-m", "lessons", "list", "--json").splitlines()
    ]
    assert "normalization" in {step["slug"] for path in lessons for step in path.get("steps", ())}


def test_installed_app_starts_and_loads_a_lesson(environment: Path, tmp_path: Path) -> None:
    env = {"MINIMIND_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    with Terminal([str(environment / "minimind-tui"), "learn", "normalization", "--lang", "zh"], env) as terminal:
        terminal.wait_for("归一化")
        terminal.press("ctrl+q")
        assert terminal.wait_for_exit() == 0
