"""Tool use as a method of training: tasks and files, what is recorded, resuming, and what a person is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minimind.config import SampleConfig, TrainConfig
from minimind.data.agent_tasks import made_task
from minimind.data.packing import IGNORED
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.events import Alert, Sample
from minimind.inference.engine import Engine
from minimind.training import tool_episodes
from minimind.training.objectives.tools import ToolUse
from minimind.training.policy import tasks_of
from minimind.training.rollouts import RolloutBatch
from minimind.training.tool_rewards import Outcome
from minimind.training.update import Updater
from tests.minimind.training.listening import MakeTrainer

SETTINGS: dict[str, Any] = {
    "objective": "tools",
    "data": ("embedded-tools",),
    "batch_size": 2,
    "group_size": 3,
    "max_new_tokens": 8,
    "sequence_length": 200,
    "evaluation_tokens": 100,
}


def by_words(truths: object, outcome: Outcome) -> dict[str, float]:
    """A reward that differs between the episodes of a model that has learned nothing."""
    del truths
    return {"calls": float(len(outcome.answer)), "finished": 0.0}


def test_tasks_made_here_are_questions_with_right_answers(make_job: Any) -> None:
    job = make_job(**SETTINGS)
    tasks = tasks_of(job.data.train)
    assert {task.kind for task in tasks} == {"tools"}
    assert all(task.expected and task.messages[-1]["role"] == "user" for task in tasks)
    assert not {task.question for task in tasks} & {task.question for task in tasks_of(job.data.validation)}
    assert made_task(3) == made_task(3) != made_task(3, seed=1)


def test_tasks_of_a_file_keep_their_tools_and_answers(make_job: Any, tmp_path: Path) -> None:
    path = tmp_path / "agent_rl.jsonl"
    rows = [
        {
            "conversations": [
                {"role": "system", "content": "", "tools": json.dumps([{"name": "length"}])},
                {"role": "user", "content": f"How long is {'x' * number}?"},
                {"role": "assistant", "content": ""},
            ],
            "gt": [str(number)],
        }
        for number in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "junk\n", encoding="utf-8")
    job = make_job(**SETTINGS | {"data": (str(path),), "sequence_length": 400})
    tasks = [*tasks_of(job.data.train), *tasks_of(job.data.validation)]
    assert sorted(int(task.expected[0]) for task in tasks) == list(range(60))
    assert tasks[0].messages[0]["tools"] == [{"name": "length"}]
    assert "agent_rl.jsonl:61" in job.data.notes[0].en
    assert len(job.data.notes) == 1
    strange = [json.loads(json.dumps(row).replace("length", "weather")) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in strange), encoding="utf-8")
    (note,) = make_job(**SETTINGS | {"data": (str(path),), "sequence_length": 400}).data.notes
    assert "declare tools that are not here (weather)" in note.en
    path.write_text(json.dumps({"conversations": rows[0]["conversations"]}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r'agent_rl\.jsonl:1: no "gt" list'):
        make_job(**SETTINGS | {"data": (str(path),)})


def test_only_what_the_model_wrote_is_learned(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_episodes, "tool_reward_parts", by_words)
    updater = Updater(make_job(**SETTINGS))
    objective = updater.objective
    assert isinstance(objective, ToolUse)
    batch = next(objective.batches(updater._data, updater.config))
    assert isinstance(batch, RolloutBatch)
    episodes = [answer.episode for group in objective._news for answer in group]
    assert len(episodes) == 6
    assert int((batch.labels != IGNORED).sum()) == sum(episode.length for episode in episodes)
    loss, scalars = objective.loss(updater.working.eval(), batch)
    assert loss.requires_grad
    assert scalars["kl"] == pytest.approx(0.0, abs=1e-6)
    assert scalars["clip_fraction"] == 0.0


def test_what_is_recorded_and_shown(make_trainer: MakeTrainer) -> None:
    trainer, listener = make_trainer(**SETTINGS | {"steps": 2, "sample_every": 2})
    trainer.run()
    for name in ("reward", "reward_calls", "reward_verified", "reward_finished", "reward_tags", "kl", "finished_share"):
        assert sorted(listener.series(name)) == [1, 2], name
    assert sorted(listener.series("validation_reward")) == [0, 2]
    shown = {event.prompt for event in listener.events if isinstance(event, Sample)}
    assert set(ToolUse.prompts) <= shown
    told = [event for event in listener.events if isinstance(event, Alert) and event.code == "no-tool-calls"]
    assert [event.step for event in told] == [1]  # a model with random weights calls nothing


def test_a_question_is_answered_with_tools_before_a_run_has_begun(make_job: Any) -> None:
    """As an estimate does, which prepares nothing. A turn has room for a call, however short samples are."""
    job = make_job(**SETTINGS)
    engine = Engine(job.model.eval(), Tokenizer.load("nano-2048"))
    tokens = list(job.objective.respond(engine, "How many?", SampleConfig(max_new_tokens=3, seed=0)))
    assert 1 <= len(tokens) <= 96
    assert tokens[-1].finish is not None
    assert len(tokens) > 3 or tokens[-1].finish == "stop"


def test_a_prompt_must_fit_and_data_must_be_tasks(make_job: Any) -> None:
    with pytest.raises(UserError, match="no prompt has at most"):
        make_job(**SETTINGS | {"sequence_length": 12})
    with pytest.raises(UserError, match="most_turns"):
        TrainConfig.from_dict({"objective": "tools", "most_turns": 0})
