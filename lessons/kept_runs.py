"""Results kept by configuration, so that the same run is not computed twice.

A file for each experiment, values and version of the code: what the experiment's file, `minimind.lab` and
`minimind.model` say, and the package's version. JSON lines: a head, then the events. Bounded in size; what was not
used for longest goes first. A file that is damaged counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import minimind
from lessons.results import Results
from minimind import paths
from minimind.events import to_json
from minimind.experiment import Experiment, Value
from minimind.training.run_events import parse_record

LARGEST_FILE = 2 << 20
LARGEST_TOTAL = 64 << 20
_USED = ("lab", "model")


def find(experiment: Experiment, values: Mapping[str, Value]) -> Results | None:
    """The kept results of `experiment` with `values`, or None where there are none."""
    path = _file(experiment, values)
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines()
        facts = json.loads(head)
        timed = [parse_record(json.loads(line)) for line in lines]
        seconds, made, count = float(facts["seconds"]), float(facts["made"]), int(facts["events"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    events = tuple(item.event for item in timed if item is not None)
    if len(events) != count:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return Results(experiment.name, dict(values), events, seconds, made)


def keep(experiment: Experiment, results: Results) -> bool:
    """Keep `results`; whether that could be done."""
    facts = {"experiment": experiment.name, "values": dict(results.values), "seconds": results.seconds}
    facts |= {"made": results.made, "events": len(results.events)}
    text = "\n".join([json.dumps(facts, ensure_ascii=False), *map(to_json, results.events)]) + "\n"
    data = text.encode()
    if len(data) > LARGEST_FILE:
        return False
    path = _file(experiment, results.values)
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
        _make_room(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        return False
    return True


def _make_room(directory: Path) -> None:
    """Remove what was not used for longest, and what an interrupted writer left, until the rest is small enough."""
    now = time.time()
    found = []
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            if path.suffix == ".new" and now - stat.st_mtime > 3600:
                path.unlink()
            elif path.suffix == ".jsonl":
                found.append((stat.st_mtime, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= LARGEST_TOTAL:
            break
        path.unlink(missing_ok=True)
        total -= size


def _file(experiment: Experiment, values: Mapping[str, Value]) -> Path:
    digest = hashlib.sha256()
    digest.update(json.dumps([experiment.name, sorted(values.items()), minimind.__version__]).encode())
    for path in _sources(experiment):
        digest.update(path.name.encode() + path.read_bytes())
    return paths.kept_results() / f"{experiment.name}-{digest.hexdigest()[:20]}.jsonl"


def _sources(experiment: Experiment) -> Iterator[Path]:
    """The files whose change makes kept results stale."""
    code = getattr(experiment.function, "__code__", None)
    if code is not None:
        yield Path(code.co_filename)
    package = Path(str(files("minimind")))
    for name in _USED:
        yield from sorted((package / name).rglob("*.py"))
