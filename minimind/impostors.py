"""What a file is when it is not what its name says, told from its first bytes. Standard library only.

A download that ended at a sign-in page, a checkout without Git LFS, an archive that was never unpacked: these are what
people have in place of the file they mean, and each has another remedy.
"""

from __future__ import annotations

import re

from minimind.events import Text

PYTORCH_SUFFIXES = (".pth", ".pt", ".bin")
"""What files of `torch.save` are called."""

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"<", "a web page: the download went to the page; fetch the file itself", "网页：下载到的是页面，请重新下载文件本身"),
    (b"\x1f\x8b", "a gzip archive: unpack it first", "gzip 压缩文件：请先解压"),
    (b"BZh", "a bzip2 archive: unpack it first", "bzip2 压缩文件：请先解压"),
    (b"\xfd7zXZ", "an xz archive: unpack it first", "xz 压缩文件：请先解压"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first", "7z 压缩文件：请先解压"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first", "zstd 压缩文件：请先解压"),
    (b"Rar!", "a RAR archive: unpack it first", "RAR 压缩文件：请先解压"),
    (b"GGUF", "a GGUF file (llama.cpp): open the model it was made from", "GGUF 文件（llama.cpp）：请打开转换前的原模型"),
    (b"PAR1", "a Parquet file: that is data, not weights", "Parquet 文件：这是数据，不是权重"),
    (b"\x89HDF", "an HDF5 file: export it as safetensors", "HDF5 文件：请先导出为 safetensors"),
    (b"\x93NUMPY", "a NumPy array: export the model as safetensors", "NumPy 数组文件：请先把模型导出为 safetensors"),
    (
        b"\x80",
        "a bare pickle, which could run code, so it is not opened: load it where it was made and save it with torch.save",
        "裸 pickle 文件，可能执行代码，因此不打开：请在生成它的环境中用 torch.save 重新保存",
    ),
)  # fmt: skip
_POINTER = b"version https://git-lfs"


def impostor(head: bytes) -> Text | None:
    """What a file with these first bytes is, and what to do; None where it is none of the things known here."""
    if head.startswith(_POINTER):
        found = re.search(rb"size (\d{1,15})", head)
        size = f"{int(found[1]):,}" if found else "?"
        return Text(
            f"a Git LFS pointer, not the file itself ({size} bytes): run `git lfs pull`, or fetch it with `minimind download`",
            f"这是 Git LFS 指针，不是文件本身（{size} 字节）：请运行 `git lfs pull`，或用 `minimind download` 下载",
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    return next((Text(en, zh) for signature, en, zh in _SIGNATURES if start.startswith(signature)), None)
