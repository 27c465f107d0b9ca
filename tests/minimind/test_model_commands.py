"""generate, chat, model and bench as a person or a script calls them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minimind import cli
from minimind.commands import bench, chat, generate, model
from minimind.config import MODEL_PRESETS, SampleConfig
from minimind.inference import tool_chat
from minimind.inference.engine import Engine, Token
from tests.minimind.tiny import save_tiny


class Ran:
    """What a command printed and returned."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*arguments: str | Path, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape"))))
        commands = [module.register for module in (generate, chat, model, bench)]
        status = cli.main([str(argument) for argument in arguments], lambda: cli.assemble("minimind", "", commands))
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return call


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("commands"), max_position_embeddings=256)


def greedy(checkpoint: Path, prompt: str, count: int, *, as_chat: bool = False) -> str:
    engine = Engine.open(checkpoint, device="cpu")
    config = SampleConfig(temperature=0, max_new_tokens=count)
    messages = [{"role": "user", "content": prompt}]
    stream = engine.chat(messages, config) if as_chat else engine.complete(prompt, config)
    return "".join(token.text for token in stream)


FLAGS = ("--temperature", "0", "--max-new-tokens", "8")


def test_generate_prints_the_continuation_and_nothing_else(run: Any, checkpoint: Path) -> None:
    for ran in (run("generate", checkpoint, "the cat", *FLAGS), run("generate", checkpoint, *FLAGS, stdin="the cat\n")):
        assert (ran.status, ran.out, ran.err) == (0, greedy(checkpoint, "the cat", 8) + "\n", "")


def test_generate_as_json(run: Any, checkpoint: Path) -> None:
    ran = run("--json", "generate", checkpoint, "小猫", *FLAGS, "--chat", "--top", "3")
    *tokens, done = ran.objects()
    text = greedy(checkpoint, "小猫", 8, as_chat=True)
    assert "".join(token["text"] for token in tokens) == done["text"] == text
    assert {len(token["alternatives"]) for token in tokens} == {3}
    assert (done["kind"], done["tokens"], done["notes"]) == ("done", len(tokens), [])
    assert done["finish"] in ("stop", "length")


def test_guessing_ahead_changes_nothing_but_the_count(run: Any, checkpoint: Path) -> None:
    plain = run("generate", checkpoint, "the cat sat", *FLAGS, "--json").objects()[-1]
    for flags in (("--lookup",), ("--draft", checkpoint)):
        done = run("generate", checkpoint, "the cat sat", *FLAGS, *flags, "--json").objects()[-1]
        assert done["text"] == plain["text"]
        assert 0 <= done["accepted"] <= done["drafted"]
    assert (plain["drafted"], done["accepted"]) == (0, done["drafted"])  # the draft was the model itself
    both = run("generate", checkpoint, "x", "--lookup", "--draft", checkpoint)
    assert (both.status, both.err.count("\n")) == (2, 1)
    assert "give one of them" in both.err
    assert "another tokenizer" in run("generate", checkpoint, "x", "--draft", "nano-chat").err


def test_lines_are_written_all_at_once(run: Any, checkpoint: Path) -> None:
    ran = run("generate", checkpoint, *FLAGS, "--batch", "--json", stdin="the cat\n小猫\nthe dog sat\n")
    told = {data["line"]: data["text"] for data in ran.objects()}
    assert told == {
        1: greedy(checkpoint, "the cat", 8),
        2: greedy(checkpoint, "小猫", 8),
        3: greedy(checkpoint, "the dog sat", 8),
    }
    answer = greedy(checkpoint, "小猫", 8, as_chat=True)
    assert run("generate", checkpoint, "小猫", *FLAGS, "--batch", "--chat").out == f"[1] {answer}\n"
    assert "line 2 is empty" in run("generate", checkpoint, "--batch", stdin="a\n\nb").err
    assert "no prompt" in run("generate", checkpoint, "--batch", stdin="").err


