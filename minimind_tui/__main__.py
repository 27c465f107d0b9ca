"""``minimind-tui``: sees that our own packages are the ones installed, then hands over to the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the app; returns the exit status."""
    try:
        from minimind_tui.command_line import main as run
    except ImportError as error:
        sys.stderr.write(f"minimind-tui: {_explain(error)}\n")
        return 2
    return run()


def _explain(error: ImportError) -> str:
    """What keeps the app from being imported, in one line."""
    import importlib.metadata
    import importlib.util

    name = (error.name or "").partition(".")[0]
    if name == "minimind":
        try:
            other = importlib.metadata.distribution("minimind").metadata["Name"]
        except importlib.metadata.PackageNotFoundError:
            other = None
        spec = importlib.util.find_spec("minimind")
        where = spec.origin if spec is not None else "?"
        if other is not None:
            return (
                f"another distribution, {other}, has put its own 'minimind' package at {where}: "
                f"pip uninstall {other}; pip install --force-reinstall minimind-tui / "
                f"另一个发行包 {other} 占用了 minimind 包：请先卸载它，再重装 minimind-tui"
            )
    return (
        f"{error}: the installation is not complete: pip install --force-reinstall minimind-tui / "
        "安装不完整：请重装 minimind-tui"
    )


if __name__ == "__main__":
    sys.exit(main())
