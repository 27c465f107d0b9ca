"""Source code by name (``minimind.model.transformer:Attention.forward``), read with `ast`, never imported.

A code guide names symbols, never line numbers: lines move, names are found or the content doctor says that they are
gone. `fingerprint` changes when what the code does may have changed and stays when it was only moved or reformatted.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from minimind.errors import UserError
from minimind.syntax import module_tree

_REFERENCE = re.compile(r"^(?P<module>[A-Za-z_][\w.]*):(?P<name>[A-Za-z_][\w.]*)(?:#(?P<region>[\w-]+))?$")
_REGION = "# region: "
_REGION_END = "# end region"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of source code: where it stands now, its text, its docstring, and a hash of its syntax tree."""

    reference: str
    path: Path
    first_line: int
    text: str
    docstring: str
    fingerprint: str


def resolve(reference: str) -> Source:
    """The source `reference` names: ``package.module:Name``, ``:Class.method``, or either with ``#region``.

    A region is what stands between the comments ``# region: NAME`` and ``# end region``.
    Raises UserError naming the part that does not exist.
    """
    match = _REFERENCE.match(reference)
    if match is None:
        raise UserError(
            f"{reference!r} is not a code reference: write package.module:Name or package.module:Class.method",
            f"{reference!r} 不是代码引用：请写成 package.module:Name 或 package.module:Class.method",
        )
    path = module_path(match["module"])
    text = path.read_text(encoding="utf-8")
    node = _find(module_tree(text).body, match["name"], reference)
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    last = node.end_lineno or node.lineno
    lines = text.splitlines()
    if match["region"]:
        first, last = _region(lines, first, last, match["region"], reference)
    docstring = "" if isinstance(node, (ast.Assign, ast.AnnAssign)) else ast.get_docstring(node) or ""
    fingerprint = _fingerprint(node, first, last)
    return Source(reference, path, first, _dedent(lines[first - 1 : last]), docstring, fingerprint)


def module_path(name: str) -> Path:
    """The file of module `name`, found without importing the module itself. Raises UserError when there is none."""
    package, _, last = name.rpartition(".")
    try:
        found = importlib.util.find_spec(package or last)
    except ImportError:
        found = None
    for folder in (found.submodule_search_locations or []) if found and package else []:
        for path in (Path(folder) / f"{last}.py", Path(folder) / last / "__init__.py"):
            if path.is_file():
                return path
    if not package and found is not None and found.origin:
        return Path(found.origin)
    raise UserError(f"no module {name!r}", f"没有模块 {name!r}")


def _find(body: list[ast.stmt], name: str, reference: str) -> Definition:
    """The definition called `name` (dotted: inside a class) in `body`."""
    first, _, rest = name.partition(".")
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name == first:
                return _find(node.body, rest, reference) if rest else node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not rest:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == first for target in targets):
                return node
    raise UserError(f"{reference}: there is no {first!r} there", f"{reference}：其中没有 {first!r}")


def _fingerprint(node: Definition, first: int, last: int) -> str:
    """A hash of the statements in lines `first`…`last`; bare strings, which are docstrings, do not count."""
    statements = [
        ast.dump(child)
        for child in ast.walk(node)
        if isinstance(child, ast.stmt)
        and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
        and first <= child.lineno <= last
    ]
    signatures = [
        f"{child.name}({ast.dump(child.args)})"
        for child in ast.walk(node)
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) and first <= child.lineno <= last
    ]
    return hashlib.sha256("\n".join(signatures + statements).encode()).hexdigest()[:12]


def _region(lines: list[str], first: int, last: int, region: str, reference: str) -> tuple[int, int]:
    """First and last line between the comments that mark `region` within lines `first`…`last`."""
    start = None
    for number in range(first, last + 1):
        line = lines[number - 1].strip()
        if line == f"{_REGION}{region}":
            start = number + 1
        elif start is not None and line == _REGION_END and number > start:
            return start, number - 1
    raise UserError(f"{reference}: there is no region {region!r} there", f"{reference}：其中没有区段 {region!r}")


def _dedent(lines: list[str]) -> str:
    """`lines` without the indentation they share."""
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[indent:] for line in lines)
