"""``minimind runs diagnose``: what is wrong with a run, and what to do about it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from minimind.commands.output import Output
from minimind.commands.run_text import plain_numbers, read_run, text_data
from minimind.events import Text
from minimind.figures import number
from minimind.training.diagnose import Finding, Severity, diagnose
from minimind.training.runs import find_run

SEVERITY_NAMES: dict[Severity, Text] = {
    "error": Text("error", "错误"),
    "warning": Text("warning", "注意"),
    "info": Text("info", "提示"),
}


def diagnose_run(arguments: argparse.Namespace, output: Output) -> int:
    """Print every finding; the exit status is 0 whatever was found."""
    view = read_run(find_run(arguments.id))
    findings = diagnose(view)
    for finding in findings:
        output.emit(finding_data(finding), finding_text(finding, output))
    if not findings and not output.as_json:
        step = view.step
        output.say(Text(f"nothing stands out in the {step} steps so far", f"到目前的 {step} 步为止，没有发现异常"))
    return 0


def finding_data(finding: Finding) -> dict[str, object]:
    """A finding as JSON data."""
    texts = {name: text_data(getattr(finding, name)) for name in ("title", "text", "advice")}
    return {**asdict(finding), **texts, "evidence": plain_numbers(finding.evidence)}


def finding_text(finding: Finding, output: Output) -> str:
    """A finding as a few lines: verdict, advice, numbers, lesson."""
    language = output.language
    label, title = SEVERITY_NAMES[finding.severity].of(language), finding.title.of(language)
    numbers = ", ".join(f"{name} {number(value)}" for name, value in finding.evidence.items())
    return "\n".join(
        (
            output.pick(f"{label}: {title}", f"{label}：{title}"),
            f"  {finding.text.of(language)}",
            f"  → {finding.advice.of(language)}",
            f"  [{finding.code}] {numbers}",
            output.pick(f"  lesson: {finding.lesson}", f"  课程：{finding.lesson}"),
        )
    )
