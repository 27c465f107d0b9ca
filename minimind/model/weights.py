"""Tensors out of a file that anyone may have made: safetensors, or a PyTorch archive (``.pth``, ``.pt``, ``.bin``).

Nothing in such a file can run code here, and nothing it claims can make us reserve more memory than it has bytes:
each thing that can be wrong with it is looked at before it is believed, and has one sentence that says what the file
is and what to do.
"""

from __future__ import annotations

import json
import pickletools
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minimind.errors import UserError
from minimind.impostors import impostor
from minimind.safe_text import clean_line

ZIP = b"PK\x03\x04"

_LONGEST_HEADER = 100_000_000
"""What safetensors itself allows, in bytes."""
_LONGEST_PICKLE = 16_000_000
"""Names and shapes of a PyTorch archive, in bytes; the largest MiniMind has about 50,000."""
_MOST_MEMBERS = 100_000

_ALLOWED_GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch Size"
    r"|torch (Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage"
)
"""What a state dict is made of. PyTorch's own safe list also has `bytearray` and others that reserve memory on demand."""
_NAMING = {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def bad_file(path: Path, en: str, zh: str) -> UserError:
    """The UserError about `path`: what it is, and what to do."""
    shown = clean_line(str(path), 300)
    return UserError(f"{shown}: {en}", f"{shown}：{zh}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, mapped into memory; those of a PyTorch archive may be nested in its dictionaries.

    A resume file gives the tensors of its model. Raises UserError that names what the file is instead.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise bad_file(path, "not a file", "不是文件")
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror}", f"无法读取：{error.strerror}") from None
    except ValueError:
        raise bad_file(path, "not a file name", "不是文件名") from None
    if not head:
        raise bad_file(path, "an empty file: save or download it again", "空文件：请重新保存或下载")
    if head.startswith(ZIP):
        return _read_archive(path, about.st_size)
    is_header = head[8:9] == b"{" and head[4:8] == bytes(4)
    what = None if is_header else impostor(head)
    if what is not None:
        raise bad_file(path, what.en, what.zh)
    return _read_safetensors(path, about.st_size)


def _read_safetensors(path: Path, size: int) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(min(length, _LONGEST_HEADER, size))
        json.loads(header, object_pairs_hook=_unique)
        return load_file(path)
    except (SafetensorError, ValueError, RecursionError, OSError):
        raise bad_file(
            path,
            f"neither a safetensors file nor a PyTorch one, or cut short ({size:,} bytes): save or download it again",
            f"既不是 safetensors 也不是 PyTorch 文件，或者不完整（{size:,} 字节）：请重新保存或下载",
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a header that names a tensor twice: readers disagree about which one counts."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _read_archive(path: Path, size: int) -> dict[str, Tensor]:
    """A ``torch.save`` file. Its pickle may name only what state dicts are made of, and is checked before it is read."""
    _check_archive(path, size)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # torch raises a dozen types here, with advice that would switch the protection off
        raise bad_file(
            path,
            "a PyTorch file that is damaged or holds more than weights: save the model's state_dict() again",
            "PyTorch 文件已损坏，或含有权重以外的内容：请重新保存模型的 state_dict()",
        ) from None
    tensors = _state_dict(loaded)
    if not tensors:
        raise bad_file(path, "a PyTorch file without weights in it", "PyTorch 文件中没有权重")
    if any(_exceeds_storage(tensor) for tensor in tensors.values()) or (
        sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > 2 * size
    ):
        raise bad_file(
            path,
            "its tensors claim more numbers than the file holds: damaged or made to exhaust memory",
            "张量声称的数据多于文件内容：文件已损坏，或有意耗尽内存",
        )
    return tensors


def _check_archive(path: Path, size: int) -> None:
    """Refuse, before PyTorch sees them, archives that unpack to more than they are and pickles that name other things."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            pickles = [member for member in members if member.filename.rpartition("/")[2] == "data.pkl"]
            names = {member.filename for member in members}
            if packed or sum(member.file_size for member in members) > size or len(members) > _MOST_MEMBERS:
                raise bad_file(
                    path,
                    "a compressed zip archive: PyTorch stores weights uncompressed; unpack it first",
                    "压缩过的 zip 文件：PyTorch 保存的权重不压缩，请先解压",
                )
            if not pickles:
                raise bad_file(
                    path,
                    "a zip archive, but not one that torch.save wrote: unpack it first",
                    "是 zip 文件，但不是 torch.save 保存的：请先解压",
                )
            if len(pickles) > 1 or len(names) != len(members) or pickles[0].file_size > _LONGEST_PICKLE:
                raise ValueError("no such archive comes from torch.save")
            pickle = archive.read(pickles[0])
        foreign = _foreign_global(pickle)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, RuntimeError):
        raise bad_file(
            path,
            f"a PyTorch file that is cut short or damaged ({size:,} bytes): save or download it again",
            f"PyTorch 文件不完整或已损坏（{size:,} 字节）：请重新保存或下载",
        ) from None
    if foreign is not None:
        shown = clean_line(foreign, 80)
        raise bad_file(
            path,
            f"holds code or objects ({shown}), not only weights; refused: save the model's state_dict() alone",
            f"含有代码或对象（{shown}），不只是权重，已拒绝：请只保存模型的 state_dict()",
        )


def _foreign_global(pickle: bytes) -> str | None:
    """The first thing a pickle names that a state dict has no use for; None where there is none. It is not executed."""
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in _NAMING and not _ALLOWED_GLOBALS.fullmatch(str(argument)):
            return str(argument).replace(" ", ".") if argument else opcode.name
    return None


def _state_dict(loaded: Any) -> dict[str, Tensor]:
    """The weights in what a file held: a state dict itself, or the one a resume file keeps beside its optimiser."""
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        return {}
    found = {str(name): tensor for name, tensor in loaded.items() if isinstance(tensor, Tensor)}
    return found if len(found) == len(loaded) else {}


def _exceeds_storage(tensor: Tensor) -> bool:
    """Whether a tensor repeats its numbers (strides of 0) or has none."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return True
    return tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()


def check_numbers(tensors: Mapping[str, Tensor], where: Path) -> None:
    """Raise UserError where one of `tensors`, which came from `where`, is not of finite floating-point numbers."""
    for name, tensor in tensors.items():
        shown = clean_line(name, 80)
        if tensor.dtype not in _FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise bad_file(
                where,
                f"{shown} has the dtype {kind}: weights are float32, float16 or bfloat16 here",
                f"{shown} 的数据类型是 {kind}：此处的权重应为 float32、float16 或 bfloat16",
            )
        if not _is_finite(tensor):
            raise bad_file(
                where,
                f"{shown} holds numbers that are not finite: the training had diverged, or the file is damaged; "
                "use an earlier checkpoint",
                f"{shown} 含有非有限数：训练已发散或文件损坏，请换用更早的检查点",
            )


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; the extremes tell, since NaN goes through, in a thirtieth of the time of asking each."""
    if tensor.numel() == 0:
        return True
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor))
