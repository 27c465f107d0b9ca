"""A reader of a run: complete, bounded, and never surprised by what stands in the files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import (
    EVENT_TYPES,
    Alert,
    Band,
    Claim,
    Event,
    Heatmap,
    Level,
    Mark,
    Note,
    Progress,
    Sample,
    Scalars,
    Table,
    Text,
    to_dict,
    to_json,
)
from minimind.training.run_events import parse_record
from minimind.training.runs import Recorder, RunView, create_run, list_runs
from minimind.training.series import POINT_LIMIT

HELLO = Text("hello", "你好")
ONE_OF_EACH: list[Event] = [
    Mark("started", 0, {"device": "cpu", "list": [1, "2"]}),
    Progress(3, 10, HELLO),
    Progress(3),
    Scalars(1, {"loss": math.nan, "gradient_norm": math.inf}),
    Scalars(0.5, {"norm": 2}, axis="layer", chart="norms"),
    Level("norms", "floor", 1.5),
    Level("norms", "none", math.nan),
    Band("norms", "norm", (0.5, 1.0), (1.0, math.inf), (2, 3.0)),
    Heatmap("attention", ((0.0, math.nan), (1.0, 2.0)), ("a", "猫"), ("b", "c"), 0.0, 1.0, HELLO),
    Heatmap("plain", ((1, 2),)),
    Table("results", (HELLO,), (("x",), (1.5,)), HELLO),
    Note(HELLO),
    Sample(4, "从前", "text", "story"),
    Claim("c1", HELLO, {"difference": 0.1}, None),
    Claim("c2", HELLO, {}, True),
    Alert("warning", "nan", HELLO, 3),
]


def write(directory: Path, lines: Iterable[str]) -> None:
    with (directory / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def record(directory: Path, *events: Event) -> None:
    with Recorder(directory) as recorder:
        for event in events:
            recorder.record(event)


def test_what_is_recorded_is_what_is_read(run_directory: Path) -> None:
    record(run_directory, *ONE_OF_EACH)
    assert {type(event) for event in ONE_OF_EACH} == set(EVENT_TYPES.values())
    view = RunView(run_directory)
    timed = view.refresh()
    assert [to_dict(item.event) for item in timed] == [to_dict(event) for event in ONE_OF_EACH]
    assert all(item.time > 1.7e9 and item.t >= 0.0 for item in timed)
    assert (view.bad_records, view.unknown_records) == (0, 0)
    assert view.heatmaps["attention"].row_labels == ("a", "猫")
    assert list(view.tables) == ["results"]
    assert [sample.text for sample in view.samples] == ["text"]
    assert [alert.code for alert in view.alerts] == ["nan"]
    assert [note.text for note in view.notes] == [HELLO]
    view.close()


def test_curves_and_latest_values_follow(run_directory: Path) -> None:
    view = RunView(run_directory)
    assert view.refresh() == []
    for step in range(5):
        record(run_directory, Scalars(step, {"loss": 5.0 - step}), Progress(step, 5))
        assert len(view.refresh()) == 2
    record(run_directory, Scalars(5, {"validation_loss": 2.0}))
    view.refresh()
    assert view.series["loss"].x == [0, 1, 2, 3, 4]
    assert view.series["loss"].y == [5.0, 4.0, 3.0, 2.0, 1.0]
    assert view.latest == {"loss": 1.0, "validation_loss": 2.0}
    assert view.step == 5
    assert view.progress == Progress(4, 5)
    assert view.generation == 0
    view.close()


@pytest.mark.parametrize("what", ["started", "rolled-back"])
def test_going_back_takes_back_what_was_not_saved(what: Literal["started", "rolled-back"], run_directory: Path) -> None:
    view = RunView(run_directory)
    record(run_directory, Mark("started", 0))
    record(run_directory, *(Scalars(step, {"loss": step}) for step in range(1, 8)))
    record(run_directory, Scalars(1, {"norm": 3.0}, axis="layer"), Scalars(6, {"validation_loss": 9.0}))
    record(run_directory, Sample(2, "p", "early"), Sample(6, "p", "late"), Alert("info", "a", HELLO, 6))
    view.refresh()
    assert view.generation == 0
    record(run_directory, Mark(what, 4))
    view.refresh()
    assert view.series["loss"].x == [1, 2, 3, 4]
    assert view.latest == {"loss": 4, "norm": 3.0}
    assert "validation_loss" not in view.series
    assert view.series["norm"].x == [1]
    assert [sample.text for sample in view.samples] == ["early"]
    assert [alert.code for alert in view.alerts] == ["a"]
    assert view.step == 4
    assert view.progress is None
    assert view.generation == 1
    record(run_directory, Scalars(5, {"loss": 50}))
    view.refresh()
    assert view.series["loss"].y == [1, 2, 3, 4, 50]
    view.close()
    again = RunView(run_directory)
    again.refresh()
    assert again.series["loss"].y == [1, 2, 3, 4, 50]
    again.close()


def test_a_clock_set_back_changes_no_order(run_directory: Path) -> None:
    times = [1e9, 2e9, 5e8, 1.0, -7.0]
    write(
        run_directory,
        (to_json(Scalars(step, {"loss": step}), t=step / 10, time=time) for step, time in enumerate(times)),
    )
    view = RunView(run_directory)
    assert [item.time for item in view.refresh()] == times
    assert view.series["loss"].x == [0, 1, 2, 3, 4]
    assert view.elapsed == pytest.approx(0.4)
    view.close()


def test_working_time_is_that_of_all_starts_together(run_directory: Path) -> None:
    started = Mark("started", 0)
    lines = [to_json(started, t=0.0), to_json(Note(HELLO), t=10.0), to_json(started, t=0.5), to_json(started, t=0.1)]
    write(run_directory, [*lines, to_json(Note(HELLO), t=3.0)])
    view = RunView(run_directory)
    view.refresh()
    assert view.elapsed == pytest.approx(13.5)
    view.close()


def damaged(event: Event) -> list[dict[str, object]]:
    """`event` with each of its fields in turn replaced by what it must not be."""
    data = to_dict(event)
    wrong = ({"float": "nan"} if event.kind == "progress" else [[["x"]]], {"a": "b"}, 10**400)
    return [data | {name: value} for name in data for value in wrong if (name, value) != ("detail", {"a": "b"})]


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: event.kind)
def test_no_field_is_taken_on_trust(run_directory: Path, event: Event) -> None:
    bad = damaged(event)
    write(run_directory, map(json.dumps, bad))
    view = RunView(run_directory)
    assert view.refresh() == []
    assert view.unknown_records == len(bad)
    view.close()


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"hologram","x":1}',
        '{"kind":["scalars"],"x":1,"values":{}}',
        '{"kind":"scalars"}',
        '{"kind":"scalars","x":NaN,"values":{"loss":1}}',
        '{"kind":"scalars","x":true,"values":{"loss":1}}',
        '{"kind":"scalars","x":1,"values":{"loss":"high"}}',
        '{"kind":"scalars","x":1,"values":{"loss":null}}',
        '{"kind":"heatmap","name":"h","rows":[[1,[2]]]}',
        '{"kind":"band","chart":"c","name":"a","x":[1,2],"low":[1],"high":[2,3]}',
        '{"kind":"mark","what":"exploded","step":1}',
        '{"kind":"mark","what":["started"],"step":1}',
        '{"kind":"alert","level":"fatal","code":"x","text":{"en":"","zh":""}}',
        "{}",
    ],
)
def test_an_unknown_record_is_counted_and_the_next_is_read(run_directory: Path, line: str) -> None:
    write(run_directory, [line, "not json", to_json(Scalars(1, {"loss": 2.0}))])
    view = RunView(run_directory)
    assert len(view.refresh()) == 1
    assert (view.unknown_records, view.bad_records) == (1, 1)
    assert view.latest == {"loss": 2.0}
    view.close()


def test_unknown_fields_of_a_later_version_do_no_harm() -> None:
    timed = parse_record(to_dict(Scalars(1, {"loss": 2.0})) | {"unit": "nats", "t": "soon", "time": 10**400})
    assert timed is not None
    assert timed.event == Scalars(1, {"loss": 2.0})
    assert (timed.t, timed.time) == (0.0, 0.0)


def test_a_long_run_is_read_in_slices_and_stays_small(run_directory: Path) -> None:
    count = 60_000
    write(run_directory, (to_json(Scalars(step, {"loss": step % 100}), t=0.1, time=1.0) for step in range(count)))
    size = (run_directory / "events.jsonl").stat().st_size
    view = RunView(run_directory)
    slices = [len(view.refresh(1 << 20))]
    assert view.behind
    while view.behind:
        slices.append(len(view.refresh(1 << 20)))
    assert sum(slices) == count
    assert len(slices) == math.ceil(size / (1 << 20))
    assert len(view.series["loss"]) <= POINT_LIMIT
    assert view.latest == {"loss": (count - 1) % 100}
    view.close()


def test_a_flood_of_names_and_samples_is_bounded(run_directory: Path) -> None:
    write(run_directory, (to_json(Scalars(step, {f"name{step}": 1.0})) for step in range(3000)))
    write(run_directory, (to_json(Sample(step, "p", "t")) for step in range(3000)))
    view = RunView(run_directory)
    view.refresh()
    assert len(view.series) == 200
    assert len(view.samples) == 2000
    assert view.samples[-1].step == 2999
    view.close()


def test_an_exchanged_file_is_read_anew(run_directory: Path) -> None:
    record(run_directory, Scalars(1, {"loss": 1.0}), Scalars(2, {"loss": 1.0}))
    view = RunView(run_directory)
    view.refresh()
    (run_directory / "events.jsonl").write_text(to_json(Scalars(9, {"loss": 3.0})) + "\n")
    view.refresh()
    assert view.series["loss"].x == [9]
    assert view.generation == 1
    view.close()


def test_a_glance_reads_the_end_only(run_directory: Path) -> None:
    lines = (to_json(Scalars(step, {"loss": step}), pad="x" * 200) for step in range(5000))
    write(run_directory, [to_json(Scalars(0, {"validation_loss": 7.0})), *lines, to_json(Progress(4999, 6000))])
    view = RunView(run_directory)
    glance = view.glance()
    assert (glance.step, glance.latest) == (4999, {"loss": 4999})
    assert glance.progress == Progress(4999, 6000)
    assert len(view.refresh(1 << 30)) == 5002
    view.close()


def test_checkpoints_are_listed_with_their_sizes(run_directory: Path) -> None:
    root = run_directory / "checkpoints"
    for step in (200, 30, 1000):
        directory = root / f"step-{step:06}"
        directory.mkdir(parents=True)
        (directory / "model.safetensors").write_bytes(b"x" * step)
        (directory / "MANIFEST.json").write_bytes(b"{}")
    (root / ".tmp-1-40").mkdir()
    (root / "step-000300").mkdir()
    (root / "step-later").mkdir()
    (root / "step-000400").write_text("a file")
    found = RunView(run_directory).checkpoints()
    assert [(checkpoint.step, checkpoint.size) for checkpoint in found] == [(30, 32), (200, 202), (1000, 1002)]
    assert found[0].path == root / "step-000030"


def test_the_log_is_shown_clean(run_directory: Path) -> None:
    (run_directory / "log.txt").write_bytes(
        b"first\n" + b"x" * 100_000 + b"\n\x1b[31mred\x07\n  10%\r 100% done\r\n\xff\xfe\n\nlast\xe2\x80\xae"
    )
    lines = RunView(run_directory).log_tail(10)
    assert lines[-4:] == ("␛[31mred␇", " 100% done", "��", "last⟨U+202E⟩")
    assert RunView(run_directory).log_tail(2) == lines[-2:]
    assert all(character >= " " for line in lines for character in line)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[]", "damaged"),
        (b'{"format":2}', "update minimind-tui"),
        (b'{"format":1,"config":{"objective":"hypnosis"}}', "objective"),
        (b'{"format":1,"config":{"batch_size":-3}}', "batch_size"),
    ],
)
def test_a_foreign_run_is_refused_when_opened_and_shown_when_listed(
    run_directory: Path, content: bytes, expected: str
) -> None:
    (run_directory / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=expected):
        RunView(run_directory)
    (view,) = list_runs()
    assert view.status().state == "unreadable"
    assert view.problem is not None
    assert expected in view.problem.en
    with pytest.raises(UserError, match=expected):
        _ = view.config


def test_what_was_asked_for_is_known(home: Path) -> None:
    config = TrainConfig(objective="sft", steps=7, data=("a.jsonl", "b.jsonl"))
    run = create_run(config, name="第一次", parent="2026-01-01-pretrain-0000")
    view = RunView(str(run.directory))
    assert view.config == config == run.config
    assert (view.id, view.name, view.parent) == (run.id, "第一次", "2026-01-01-pretrain-0000")
    request = json.loads((run.directory / "run.json").read_text(encoding="utf-8"))
    (run.directory / "run.json").write_text(json.dumps(request | {"name": "a\x1b[2Jb", "config": {"later": 1}}))
    view = RunView(run.directory)
    assert view.name == "a␛[2Jb"
    assert view.config == TrainConfig()


def test_a_run_that_begins_again_says_everything_anew(run_directory: Path) -> None:
    """Killed before anything was saved, it measures once more before its first step; that is one point, not two."""
    for _ in range(2):
        record(run_directory, Mark("started", 0), Scalars(0, {"validation_loss": 7.6}), Sample(0, "p", "untrained"))
        record(run_directory, Scalars(1, {"loss": 7.5}))
    record(run_directory, Mark("rolled-back", 0))
    view = RunView(run_directory)
    view.refresh()
    assert view.series["validation_loss"].x == [0]
    assert [sample.step for sample in view.samples] == [0]
    assert "loss" not in view.series
    view.close()