def test_weights_are_chosen_by_a_flag(run: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dtype in ("float32", "bfloat16", "int8", "int4"):
        assert run("generate", checkpoint, "the cat", *FLAGS, "--dtype", dtype).status == 0
    refused = run("generate", checkpoint, "x", "--dtype", "int3")
    assert (refused.status, "dtype" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "no model"),
        (["mini"], "an architecture without weights"),
        (["CHECKPOINT", "--temperature", "hot"], "temperature = 'hot' is not allowed"),
        (["CHECKPOINT", "--top", "-1"], "--top must be 0 or more"),
        (["CHECKPOINT", "--top", "x"], "--top"),
    ],
)
def test_generate_refuses_in_one_line(run: Any, checkpoint: Path, arguments: list[str], says: str) -> None:
    given = [str(checkpoint) if argument == "CHECKPOINT" else argument for argument in arguments]
    for language in ("en", "zh"):
        ran = run("generate", *given, "--lang", language, stdin="x")
        assert ran.status == 2
        assert ran.out == ""
        assert ran.err.count("\n") == 1
        assert language == "zh" or says in ran.err


def test_a_prompt_too_long_is_cut_and_said(run: Any, checkpoint: Path) -> None:
    ran = run("generate", checkpoint, *FLAGS, stdin="the cat sat on the mat " * 200)
    assert ran.status == 0
    assert "prompt tokens were left out" in ran.err


def test_chat_answers_each_line_of_a_pipe(run: Any, checkpoint: Path) -> None:
    ran = run("chat", checkpoint, *FLAGS, "--json", stdin="the cat\n\n/reset\nthe cat\n小狗\n/quit\nnever said\n")
    first, again, third = ran.objects()
    assert ran.status == 0
    assert first["content"] == again["content"] == greedy(checkpoint, "the cat", 8, as_chat=True)
    assert third["content"] != greedy(checkpoint, "小狗", 8, as_chat=True)  # it heard the message before
    assert {answer["role"] for answer in (first, again, third)} == {"assistant"}


def test_chat_streams_plain_text_to_stdout_and_talks_on_stderr(run: Any, checkpoint: Path) -> None:
    ran = run("chat", checkpoint, *FLAGS, stdin="the cat\n")
    assert ran.out == greedy(checkpoint, "the cat", 8, as_chat=True) + "\n"
    assert "/help" in ran.err


def test_chat_settings_change_by_commands(run: Any, checkpoint: Path) -> None:
    lines = "/temperature 0\n/max-new-tokens 5\n/top_p\n/temperature hot\n/dance\n/system be brief\n/help\nthe cat\n"
    ran = run("chat", checkpoint, stdin=lines)
    assert "temperature = 0.0" in ran.err
    assert "top_p = 0.9 (now)" in ran.err
    assert "temperature = 'hot' is not allowed" in ran.err
    assert "/dance: no such command" in ran.err
    assert "/repetition_penalty 1.0" in ran.err
    engine = Engine.open(checkpoint, device="cpu")
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the cat"}]
    expected = engine.chat(messages, SampleConfig(temperature=0, max_new_tokens=5))
    assert ran.out == "".join(token.text for token in expected) + "\n"


def test_chat_with_a_pretrained_model_continues(run: Any, tmp_path: Path) -> None:
    saved = save_tiny(tmp_path, metadata={"objective": "pretrain"})
    ran = run("chat", saved, *FLAGS, stdin="the cat\n")
    assert "only pretrained" in ran.err
    assert ran.out == greedy(saved, "the cat", 8) + "\n"


def test_bytes_that_are_no_text_are_replaced(run: Any, checkpoint: Path) -> None:
    assert run("chat", checkpoint, *FLAGS, stdin="\udcff\udcfe cat\n").status == 0
    assert run("generate", checkpoint, *FLAGS, stdin="\udcff").status == 0


@pytest.mark.parametrize("name", MODEL_PRESETS)
def test_params_add_up(run: Any, name: str) -> None:
    (data,) = run("model", "params", name, "--json").objects()
    assert sum(group["parameters"] for group in data["groups"]) == data["parameters"]
    assert data["parameters"] == MODEL_PRESETS[name].parameter_count()
    assert sum(group["share"] for group in data["groups"]) == pytest.approx(1, abs=1e-4)


