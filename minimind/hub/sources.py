"""What a repository holds: asked of the Hugging Face Hub through its own client, or of ModelScope."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from minimind.errors import UserError
from minimind.hub.fetch import RemoteFile, check_name
from minimind.hub.names import Wanted
from minimind.safe_text import clean_line

MODELSCOPE = "https://modelscope.cn"
_TIMEOUT = 20.0
_LONGEST_LISTING = 20_000_000


class Unreachable(UserError):
    """A hub does not answer, so another one is worth asking."""


def list_huggingface(wanted: Wanted) -> list[RemoteFile]:
    """The files of a repository on the Hugging Face Hub (or what HF_ENDPOINT names), pinned to its present commit.

    Raises UserError for a repository that is missing or closed, Unreachable where the hub does not answer.
    """
    from huggingface_hub import HfApi, constants, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError
    from huggingface_hub.hf_api import RepoFile

    repository = wanted.repositories["huggingface"]
    if constants.HF_HUB_OFFLINE:
        raise offline()
    try:
        api = HfApi()
        commit = str(api.repo_info(repository, repo_type=wanted.kind).sha)
        tree = list(api.list_repo_tree(repository, recursive=True, revision=commit, repo_type=wanted.kind))
    except (RepositoryNotFoundError, GatedRepoError):
        raise _no_repository(repository, "huggingface") from None
    except OfflineModeIsEnabled:
        raise offline() from None
    except Exception as error:  # the client passes on whatever its transport raises, which changes with its version
        raise _unreachable(constants.ENDPOINT, error) from None
    files = []
    for entry in tree:
        if isinstance(entry, RepoFile):
            url = hf_hub_url(repository, check_name(entry.path), repo_type=wanted.kind, revision=commit)
            checksum, algorithm = (entry.lfs.sha256, "sha256") if entry.lfs else (entry.blob_id, "git")
            files.append(RemoteFile(entry.path, url, entry.size, checksum, algorithm))
    return files


def list_modelscope(wanted: Wanted) -> list[RemoteFile]:
    """The files of a repository on ModelScope (or what MODELSCOPE_ENDPOINT names). Raises as `list_huggingface`."""
    endpoint = os.environ.get("MODELSCOPE_ENDPOINT", MODELSCOPE).rstrip("/")
    repository = wanted.repositories["modelscope"]
    plural, listing = {"model": ("models", "repo/files"), "dataset": ("datasets", "repo/tree")}[wanted.kind]
    query = urllib.parse.urlencode({"Revision": "master", "Recursive": "true"})
    answer = _ask(f"{endpoint}/api/v1/{plural}/{repository}/{listing}?{query}", repository, endpoint)
    listed = (answer.get("Data") or {}).get("Files")
    if not isinstance(listed, list):
        raise _unreachable(endpoint, ValueError("an answer that is no listing"))
    files = []
    for entry in listed:
        if isinstance(entry, dict) and entry.get("Type") != "tree":
            name = check_name(str(entry.get("Path")))
            quoted = urllib.parse.quote(name)
            checksum = str(entry.get("Sha256") or "")
            url = f"{endpoint}/{plural}/{repository}/resolve/master/{quoted}"
            files.append(RemoteFile(name, url, int(entry.get("Size") or 0), checksum, "sha256" if checksum else ""))
    return files


SOURCES: dict[str, Callable[[Wanted], list[RemoteFile]]] = {
    "huggingface": list_huggingface,
    "modelscope": list_modelscope,
}


def offline() -> UserError:
    """The UserError for a person who has switched the network off."""
    return UserError(
        "offline mode is on (HF_HUB_OFFLINE): unset it, or put the files there yourself",
        "已开启离线模式（HF_HUB_OFFLINE）：请取消该变量，或自行放入文件",
    )


def _ask(url: str, repository: str, endpoint: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            answer = json.loads(response.read(_LONGEST_LISTING))
    except urllib.error.HTTPError as error:
        if error.code in {401, 403, 404}:
            raise _no_repository(repository, "modelscope") from None
        raise _unreachable(endpoint, error) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _unreachable(endpoint, error) from None
    return answer if isinstance(answer, dict) else {}


def _no_repository(repository: str, hub: str) -> UserError:
    return UserError(
        f"{hub} has no repository {repository}, or it is not open to you: check the name, or set HF_TOKEN",
        f"{hub} 上没有仓库 {repository}，或它不对你开放：请检查名称，或设置 HF_TOKEN",
    )


def _unreachable(endpoint: str, error: Exception) -> Unreachable:
    reason = clean_line(str(error) or type(error).__name__, 120)
    return Unreachable(
        f"{endpoint} does not answer ({reason}): check the connection, set HF_ENDPOINT to a mirror, or use --from modelscope",
        f"{endpoint} 没有应答（{reason}）：请检查网络，把 HF_ENDPOINT 设为镜像，或用 --from modelscope",
    )
