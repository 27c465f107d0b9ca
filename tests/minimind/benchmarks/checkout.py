"""A stand-in for a MiniMind checkout: the released layout and names, as small as they can be."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

MODEL = """
    import torch
    from torch import nn

    class MiniMindConfig:
        def __init__(self, hidden_size=8, vocab_size=16, **others):
            self.hidden_size, self.vocab_size, self.others = hidden_size, vocab_size, others

    class Output:
        def __init__(self, logits, labels):
            self.logits, self.aux_loss = logits, logits.new_zeros(())
            if labels is not None:
                self.loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    class MiniMindForCausalLM(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config
            self.model = nn.Module()
            self.model.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

        def forward(self, input_ids, labels=None, use_cache=False):
            return Output(self.lm_head(self.model.embed_tokens(input_ids)), labels)

        @torch.inference_mode()
        def generate(self, inputs, attention_mask, max_new_tokens, streamer, **others):
            print("noise on stdout")
            streamer.put(inputs)
            for _ in range(max_new_tokens):
                best = self.forward(inputs).logits[:, -1].argmax(-1, keepdim=True)
                inputs = torch.cat((inputs, best), dim=1)
                streamer.put(best)
            streamer.end()
            return inputs
"""
DATASET = """
    import json
    import torch
    from torch.utils.data import Dataset

    class PretrainDataset(Dataset):
        def __init__(self, data_path, tokenizer, max_length):
            with open(data_path, encoding="utf-8") as file:
                self.samples = [json.loads(line)["text"] for line in file]
            self.tokenizer, self.max_length = tokenizer, max_length

        def __len__(self):
            return len(self.samples)

        def __getitem__(self, index):
            ids = [1, *self.tokenizer(self.samples[index]).input_ids][: self.max_length - 1] + [2]
            ids = torch.tensor(ids + [0] * (self.max_length - len(ids)))
            return ids, ids.masked_fill(ids == 0, -100)
"""
LOOP = """
    def train_epoch(epoch, loader, iters):
        for step, (tokens, labels) in enumerate(loader, start=1):
            result = model(tokens, labels=labels)
            (scaler.scale(result.loss + result.aux_loss) / args.accumulation_steps).backward()
            if step % args.accumulation_steps == 0:
                scaler.step(optimizer)
                optimizer.zero_grad()
            assert step != iters and step % args.save_interval, "would have saved"
"""


def make_checkout(folder: Path, **files: str) -> Path:
    """Write the stand-in into `folder`; `files` replaces one of ``model``, ``dataset``, ``loop`` by other source."""
    from minimind.data.tokenizer import Tokenizer

    places = {
        "model": ("model/model_minimind.py", MODEL),
        "dataset": ("dataset/lm_dataset.py", DATASET),
        "loop": ("trainer/train_pretrain.py", LOOP),
        "utilities": ("trainer/trainer_utils.py", ""),
    }
    for name, (place, source) in places.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(files.get(name, source)), encoding="utf-8")
    Tokenizer.load("nano-2048").save(folder / "model")
    return folder
