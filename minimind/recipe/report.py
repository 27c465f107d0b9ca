"""The report of a recipe: curves as pictures, what the models wrote, figures, and what it cost. One file a language."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minimind import __version__
from minimind.chart_svg import draw_svg
from minimind.events import LANGUAGES, Event, Language, Sample, Scalars, Text
from minimind.figures import duration, number, percent, quantity, size
from minimind.hardware import cpu_name
from minimind.preferences import load_preferences
from minimind.recipe.book import Book
from minimind.reinforcement_config import REINFORCEMENT
from minimind.safe_text import clean
from minimind.training.runs import RunView, find_run

_LOSSES = ("loss", "validation_loss")
_MOST_CHARTS = 6
_NOT_DRAWN = frozenset(
    {*_LOSSES, "tokens", "epoch", "eta_seconds", "tokens_per_second", "memory_bytes", "data_wait", "trained_share"}
    | {"validation_bits_per_byte", "learning_rate", "gradient_norm"}
)
_MOST_SAMPLE = 600


def write_report(book: Book) -> list[Path]:
    """Write the report and its pictures into the book's directory; returns their paths. Raises OSError."""
    views = {stage.name: RunView(find_run(book.runs[stage.name])) for stage in book.recipe.stages}
    written = []
    for view in views.values():
        while view.refresh():
            pass
        view.close()
    for language in LANGUAGES:
        pictures = {}
        for name, view in views.items():
            drawing = draw_svg(f"{book.id} · {name}", _events(view), {}, language)
            if drawing is not None:
                pictures[name] = book.directory / f"{name}.{language}.svg"
                pictures[name].write_text(drawing, encoding="utf-8")
        report = book.directory / f"report.{language}.md"
        report.write_text(_Report(book, views, language).text(pictures), encoding="utf-8")
        written += [*pictures.values(), report]
    return written


def _events(view: RunView) -> list[Event]:
    """What is drawn of a run: its losses in one chart, then a chart for each figure of its method."""
    events: list[Event] = []
    own = [name for name in view.series if name not in _NOT_DRAWN][:_MOST_CHARTS]
    for chart, names in [("loss", _LOSSES), *((name, (name,)) for name in own)]:
        for name in names:
            series = view.series.get(name)
            if series is not None:
                events += [Scalars(x, {name: y}, chart=chart) for x, y in zip(series.x, series.y, strict=True)]
    return events


