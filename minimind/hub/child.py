"""``python -m minimind.hub.child [--from SOURCE] NAME [FILE…]``: one download, told as Events on standard output.

One JSON object a line: events as `minimind.events.to_json` writes them, or ``{"error": {"en", "zh"}}`` as the last.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from collections.abc import Callable, Sequence

from minimind.errors import UserError
from minimind.events import Event, Note, Progress, Text, to_json
from minimind.hub import AUTOMATIC, folder_of
from minimind.hub.fetch import Interrupted, RemoteFile, fetch, is_complete
from minimind.hub.names import MODELS, Wanted, find
from minimind.hub.sources import SOURCES, Unreachable
from minimind.safe_text import clean_line

Tell = Callable[[Event], None]

_OF_A_MODEL = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "chat_template.jinja",
    "LICENSE*",
    "README.md",
)
_PICKLED = ("pytorch_model*.bin", "*.index.json")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_STANDARD_WEIGHTS = "full_sft_*.pth"
"""What is fetched of a repository of ``.pth`` files where the person names none: the model to talk to."""
_INTERVAL = 0.1
"""Seconds between two Progress events."""
_LICENCE = Text(
    "the data set's parts have different licences (Apache-2.0, CC-BY-NC): see its page before you publish a model",
    "数据集各部分的许可证不同（Apache-2.0、CC-BY-NC）：发布模型前请查看其页面",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one download; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="source", choices=(AUTOMATIC, *SOURCES), default=AUTOMATIC)
    parser.add_argument("name")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(arguments)
    try:
        run(find(options.name), options.files, options.source, lambda event: _say(to_json(event)))
    except UserError as error:
        _say(json.dumps({"error": {"en": error.text.en, "zh": error.text.zh}}, ensure_ascii=False))
        return 2
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(wanted: Wanted, files: Sequence[str], source: str, tell: Tell) -> None:
    """Fetch what is wanted, verified, and tell about it. Raises UserError.

    Automatically means from the Hugging Face Hub, and from ModelScope where that does not answer or does not deliver: a
    mirror serves its listings but not always its files, which come from another host.
    """
    if wanted.instead is not None:
        tell(Note(wanted.instead))
    if wanted.kind == "dataset":
        tell(Note(_LICENCE))
    if source != AUTOMATIC:
        _fetch_from(source, wanted, files, tell)
        return
    try:
        _fetch_from("huggingface", wanted, files, tell)
    except (Unreachable, Interrupted) as error:
        tell(Note(Text(f"{error.text.en}; trying ModelScope", f"{error.text.zh}；改试 ModelScope")))
        _fetch_from("modelscope", wanted, files, tell)


def _fetch_from(source: str, wanted: Wanted, files: Sequence[str], tell: Tell) -> None:
    """Fetch from one hub. What another has delivered of a file with the same checksum counts."""
    chosen = choose(wanted, SOURCES[source](wanted), tuple(files))
    if wanted.tokenizer is not None and not any(file.name == _TOKENIZER[0] for file in chosen):
        beside = SOURCES[source](MODELS[wanted.tokenizer])
        chosen += [file for file in beside if file.name in _TOKENIZER]
    folder = folder_of(wanted)
    token = _token() if source == "huggingface" else None
    reporter = _Reporter(tell, sum(file.size for file in chosen))
    for file in chosen:
        reporter.begin(file)
        if not is_complete(folder / file.name, file):
            fetch(file, folder / file.name, token=token, progress=reporter.at)
        reporter.end()
    verified = all(file.checksum for file in chosen)
    where = clean_line(str(folder), 200)
    tell(
        Note(
            Text(
                f"{wanted.name}: {len(chosen)} files in {where}" + (", every checksum right" if verified else ""),
                f"{wanted.name}：{len(chosen)} 个文件，位于 {where}" + ("，校验和全部一致" if verified else ""),
            )
        )
    )


def choose(wanted: Wanted, listed: Sequence[RemoteFile], names: tuple[str, ...] = ()) -> list[RemoteFile]:
    """Which of the files `listed` to fetch: those named, else those of the data set, else those that make a model.

    Raises UserError, with what there is, where none fits.
    """
    patterns = names or wanted.files
    if patterns:
        chosen = [file for pattern in patterns for file in listed if fnmatch.fnmatchcase(file.name, pattern)]
        complete = all(any(fnmatch.fnmatchcase(file.name, pattern) for file in listed) for pattern in patterns)
    else:
        chosen = _matching(listed, _OF_A_MODEL)
        if not _matching(listed, ("*.safetensors",)):
            chosen += _matching(listed, _PICKLED) or _matching(listed, (_STANDARD_WEIGHTS,))
        complete = any(file.name.endswith((".safetensors", ".bin", ".pth")) for file in chosen)
    if not complete:
        shown = clean_line(", ".join(file.name for file in listed[:30]), 600)
        asked = clean_line(", ".join(patterns), 200) or "a model"
        raise UserError(
            f"{wanted.name} has no {asked}; it holds: {shown}", f"{wanted.name} 中没有 {asked}；其中有：{shown}"
        )
    return list(dict.fromkeys(chosen))


def _matching(files: Sequence[RemoteFile], patterns: Sequence[str]) -> list[RemoteFile]:
    return [file for file in files if any(fnmatch.fnmatchcase(file.name, pattern) for pattern in patterns)]


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


class _Reporter:
    """Tells how far the download is, ten times a second at most, and where a file begins and ends."""

    def __init__(self, tell: Tell, total: int) -> None:
        self._tell, self._total = tell, total
        self._before, self._size, self._last = 0, 0, 0.0
        self._label = Text("", "")

    def begin(self, file: RemoteFile) -> None:
        """The next file is `file`."""
        name = clean_line(file.name, 80)
        self._label, self._size, self._last = Text(name, name), file.size, 0.0

    def at(self, done: int) -> None:
        """`done` bytes of it have arrived."""
        now = time.monotonic()
        if now - self._last >= _INTERVAL:
            self._last = now
            self._tell(Progress(self._before + done, self._total, self._label))

    def end(self) -> None:
        """All of it has."""
        self._before += self._size
        self._tell(Progress(self._before, self._total, self._label))


if __name__ == "__main__":
    sys.exit(main())
