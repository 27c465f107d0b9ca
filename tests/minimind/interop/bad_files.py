"""More than a hundred ways in which a model's files can be wrong, each as a function that makes them so."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Damage = Callable[[Path, Path], object]
"""Takes the folder of a good model and a path that appears if code runs; damages the folder."""

WEIGHTS, ARCHIVE, CONFIG = "model.safetensors", "full_sft_64.pth", "config.json"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 217908728\n"


def put(name: str, content: bytes) -> Damage:
    return lambda folder, marker: (folder / name).write_bytes(content)


def cut(name: str, share: float) -> Damage:
    def damage(folder: Path, marker: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return damage


def header(entries: str | bytes, data: bytes = bytes(4096), length: int | None = None) -> Damage:
    """A safetensors file with this header, announced as `length` bytes long."""
    raw = entries.encode() if isinstance(entries, str) else entries
    return put(WEIGHTS, struct.pack("<Q", len(raw) if length is None else length) + raw + data)


def entry(shape: str = "[4]", begin: int = 0, end: int = 16, dtype: str = "F32", name: str = "a") -> str:
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}'


def saved(content: Any, **options: Any) -> Damage:
    return lambda folder, marker: torch.save(content, folder / ARCHIVE, **options)


class Runs:
    """Unpickled, it makes a folder at the marker: what an attacker would do, made harmless."""

    def __init__(self, marker: Path, by: str = "makedirs") -> None:
        self.marker, self.by = str(marker), by

    def __reduce__(self) -> tuple[Any, ...]:
        if self.by == "eval":
            return eval, (f"__import__('os').makedirs({self.marker!r})",)  # nosec: the point of the test
        return os.makedirs, (self.marker,)


class Reserves:
    """Unpickled, it reserves memory: PyTorch's own list of safe names allows this one."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (1 << 36,)


def with_code(by: str, **options: Any) -> Damage:
    return lambda folder, marker: torch.save({"a": torch.ones(2), "b": Runs(marker, by)}, folder / ARCHIVE, **options)


def archive(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Damage:
    def damage(folder: Path, marker: Path) -> None:
        with zipfile.ZipFile(folder / ARCHIVE, "w", method) as made:
            for name, content in members:
                made.writestr(name, content)

    return damage


def repacked(change: Callable[[str, bytes], list[tuple[str, bytes]]], method: int = zipfile.ZIP_STORED) -> Damage:
    """The good archive, member by member through `change`."""

    def damage(folder: Path, marker: Path) -> None:
        with zipfile.ZipFile(folder / ARCHIVE) as good:
            members = [made for name in good.namelist() for made in change(name, good.read(name))]
        archive(members, method)(folder, marker)

    return damage


def overlapping(folder: Path, marker: Path) -> None:
    """A zip whose directory names the same bytes two hundred times."""
    content = bytes(1 << 20)
    archive([("archive/data.pkl", b"\x80\x02}q\x00."), ("archive/data/0", content)])(folder, marker)
    raw = (folder / ARCHIVE).read_bytes()
    start = raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    first = raw.index(b"PK\x01\x02", start + 1)
    extra = b"".join(raw[first:end].replace(b"data/0", b"data/" + bytes([65 + index])) for index in range(50))
    directory = raw[start:end] + extra
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 52, 52, len(directory), start, 0)
    (folder / ARCHIVE).write_bytes(raw[:start] + directory + tail)


def whole_module(folder: Path, marker: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), folder / ARCHIVE)


def config(**changes: Any) -> Damage:
    def damage(folder: Path, marker: Path) -> None:
        values = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(values | changes))

    return damage


def index(content: Any, *, keep: bool = False) -> Damage:
    def damage(folder: Path, marker: Path) -> None:
        if not keep:
            (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return damage


def shard_of(file: str) -> Damage:
    return index({"weight_map": {"model.norm.weight": file}})


def change_tensor(**tensors: Any) -> Damage:
    """A released file in which some tensors are others."""

    def damage(folder: Path, marker: Path) -> None:
        state = torch.load(folder / ARCHIVE, weights_only=True)
        torch.save(state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}, folder / ARCHIVE)

    return damage


