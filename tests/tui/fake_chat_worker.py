"""A chat child without a model: speaks the protocol of ``minimind.inference.worker``, driven by the path it is given.

``pretrain`` in the path makes it a model that only continues text, ``late`` a slow one; other words in the last user message make it
misbehave on purpose: ``die``, ``kill``, ``noise``, ``slow``, ``escape``, ``flood``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time


def say(**message: object) -> None:
    print(json.dumps(message, ensure_ascii=False), flush=True)


def stopped() -> bool:
    if not select.select([sys.stdin], [], [], 0)[0]:
        return False
    return json.loads(sys.stdin.readline() or '{"op":"quit"}')["op"] in ("stop", "quit")


def words_for(asked: str, path: str) -> list[str]:
    if "escape" in asked:
        return ["\x1b]52;c;aGk=\x07", "[@click=app.quit]press[/]", "\x9b31m", "[/]"]
    if "flood" in asked:
        return [f"{number} " for number in range(3000)]
    name = path.rstrip("/").rsplit("/", 1)[-1]
    return [*(f"{word} " for word in f"{name} heard: {asked}".split()), "好", "的", "。"]


def answer(request: dict[str, object], path: str) -> None:
    messages = request.get("messages")
    asked = str(messages[-1]["content"]) if isinstance(messages, list) else str(request["prompt"])
    if "lookup" in asked:
        asked += f" {request.get('lookup')}"
    if "die" in asked:
        print("RuntimeError: device-side assert [/]", file=sys.stderr, flush=True)
        os._exit(3)
    if "kill" in asked:
        os.kill(os.getpid(), signal.SIGKILL)
    if "noise" in asked:
        print("a library prints here", flush=True)
        print("x" * (9 * 1024 * 1024), flush=True)
        say(op="token", id="not a number", text=None)
    if "refuse" in asked:
        say(op="error", id=request["id"], text={"en": "the prompt is too long", "zh": "提示太长"})
        return
    finish, count = "stop", 0
    for word in words_for(asked, path):
        if "slow" in asked:
            time.sleep(0.05)
            if stopped():
                finish = "cancelled"
                break
        count += 1
        say(op="token", id=request["id"], text=word, probability=0.5, alternatives=[[word, 0.5], ["或", 0.25]])
    say(op="done", id=request["id"], finish=finish, tokens=count, seconds=0.5, prompt_tokens=3, notes=[])


def main() -> None:
    path = sys.argv[1]
    if "missing" in path:
        say(op="error", text={"en": f"{path}: no checkpoint here", "zh": f"{path}：这里没有检查点"})
        sys.exit(2)
    if "late" in path:
        time.sleep(1.0)
    objective = "pretrain" if "pretrain" in path.rsplit("/", 1)[-1] else "sft"
    dtype = sys.argv[2] if sys.argv[2] != "auto" else "float32"
    notes = [] if dtype == "float32" else [{"en": f"{dtype} was asked for", "zh": f"要求 {dtype}"}]
    say(op="ready", path=path, objective=objective, step=40, parameters=1000, context=128, dtype=dtype, notes=notes)
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "quit":
            return
        if request["op"] == "generate":
            answer(request, path)


if __name__ == "__main__":
    main()
