"""Tasks: the same for the same seed, never in both splits, with answers that the corpus itself would give; rlaif files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.data.corpus import dialogue
from minimind.data.tasks import CONVERSATION, TASKS, Task, encode_task, prepare_tasks, shuffled, task
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.reinforcement_config import TASK_KINDS
from minimind.training.rewards import reward_parts

KINDS = tuple(TASKS)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


def write(path: Path, records: list[object]) -> str:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return str(path)


def conversation(*contents: str) -> dict[str, object]:
    roles = ("user", "assistant")
    return {"conversations": [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]}


def test_a_task_depends_on_seed_split_and_index_alone() -> None:
    first = [task(index, KINDS) for index in range(40)]
    assert first == [task(index, KINDS) for index in range(40)]
    assert first != [task(index, KINDS, seed=1) for index in range(40)]
    assert {made.kind for made in first} == set(KINDS)
    assert any("一" <= letter <= "鿿" for made in first for letter in made.question)
    assert any(made.question.isascii() for made in first)


def test_no_question_is_in_both_splits(tokenizer: Tokenizer) -> None:
    prepared = prepare_tasks(["embedded"], tokenizer, kinds=KINDS, seed=0, longest=200)
    asked, held = ({made.question for made in part.tasks} for part in (prepared.train, prepared.validation))
    assert len(asked) > 500
    assert len(held) > 50
    assert not asked & held
    shares = [sum(made.kind == kind for made in prepared.validation.tasks) for kind in KINDS]
    assert min(shares) > len(prepared.validation) / len(KINDS) / 2


def test_prompts_are_stored_as_the_model_reads_them(tokenizer: Tokenizer) -> None:
    train = prepare_tasks(["embedded"], tokenizer, kinds=["counting"], seed=3, longest=200).train
    ids = train.tokens[train.offsets[5] : train.offsets[6]].tolist()
    assert ids == encode_task(tokenizer, train.tasks[5])
    text = tokenizer.decode(ids, skip_special=False)
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert train.tasks[5].question in text
    thinking = tokenizer.decode(encode_task(tokenizer, train.tasks[5], open_thinking=True), skip_special=False)
    assert thinking.endswith("<|im_start|>assistant\n<think>\n")


def test_the_fingerprint_follows_the_tasks(tokenizer: Tokenizer) -> None:
    prints = {
        prepare_tasks(["embedded"], tokenizer, kinds=kinds, seed=seed, longest=200).train.fingerprint
        for kinds, seed in ((["counting"], 0), (["listing"], 0), (["counting"], 1))
    }
    assert len(prints) == 3


def test_the_trained_answers_get_the_full_reward() -> None:
    """The corpus answers sums, counts and lists in exactly the form that the rules reward."""
    answers: dict[str, str] = {}
    for index in range(6000):
        turns = dialogue(index)["conversations"]
        answers |= {
            question["content"]: answer["content"] for question, answer in zip(turns[::2], turns[1::2], strict=True)
        }
    judged = []
    for index in range(400):
        made = task(index, ("arithmetic", "counting", "listing"))
        if made.question in answers:
            parts = reward_parts(made, answers[made.question])
            judged.append(made.kind)
            assert parts == {"correct": 1.0, "format": 0.5, "repetition": 0.0}, (made.question, answers[made.question])
    assert {kind: judged.count(kind) > 5 for kind in ("arithmetic", "counting", "listing")} == {
        "arithmetic": True,
        "counting": True,
        "listing": True,
    }


def test_rlaif_files_lose_their_placeholder_and_hold_out_the_first(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write(
        tmp_path / "rlaif.jsonl",
        [conversation("one", "a", "two", "无"), conversation("你好", ""), conversation("x", "")],
    )
    prepared = prepare_tasks([path], tokenizer, kinds=KINDS, seed=0, longest=200)
    held = prepared.validation.tasks[0]
    assert held.kind == CONVERSATION
    assert [message["content"] for message in held.messages] == ["one", "a", "two"]
    assert [made.question for made in prepared.train.tasks] == ["你好", "x"]
    assert prepared.notes == ()


def test_what_is_wrong_in_an_rlaif_file_is_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    good = [conversation(f"question {index}", "") for index in range(40)]
    path = write(tmp_path / "r.jsonl", [*good, {"conversations": [{"role": "assistant", "content": "alone"}]}])
    prepared = prepare_tasks([path], tokenizer, kinds=KINDS, seed=0, longest=200)
    assert "r.jsonl:41: no user message to answer" in prepared.notes[0].en
    bad = write(tmp_path / "bad.jsonl", [{"text": "no conversation"}])
    with pytest.raises(UserError, match=r'bad\.jsonl:1: no "conversations" list'):
        prepare_tasks([bad], tokenizer, kinds=KINDS, seed=0, longest=200)


def test_prompts_that_are_too_long_are_left_out_with_a_note(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [conversation(text, "") for text in ("one", "two", "long " * 300)])
    prepared = prepare_tasks([path], tokenizer, kinds=KINDS, seed=0, longest=60)
    assert [made.question for made in prepared.train.tasks] == ["two"]
    assert "1 prompts of more than 60 tokens" in prepared.notes[0].en
    with pytest.raises(UserError, match="no prompt has at most 3 tokens"):
        prepare_tasks([path], tokenizer, kinds=KINDS, seed=0, longest=3)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    assert tuple(TASKS) == TASK_KINDS
    with pytest.raises(UserError, match=r"tasks = .*arithmetic \| counting"):
        TrainConfig.from_dict({"objective": "grpo", "tasks": ["poems"]})
    with pytest.raises(UserError, match="tasks is empty"):
        TrainConfig.from_dict({"objective": "grpo", "tasks": []})


def test_the_order_of_an_epoch_can_be_taken_up_anywhere() -> None:
    whole = list(shuffled(50, 7, 2))
    assert sorted(whole) == list(range(50))
    assert list(shuffled(50, 7, 2, 20)) == whole[20:]
    assert whole != list(shuffled(50, 7, 3))


def test_messages_of_a_task_are_kept_as_they_are() -> None:
    made = Task(CONVERSATION, ({"role": "user", "content": "Hello!"},))
    assert made.question == "Hello!"
