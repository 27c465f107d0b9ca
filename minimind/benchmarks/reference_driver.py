"""Runs inside a MiniMind checkout, in a process of its own: ``python -P reference_driver.py CHECKOUT``.

Reads one request a line from stdin (``{"op": "decode" | "prefill" | "data" | "train" | "first", …}``) and answers each
with one line of JSON: what was measured, or ``{"error": {"en", "zh"}}``. What the checkout's own code prints goes to
stderr. Models, data sets and optimisers are kept between requests, so that every repeat measures the work alone.

This file imports nothing of ours: the process should be what the checkout's authors run.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import resource
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BEYOND = 1_000_000
"""Steps of the pretended epoch: its end, where their loop writes checkpoints, is never reached."""


class _Refused(Exception):
    """Why the checkout cannot do what was asked, in both languages."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.en, self.zh = en, zh


class _Clock:
    """A streamer, as `generate` of transformers and of MiniMind takes one: notes when each token came."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def put(self, _tokens: Any) -> None:
        """Called with the prompt, then with each token."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Called at the end."""


class Driver:
    """The checkout's model, data set and training loop, behind one method an operation."""

    def __init__(self, checkout: Path, threads: int) -> None:
        sys.path.insert(0, str(checkout))
        os.chdir(checkout / "trainer" if (checkout / "trainer").is_dir() else checkout)
        self.checkout = checkout
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self._models: dict[str, Any] = {}
        self._runs: dict[str, tuple[dict[str, Any], Iterator[Any]]] = {}

    def decode(self, request: dict[str, Any]) -> dict[str, Any]:
        """Greedy tokens by their `generate`, with the seconds to the first and of each later one."""
        model, clock = self._model(request).eval(), _Clock()
        prompt = self.torch.tensor([request["prompt"]], device=request["device"])  # [1, time]
        written = model.generate(
            inputs=prompt,
            attention_mask=self.torch.ones_like(prompt),
            max_new_tokens=request["tokens"],
            do_sample=False,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            eos_token_id=None,
            pad_token_id=0,
            streamer=clock,
        )  # [1, time + tokens]
        first, *rest = (after - before for before, after in itertools.pairwise(clock.times[1:]))
        return {"ids": written[0, prompt.shape[1] :].tolist(), "first_seconds": first, "token_seconds": rest}

    def prefill(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds to take in the prompt as their `generate` does, keys and values kept."""
        model = self._model(request).eval()
        prompt = self.torch.tensor([request["prompt"]], device=request["device"])  # [1, time]
        with self.torch.inference_mode():
            began = time.perf_counter()
            best = int(model(prompt, use_cache=True).logits[0, -1].argmax())  # waits for the device
            return {"seconds": time.perf_counter() - began, "best": best}

    def data(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds to open the data set (once), and of each epoch read through their data set and a DataLoader."""
        began = time.perf_counter()
        dataset = self._dataset(request)
        opened = time.perf_counter() - began
        epochs, tokens = [], 0
        for _ in range(request["epochs"]):
            began = time.perf_counter()
            for batch in self._loader(dataset, request):
                tokens += _useful(batch)
            epochs.append(time.perf_counter() - began)
        return {
            "open_seconds": opened,
            "epoch_seconds": epochs,
            "documents": len(dataset),
            "useful_tokens": tokens // request["epochs"],
            "peak_memory": peak_memory(),
        }

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Steps of the loop in their train_pretrain.py on batches of their data set."""
        key = json.dumps({name: value for name, value in request.items() if name != "steps"}, sort_keys=True)
        loop = self._import("trainer.train_pretrain")
        if key not in self._runs:
            self._runs[key] = self._training(request), self._batches(request)
        names, batches = self._runs[key]
        vars(loop).update(names)
        loop.model.train()
        seen: list[Any] = []

        def noted() -> Iterator[Any]:
            for batch in itertools.islice(batches, request["steps"]):
                seen.append(batch)
                yield batch

        began = time.perf_counter()
        loop.train_epoch(0, noted(), _BEYOND)
        if request["device"] != "cpu":
            self.torch.cuda.synchronize()
        return {"seconds": time.perf_counter() - began, "steps": len(seen), "useful_tokens": sum(map(_useful, seen))}

    def _training(self, request: dict[str, Any]) -> dict[str, Any]:
        """The names that their script sets before it calls `train_epoch`."""
        model, on_gpu = self._new_model(request), request["device"] != "cpu"
        return {
            "args": types.SimpleNamespace(
                device=request["device"],
                epochs=1,
                learning_rate=5e-4,
                accumulation_steps=request["accumulation"],
                grad_clip=1.0,
                log_interval=_BEYOND,
                save_interval=_BEYOND,
            ),
            "lm_config": model.config,
            "model": model,
            "optimizer": self.torch.optim.AdamW(model.parameters(), lr=5e-4),
            "scaler": self.torch.amp.GradScaler("cuda", enabled=False),
            "autocast_ctx": self.torch.autocast("cuda", self.torch.bfloat16) if on_gpu else contextlib.nullcontext(),
        }

    def first(self, request: dict[str, Any]) -> dict[str, Any]:
        """The first token after a start: tokenizer, weights and one step, as their chat script goes about it."""
        self._import("trainer.trainer_utils")
        self._tokenizer()
        return self.decode(request | {"tokens": 1})

    def _import(self, name: str) -> Any:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = str(error.name)
            if missing in name or name in missing:
                path = f"{name.replace('.', '/')}.py"
                raise _Refused(f"it has no {path}", f"其中没有 {path}") from None
            raise _Refused(
                f"its {name} needs the package {missing}: pip install {missing.partition('.')[0]}",
                f"它的 {name} 需要软件包 {missing}：pip install {missing.partition('.')[0]}",
            ) from None

    def _tokenizer(self) -> Any:
        return self._import("transformers").AutoTokenizer.from_pretrained(str(self.checkout / "model"))

    def _model(self, request: dict[str, Any]) -> Any:
        """Their model with the given settings and weights, made once."""
        key = json.dumps([request["config"], request["weights"], request["dtype"]], sort_keys=True)
        if key not in self._models:
            self._models[key] = self._new_model(request)
        return self._models[key]

    def _new_model(self, request: dict[str, Any]) -> Any:
        module = self._import("model.model_minimind")
        self.torch.manual_seed(0)
        model = module.MiniMindForCausalLM(module.MiniMindConfig(**request["config"]))
        if request["weights"] is not None:
            weights = self.torch.load(request["weights"], map_location="cpu", weights_only=True)
            wrong = model.load_state_dict(weights, strict=False)
            names = [name for name in (*wrong.missing_keys, *wrong.unexpected_keys) if name != "lm_head.weight"]
            if names:
                raise _Refused(
                    f"its model is of another generation: {len(names)} tensors differ, {names[0]} for one",
                    f"其模型属于另一代：有 {len(names)} 个张量不同，例如 {names[0]}",
                )
        return model.to(request["device"], getattr(self.torch, request["dtype"]))

    def _dataset(self, request: dict[str, Any]) -> Any:
        return self._import("dataset.lm_dataset").PretrainDataset(
            request["file"], self._tokenizer(), max_length=request["sequence_length"]
        )

    def _loader(self, dataset: Any, request: dict[str, Any]) -> Any:
        generator = self.torch.Generator().manual_seed(42)
        return self.torch.utils.data.DataLoader(
            dataset,
            batch_size=request["batch_size"],
            shuffle=True,
            generator=generator,
            num_workers=request["workers"],
            pin_memory=request["device"] != "cpu",
        )

    def _batches(self, request: dict[str, Any]) -> Iterator[Any]:
        """Batches without end, the next ones made while a step is under way."""
        dataset = self._dataset(request)
        while True:
            yield from self._loader(dataset, request)


def peak_memory() -> int:
    """The most bytes that this process, or one of its children that have ended, has held.

    What getrusage says of a process itself begins, on Linux, with what its parent held; the kernel's own note does not.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        own = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return max(own, children)


def _useful(batch: Any) -> int:
    """Predictions in a batch that are not padding: (ids, labels), or (ids, labels, mask) in older checkouts."""
    return int(batch[2].sum()) if len(batch) == 3 else int((batch[1][:, 1:] != -100).sum())


def _answer(driver: Driver, line: str) -> dict[str, Any]:
    request = json.loads(line)
    try:
        result: dict[str, Any] = getattr(driver, request.pop("op"))(request)
    except _Refused as error:
        return {"error": {"en": error.en, "zh": error.zh}}
    except Exception as error:
        kind = type(error).__name__
        return {"error": {"en": f"its code failed: {kind}: {error}", "zh": f"它的代码出错：{kind}：{error}"}}
    return result


def main() -> None:
    """Answer requests until stdin ends. argv: the checkout, and with how many threads it may compute."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    driver = Driver(Path(sys.argv[1]), int(sys.argv[2]))
    for line in sys.stdin:
        replies.write(json.dumps(_answer(driver, line)) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
