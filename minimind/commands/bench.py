"""``minimind bench …``: what this machine does in a second, always as a ratio to a baseline measured beside it.

A benchmark is a module of `minimind.benchmarks` with ``register(subparsers)``; add its name to BENCHMARKS.
"""

from __future__ import annotations

import argparse
import importlib

BENCHMARKS = ("ceilings", "train", "decode", "data", "prefill", "ui")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bench`` and its subcommands."""
    parser = subparsers.add_parser("bench", help="measure this machine / 测量这台机器")
    benchmarks = parser.add_subparsers(title="benchmarks / 测试", metavar="WHAT", required=True)
    for name in BENCHMARKS:
        importlib.import_module(f"minimind.benchmarks.{name}").register(benchmarks)
