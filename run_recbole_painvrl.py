"""Trains, tests and compares recommenders: ``python run_recbole_painvrl.py --help``."""

import sys

from recbole_painvrl.cli import main

if __name__ == "__main__":
    sys.exit(main())
