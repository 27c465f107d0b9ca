"""What this machine offers and what stands in the way, finding by finding, each with its remedy. No torch at import.

`examine` checks the machine, `minimind.doctor_terminal` the terminal; ``minimind doctor`` prints both.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from minimind import hardware, paths
from minimind.events import Text
from minimind.inference.native.build import STEP
from minimind.native import found_compiler
from minimind.safe_text import clean_line

Level = Literal["ok", "warning", "error"]

LEAST_PYTHON = (3, 11)
PINNED = {"textual": "8.2.8"}
PACKAGES = (
    "torch",
    "numpy",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "textual",
    "rich",
    "markdown-it-py",
    "mdit-py-plugins",
    "texicode",
    "fsrs",
    "platformdirs",
    "psutil",
)
"""What the three packages import, as declared in pyproject.toml (tested)."""

_LITTLE_DISK, _NO_DISK = 2 << 30, 200 << 20
_LITTLE_MEMORY = 1 << 30
_LOGIND = (Path("/etc/systemd/logind.conf"), Path("/etc/systemd/logind.conf.d"), Path("/usr/lib/systemd/logind.conf.d"))
_LINGER = Path("/var/lib/systemd/linger")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, what to do about it, and how to do it here (`fix`)."""

    id: str
    level: Level
    text: Text
    remedy: Text | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    fix: Callable[[], None] | None = None


def examine() -> Iterator[Finding]:
    """Look at Python, packages, torch, processor, memory, disk, the home directory, and what a log-out would kill."""
    yield check_python()
    yield from check_packages()
    yield check_clash()
    yield check_torch()
    yield check_native()
    yield check_processor()
    yield check_memory()
    yield check_home()
    yield check_disk()
    yield check_lock()
    yield check_logout()


def check_python() -> Finding:
    """Whether Python is new enough."""
    version = platform.python_version()
    text = Text(f"Python {version} ({sys.executable})", f"Python {version}（{sys.executable}）")
    if sys.version_info[:2] >= LEAST_PYTHON:
        return Finding("python", "ok", text, facts={"version": version})
    least = ".".join(map(str, LEAST_PYTHON))
    return Finding(
        "python", "error", text, Text(f"install Python {least} or newer", f"请安装 Python {least} 或更新版本")
    )


def check_packages() -> Iterator[Finding]:
    """Whether everything is installed, in the versions the app was tested with."""
    versions: dict[str, str] = {}
    missing = []
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        names = ", ".join(missing)
        remedy = Text(f"pip install {' '.join(missing)}", f"pip install {' '.join(missing)}")
        yield Finding(
            "packages", "error", Text(f"not installed: {names}", f"没有安装：{names}"), remedy, {"missing": missing}
        )
    else:
        count = len(versions)
        yield Finding(
            "packages", "ok", Text(f"all {count} packages are installed", f"{count} 个依赖包都已安装"), facts=versions
        )
    for name, wanted in PINNED.items():
        found = versions.get(name, wanted)
        if found != wanted:
            yield Finding(
                f"version-{name}",
                "warning",
                Text(
                    f"{name} is {found}; the app is tested with {wanted}",
                    f"{name} 的版本是 {found}；本程序以 {wanted} 测试",
                ),
                Text(f"pip install {name}=={wanted}", f"pip install {name}=={wanted}"),
            )


def clashing_distribution() -> str | None:
    """The name of an installed distribution, not ours, that brings a top-level package `minimind`; None: there is none."""
    try:
        return str(importlib.metadata.distribution("minimind").metadata["Name"])
    except importlib.metadata.PackageNotFoundError:
        return None


def check_clash() -> Finding:
    """Whether another distribution writes into the same package."""
    other = clashing_distribution()
    if other is None:
        return Finding("clash", "ok", Text("no other distribution named minimind", "没有同名的其他发行包"))
    return Finding(
        "clash",
        "error",
        Text(
            f"an unrelated distribution {other!r} has the same package name",
            f"另一个无关的发行包 {other!r} 占用了同一个包名",
        ),
        Text(
            f"pip uninstall {other}, then pip install --force-reinstall minimind-tui",
            f"先 pip uninstall {other}，再 pip install --force-reinstall minimind-tui",
        ),
    )


def check_torch() -> Finding:
    """Whether torch can be imported, on what it computes, and in which precision."""
    try:
        torch = importlib.import_module("torch")
        device = hardware.choose_device("auto")
        dtype = str(hardware.choose_dtype("auto", device)).removeprefix("torch.")
    except Exception as error:  # a broken installation can raise anything at import
        reason = clean_line(f"{type(error).__name__}: {error}", 200)
        remedy = Text("reinstall torch: https://pytorch.org/get-started", "重装 torch：https://pytorch.org/get-started")
        return Finding("torch", "error", Text(f"torch cannot be used: {reason}", f"torch 无法使用：{reason}"), remedy)
    name = torch.cuda.get_device_name(0) if device.type == "cuda" else hardware.cpu_name()
    facts = {"version": torch.__version__, "device": device.type, "name": name, "dtype": dtype}
    text = Text(
        f"torch {torch.__version__} on {device.type} ({name}), {dtype}",
        f"torch {torch.__version__}，设备 {device.type}（{name}），精度 {dtype}",
    )
    if device.type == "cpu" and torch.version.cuda is not None:
        remedy = Text(
            "this torch is built for CUDA but finds no usable GPU: look at nvidia-smi, or install the CPU build",
            "这个 torch 带 CUDA，但找不到可用的 GPU：请检查 nvidia-smi，或换装 CPU 版",
        )
        return Finding("torch", "warning", text, remedy, facts)
    return Finding("torch", "ok", text, facts=facts)


