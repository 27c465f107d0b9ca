"""An exercise in a lesson: an editor, the check with its stages, hints one at a time, the solution after passing."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Static

from lessons.exercise import STAGES, CheckResult, Exercise
from lessons.exercise_runner import run_exercise
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean, clean_line
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.screens.dialog import ConfirmDialog
from minimind_tui.speech import Speaker
from minimind_tui.widgets.code_editor import CodeEditor
from minimind_tui.widgets.difference_view import DifferenceView
from minimind_tui.widgets.lesson_markdown import LessonMarkdown
from minimind_tui.widgets.part_view import PartView
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton

_SHOWN_OUTPUT = 2000


class ExercisePane(Speaker, Vertical, can_focus=True):
    """The exercise, with the learner's own file in the editor."""

    DEFAULT_CSS = """
    ExercisePane { height: auto; border: round $rule; padding: 0 1; margin: 0 0 1 0; }
    ExercisePane:focus, ExercisePane:focus-within { border: round $primary; }
    ExercisePane .title { text-style: bold; color: $accent; height: auto; }
    ExercisePane .task { height: auto; margin: 0 0 1 0; }
    ExercisePane .file { height: auto; color: $text-muted; margin: 0 0 1 0; }
    ExercisePane .actions { height: 1; }
    ExercisePane .results { height: auto; margin: 1 0 0 0; }
    ExercisePane .hints { height: auto; margin: 1 0 0 0; }
    ExercisePane .solution { display: none; margin: 1 0 0 0; }
    ExercisePane.-solved .solution { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r,c", "check", "lesson.key.check"),
        Binding("i", "edit", "lesson.key.edit"),
        Binding("h", "hint", "lesson.key.hint"),
        Binding("o", "solution", "lesson.key.solution"),
        Binding("u", "use", "lesson.key.use"),
        Binding("e", "external", "lesson.key.external"),
        Binding("s", "stop", "lesson.key.stop"),
        Binding("ctrl+y", "reset", "lesson.key.reset", show=False),
    ]

    def __init__(self, exercise: Exercise, record: LessonRecord, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.exercise = exercise
        self._record = record
        self._result: CheckResult | None = None
        self._problem: Text | None = None
        self._is_checking = False
        self._is_cancelled = False
        self._hints_shown = 0
        self._saved = ""
        self._editor = CodeEditor()

    def compose(self) -> ComposeResult:
        """Title, task, editor, buttons, what the check said, hints, solution."""
        yield Phrase(self.exercise.title, classes="title")
        yield Phrase(self.exercise.task, classes="task")
        yield self._editor
        yield Static(markup=False, classes="file")
        with Horizontal(classes="actions"):
            yield SpokenButton("lesson.exercise.check", id="check")
            yield SpokenButton("lesson.exercise.hint", id="hint")
            yield SpokenButton("lesson.exercise.external", id="external")
            yield SpokenButton("lesson.exercise.solution", id="solution")
            yield SpokenButton("lesson.exercise.use", id="use")
        yield Static(markup=False, classes="results")
        yield DifferenceView()
        yield Static(markup=False, classes="hints")
        yield LessonMarkdown(classes="solution")
        yield PartView()

    def on_mount(self) -> None:
        """Put the learner's file into the editor."""
        try:
            self._load()
        except UserError as error:
            self._problem = error.text
        self.relabel()

    def on_unmount(self) -> None:
        """The page is turned: keep what was typed, stop the check."""
        self._is_cancelled = True
        try:
            self._write()
        except UserError as error:
            self.app.tell(error.text, severity="error")

    @property
    def has_passed(self) -> bool:
        """Whether a check has passed, now or earlier."""
        attempt = self._record.now.exercises.get(self.exercise.name)
        return attempt is not None and attempt.passed

    # --- the file -----------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            self._saved = self.exercise.start().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            path = self.exercise.file
            raise UserError(f"{path}: cannot be read: {error}", f"{path}：读不出来：{error}") from None
        if self._editor.text != self._saved:
            self._editor.load_text(self._saved)
            self._editor.move_cursor(self._editor.document.end)

    def _write(self) -> None:
        """Write the editor's text to the file, where it differs. Raises UserError."""
        text = self._editor.text
        if text != self._saved:
            self.exercise.write(text)
            self._saved = text

    def _save(self) -> bool:
        """Keep the editor's text; False (and said) when that fails."""
        try:
            self._write()
        except UserError as error:
            self._problem = error.text
            self.relabel()
            self._bring_into_view(".results")
            return False
        return True

    @on(CodeEditor.Left)
    def _left_editor(self, event: CodeEditor.Left) -> None:
        event.stop()
        self.focus()

    @on(CodeEditor.Changed)
    def _edited(self) -> None:
        self._show_file()

    # --- showing ------------------------------------------------------------------------------------------------------

    def relabel(self) -> None:
        """Speak again."""
        self._show_file()
        for name, lines in ((".results", self._result_lines()), (".hints", self._hint_lines())):
            place = self.query_one(name, Static)
            place.display = bool(lines)
            place.update(Content("\n").join(lines))
        self.query_one("#check", Button).disabled = self._is_checking
        self.query_one("#solution", Button).disabled = not self.has_passed
        use = self.query_one("#use", Button)
        use.display = self.exercise.can_be_installed
        use.disabled = self.check_action("use", ()) is not True
        self.refresh_bindings()

    def _show_file(self) -> None:
        changed = self._editor.text != self._saved
        key = "lesson.exercise.unsaved" if changed else "lesson.exercise.file"
        for place in self.query(".file").results(Static):  # none while the page is being taken down
            place.update(Content(self.t(key, path=str(self.exercise.file))))

    def _result_lines(self) -> list[Content]:
        if self._is_checking:
            return [Content.styled(self.t("lesson.exercise.checking"), "$accent")]
        lines = []
        if self._problem is not None:
            lines.append(Content.styled(clean(self.say(self._problem)), "$error"))
        result = self._result
        if result is None:
            if self.has_passed and not lines:
                lines.append(Content.styled(self.t("lesson.exercise.passed_before"), "$success"))
            return lines
        lines += self._stage_lines(result)
        if result.problem is not None:
            lines.append(Content.styled(clean(self.say(result.problem)), "bold $error"))
        mutant = self.exercise.mutant(result.mutant)
        if mutant is not None:
            lines.append(
                Content.styled(self.t("lesson.exercise.looks_like", what=self.say(mutant.what)), "bold $warning")
            )
        if result.passed:
            usable = self.exercise.can_be_installed
            words = self.t("lesson.exercise.passed_usable" if usable else "lesson.exercise.passed")
            lines.append(Content.styled(words, "bold $success"))
        if result.output:
            shown = clean(result.output, _SHOWN_OUTPUT).rstrip()
            lines.append(Content.styled(self.t("lesson.exercise.printed") + "\n" + shown, "$text-muted"))
        return lines

    def _stage_lines(self, result: CheckResult) -> list[Content]:
        found = {stage.stage: stage for stage in result.stages}
        lines = []
        for stage, name in STAGES.items() if result.stages else ():
            item = found.get(stage)
            if item is None:
                lines.append(Content.styled(f"  {self.say(name)}", "$text-muted"))
                continue
            mark = ("+" if item.passed else "x") if self.ascii_only else ("✓" if item.passed else "✗")
            words = f"{mark} {self.say(name)}"
            if item.message is not None:
                words += f"{'：' if self.language == 'zh' else ': '}{clean(self.say(item.message))}"
            lines.append(Content.styled(words, "$success" if item.passed else "$error"))
        return lines

    def _hint_lines(self) -> list[Content]:
        hints = self.exercise.hints_for(self._result.mutant if self._result else None)
        return [
            Content.assemble(
                (self.t("lesson.exercise.hint_number", number=number), "bold $accent"), clean(self.say(hint))
            )
            for number, hint in enumerate(hints[: self._hints_shown], 1)
        ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """The solution after passing; one check at a time."""
        if action == "solution":
            return True if self.has_passed else None
        if action == "use":
            return self._can_be_used
        if action in {"check", "external"}:
            return None if self._is_checking else True
        is_busy = self._is_checking or self.query_one(PartView).is_running
        return is_busy if action == "stop" else True

    @property
    def _can_be_used(self) -> bool | None:
        """Whether a model can be trained with what was written; None: not yet."""
        if not self.exercise.can_be_installed:
            return False
        return True if self.has_passed and not self.query_one(PartView).is_running else None

    # --- doing --------------------------------------------------------------------------------------------------------

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.run_action(str(event.button.id))

    def action_edit(self) -> None:
        """Type in the editor."""
        self._editor.focus()

    def action_check(self) -> None:
        """Save the file and check it in a process of its own."""
        if not self._is_checking and self._save():
            self._is_checking, self._is_cancelled, self._problem = True, False, None
            self._check()
            self.relabel()
            self._bring_into_view(".results")

    def action_stop(self) -> None:
        """Stop the check, and a training."""
        self._is_cancelled = True
        self.query_one(PartView).stop()

    @work(exclusive=True, group="check")
    async def _check(self) -> None:
        before = self._result.mutant if self._result else None
        try:
            result = await asyncio.to_thread(run_exercise, self.exercise, cancelled=lambda: self._is_cancelled)
        except UserError as error:
            self._problem = error.text
        else:
            self._result = result
            if result.mutant != before or result.passed:
                self._hints_shown = 0
            self.query_one(DifferenceView).show_difference(result.difference)
            self._keep(result)
        self._is_checking = False
        self.relabel()
        self._bring_into_view(".results")

    def _bring_into_view(self, part: str) -> None:
        """Scroll once the part has its new height."""
        if self.is_attached:
            self.call_after_refresh(self.query_one(part).scroll_visible, animate=False)

    def _keep(self, result: CheckResult) -> None:
        name = self.exercise.name
        self._record.change(lambda now: now.attempt(name).mark_check(passed=result.passed, mutant=result.mutant))

    def action_use(self) -> None:
        """Train a small model with the learner's part beside the reference."""
        if self._can_be_used and self._save():
            self.query_one(PartView).start([self.exercise], together=False)
            self.relabel()
            self._bring_into_view("PartView")

    @on(PartView.Ended)
    def _used(self) -> None:
        self.relabel()
        self._bring_into_view("PartView")

    def action_hint(self) -> None:
        """Show one more hint for the mistake that was found."""
        name = self.exercise.name
        if self._hints_shown < len(self.exercise.hints_for(None)):
            self._hints_shown += 1
            self._record.change(lambda now: setattr(now.attempt(name), "hints", now.attempt(name).hints + 1))
        self.relabel()
        self._bring_into_view(".hints")

    async def action_solution(self) -> None:
        """Show a right answer, once one's own passes."""
        if self.has_passed:
            self.toggle_class("-solved")
            await self.query_one(".solution", LessonMarkdown).update(f"```python\n{self.exercise.solution}```")
            self._bring_into_view(".solution")

    @work(exclusive=True, group="reset")
    async def action_reset(self) -> None:
        """Begin again from the stub."""
        if await self.app.push_screen_wait(ConfirmDialog("lesson.exercise.reset", yes="lesson.exercise.reset_yes")):
            self._editor.load_text(self.exercise.stub)
            self._save()
            self.relabel()

    def action_external(self) -> None:
        """Open the file in $VISUAL or $EDITOR, and read it back."""
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        if not self._save():
            return
        try:
            with self.app.suspend():
                subprocess.run([*shlex.split(editor), str(self.exercise.file)], check=False)
            self._load()
        except SuspendNotSupported:
            self._problem = Text("this terminal cannot be lent to an editor", "当前终端无法让给编辑器")
        except (OSError, ValueError) as error:
            words = clean_line(getattr(error, "strerror", None) or str(error), 200)
            self._problem = Text(f"{editor}: {words}: set $EDITOR", f"{editor}：{words}：请设置 $EDITOR")
        except UserError as error:
            self._problem = error.text
        else:
            self._problem = None
        self.relabel()
        self._bring_into_view(".results")
