"""C compiled at first use by this machine's own compiler, kept, and loaded with ctypes. No torch.

Nothing needs it: where there is no compiler, or it fails, the caller does the same work with PyTorch. A library is kept
under `paths.kernels` in a folder named by a hash of its sources, the flags and the processor: another processor, or
another version of this package, builds its own. A folder is written aside and renamed, so any number of processes may
build at once. Beside the library lies its checksum: a damaged file is built anew, never loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from minimind import paths
from minimind.events import Text
from minimind.hardware import cpu_flags, cpu_name
from minimind.safe_text import clean_line

OFF_VARIABLE = "MINIMIND_NATIVE"
"""The environment variable that, set to 0, leaves everything compiled aside."""
COMPILERS = ("cc", "gcc", "clang")
COMMON = ("-std=gnu11", "-O3", "-shared", "-fPIC", "-w")
TARGETS = (("-march=native",), ("-mcpu=native",), ())
"""Ways to say "for this very processor", tried in turn; the last is for any of its kind."""
_SECONDS = 120
_LIBRARY, _CHECKSUM = "library.so", "library.sha256"


class NativeUnavailable(Exception):
    """There is no compiled library, for the reason `text`."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True, slots=True)
class NativeLibrary:
    """What is compiled: the C `files` of the folder `sources`, whose other files and headers count too, with `flags`."""

    name: str
    sources: Path
    files: tuple[str, ...]
    flags: tuple[str, ...] = ()

    def is_built(self) -> bool:
        """Whether `load` need not compile."""
        return not _is_off() and _is_whole(self._folder())

    def load(self) -> ctypes.CDLL:
        """The library, built if need be (about a second). Raises NativeUnavailable."""
        if _is_off():
            raise NativeUnavailable(Text(f"switched off by {OFF_VARIABLE}=0", f"已由 {OFF_VARIABLE}=0 关闭"))
        folder = self._folder()
        if not _is_whole(folder):
            folder = self._build(folder)
        try:
            return ctypes.CDLL(str(folder / _LIBRARY))
        except OSError as error:
            raise cannot_load(error) from None

    def _folder(self) -> Path:
        """The place for what the library depends on."""
        digest = hashlib.sha256()
        for source in sorted(self.sources.glob("*.[ch]")):
            digest.update(source.read_bytes())
        processor = (platform.system(), platform.machine(), cpu_name(), *sorted(cpu_flags()))
        digest.update(repr((self.files, self.flags, COMMON, TARGETS, processor)).encode())
        return paths.kernels() / f"{self.name}-{digest.hexdigest()[:20]}"

    def _build(self, folder: Path) -> Path:
        """Compile into `folder`, or where that cannot be written into a temporary one; returns the folder."""
        compilers = _compilers()
        if not compilers:
            raise NativeUnavailable(
                Text(
                    "no C compiler was found: install one (gcc or clang)",
                    "没有找到 C 编译器：请安装 gcc 或 clang",
                )
            )
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
        except OSError:
            aside = Path(tempfile.mkdtemp(prefix="minimind-"))
            self._compile(compilers, aside)
            return aside
        try:
            self._compile(compilers, aside)
            return _put(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _compile(self, compilers: list[list[str]], folder: Path) -> None:
        """Make the library and its checksum in `folder` with the first compiler and target that work."""
        library, said = folder / _LIBRARY, ""
        files = [str(self.sources / name) for name in self.files]
        for compiler in compilers:
            for target in TARGETS:
                command = [*compiler, *COMMON, *self.flags, *target, *files, "-o", str(library), "-lm"]
                try:
                    done = subprocess.run(
                        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
                    )
                except (OSError, subprocess.TimeoutExpired) as error:
                    said = said or str(error)
                    continue
                if done.returncode == 0 and library.is_file():
                    checksum = hashlib.sha256(library.read_bytes()).hexdigest()
                    (folder / _CHECKSUM).write_text(checksum, encoding="ascii")
                    return
                said = said or done.stderr.decode("utf-8", "replace")
        first = clean_line(next(iter(said.strip().splitlines()), ""), 200)
        raise NativeUnavailable(Text(f"the C compiler failed: {first}", f"C 编译器出错：{first}"))


def cannot_load(error: Exception) -> NativeUnavailable:
    """What to raise where a library, or a function in it, is not as it should be."""
    reason = clean_line(str(error), 200)
    return NativeUnavailable(Text(f"the compiled code cannot be loaded: {reason}", f"编译好的代码无法加载：{reason}"))


def found_compiler() -> str | None:
    """The command that compiles here; None: there is none, or compiled code is switched off."""
    compilers = [] if _is_off() else _compilers()
    return " ".join(compilers[0]) if compilers else None


def _is_off() -> bool:
    return os.environ.get(OFF_VARIABLE) == "0"


def _is_whole(folder: Path) -> bool:
    """Whether `folder` holds a library that is the one that was put there."""
    try:
        expected = (folder / _CHECKSUM).read_text(encoding="ascii")
        return hashlib.sha256((folder / _LIBRARY).read_bytes()).hexdigest() == expected
    except (OSError, ValueError):
        return False


def _put(aside: Path, folder: Path) -> Path:
    """Rename `aside` to `folder`. A folder that another process has put there meanwhile is used; a damaged one goes."""
    for _ in range(3):
        with contextlib.suppress(OSError):
            aside.rename(folder)
        if _is_whole(folder):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
    reason = clean_line(str(folder), 200)
    raise NativeUnavailable(Text(f"{reason} cannot be written", f"{reason} 无法写入"))


def _compilers() -> list[list[str]]:
    """The commands to try: $CC where it is set, then the usual names."""
    wish = shlex.split(os.environ.get("CC", ""))
    found = [[*wish]] if wish and shutil.which(wish[0]) else []
    return found + [[name] for name in COMPILERS if shutil.which(name)]
