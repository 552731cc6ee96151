# SPDX-License-Identifier: MIT
"""Write tables and pictures of pretraining runs, e.g.

python main_report.py trained_models --out report/
"""

from solo_plugins.__main__ import report
from solo_plugins.args.usage import escape_missing_signs

if __name__ == "__main__":
    escape_missing_signs()
    report(prog_name="main_report.py")