class _Report:
    """The text, in one language."""

    def __init__(self, book: Book, views: dict[str, RunView], language: Language) -> None:
        self._book, self._views, self._language = book, views, language

    def _say(self, en: str, zh: str) -> str:
        return zh if self._language == "zh" else en

    def text(self, pictures: dict[str, Path]) -> str:
        """All of it, as Markdown."""
        recipe = self._book.recipe
        lines = [f"# {recipe.title.of(self._language)}", "", recipe.about.of(self._language), ""]
        lines += [f"`{self._book.id}` · minimind {__version__} · {cpu_name() or platform.machine()}", ""]
        lines += self._tokenizer()
        lines += self._stages()
        lines += self._models()
        for name, view in self._views.items():
            lines += [self._say(f"## Stage {name}", f"## 阶段 {name}"), ""]
            if name in pictures:
                lines += [f"![{name}]({pictures[name].name})", ""]
            lines += self._written(view)
        lines += self._answers()
        lines += self._exports()
        return clean("\n".join(lines).rstrip() + "\n")

    def _tokenizer(self) -> list[str]:
        result = self._book.done.get("tokenizer")
        if result is None:
            return []
        rates = ", ".join(f"{language} {rate}" for language, rate in result["bytes_per_token"].items())
        words = self._say(
            f"Tokenizer: {result['vocab_size']} tokens; bytes a token: {rates}.",
            f"词表：{result['vocab_size']} 个词元；每词元字节数：{rates}。",
        )
        return [words, ""]

    def _stages(self) -> list[str]:
        """A row a stage, and what the whole took."""
        head = self._say(
            "| stage | method | steps | tokens | time | tokens/s | held-out loss | best |",
            "| 阶段 | 方法 | 步数 | 词元 | 用时 | 词元/秒 | 留出集损失 | 最佳 |",
        )
        rows, seconds = [head, "|---|---|--:|--:|--:|--:|--:|--:|"], 0.0
        for name, view in self._views.items():
            took = view.elapsed
            seconds += took
            tokens = view.latest.get("tokens", 0.0)
            held_out = view.series.get("validation_loss")
            cells = (
                name,
                view.config.objective,
                f"{view.step or 0:,}",
                quantity(tokens),
                duration(took, self._language),
                quantity(tokens / took) if took else "–",
                self._judged(view, held_out.y[-1]) if held_out and held_out.y else "–",
                self._judged(view, min(held_out.y)) if held_out and held_out.y else "–",
            )
            rows.append(f"| {' | '.join(cells)} |")
        whole = sum(float(result.get("seconds", 0.0)) for result in self._book.done.values())
        cost = self._cost(max(whole, seconds))
        words = self._say(
            f"Training took {duration(seconds, 'en')}, everything {duration(max(whole, seconds), 'en')}{cost}.",
            f"训练共用 {duration(seconds, 'zh')}，全程 {duration(max(whole, seconds), 'zh')}{cost}。",
        )
        return [*rows, "", words, ""]

    def _judged(self, view: RunView, loss: float) -> str:
        """A held-out loss; of a method that is judged by rewards it is the reward with another sign."""
        if view.config.objective in REINFORCEMENT:
            return self._say(f"reward {number(-loss)}", f"奖励 {number(-loss)}")
        return number(loss)

    def _cost(self, seconds: float) -> str:
        """What that comes to at the price the person set; nothing where none is set."""
        preferences = load_preferences()
        cost = preferences.cost(seconds)
        if cost is None:
            return ""
        price, currency = preferences.price_per_hour, preferences.currency
        return self._say(
            f"; at {price:g} {currency} an hour that is {cost:.2f} {currency}",
            f"；按每小时 {price:g} {currency} 计，费用 {cost:.2f} {currency}",
        )

    def _models(self) -> list[str]:
        """What each stage's model is worth."""
        models: dict[str, dict[str, Any]] = self._book.done.get("evaluate", {}).get("models", {})
        if not models:
            return []
        columns = [
            ("pretrain_loss", Text("text, nats/token", "文本，纳特/词元"), number),
            ("pretrain_bits_per_byte", Text("text, bits/byte", "文本，比特/字节"), number),
            ("sft_loss", Text("answers, nats/token", "回答，纳特/词元"), number),
            ("reward", Text("task reward", "任务奖励"), number),
            ("correct", Text("answers right", "答对"), percent),
        ]
        used = [column for column in columns if any(column[0] in figures for figures in models.values())]
        heading = self._say("## What each model is worth", "## 各阶段模型的水平")
        note = self._say(
            "Held-out parts of the embedded corpus and tasks, the same for all; tasks are answered greedily.",
            "均在内置语料和任务的留出部分上测得，各模型相同；任务采用贪心解码作答。",
        )
        rows = [f"| | {' | '.join(label.of(self._language) for _, label, _ in used)} |", "|---|" + "--:|" * len(used)]
        for name, figures in models.items():
            cells = [shown(figures[key]) if key in figures else "–" for key, _, shown in used]
            rows.append(f"| {name} | {' | '.join(cells)} |")
        return [heading, "", note, "", *rows, ""]

    def _written(self, view: RunView) -> list[str]:
        """The first and the last text for each prompt of a stage."""
        first: dict[str, Sample] = {}
        last: dict[str, Sample] = {}
        for sample in view.samples:
            first.setdefault(sample.prompt, sample)
            last[sample.prompt] = sample
        lines = []
        for prompt, sample in last.items():
            for shown in [first[prompt], sample] if first[prompt].step != sample.step else [sample]:
                step = self._say(f"step {shown.step}: ", f"第 {shown.step} 步：")
                lines.append(f"- {step}{_quoted(prompt)} ▸ {_quoted(shown.text)}")
        return [*lines, ""] if lines else []

    def _answers(self) -> list[str]:
        """What the last stage's model answers, beside the one before."""
        models: dict[str, dict[str, Any]] = self._book.done.get("evaluate", {}).get("models", {})
        chosen: Sequence[str] = list(models)[-2:]
        if not chosen:
            return []
        lines = [self._say("## What they answer", "## 模型的回答"), ""]
        for question in models[chosen[-1]].get("samples", {}):
            lines.append(f"- **{_quoted(question)}**")
            lines += [f"  - {name}: {_quoted(models[name].get('samples', {}).get(question, ''))}" for name in chosen]
        return [*lines, ""]

    def _exports(self) -> list[str]:
        lines = []
        for name in self._book.recipe.exports:
            result = self._book.done.get(f"export:{name}")
            if result is not None:
                lines.append(f"- `{name}`: {size(result['bytes'])}{self._parity(result['parity'])}")
        return [self._say("## Exported", "## 导出"), "", *lines, ""] if lines else []

    def _parity(self, parity: dict[str, Any] | None) -> str:
        """Whether the other program reads the files as the same model; nothing where it was not there to be asked."""
        if parity is None:
            return ""
        program, difference = parity["program"], parity["largest_difference"]
        if parity["holds"]:
            return self._say(
                f"; {program} reads the same model (largest difference of a logit {difference:.1e})",
                f"；{program} 读出的是同一个模型（logit 最大相差 {difference:.1e}）",
            )
        return self._say(
            f"; **{program} reads another model** (largest difference of a logit {difference:.1e})",
            f"；**{program} 读出的不是同一个模型**（logit 最大相差 {difference:.1e}）",
        )


def _quoted(text: str) -> str:
    """Untrusted text on one line, with nothing that Markdown or a terminal would take for more than text."""
    line = " ⏎ ".join(clean(text)[:_MOST_SAMPLE].strip().splitlines())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|!" else letter for letter in line)
