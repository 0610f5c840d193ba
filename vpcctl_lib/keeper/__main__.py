"""Run by its path: `python3 -I -S …/keeper/__main__.py ORDERS -- PROGRAM`, without any other settings."""

import os
import sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]

from vpcctl_lib.keeper.keeper import main  # noqa: E402 - it is found by the line before

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
