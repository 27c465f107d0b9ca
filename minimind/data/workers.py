"""Processes that tokenise parts of files, side by side; what they give comes back in the order of the parts."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from minimind.data import chunks
from minimind.data.chunks import DataKind, Encoded, Task
from minimind.data.formats import Report
from minimind.errors import UserError

_AHEAD = 2
"""Parts that each process has been given and not yet delivered: it never waits, and little lies about."""


class Workers:
    """`count` processes over a `folder` that holds the ``tokenizer.json`` and takes their results.

    They end with the block, and by themselves where this process is killed.
    """

    def __init__(self, count: int, folder: Path, kind: DataKind) -> None:
        self._folder = folder
        command = [sys.executable, "-m", "minimind.data.chunks", str(folder), kind]
        environment = dict(os.environ) | {"TOKENIZERS_PARALLELISM": "false"}
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            for _ in range(count)
        ]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()  # between two parts there is nothing to finish, and within one nothing to keep
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Encoded, Report]]:
        """What `encode_part` gives for each task, in order. Raises UserError as it does, and where a process dies."""
        given: deque[int] = deque()
        for number in range(len(tasks)):
            given.append(number)
            self._give(number, tasks[number])
            if len(given) == _AHEAD * len(self._processes):
                yield self._take(given.popleft(), tasks)
        while given:
            yield self._take(given.popleft(), tasks)

    def _place(self, number: int) -> Path:
        return self._folder / f"chunk-{number}.npz"

    def _give(self, number: int, task: Task) -> None:
        pipe = self._processes[number % len(self._processes)].stdin
        assert pipe is not None
        request = {"path": str(task.path), "start": task.start, "end": task.end, "to": str(self._place(number))}
        with contextlib.suppress(BrokenPipeError):  # `_take` finds out why
            pipe.write(json.dumps(request).encode() + b"\n")
            pipe.flush()

    def _take(self, number: int, tasks: Sequence[Task]) -> tuple[Encoded, Report]:
        process = self._processes[number % len(self._processes)]
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            status = process.wait()
            raise UserError(
                f"a process that tokenised ended with status {status} (−9: memory ran out): "
                "run it again, it goes on from there",
                f"一个分词进程以状态 {status} 结束（−9：内存不足）：请重新运行，会从中断处继续",
            )
        answer = json.loads(line)
        if "error" in answer:
            raise UserError(*answer["error"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"] or 0))
        place = self._place(number)
        encoded = chunks.load(place)
        place.unlink()
        return encoded, chunks.report_from(answer["report"], tasks[number].path)
