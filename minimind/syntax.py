"""Python's syntax trees, one thread at a time.

CPython 3.11 keeps one recursion counter for all threads while it builds a tree (python/cpython#106905 mended only the
case of one thread). The garbage collector may switch threads in the middle, and whoever ends second then gets
"SystemError: AST constructor recursion depth mismatch". Home reads the course in a thread while a page opens a code
guide, and a tool may calculate meanwhile, so every tree of ours is made here.
"""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()


def module_tree(source: str) -> ast.Module:
    """The tree of a file of Python. Raises what `ast.parse` raises."""
    with _ONE_AT_A_TIME:
        return ast.parse(source)


def expression_tree(source: str) -> ast.expr:
    """The tree of one expression. Raises what `ast.parse` raises."""
    with _ONE_AT_A_TIME:
        return ast.parse(source, mode="eval").body
