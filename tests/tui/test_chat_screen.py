"""The chat on the real app with a fake child: streaming, stopping, keeping, comparing, and hostile models."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot

from minimind.config import EngineConfig, SampleConfig
from minimind.events import Language
from minimind_tui import chat_client, clipboard
from minimind_tui.app import MiniMindApp
from minimind_tui.conversation import Conversation, Turn
from minimind_tui.screens.chat import ChatScreen
from minimind_tui.widgets.answer import Answer, style_of, visible
from minimind_tui.widgets.chat_log import MOST_SHOWN
from minimind_tui.widgets.config_form import ConfigForm
from minimind_tui.widgets.prompt_box import LONGEST_PASTE, PromptBox
from tests.tui.driving import text_of, until, until_shown
from tests.tui.fake_runs import make_run

READY = {"en": "1.0 k parameters", "zh": "1.0 k 参数"}


@pytest.fixture(autouse=True)
def fake_child(monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(Path(__file__).with_name("fake_chat_worker.py"))
    monkeypatch.setattr(chat_client, "WORKER", (sys.executable, script))


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package that comes with nano-chat."""
    models = tmp_path / "models"
    (models / "nano-chat").mkdir(parents=True)
    (models / "nano-chat" / "config.json").write_text('{"metadata": {"objective": "sft"}}', encoding="utf-8")
    monkeypatch.setattr("minimind.paths.shipped_models", lambda: models)
    return models


async def say(pilot: Pilot[None], text: str) -> None:
    """Write `text` and press Enter."""
    box = pilot.app.screen.query_one(PromptBox)
    box.focus()
    box.insert(text)
    await pilot.press("enter")


def chat_of(app: MiniMindApp) -> ChatScreen:
    assert isinstance(app.screen, ChatScreen)
    return app.screen


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_the_first_chat_is_with_the_shipped_model(
    language: Language, size: tuple[int, int], shipped: Path
) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.show_chat()
        await until_shown(pilot, "nano-chat", READY[language])
        await say(pilot, "你好 there")
        await until_shown(pilot, "nano-chat heard: 你好 there 好的。", "/s" if language == "en" else "个/秒")
        assert [turn.role for turn in Conversation.newest().turns] == ["user", "assistant"]


async def test_without_any_model_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("minimind.paths.shipped_models", lambda: tmp_path / "nothing")
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await app.show_chat()
        await until_shown(pilot, "还没有可以对话的模型。按 F5 训练第一个")
        await say(pilot, "hello")
        await until_shown(pilot, "没有打开模型：按 ctrl+o 选择。")
        await pilot.press("ctrl+o")
        await until_shown(pilot, "还没有可选的模型")


