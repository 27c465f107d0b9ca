"""What one expects of an experiment, asked before its first run, and afterwards what came out beside it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lessons.predictions import Judged
from minimind.experiment import Experiment
from minimind.safe_text import clean
from minimind_tui.speech import Speaker
from minimind_tui.widgets.choice_list import ChoiceList
from minimind_tui.widgets.number_line import NumberLine


class PredictionBox(Speaker, Vertical):
    """Empty until `ask` or `tell`."""

    DEFAULT_CSS = """
    PredictionBox { height: auto; }
    PredictionBox > .prompt { text-style: bold; height: auto; }
    PredictionBox > ChoiceList, PredictionBox > NumberLine { margin: 0 0 1 0; }
    PredictionBox > .outcome { height: auto; }
    PredictionBox > .-hidden { display: none; }
    """

    class Predicted(Message):
        """The place of a choice, or a number."""

        def __init__(self, prediction: float) -> None:
            super().__init__()
            self.prediction = prediction

    def __init__(self) -> None:
        super().__init__()
        self._experiment: Experiment | None = None
        self._judged: Judged | None = None

    def compose(self) -> ComposeResult:
        """The question and the outcome; the answers come with `ask`."""
        yield Static(markup=False, classes="prompt -hidden")
        yield Static(markup=False, classes="outcome -hidden")

    async def ask(self, experiment: Experiment) -> None:
        """Ask for the prediction of `experiment`."""
        self._experiment = experiment
        answers = ChoiceList(experiment.choices) if experiment.number is None else NumberLine(experiment.number)
        await self.mount(answers, after=self.query_one(".prompt"))
        self.query_one(".prompt").remove_class("-hidden")
        self.relabel()

    def tell(self, judged: Judged | None) -> None:
        """Show the prediction, and what came out once that is known; the question goes."""
        self._judged = judged
        if judged is not None:
            for asked in self.query("ChoiceList, NumberLine"):
                asked.remove()
            self.query_one(".prompt").add_class("-hidden")
        self.relabel()

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        self.post_message(self.Predicted(event.picked[0]))

    @on(NumberLine.Given)
    def _given(self, event: NumberLine.Given) -> None:
        event.stop()
        self.post_message(self.Predicted(event.number))

    @on(NumberLine.Changed)
    def _moved(self, event: NumberLine.Changed) -> None:
        event.stop()  # no parameter of the experiment

    def relabel(self) -> None:
        """Speak again."""
        if self._experiment is not None and self._experiment.predict is not None:
            self.query_one(".prompt", Static).update(Content(clean(self.say(self._experiment.predict))))
        place = self.query_one(".outcome", Static)
        place.set_class(self._judged is None, "-hidden")
        place.update(self._outcome())

    def _outcome(self) -> Content:
        judged = self._judged
        if judged is None:
            return Content("")
        lines = [Content(self.t("lesson.experiment.predicted", choice=self.say(judged.yours)))]
        if judged.truth is not None:
            words = self.t("lesson.experiment.came_out", choice=self.say(judged.truth))
            mark = ("+" if judged.is_right else "x") if self.ascii_only else ("✓" if judged.is_right else "✗")
            lines.append(Content.styled(f"{mark} {words}", "bold $success" if judged.is_right else "bold $warning"))
        return Content("\n").join(lines)
