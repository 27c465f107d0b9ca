"""``python -m lessons …``: the course without the terminal app."""

import argparse
import sys

from lessons.author_commands import register as register_author_commands
from lessons.learner_commands import register as register_learner_commands
from minimind.cli import assemble
from minimind.cli import main as run_command_line


def build_parser() -> argparse.ArgumentParser:
    """The parser of this command line."""
    return assemble(
        "python -m lessons",
        "The course: read, predict, run, answer, write / 课程：阅读、预测、运行、答题、动手写",
        [register_learner_commands, register_author_commands],
    )


def main() -> int:
    """Run one command; returns the exit status."""
    return run_command_line(build=build_parser)


if __name__ == "__main__":
    sys.exit(main())
