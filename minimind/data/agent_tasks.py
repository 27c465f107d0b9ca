"""Tasks that are solved with tools: those made here, and those of files with right answers (``gt``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from minimind.data.chat import tools_of
from minimind.data.corpus.tool_tasks import messages, sum_task, tool_task
from minimind.data.corpus.world import Choice, Split
from minimind.data.formats import Report, read_agent_tasks
from minimind.data.tasks import Task
from minimind.tools.toolbox import TOOLS as TOOLBOX
from minimind.tools.toolbox import declared_name

TOOLS = "tools"
"""The kind of a task whose ``expected`` are the right answers, one for each call."""
_SUM_SHARE = 0.7
"""Share of the tasks made here that are sums for which a fine-tuned model has yet to learn to call a tool."""
_DECLARED_SHARE = 0.1
"""Share of the tasks made here that declare their tools: a declaration is three times as long as an episode."""


def made_task(index: int, kinds: Sequence[str] = (), *, seed: int = 0, split: Split = "train") -> Task:
    """Task number `index` (≥ 0) of those made here; there is only one of the `kinds`."""
    del kinds
    choice = Choice("tool-task", index, seed, split)
    task = sum_task(choice) if choice.chance(_SUM_SHARE) else tool_task(choice)
    return Task(TOOLS, tuple(messages(choice, task, _DECLARED_SHARE)), task.truths)


def strange_tools(tasks: Iterable[Task]) -> tuple[int, list[str]]:
    """How many of `tasks` declare a tool that is not among ours, and the names of those tools."""
    count, names = 0, set[str]()
    for task in tasks:
        declared = tools_of(task.messages) or []
        strange = {declared_name(tool) for tool in declared} - set(TOOLBOX)
        count += bool(strange)
        names |= strange
    return count, sorted(names)


def read_tasks(path: Path, report: Report) -> Iterator[Task]:
    """The tasks of a file of agent_rl rows. Raises UserError as every reader does."""
    for asked, truths in read_agent_tasks(path, report):
        yield Task(TOOLS, tuple(asked), tuple(truths))
