"""Run ``python -m headrouter.cli``."""

import sys

from headrouter.cli import main

if __name__ == "__main__":
    sys.exit(main())