def fifo(folder: Path, marker: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


def loop(folder: Path, marker: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(WEIGHTS)


def instead_a_folder(folder: Path, marker: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


def device(folder: Path, marker: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")


def renamed_tensors(folder: Path, marker: Path) -> None:
    save_file({f"\x1b[2J../../{number}": torch.ones(2) for number in range(5)}, folder / WEIGHTS)


def impostors() -> Iterator[tuple[str, Damage]]:
    kinds: dict[str, bytes] = {
        "empty": b"",
        "one byte": b"\x00",
        "pointer": POINTER,
        "page": b"<!DOCTYPE html><html><title>Sign in</title></html>",
        "page after spaces": b"\xef\xbb\xbf \n\n<html>",
        "gzip": b"\x1f\x8b\x08" + bytes(99),
        "bzip2": b"BZh9" + bytes(99),
        "xz": b"\xfd7zXZ\x00" + bytes(99),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(99),
        "zstd": b"\x28\xb5\x2f\xfd" + bytes(99),
        "gguf": b"GGUF" + bytes(99),
        "parquet": b"PAR1" + bytes(99),
        "hdf5": b"\x89HDF\r\n" + bytes(99),
        "numpy": b"\x93NUMPY" + bytes(99),
        "json": b'{"error": "Entry not found", "more": "' + b"x" * 100 + b'"}',
        "text": b"Not Found\n",
        "noise": bytes(range(7, 255)),
        "zeros": bytes(5000),
        "bare pickle": pickle.dumps({"a": [1, 2]}),
    }
    for kind, content in kinds.items():
        yield f"{WEIGHTS}: {kind}", put(WEIGHTS, content)
        yield f"{ARCHIVE}: {kind}", put(ARCHIVE, content)


def truncated() -> Iterator[tuple[str, Damage]]:
    for percent in range(5, 100, 5):
        for name in (WEIGHTS, ARCHIVE):
            yield f"{name}: cut at {percent} %", cut(name, percent / 100)


SAFETENSORS: dict[str, Damage] = {
    "header of 2^63 bytes": header("{", length=1 << 63),
    "header of 2^64-1 bytes": header("{", length=(1 << 64) - 1),
    "header of 200 MB": header("{", length=200_000_000),
    "header longer than the file": header("{}", length=5000),
    "header of 0 bytes": header(""),
    "header is a list": header("[]"),
    "header is no JSON": header('{"a": '),
    "header is deep": header('{"a":' * 100_000),
    "header is not UTF-8": header(b'{"\xff":1}'),
    "no tensors": header("{}", b""),
    "negative shape": header("{" + entry("[-4]") + "}"),
    "negative offset": header("{" + entry(begin=-16, end=0) + "}"),
    "shape overflows": header("{" + entry("[4294967296,4294967296,4294967296]") + "}"),
    "shape larger than its data": header("{" + entry("[1000000000000]") + "}"),
    "shape of text": header("{" + entry('["four"]') + "}"),
    "unknown dtype": header("{" + entry(dtype="F7") + "}"),
    "overlap": header("{" + entry() + "," + entry(begin=8, end=24, name="b") + "}", bytes(24)),
    "hole": header("{" + entry() + "," + entry(begin=20, end=36, name="b") + "}", bytes(36)),
    "bytes left over": header("{" + entry() + "}", bytes(20)),
    "a name twice": header("{" + entry() + "," + entry(begin=16, end=32) + "}", bytes(32)),
    "no offsets": header('{"a":{"dtype":"F32","shape":[4]}}', bytes(16)),
    "another model's names": renamed_tensors,
    "a pipe": fifo,
    "a loop of links": loop,
    "a folder": instead_a_folder,
    "an endless device": device,
    "missing": lambda folder, marker: (folder / WEIGHTS).unlink(),
}
PYTORCH: dict[str, Damage] = {
    "code by makedirs": with_code("makedirs"),
    "code by eval": with_code("eval"),
    "code, protocol 4": with_code("makedirs", pickle_protocol=4),
    "code, old format": with_code("makedirs", _use_new_zipfile_serialization=False),
    "weights, old format": saved({"a": torch.ones(2)}, _use_new_zipfile_serialization=False),
    "bare pickle with code": lambda folder, marker: (folder / ARCHIVE).write_bytes(pickle.dumps(Runs(marker))),
    "64 GB by bytearray": saved({"a": Reserves()}),
    "whole module": whole_module,
    "64 GB by strides": saved({"a": torch.ones(1).expand(1 << 34)}),
    "one storage under many names": saved(dict.fromkeys("abcdefgh", torch.ones(1000))),
    "sparse": saved({"a": torch.ones(2, 2).to_sparse()}),
    "without numbers": saved({"a": torch.ones(1 << 40, device="meta")}),
    "a zip that ends after its first bytes": put(ARCHIVE, b"PK\x03\x04" + bytes(40)),
    "a list": saved([torch.ones(2)]),
    "no tensors": saved(OrderedDict()),
    "text": saved({"a": "weights"}),
    "a counter": saved(Counter("weights")),
    "nested too deep to be weights": saved({"model": {"model": {"a": {"b": torch.ones(2)}}}}),
    "deflated": repacked(lambda name, content: [(name, content)], zipfile.ZIP_DEFLATED),
    "bomb": archive([("archive/data.pkl", b"\x80\x02}."), ("archive/data/0", bytes(1 << 26))], zipfile.ZIP_DEFLATED),
    "overlapping members": overlapping,
    "no pickle": archive([("readme.txt", b"hello")]),
    "two pickles": repacked(lambda n, c: [(n, c), (f"b/{n}", c)] if n.endswith("data.pkl") else [(n, c)]),
    "endless pickle": archive([("archive/data.pkl", b"\x80\x02" + b"(" * 20_000_000), ("archive/version", b"3")]),
    "pickle of noise": repacked(lambda n, c: [(n, bytes(range(200)) if n.endswith("data.pkl") else c)]),
    "pickle deeper than the stack": repacked(lambda n, c: [(n, b"\x80\x02" + b"]" * 9 + b"(" * 5_000_000 + b"t" * 9 if n.endswith(".pkl") else c)]),
    "names outside": archive([("../../evil/data.pkl", b"\x80\x02}q\x00."), ("../../evil/version", b"3\n")]),
    "storage missing": repacked(lambda n, c: [] if "/data/" in n else [(n, c)]),
    "storage too small": repacked(lambda n, c: [(n, c[:2] if "/data/" in n else c)]),
    "whole numbers": change_tensor(model__norm__weight=torch.ones(64, dtype=torch.int64)),
    "complex": change_tensor(model__norm__weight=torch.ones(64, dtype=torch.complex64)),
    "not a number": change_tensor(model__norm__weight=torch.full((64,), float("nan"))),
    "infinite": change_tensor(model__norm__weight=torch.full((64,), float("inf"))),
    "one layer more": change_tensor(model__layers__2__input_layernorm__weight=torch.ones(64)),
    "layer in the millions": change_tensor(model__layers__9999999__input_layernorm__weight=torch.ones(64)),
    "another width": change_tensor(model__norm__weight=torch.ones(32)),
    "no dimensions": change_tensor(model__embed_tokens__weight=torch.tensor(1.0)),
}  # fmt: skip
SETTINGS: dict[str, Damage] = {
    "pointer": put(CONFIG, POINTER),
    "page": put(CONFIG, b"<html>"),
    "empty": put(CONFIG, b""),
    "list": put(CONFIG, b"[]"),
    "deep": put(CONFIG, b"[" * 200_000),
    "not UTF-8": put(CONFIG, b'{"hidden_size": "\xff"}'),
    "number of 10,000 digits": put(CONFIG, b'{"hidden_size": ' + b"9" * 10_000 + b"}"),
    "width of a billion": config(hidden_size=10**9),
    "a million layers": config(num_hidden_layers=10**6),
    "256 layers of 1,024 experts": config(num_hidden_layers=256, use_moe=True, num_experts=1024),
    "vocabulary of a million": config(vocab_size=1_000_000),
    "another depth": config(num_hidden_layers=3),
    "no heads": config(num_attention_heads=0),
    "another network": config(model_type="mamba"),
}
INDEXES: dict[str, Damage] = {
    "a folder up": shard_of("../secret.safetensors"),
    "absolute": shard_of("/etc/hostname"),
    "a folder down": shard_of("sub/model.safetensors"),
    "backslash": shard_of("..\\secret.safetensors"),
    "nothing": shard_of(""),
    "NUL": shard_of("model\0.safetensors"),
    "itself": shard_of("."),
    "missing shard": shard_of("model-00002-of-00002.safetensors"),
    "the index as a shard": shard_of("model.safetensors.index.json"),
    "not a table": index({"weight_map": ["model.norm.weight"]}),
    "no map": index({"metadata": {}}),
    "numbers for names": index({"weight_map": {"model.norm.weight": 3}}),
    "100,000 shards": index({"weight_map": {f"a{number}": f"{number}.safetensors" for number in range(100_000)}}),
    "some tensors only": shard_of("model-00001-of-00001.safetensors"),
}
TOKENIZER: dict[str, Damage] = {
    "pointer": put("tokenizer.json", POINTER),
    "page": put("tokenizer.json", b"<html>"),
    "empty": put("tokenizer.json", b""),
    "deep": put("tokenizer.json", b"[" * 100_000),
    "missing": lambda folder, marker: (folder / "tokenizer.json").unlink(),
}


def cases() -> dict[str, tuple[str, Damage]]:
    """Name → the kind of model to damage ("hf" or "pth"), and how."""
    made: dict[str, tuple[str, Damage]] = {}
    for name, damage in [*impostors(), *truncated()]:
        made[name] = ("pth" if name.startswith(ARCHIVE) else "hf", damage)
    for label, kind, group in (
        ("safetensors", "hf", SAFETENSORS),
        ("PyTorch", "pth", PYTORCH),
        ("config", "hf", SETTINGS),
        ("index", "hf", INDEXES),
        ("tokenizer", "hf", TOKENIZER),
    ):
        made |= {f"{label}: {name}": (kind, damage) for name, damage in group.items()}
    return made