async def test_what_is_sent_too_early_is_sent_when_the_model_is_open(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await app.show_chat("/x/late")
        await say(pilot, "hello")
        await until_shown(pilot, "It is sent as soon as the model is open.")
        await until_shown(pilot, "late heard: hello")
        assert chat_of(app).query_one(PromptBox).text == ""


async def test_escape_stops_an_answer_and_then_goes_back(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await say(pilot, "slow " + "word " * 60)
        await until_shown(pilot, "heard:", "Esc Stop")
        await say(pilot, "too early")
        await until_shown(pilot, "It is still answering")
        await pilot.press("escape")
        await until_shown(pilot, "; stopped")
        assert chat_of(app).query_one(PromptBox).text == "too early"
        assert Conversation.newest().turns[-1].finish == "cancelled"
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "learn")


async def test_the_conversation_comes_back_with_its_model_at_the_next_start(shipped: Path) -> None:
    run = make_run(steps=60, checkpoints=(50,))
    checkpoint = str(run / "checkpoints" / "step-000050")  # shown by its run's name, here and when it comes back
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat(checkpoint)
        await until_shown(pilot, f"{run.name} · step 50", READY["en"])
        await say(pilot, "remember me")
        await until_shown(pilot, "step-000050 heard: remember me 好的。")
        await until(pilot, lambda: len(Conversation.newest().turns) == 2)
    again = MiniMindApp(language="en")
    async with again.run_test(size=(100, 30)) as pilot:
        await again.show_chat()
        await until_shown(pilot, f"{run.name} · step 50", "heard: remember me", READY["en"])
        assert "/checkpoints/" not in text_of(again)
        await pilot.press("ctrl+n")
        await until_shown(pilot, "A new conversation.")
        assert "remember me" not in text_of(again)
        await say(pilot, "fresh")
        await until_shown(pilot, "heard: fresh")
        await until(pilot, lambda: len(Conversation.newest().turns) == 2)
        assert len(list(Conversation.newest().path.parent.glob("*.jsonl"))) == 2


async def test_a_pretrained_model_continues_text(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(120, 24)) as pilot:
        await app.show_chat("/somewhere/pretrain-run")
        await until_shown(pilot, "continues text (not taught to answer)", "Begin a text")
        await say(pilot, "Once upon")
        await until_shown(pilot, "Your text", "pretrain-run heard: Once upon")
        await until(pilot, lambda: [t.role for t in Conversation.newest().turns] == ["prompt", "completion"])


async def test_another_model_is_chosen_and_the_conversation_goes_on(shipped: Path) -> None:
    run = make_run(steps=60, checkpoints=(40, 50))
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await pilot.press("ctrl+o")
        await until_shown(pilot, "Choose a model", "shipped", f"{run.name} · step 40")
        await pilot.press(*"· step 40")
        await until(pilot, lambda: f"{run.name} · step 50" not in text_of(app))
        await pilot.press("enter")
        await until_shown(pilot, f"Now with {run.name} · step 40.")
        await until(pilot, lambda: chat_of(app)._panes[0].is_ready)
        await say(pilot, "hello")
        await until_shown(pilot, "step-000040 heard: hello")


async def test_two_models_answer_side_by_side(shipped: Path) -> None:
    run = make_run(steps=60, checkpoints=(50,))
    app = MiniMindApp(language="en")
    async with app.run_test(size=(120, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await pilot.press("ctrl+r")
        await until_shown(pilot, "Choose a model", run.name)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: len(chat_of(app)._panes) == 2 and chat_of(app)._panes[1].is_ready)
        await say(pilot, "both of you")
        await until_shown(pilot, "nano-chat heard: both", "step-000050 heard: both")
        await until(pilot, lambda: len(Conversation.newest().turns) == 3)
        assert {(turn.role, turn.side) for turn in Conversation.newest().turns} == {
            ("user", 0), ("assistant", 0), ("assistant", 1),
        }  # fmt: skip
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "step-000050 heard" not in text_of(app))


async def test_the_death_of_the_child_is_said_and_a_model_can_be_opened_again(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(120, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await say(pilot, "please die")
        await until_shown(pilot, "the chat child ended (exit 3): RuntimeError: device-side assert [/]", "broken off")
        await say(pilot, "once more")
        await until_shown(pilot, "nano-chat heard: once more")
        await say(pilot, "kill")
        await until_shown(pilot, "signal 9: often the system was out of memory")
        await pilot.press("ctrl+o")
        await until_shown(pilot, "Choose a model", "shipped")
        await pilot.press("enter")
        await until_shown(pilot, READY["en"])
        await say(pilot, "back again")
        await until_shown(pilot, "nano-chat heard: back again")
        await app.show_chat("/x/missing")
        await until_shown(pilot, "/x/missing: no checkpoint here")
        await say(pilot, "in vain")
        await until(pilot, lambda: text_of(app).count("no checkpoint here") == 2)
        await until(pilot, lambda: chat_of(app).query_one(PromptBox).text == "in vain")


async def test_a_hostile_model_only_writes_text(shipped: Path, home: Path) -> None:
    Conversation.new().append(Turn("assistant", "kept \x1b]52;c;aGk=\x07[/]", "evil\x9b31m[/]"))
    app = MiniMindApp(language="en")
    async with app.run_test(size=(120, 40)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"], "kept ␛]52;c;aGk=␇[/]")
        await say(pilot, "escape \x1b[2J")
        text = await until_shown(pilot, "␛]52;c;aGk=␇[@click=app.quit]press[/]⟨U+009B⟩31m[/]", "escape ␛[2J")
        await pilot.press("ctrl+t")
        await pilot.press("up", "right", "right", "right")
        text = await until_shown(pilot, "50 % — likeliest:")
        assert not {"\x1b", "\x9b"} & set(text)


async def test_probabilities_are_shown_and_read_out(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(120, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await say(pilot, "one two")
        await until_shown(pilot, "heard: one two 好的。")
        await pilot.press("ctrl+t")
        await until_shown(pilot, "Colours: likely tokens plain")
        await pilot.press("up", "right")
        await until_shown(pilot, "“nano-chat␣” 50 % — likeliest: nano-chat␣ 50 %  或 25 %")
        await pilot.press("right", "left", "left", "left")
        await until_shown(pilot, "“nano-chat␣”")
        await pilot.press("down", "ctrl+t")
        await until(pilot, lambda: "likeliest" not in text_of(app))
        assert isinstance(app.focused, PromptBox)


async def test_sampling_is_changed_and_refused_in_place(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        screen = chat_of(app)
        await pilot.press("ctrl+g")
        await until_shown(pilot, "temperature", "0.7", "repetition_penalty")
        await pilot.press("ctrl+u", *"hot", "enter")
        await until_shown(pilot, "temperature = 'hot' is not allowed: use a number 0…10")
        await pilot.press("ctrl+u", *"1.5", "enter")
        await until(pilot, lambda: app.screen is screen)
        assert screen._sample == SampleConfig(temperature=1.5)
        await pilot.press("ctrl+g")
        await until_shown(pilot, "1.5")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)


@pytest.mark.parametrize(("language", "help"), [("en", "int4: faster"), ("zh", "从重复的文本中预猜后续")])
async def test_other_weights_open_the_model_again(shipped: Path, language: Language, help: str) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY[language], "float32")
        screen = chat_of(app)
        await pilot.press("ctrl+g")
        await until_shown(pilot, "dtype", "lookup", help)
        form = app.screen.query_one("#engine", ConfigForm)
        form.row("dtype").editor.value = "int8"
        form.row("lookup").editor.value = "true"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: app.screen is screen)
        assert screen._engine == EngineConfig(dtype="int8", lookup=True)
        await until_shown(pilot, "int8", "int8 was asked for" if language == "en" else "要求 int8")
        await say(pilot, "lookup?")
        await until_shown(pilot, "lookup? True")


async def test_a_long_text_keeps_its_lines_and_too_long_a_paste_is_refused(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        box = chat_of(app).query_one(PromptBox)
        app.post_message(events.Paste("first\nsecond"))
        await until(pilot, lambda: "second" in box.text)
        await pilot.press("ctrl+j", *"third")
        assert box.text == "first\nsecond\nthird"
        await pilot.press("enter")
        await until_shown(pilot, "first", "second", "third", "heard: first")
        app.post_message(events.Paste("x" * (LONGEST_PASTE + 1)))
        await until_shown(pilot, "Not pasted: more than 1,000,000 characters.")
        assert box.text == ""


async def test_enter_does_not_overtake_what_was_typed_before_it(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        for character in "quick":
            app.post_message(events.Key(character, character))
        app.post_message(events.Key("enter", "\r"))
        await until_shown(pilot, "nano-chat heard: quick")


async def test_the_newest_answer_is_copied_cleaned(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await pilot.press("ctrl+y")
        await until_shown(pilot, "no answer to copy yet")
        await say(pilot, "escape")
        await until_shown(pilot, "tokens,")
        await pilot.press("ctrl+y")
        await until_shown(pilot, "Copied (OSC 52")
        assert app.clipboard == "␛]52;c;aGk=␇[@click=app.quit]press[/]⟨U+009B⟩31m[/]"


def test_inside_tmux_its_buffer_is_filled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "tmux"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat > {tmp_path}/buffer\n', encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TMUX", "/tmp/somewhere")
    app = MiniMindApp(language="en")
    assert clipboard.copy(app, "你好\x1b")
    assert (tmp_path / "buffer").read_text(encoding="utf-8") == "你好␛"
    fake.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert not clipboard.copy(app, "x")


async def test_a_long_kept_conversation_shows_its_end(shipped: Path) -> None:
    kept = Conversation.new()
    for number in range(MOST_SHOWN + 15):
        kept.append(Turn("user", f"question {number}"))
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, f"question {MOST_SHOWN + 14}")
        await pilot.press(*["pageup"] * 15)
        await until_shown(pilot, "15 older turns are kept on disk.")


async def test_a_full_disk_does_not_end_the_talk(shipped: Path, home: Path) -> None:
    home.mkdir()
    (home / "chats").write_text("in the way", encoding="utf-8")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await say(pilot, "hello")
        await until_shown(pilot, "File exists", "heard: hello")


async def test_the_language_changes_live(shipped: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_chat()
        await until_shown(pilot, READY["en"])
        await say(pilot, "hello")
        await until_shown(pilot, "You", "tokens,", "Write to the model")
        await pilot.press("f8")
        text = await until_shown(pilot, READY["zh"], "个词元", "对模型说点什么", "你")
        assert "tokens," not in text


def test_tokens_are_made_visible_and_coloured_by_probability() -> None:
    assert [visible(text) for text in ("the", " the ", "  ", "\n", "\x1b")] == ["the", "␣the␣", "␣␣", "⏎", "␛"]
    styles = [style_of(value) for value in (None, 0.9, 0.3, 0.1, 0.01, float("nan"))]
    assert styles == ["", "", "$success", "$warning", "$error underline", ""]


def test_an_answer_keeps_what_was_said_raw_for_the_file() -> None:
    assert Answer("a\x1bb").text == "a\x1bb"