def check_native() -> Finding:
    """Whether tokens can be written by code compiled for this machine."""
    compiler = found_compiler()
    facts = {"built": STEP.is_built(), "compiler": compiler}
    if facts["built"]:
        text = Text("the compiled decoding step is ready", "编译的解码步已就绪")
        return Finding("native", "ok", text, facts=facts)
    if compiler is not None:
        text = Text(
            f"the decoding step is compiled at first use, by {compiler}", f"首次使用时会用 {compiler} 编译解码步"
        )
        return Finding("native", "ok", text, facts=facts)
    text = Text(
        "no C compiler: models write by torch, several times slower on a CPU",
        "没有 C 编译器：改由 torch 生成文本，在 CPU 上会慢几倍",
    )
    return Finding("native", "warning", text, Text("install gcc or clang", "请安装 gcc 或 clang"), facts)


def check_processor() -> Finding:
    """How many cores there are to compute on, and how busy they are."""
    cores = hardware.available_cores()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    facts = {"cores": cores, "load": round(load, 2)}
    text = Text(f"{cores} cores, load {load:.1f}", f"{cores} 个核心，当前负载 {load:.1f}")
    if load > cores + 0.5:
        remedy = Text("others are computing here: training will be slower", "机器上有其他任务在跑：训练会变慢")
        return Finding("processor", "warning", text, remedy, facts)
    return Finding("processor", "ok", text, facts=facts)


def check_memory() -> Finding:
    """How much memory is free."""
    import psutil

    memory = psutil.virtual_memory()
    facts = {"total": memory.total, "available": memory.available}
    text = Text(
        f"memory: {_gigabytes(memory.available)} free of {_gigabytes(memory.total)}",
        f"内存：共 {_gigabytes(memory.total)}，可用 {_gigabytes(memory.available)}",
    )
    if memory.available < _LITTLE_MEMORY:
        remedy = Text("close other programs, or train with a smaller batch_size", "请关掉其他程序，或调小 batch_size")
        return Finding("memory", "warning", text, remedy, facts)
    return Finding("memory", "ok", text, facts=facts)


def check_home() -> Finding:
    """Whether the person's directory can be written."""
    home = paths.home()
    if not home.exists():
        parent = next((folder for folder in home.parents if folder.exists()), home)
        level: Level = "ok" if os.access(parent, os.W_OK) else "error"
        text = Text(f"{home} does not exist yet; it is made when needed", f"{home} 尚不存在，用到时会自动创建")
        return Finding("home", level, text, None if level == "ok" else _elsewhere(), {"path": str(home)}, _make_home)
    probe = home / f".doctor-{os.getpid()}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        text = Text(f"{home} cannot be written: {error.strerror}", f"{home} 无法写入：{error.strerror}")
        return Finding("home", "error", text, _elsewhere(), {"path": str(home)})
    return Finding("home", "ok", Text(f"your files: {home}", f"你的文件：{home}"), facts={"path": str(home)})


def check_disk() -> Finding:
    """How much room there is for runs."""
    folder = _existing(paths.runs())
    free = shutil.disk_usage(folder).free
    text = Text(f"disk: {_gigabytes(free)} free at {folder}", f"磁盘：{folder} 可用 {_gigabytes(free)}")
    if free >= _LITTLE_DISK:
        return Finding("disk", "ok", text, facts={"free": free})
    remedy = Text("delete old runs: minimind runs rm ID", "删掉旧的训练：minimind runs rm 编号")
    return Finding("disk", "error" if free < _NO_DISK else "warning", text, remedy, {"free": free})


def check_lock() -> Finding:
    """Whether a file lock taken here keeps another one out: what tells a living run from a dead one."""
    folder = _existing(paths.runs())
    probe = folder / f".doctor-lock-{os.getpid()}"
    try:
        with probe.open("w") as first, probe.open("w") as second:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Finding("lock", "ok", Text("file locks work where runs are kept", "训练目录支持文件锁"))
    except OSError as error:
        text = Text(f"file locks do not work in {folder}: {error.strerror}", f"{folder} 不支持文件锁：{error.strerror}")
        return Finding("lock", "error", text, _elsewhere())
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    text = Text(f"file locks in {folder} keep nobody out", f"{folder} 的文件锁不起作用")
    return Finding("lock", "error", text, _elsewhere())


def check_logout() -> Finding:
    """Whether logging out would end the runs: systemd's KillUserProcesses without lingering."""
    kills = any(
        _sets_kill(file) for place in _LOGIND for file in ([place] if place.is_file() else sorted(place.glob("*.conf")))
    )
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or ""
    if not kills or (user and (_LINGER / user).exists()):
        return Finding("logout", "ok", Text("runs outlive the end of the session", "退出登录后训练会继续"))
    return Finding(
        "logout",
        "warning",
        Text(
            "this system ends your processes when you log out (KillUserProcesses)",
            "退出登录时系统会结束你的进程（KillUserProcesses）",
        ),
        Text("loginctl enable-linger", "loginctl enable-linger"),
    )


def _sets_kill(file: Path) -> bool:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.replace(" ", "").lower() in {"killuserprocesses=yes", "killuserprocesses=true"} for line in lines)


def _existing(path: Path) -> Path:
    return path if path.exists() else next(folder for folder in path.parents if folder.exists())


def _make_home() -> None:
    paths.home().mkdir(parents=True, exist_ok=True, mode=0o700)


def _elsewhere() -> Text:
    return Text(
        f"choose another place: {paths.HOME_VARIABLE}=DIR",
        f"请换个位置：{paths.HOME_VARIABLE}=目录",
    )


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
