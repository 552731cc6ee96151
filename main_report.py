# SPDX-License-Identifier: MIT
"""Write a table and pictures of pretraining runs, e.g.

python main_report.py trained_models --out report/
"""

import argparse

from solo_plugins.errors import ConfigurationError, os_error_line


def main() -> None:
    """Read the command line; where there is no run, end with one line and exit status 1."""
    parser = argparse.ArgumentParser(description="Write a table and pictures of pretraining runs.")
    parser.add_argument("runs", nargs="+", help="run folders, folders above them, or globs")
    parser.add_argument("--out", default="report", help="folder to write to (default: report)")
    arguments = parser.parse_args()
    # Not before: pandas, seaborn and torch take ten seconds, and help is to come at once.
    from solo_plugins.report import write_report

    try:
        print(f"Report: {write_report(arguments.runs, arguments.out)}")
    except ConfigurationError as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        raise SystemExit(f"error: {os_error_line(error)}") from error


if __name__ == "__main__":
    main()
