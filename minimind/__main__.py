"""``minimind`` and ``python -m minimind``: Ctrl-C while the commands are being loaded ends quietly too."""

import sys

INTERRUPTED = 130


def main() -> int:
    """Run one command; returns the exit status."""
    try:
        from minimind.cli import main as run_command_line
    except KeyboardInterrupt:
        return INTERRUPTED
    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
