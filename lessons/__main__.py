"""``python -m lessons …``: the course without the terminal app."""

import argparse
import sys

from lessons import author_commands, learner_commands
from minimind.cli import assemble
from minimind.cli import main as run_command_line


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command line."""
    return assemble(
        "python -m lessons",
        "The course: read, predict, run, answer, write / 课程：阅读、预测、运行、答题、动手写",
        [learner_commands.register, author_commands.register],
    )


def main() -> int:
    """Run one command; returns the exit status."""
    return run_command_line(build=build_parser)


if __name__ == "__main__":
    sys.exit(main())
