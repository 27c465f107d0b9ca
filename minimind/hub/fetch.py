"""One file over HTTP: resumed where it was broken off, believed only when its checksum is right. Standard library only.

What has arrived is kept beside the target as ``NAME.part``, with ``NAME.part.json`` telling which file it is a part of;
a part of another version is thrown away. The target itself only ever appears whole.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from minimind import __version__
from minimind.errors import UserError
from minimind.safe_text import clean_line

CHUNK = 1 << 18
TRIES = 6
_LONGEST_PAUSE = 30.0
_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a hub: where it is, how long, and its checksum — ``sha256``, or ``git`` (the id of a git blob)."""

    name: str
    url: str
    size: int
    checksum: str = ""
    algorithm: str = ""


class Cancelled(Exception):
    """The person has stopped the download; what has arrived is kept."""


class Interrupted(UserError):
    """The file's host does not deliver; another hub may."""


class _Broken(Exception):
    """Something that another try may put right."""


def check_name(name: str) -> str:
    """`name`, a path within a repository, if it stays below its folder. Raises UserError for any other."""
    parts = name.split("/")
    good = 0 < len(name) <= 500 and name.isprintable() and not any(c in name for c in '\\:*?"<>|')
    if not good or any(part in {"", ".", ".."} or part.startswith("-") for part in parts):
        shown = clean_line(name, 80)
        raise UserError(
            f"the repository names a file {shown}, which could lie outside its folder; refused",
            f"仓库中的文件名 {shown} 可能指向文件夹之外，已拒绝",
        )
    return name


def is_complete(path: Path, file: RemoteFile) -> bool:
    """Whether `path` is `file` already: its size and, where the hub tells one, its checksum."""
    try:
        return path.stat().st_size == file.size and _matches(path, file)
    except OSError:
        return False


def fetch(
    file: RemoteFile,
    path: Path,
    *,
    token: str | None = None,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    pause: Callable[[float], None] = time.sleep,
    timeout: float = 20.0,
) -> None:
    """Fetch `file` to `path`, going on from what an earlier call left. `progress` hears how many bytes there are.

    A broken connection, a busy server or a wrong checksum is tried again, six times in all, after 1, 2, 4 … seconds.
    Raises Interrupted where that did not help, UserError where nothing will (no access, no such file, a full disk),
    Cancelled where `cancelled` says so. What has arrived is kept in all these cases.
    """
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    problem = ""
    for attempt in range(TRIES):
        if attempt:
            pause(min(_LONGEST_PAUSE, 2.0 ** (attempt - 1)))
        try:
            _keep_identity(part, file)
            _demand_room(part, file)
            _transfer(file, part, token, progress, cancelled, timeout)
            if not _matches(part, file):
                part.unlink()
                raise _Broken("the checksum differs: damaged on the way")
            part.replace(path)
            _identity(part).unlink(missing_ok=True)
            return
        except urllib.error.HTTPError as error:
            problem = _http_problem(error, file)
        except (_Broken, http.client.HTTPException, ValueError) as error:
            problem = str(error) or type(error).__name__
        except OSError as error:
            if error.errno in _FATAL:
                raise _cannot_write(path, error) from None
            problem = str(getattr(error, "reason", error))
    shown = clean_line(problem, 160)
    raise Interrupted(
        f"{file.name}: gave up after {TRIES} tries ({shown}); what has arrived is kept: run the same command again",
        f"{file.name}：试了 {TRIES} 次仍未成功（{shown}）；已下载的部分保留：再次运行同一命令即可继续",
    )


def _identity(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _keep_identity(part: Path, file: RemoteFile) -> None:
    """Throw away a part of another file or version, and note which file this one is a part of."""
    wanted = asdict(file) | {"url": ""}
    try:
        known = json.loads(_identity(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if known != wanted:
        part.unlink(missing_ok=True)
        temporary = _identity(part).with_suffix(".tmp")
        temporary.write_text(json.dumps(wanted), encoding="utf-8")
        temporary.replace(_identity(part))


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _demand_room(part: Path, file: RemoteFile) -> None:
    missing, free = file.size - _length(part), shutil.disk_usage(part.parent).free
    if missing > free:
        raise UserError(
            f"{file.name} needs {missing / 1e6:,.0f} MB more, {part.parent} has {free / 1e6:,.0f} MB free: make room",
            f"{file.name} 还需要 {missing / 1e6:,.0f} MB，{part.parent} 只剩 {free / 1e6:,.0f} MB：请腾出空间",
        )


def _transfer(
    file: RemoteFile,
    part: Path,
    token: str | None,
    progress: Callable[[int], None] | None,
    cancelled: Callable[[], bool],
    timeout: float,
) -> None:
    """Append what is missing of `file` to `part`. Raises _Broken where the connection ends early."""
    have = _length(part)
    if have > file.size:
        part.unlink()
        have = 0
    if have == file.size and part.exists():
        return
    with _open(file, have, token, timeout) as response, part.open("ab") as target:
        if have and response.status != http.client.PARTIAL_CONTENT:
            have = 0  # a server without ranges sends the whole file again
            target.truncate(0)
        while block := response.read1(CHUNK):
            if cancelled():
                raise Cancelled
            target.write(block)
            have += len(block)
            if have > file.size:
                target.truncate(0)
                raise _Broken("more bytes than announced")
            if progress is not None:
                progress(have)
        target.flush()
        os.fsync(target.fileno())
    if have < file.size:
        raise _Broken(f"the connection ended after {have:,} of {file.size:,} bytes")


class _NoTokenElsewhere(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but takes the token to no other host and leaves no encrypted connection for a plain one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if new.scheme not in {"http", "https"} or (old.scheme == "https" and new.scheme != "https"):
            raise urllib.error.URLError(f"redirected to {new.scheme}")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and old.netloc != new.netloc:
            request.remove_header("Authorization")
        return request


def _open(file: RemoteFile, start: int, token: str | None, timeout: float) -> Any:
    headers = {"User-Agent": f"minimind/{__version__}", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={start}-"} if start else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    opener = urllib.request.build_opener(_NoTokenElsewhere)
    return opener.open(urllib.request.Request(file.url, headers=headers), timeout=timeout)


def _matches(path: Path, file: RemoteFile) -> bool:
    """Whether the checksum is right; True where the hub tells none."""
    if not file.checksum:
        return True
    with path.open("rb") as content:
        if file.algorithm == "sha256":
            return hashlib.file_digest(content, "sha256").hexdigest() == file.checksum
        digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
        while block := content.read(CHUNK):
            digest.update(block)
        return digest.hexdigest() == file.checksum


def _http_problem(error: urllib.error.HTTPError, file: RemoteFile) -> str:
    """What an answer of the server means. Raises UserError where another try cannot help."""
    if error.code in {401, 403}:
        raise UserError(
            f"{file.name}: access denied ({error.code}): a gated or private repository needs a token (HF_TOKEN)",
            f"{file.name}：拒绝访问（{error.code}）：受限或私有仓库需要令牌（HF_TOKEN）",
        ) from None
    if error.code in {404, 410}:
        raise UserError(
            f"{file.name}: the hub no longer has this file ({error.code})",
            f"{file.name}：站点上已没有这个文件（{error.code}）",
        ) from None
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        return "the file changed on the hub"
    return f"the server answered {error.code}"


def _cannot_write(path: Path, error: OSError) -> UserError:
    reason = error.strerror or type(error).__name__
    return UserError(f"{path}: cannot be written: {reason}", f"{path}：无法写入：{reason}")
