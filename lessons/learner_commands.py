"""What a learner does on the command line: list, show, quiz, exercise. `run_command` has the experiments."""

from __future__ import annotations

import argparse
import io
import secrets
import shutil
from pathlib import Path

from lessons.asking import ask
from lessons.catalogue import experiment_files
from lessons.exercise import STAGES, CheckResult, Exercise
from lessons.exercise_runner import run_exercise
from lessons.lesson import find_exercise, load_lesson, load_lessons, load_paths
from lessons.page_text import plain_page
from lessons.part_command import register as register_mine
from lessons.part_command import train
from lessons.progress import Progress, changing
from lessons.review_command import register as register_review
from lessons.run_command import register as register_run
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the learner's commands."""
    parser = subparsers.add_parser("list", help="paths, lessons and progress / 路线、课程与进度")
    parser.set_defaults(run=list_lessons)
    parser = subparsers.add_parser("show", help="read a lesson / 阅读一课")
    parser.add_argument("slug", metavar="LESSON")
    parser.add_argument("--page", type=int, default=None, metavar="N", help="one page only / 只看第 N 页")
    parser.set_defaults(run=show_lesson)
    register_run(subparsers)
    parser = subparsers.add_parser("quiz", help="answer a lesson's questions / 答题")
    parser.add_argument("slug", metavar="LESSON")
    parser.add_argument("--wrong", action="store_true", help="only those not yet right / 只做没做对的")
    parser.add_argument("--seed", type=int, default=None, help="order of the choices / 选项次序")
    parser.set_defaults(run=ask_questions)
    register_review(subparsers)
    register_mine(subparsers)
    parser = subparsers.add_parser("exercise", help="write it yourself / 自己动手写")
    parser.add_argument("name", metavar="EXERCISE")
    parser.add_argument("action", choices=("start", "check", "hint", "solution", "use"), nargs="?", default="start")
    parser.add_argument("--file", type=Path, default=None, help="check this file / 检查这个文件")
    parser.set_defaults(run=do_exercise)


def list_lessons(_arguments: argparse.Namespace, output: Output) -> int:
    """Print the paths with their lessons and how far each is."""
    lessons = load_lessons()
    progress = Progress.load()
    for note in progress.notes:
        output.say(note)
    for path in load_paths(lessons=lessons):
        steps = []
        rows = []
        for step in path.steps:
            share = progress.share_on(path, step.lesson) if step.lesson else None
            steps.append({"slug": step.slug, "minutes": step.minutes, "done": share})
            state = output.pick("planned", "计划中") if share is None else f"{share:.0%}".replace("%", " %")
            minutes = output.pick(f"{step.minutes} min", f"{step.minutes} 分钟")
            question = step.question.of(output.language)
            rows.append((f"  {step.slug}", step.title.of(output.language), minutes, state, question))
        head = f"{path.title.of(output.language)}  {path.minutes} {output.pick('min', '分钟')}"
        output.emit({"path": path.id, "minutes": path.minutes, "steps": steps}, f"{head}\n{in_columns(rows)}\n")
    names = "  ".join(experiment_files())
    exercises = "  ".join(exercise.name for lesson in lessons for exercise in lesson.exercises)
    output.emit(
        {"experiments": names.split(), "exercises": exercises.split()},
        output.pick(f"experiments: {names}\nexercises: {exercises}", f"实验：{names}\n练习：{exercises}"),
    )
    return 0


def show_lesson(arguments: argparse.Namespace, output: Output) -> int:
    """Print a lesson's pages, or one of them, and remember it as read."""
    lesson = load_lesson(arguments.slug)
    pages = lesson.pages[output.language]
    if arguments.page is not None and not 1 <= arguments.page <= len(pages):
        raise UserError(
            f"{lesson.slug} has pages 1…{len(pages)}, not {arguments.page}",
            f"{lesson.slug} 共有第 1…{len(pages)} 页，没有第 {arguments.page} 页",
        )
    with changing() as progress:
        recordings = progress.lesson(lesson.slug).recordings(lesson)
        for number, page in enumerate(pages, 1):
            if arguments.page in (None, number):
                text = plain_page(lesson.directory, page, recordings, output.language)
                data = {"lesson": lesson.slug, "page": number, "id": page.id, "title": page.title, "text": text}
                output.emit(data, _markdown(f"## {number}/{len(pages)} · {page.title}\n\n{text}\n", output))
                progress.lesson(lesson.slug).mark_read(page.id)
    return 0


def _markdown(text: str, output: Output) -> str:
    """`text` laid out for the terminal; as it is where the output goes elsewhere."""
    if output.as_json or not output.stdout.isatty():
        return text
    from rich.console import Console
    from rich.markdown import Markdown

    laid_out = io.StringIO()
    width = min(100, shutil.get_terminal_size().columns)
    Console(file=laid_out, width=width).print(Markdown(text))  # plain: `Output` lets no escape sequence through
    return laid_out.getvalue()


