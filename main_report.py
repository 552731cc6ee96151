# SPDX-License-Identifier: MIT
"""Write a table and pictures of pretraining runs, e.g.

python main_report.py trained_models --out report/
"""

import argparse

from solo_plugins.errors import ConfigurationError
from solo_plugins.report import write_report
from solo_plugins.untrusted.text import printable


def main() -> None:
    """Read the command line; where there is no run, end with one line and exit status 1."""
    parser = argparse.ArgumentParser(description="Write a table and pictures of pretraining runs.")
    parser.add_argument("runs", nargs="+", help="run folders, folders above them, or globs")
    parser.add_argument("--out", default="report", help="folder to write to (default: report)")
    arguments = parser.parse_args()
    try:
        print(f"Report: {write_report(arguments.runs, arguments.out)}")
    except ConfigurationError as error:
        raise SystemExit(printable(f"error: {error}")) from error


if __name__ == "__main__":
    main()
