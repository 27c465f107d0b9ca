"""The results of a run in words, tables and charts of plain text: printed, saved, and pasted into the notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lessons.budgets import budgets_of
from lessons.predictions import Judged
from lessons.recorded import PREDICTION, VERDICTS, measurements_of, seeds_of
from lessons.results import DIFFERENCES, Results
from minimind.chart_text import WIDTH, draw_chart, name_of
from minimind.charts import charts_of
from minimind.commands.columns import in_columns
from minimind.events import Alert, Claim, Event, Heatmap, Language, Note, Sample, Table, Text
from minimind.experiment import BUDGETS, Experiment, Value
from minimind.figures import rough_duration, show_number
from minimind.safe_text import clean, clean_line


def report(experiment: Experiment, results: Results, judged: Judged | None, language: Language) -> str:
    """All of it: title, question, values, what was shown, the prediction beside what came out, the claims."""
    parts = [
        f"{experiment.title.of(language)}\n{experiment.question.of(language)}",
        configuration(experiment, results, language),
        *shown(experiment, results.events, language),
        outcome(judged, language),
        "\n".join(claim_lines(results.claims, language)),
    ]
    return "\n\n".join(part for part in parts if part)


def configuration(experiment: Experiment, results: Results, language: Language) -> str:
    """Which budget, which values, how much computing: ``standard (layers 30, seeds 3), 12 s of computing``."""
    budgets = budgets_of(experiment, results.values)
    name = BUDGETS[budgets[0]] if budgets else Text("own values", "自定的值")
    values = ", ".join(said_values(experiment, results.values, language))
    seconds = said_seconds(results.seconds, language)
    if language == "zh":
        return f"{name.zh}（{values}），计算用时 {seconds}"
    return f"{name.en} ({values}), {seconds} of computing"


def said_seconds(seconds: float, language: Language) -> str:
    """An amount of computing, to one unit."""
    if seconds < 1:
        return "不到 1 秒" if language == "zh" else "less than 1 s"
    return rough_duration(seconds, language)


def said_values(experiment: Experiment, values: Mapping[str, Value], language: Language) -> list[str]:
    """``layers 30`` for each value."""
    labels = {setting.name: setting.parameter.label.of(language) for setting in experiment.settings}
    return [f"{clean_line(labels.get(name, name))} {said_value(value, language)}" for name, value in values.items()]


def said_value(value: Value, language: Language) -> str:
    """A value for a reader."""
    if isinstance(value, bool):
        yes, no = ("是", "否") if language == "zh" else ("yes", "no")
        return yes if value else no
    return f"{value:g}" if isinstance(value, float) else clean_line(str(value))


def changed_values(
    experiment: Experiment, before: Mapping[str, Value], now: Mapping[str, Value], language: Language
) -> list[str]:
    """``layers 10 → 30`` for each value that differs between two runs."""
    labels = {setting.name: setting.parameter.label.of(language) for setting in experiment.settings}
    return [
        f"{clean_line(labels.get(name, name))} {said_value(before[name], language)} → {said_value(value, language)}"
        for name, value in now.items()
        if name in before and before[name] != value
    ]


def shown(experiment: Experiment, events: Iterable[Event], language: Language, *, width: int = WIDTH) -> Iterator[str]:
    """What sets the arms apart, charts, heatmaps, tables and sentences, each as text."""
    kept = list(events)
    tables = [event for event in kept if isinstance(event, Table)]
    for table in tables:
        if table.name == DIFFERENCES:
            yield table_text(table, language, experiment.names)
    for chart in charts_of(kept).values():
        yield "\n".join(draw_chart(chart, experiment.names, language, width=width))
    for event in kept:
        if isinstance(event, Heatmap):
            yield heatmap_text(event, language)
    for table in tables:
        if table.name != DIFFERENCES:
            yield table_text(table, language, experiment.names)
    for event in kept:
        if isinstance(event, (Note, Alert)):
            yield clean(event.text.of(language))
        elif isinstance(event, Sample):
            name = "" if event.name in ("", event.prompt) else f"{name_of(event.name, experiment.names, language)}: "
            yield clean_line(f"{event.step} {name}{event.prompt}{event.text}", 1000)


def table_text(table: Table, language: Language, names: Mapping[str, Text]) -> str:
    """A table with its title, columns below each other; a cell that is one of `names` is shown as that phrase."""
    rows = [
        [name_of(cell, names, language) if isinstance(cell, str) else show_number(cell) for cell in row]
        for row in table.rows
    ]
    return _columns(table.title, [column.of(language) for column in table.columns], rows, language)


def heatmap_text(heatmap: Heatmap, language: Language) -> str:
    """A heatmap as a table of its numbers; a cell without a value stays empty."""
    rows = [["" if value != value else show_number(value) for value in row] for row in heatmap.rows]
    labels = heatmap.row_labels or ("",) * len(rows)
    labelled = [[label, *row] for label, row in zip(labels, rows, strict=False)]
    return _columns(heatmap.title, ["", *heatmap.column_labels], labelled, language)


def _columns(title: Text | None, heads: list[str], rows: list[list[str]], language: Language) -> str:
    head = f"{title.of(language)}\n" if title else ""
    return clean(head) + in_columns([[clean_line(cell) for cell in row] for row in [heads, *rows]])


def outcome(judged: Judged | None, language: Language) -> str:
    """The prediction beside what came out."""
    if judged is None:
        return ""
    yours, truth = judged.yours.of(language), judged.truth.of(language) if judged.truth else None
    lines = [f"你的预测：{yours}" if language == "zh" else f"You said: {yours}"]
    if truth is not None:
        mark = "✓" if judged.is_right else "✗"
        lines.append(f"实际结果：{truth} {mark}" if language == "zh" else f"It was:   {truth} {mark}")
    return "\n".join(lines)


def told_claims(claims: Iterable[Claim], language: Language) -> Iterator[tuple[str, str, str]]:
    """Of each claim its verdict, its sentence and what was measured; a prediction's outcome is told elsewhere."""
    gap = "" if language == "zh" else " "
    for claim in claims:
        if claim.id != PREDICTION:
            seeds = seeds_of(claim)
            verdict = VERDICTS[claim.holds].of(language) + (f"{gap}{seeds.of(language)}" if seeds else "")
            numbers = "  ".join(
                f"{clean_line(name)} = {show_number(value)}" for name, value in measurements_of(claim).items()
            )
            yield verdict, clean(claim.text.of(language)), numbers


def claim_lines(claims: Iterable[Claim], language: Language) -> Iterator[str]:
    """Each claim on a line, what was measured on the next."""
    for verdict, sentence, numbers in told_claims(claims, language):
        yield f"{verdict}  {sentence}" + (f"\n    {numbers}" if numbers else "")
