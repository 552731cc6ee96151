# SPDX-License-Identifier: MIT
"""The same run on solo-learn's PyPI release and on its main branch: do their losses agree?

    python benchmarks/releases.py --main ../solo-learn

Each method is pretrained twice by ``main_pretrain.py``, in processes of their own, from its digits
YAML with the same seed: on the solo-learn that this interpreter has, which must be 1.0.2, and on
the clone of main. Every loss that both log is compared epoch by epoch. The last line is JSON.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASE = "from solo_plugins.framework import release; print(release())"
Losses = dict[str, list[float]]


def main() -> None:
    """Run, print the table and the JSON line."""
    args = _arguments()
    if not (args.main / "solo" / "data").is_dir():
        sys.exit(f"Expected --main to be a clone of solo-learn's main branch but got {args.main}.")
    python_path = {"pypi": str(ROOT), "main": f"{ROOT}{os.pathsep}{args.main.resolve()}"}
    for wanted, path in python_path.items():
        found = _run(["-c", RELEASE], path).strip()
        if found != wanted:
            sys.exit(f"Expected solo-learn's release to be {wanted} with {path} but got {found}.")
    results = {}
    for method in args.methods:
        losses = {name: _losses(method, path, args) for name, path in python_path.items()}
        results[method] = _compare(method, losses["pypi"], losses["main"])
    settings = {"epochs": args.epochs, "batches": args.batches, "seed": args.seed}
    print(json.dumps({**settings, "max_relative_difference": results}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--main", type=Path, required=True, help="a clone of vturrisi/solo-learn")
    parser.add_argument("--methods", nargs="+", default=["vicreg", "byol"])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batches", type=int, default=8, help="of 64 images, per epoch")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--overrides", nargs="*", default=[], help="hydra's, e.g. ++optimizer.lr=1")
    return parser.parse_args()


def _losses(method: str, python_path: str, args: argparse.Namespace) -> Losses:
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "accelerator": "cpu",
            "max_epochs": args.epochs,
            "limit_train_batches": args.batches,
            "seed": args.seed,
            "data.num_workers": 0,
            "checkpoint.dir": folder,
            "auto_resume.enabled": False,
            "enable_progress_bar": False,
        }
        program = [str(ROOT / "main_pretrain.py"), f"--config-name={method}_digits"]
        program += ["--config-path", str(ROOT / "scripts" / "pretrain" / "digits")]
        overrides = [f"++{key}={value}" for key, value in settings.items()]
        _run(["-W", "ignore", *program, *overrides, *args.overrides], python_path)
        (log,) = Path(folder).glob("*/*/metrics.csv")
        with log.open() as file:
            rows = list(csv.DictReader(file))
    # A training loss or similarity of an epoch, or a validation loss.
    names = [name for name in rows[0] if name.endswith("_epoch") and name.startswith("train_")]
    names = [name for name in names if "loss" in name or "sim" in name] + ["val_loss"]
    return {name: [float(row[name]) for row in rows if row[name]] for name in names}


def _run(arguments: list[str], python_path: str) -> str:
    env = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} with PYTHONPATH={python_path} failed:\n{done.stderr}")
    return done.stdout


def _compare(method: str, pypi: Losses, main: Losses) -> dict[str, float]:
    largest = {}
    for name in sorted(set(pypi) & set(main)):
        print(f"\n{method}, {name}\n{'epoch':>5} {'PyPI 1.0.2':>14} {'main':>14} {'relative':>10}")
        pairs = list(zip(pypi[name], main[name], strict=True))
        differences = [abs(one - other) / max(abs(other), 1e-12) for one, other in pairs]
        for epoch, (pair, difference) in enumerate(zip(pairs, differences, strict=True)):
            print(f"{epoch:>5} {pair[0]:>14.7f} {pair[1]:>14.7f} {difference:>10.1e}")
        largest[name] = max(differences)
    for name in sorted(set(pypi) ^ set(main)):
        print(f"\n{method}, {name}: logged by {'PyPI 1.0.2' if name in pypi else 'main'} only")
    return largest


if __name__ == "__main__":
    main()