def test_params_as_a_table(run: Any, checkpoint: Path) -> None:
    lines = run("model", "params", checkpoint).out.splitlines()
    assert lines[0].split() == ["tensor", "shape", "times", "parameters", "share"]
    (row,) = [line.split() for line in lines if "k_proj" in line]
    assert row[:6] == ["model.layers.*.self_attn.k_proj.weight", "16", "×", "32", "2", "1,024"]
    assert lines[-1].split()[0] == "together"


def test_info_of_a_checkpoint_and_a_preset(run: Any, checkpoint: Path) -> None:
    (data,) = run("model", "info", checkpoint, "--json").objects()
    assert data["metadata"] == {"path": str(checkpoint), "objective": "sft", "step": 100}
    assert data["config"]["hidden_size"] == 32
    assert data["cache_bytes_per_token_float32"] == 2 * 2 * 2 * 8 * 4
    text = run("model", "info", "minimind3", "--lang", "zh").out
    assert "63,912,192" in text
    assert "256 MB (float32)" in text
    assert "num_experts" not in text
    assert "num_experts" in run("model", "info", "minimind3-moe").out


def test_bench_decode_tells_each_format_beside_its_baseline(run: Any, checkpoint: Path) -> None:
    flags = ("--tokens", "6", "--prompt", "9", "--repeat", "1")
    ceilings, torch, *formats = run("bench", "decode", checkpoint, *flags, "--json").objects()
    assert ceilings["memory_read"] > 1e8
    assert (torch["weights"], torch["ratio"], torch["memory_share"]) == ("torch", 1.0, None)
    assert [row["weights"] for row in formats] == ["float32", "bfloat16", "int8", "int4"]
    assert formats[0]["same_tokens"] is True
    for row in formats:
        assert row["ratio"] == pytest.approx(row["tokens_per_second"] / torch["tokens_per_second"], rel=0.05)
        assert 0 < row["memory_share"] < 2
    assert "the same tokens" in run("bench", "decode", "nano", *flags, "--formats", "float32").out
    assert "exceed" in run("bench", "decode", checkpoint, "--prompt", "1000").err
    assert run("bench", "decode", checkpoint, "--repeat", "0").status == 2
    assert "trained model" in run("bench", "decode", "nano", *flags, "--quality", "--formats", "int8").err


def test_bench_decode_tells_quality_and_guesses(run: Any) -> None:
    flags = ("--tokens", "12", "--prompt", "9", "--repeat", "1", "--formats", "int8", "--quality", "--guess", "--json")
    rows = {row["benchmark"]: row for row in run("bench", "decode", "nano-chat", *flags).objects()}
    assert abs(rows["decode-quality"]["difference"]) < 0.01
    assert rows["decode-quality"]["loss"] == pytest.approx(0.24, abs=0.08)
    assert rows["decode-guess"]["same_tokens"] is True
    assert 0 <= rows["decode-guess"]["accepted_share"] <= 1
    assert rows["decode-batch"]["tokens_per_second"] > 0


def test_commands_load_no_torch_before_they_run() -> None:
    code = "import sys; from minimind.commands import generate, chat, model, bench; import minimind.benchmarks.decode"
    code += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_chat_with_tools_does_what_is_called_and_keeps_the_answer(
    run: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[dict[str, str]]] = []

    def answer(_engine: Engine, messages: list[dict[str, str]], _config: SampleConfig) -> Iterator[Token]:
        asked.append(messages)
        yield Token(40, "<tool_call>…</tool_call>", 1.0)
        yield Token(None, "\n<tool_response>\n6\n</tool_response>\n", None)
        yield Token(41, "It is 6.", 1.0, finish="stop")

    monkeypatch.setattr(tool_chat, "chat_with_tools", answer)
    ran = run("chat", checkpoint, *FLAGS, "--tools", stdin="How many?\nSure?\n")
    assert ran.status == 0
    assert "<tool_response>\n6\n</tool_response>\nIt is 6." in ran.out
    assert asked[1][1] == {"role": "assistant", "content": "It is 6."}
