"""Train with a learner's parts in a process of their own, and tell what happens as it happens. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from lessons.exercise import Exercise
from lessons.exercise_child import Child, Limits
from lessons.lesson import Lesson
from lessons.progress import Progress
from minimind.events import Alert, Claim, Event, Table, Text, from_dict

LIMITS = Limits(seconds=120.0, cpu_seconds=90.0)
CHART, YOURS, REFERENCE = "part", "yours", "reference"
AGREE, SPEED = "agree", "speed"
"""The claim that the curves agree, and the table that says how fast each is."""
NAMES = {
    CHART: Text("training loss: your part and the reference", "训练损失：你的部件与参考实现"),
    YOURS: Text("yours", "你的"),
    REFERENCE: Text("the reference", "参考实现"),
    "uniform": Text("every byte equally likely", "每个字节等可能"),
    "unigram": Text("knows only how frequent bytes are", "只知道字节的频率"),
    "step": Text("step", "步"),
}
"""What charts and curves of a training are called."""
_NOTHING = Text(
    "your code ended the process before the training was done: remove calls such as exit()",
    "训练还没完成，你的代码就结束了进程：请去掉 exit() 之类的调用",
)


def usable_parts(lessons: Sequence[Lesson], progress: Progress) -> tuple[Exercise, ...]:
    """The exercises that were passed, whose file is there, and whose part a model can be trained with."""
    return tuple(
        exercise
        for lesson in lessons
        for exercise in lesson.exercises
        if exercise.can_be_installed
        and progress.lesson(lesson.slug).attempt(exercise.name).passed
        and exercise.file.is_file()
    )


def train_with_parts(
    exercises: Sequence[Exercise],
    *,
    together: bool,
    cancelled: Callable[[], bool] = lambda: False,
    limits: Limits = LIMITS,
) -> Iterator[Event]:
    """Train a small model with the learner's files for `exercises`, beside the reference; all in one, if `together`.

    A limit that is reached, or code that ends the process, becomes an `Alert`. Closing the generator ends the process.
    """
    parts = [
        {"name": item.name, "check": str(item.directory / "check.py"), "file": str(item.file)} for item in exercises
    ]
    child = Child("train", {"parts": parts, "together": together}, limits, cancelled)
    seen = False
    for message in child.messages():
        event = from_dict(message["event"]) if isinstance(message.get("event"), dict) else None
        if event is not None:
            seen = seen or event.kind != "progress"
            yield event
    if child.problem is not None:
        yield Alert("error", "limit", child.problem)
    elif not seen:
        yield Alert("error", "part", _NOTHING)


def outcome(events: Iterable[Event]) -> Text | None:
    """What came out in a sentence: whether the curves agree, and how fast each is; None before the end."""
    agree: Claim | None = None
    speed: Table | None = None
    for event in events:
        if isinstance(event, Claim) and event.id == AGREE:
            agree = event
        elif isinstance(event, Table) and event.name == SPEED:
            speed = event
    if agree is None or speed is None:
        return None
    difference = next(iter(agree.measured.values()))
    apart = f"{difference:.1g}"
    first, second = (float(row[1]) for row in speed.rows)
    times = Text(
        f"A step takes {second:.1f} ms with yours, {first:.1f} ms with the reference ({second / first:.2f} ×).",
        f"每一步，你的用 {second:.1f} 毫秒，参考实现用 {first:.1f} 毫秒（{second / first:.2f} 倍）。",
    )
    if difference == 0:
        curves = Text("The curves agree to the last digit.", "两条曲线完全一致，连最后一位都相同。")
    elif agree.holds:
        curves = Text(
            f"The curves agree: nowhere more than {apart} nats apart, which is rounding.",
            f"两条曲线一致：处处相差不超过 {apart} 纳特，只是舍入误差。",
        )
    else:
        curves = Text(f"The curves part: by up to {apart} nats.", f"两条曲线分开了：最多相差 {apart} 纳特。")
    return Text(f"{curves.en} {times.en}", f"{curves.zh}{times.zh}")
