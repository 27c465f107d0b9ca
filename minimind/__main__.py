"""``python -m minimind``."""

import sys

from minimind.cli import main

if __name__ == "__main__":
    sys.exit(main())