def ask_questions(arguments: argparse.Namespace, output: Output) -> int:
    """Ask the lesson's questions on standard input until they are answered or it ends."""
    lesson = load_lesson(arguments.slug)
    before = Progress.load().lesson(lesson.slug)
    asked = [
        question
        for question in lesson.questions
        if not (arguments.wrong and question.id in before.answers and before.answers[question.id].correct)
    ]
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    right = answered = 0
    for number, question in enumerate(asked, 1):
        bound = question.bind(Progress.load().lesson(lesson.slug).recordings(lesson))
        given = ask(bound, f"{number}/{len(asked)}", seed, output)
        if given is None:
            break
        answer, correct = given
        with changing() as progress:
            progress.lesson(lesson.slug).mark_answer(question.id, answer, correct=correct)
        answered += 1
        right += correct
    output.emit(
        {"lesson": lesson.slug, "right": right, "answered": answered, "questions": len(asked)},
        output.pick(f"{right} of {answered} right", f"{answered} 题中答对 {right} 题"),
    )
    return 0


def do_exercise(arguments: argparse.Namespace, output: Output) -> int:
    """Start an exercise, check it, give the next hint, or show the solution once it was passed."""
    exercise = find_exercise(arguments.name)
    actions = {"start": _start, "check": _check, "hint": _hint, "solution": _solution, "use": _use}
    return actions[arguments.action](exercise, arguments.file, output)


def _start(exercise: Exercise, _file: Path | None, output: Output) -> int:
    path = exercise.start()
    check = f"python -m lessons exercise {exercise.name} check"
    output.emit(
        {"exercise": exercise.name, "file": str(path)},
        f"{exercise.title.of(output.language)}\n\n{exercise.task.of(output.language)}\n\n"
        + output.pick(f"your file: {path}\ncheck it:  {check}", f"你的文件：{path}\n检查：    {check}"),
    )
    return 0


def _check(exercise: Exercise, file: Path | None, output: Output) -> int:
    """Exit status 1 when it is not right yet."""
    result = run_exercise(exercise, file)
    with changing() as progress:
        attempt = progress.lesson(exercise.lesson).attempt(exercise.name)
        attempt.mark_check(passed=result.passed, mutant=result.mutant)
    output.emit({"exercise": exercise.name} | result.to_dict(), _result_text(exercise, result, output))
    return 0 if result.passed else 1


def _result_text(exercise: Exercise, result: CheckResult, output: Output) -> str:
    lines = []
    for stage in result.stages:
        name = STAGES[stage.stage].of(output.language)
        said = f": {stage.message.of(output.language)}" if stage.message else ""
        lines.append(f"{'✓' if stage.passed else '✗'} {name}{said}")
    if result.problem is not None:
        lines.append(f"✗ {result.problem.of(output.language)}")
    mutant = exercise.mutant(result.mutant)
    if mutant is not None:
        lines.append(output.pick("It looks like this: ", "看起来是：") + mutant.what.of(output.language))
    if result.passed:
        lines.append(output.pick("Passed.", "通过。"))
    elif not result.passed:
        lines.append(output.pick("A hint: ", "提示：") + f"python -m lessons exercise {exercise.name} hint")
    if result.output:
        lines.append(output.pick("Your code printed:\n", "你的代码输出：\n") + result.output)
    return "\n".join(lines)


def _hint(exercise: Exercise, file: Path | None, output: Output) -> int:
    """The next rung of the hints for the mistake the file makes."""
    result = run_exercise(exercise, file)
    if result.passed:
        output.emit({"passed": True}, output.pick("It passes already.", "已经通过了。"))
        return 0
    hints = exercise.hints_for(result.mutant)
    with changing() as progress:
        attempt = progress.lesson(exercise.lesson).attempt(exercise.name)
        rung = min(attempt.hints, len(hints) - 1)
        attempt.hints += 1
    output.emit({"mutant": result.mutant, "rung": rung + 1, "hint": hints[rung].of(output.language)}, hints[rung])
    return 0


def _solution(exercise: Exercise, _file: Path | None, output: Output) -> int:
    if not Progress.load().lesson(exercise.lesson).attempt(exercise.name).passed:
        raise UserError(
            "the solution is shown once yours passes: python -m lessons exercise "
            f"{exercise.name} check (there are hints: … hint)",
            f"通过之后才显示答案：python -m lessons exercise {exercise.name} check（有提示：… hint）",
        )
    output.emit({"exercise": exercise.name, "solution": exercise.solution}, exercise.solution)
    return 0


def _use(exercise: Exercise, _file: Path | None, output: Output) -> int:
    """Train a small model with the learner's part beside the reference."""
    if not exercise.can_be_installed:
        raise UserError(f"{exercise.name} is no part of the model", f"{exercise.name} 不是模型的部件")
    if not Progress.load().lesson(exercise.lesson).attempt(exercise.name).passed:
        raise UserError(
            f"a model trains with it once it passes: python -m lessons exercise {exercise.name} check",
            f"通过之后才能装进模型：python -m lessons exercise {exercise.name} check",
        )
    return train([exercise], output, together=False)
