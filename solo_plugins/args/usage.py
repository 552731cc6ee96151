# SPDX-License-Identifier: MIT
"""How the programs are used: said at once, before torch is imported, and before hydra starts."""

__all__ = ["SETTINGS", "show_usage"]

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

# Of each program: what it does, and the settings that are set most, with an example and a meaning.
_PURPOSE = {
    "pretrain": "Pretrain a self-supervised method.",
    "linear": "Train a linear classifier on a pretrained network; RUN is its folder.",
    "knn": "Classify by nearest neighbours in a pretrained network's features; RUN is its folder.",
}
SETTINGS: dict[str, dict[str, tuple[str, str]]] = {
    "pretrain": {
        "method_kwargs.target_active_fraction": (
            "0.1",
            "active outputs; beside ++method_kwargs.mean_shift_value=null",
        ),
        "method_kwargs.mean_shift_value": ("-1.0", "mu, if no fraction is asked for"),
        "method_kwargs.projection_vectors_type": ("hadamard", "fast directions"),
        "max_epochs": ("100", "epochs"),
        "optimizer.batch_size": ("128", "images of a step, in each process"),
        "optimizer.lr": ("0.03", "learning rate for a batch of 256"),
        "backbone.name": ("resnet18", "the network, also timm/<name>"),
        "data.dataset": ("custom", "a folder of class folders"),
        "data.train_path": ("DIR", "training images"),
        "data.val_path": ("DIR", "validation images"),
        "data.num_workers": ("8", "processes that load images"),
        "checkpoint.dir": ("DIR", "folder of all runs"),
        "seed": ("6", "of all random numbers"),
        "wandb.enabled": ("true", "log to Weights & Biases"),
    },
    "linear": {
        "pretrained_feature_extractor": ("RUN", "a run's folder, or a checkpoint"),
        "features": ("projector", "classify outputs, not backbone features"),
        "finetune": ("true", "train the network, too"),
        "cache_features": ("true", "run the network once: minutes on a CPU"),
        "data.shots": ("10", "training images of each class"),
        "max_epochs": ("20", "epochs"),
        "optimizer.lr": ("0.1", "learning rate for a batch of 256"),
    },
    "knn": {
        "pretrained_feature_extractor": ("RUN", "a run's folder, or a checkpoint"),
        "features": ("[backbone]", "what neighbours are looked for in"),
        "k": ("[1,20]", "numbers of neighbours"),
        "temperature": ("[0.07]", "of the cosine's votes"),
        "distance": ("[cosine]", "cosine, euclidean or both"),
        "max_distances": ("1000000", "distances held at once, for less memory"),
    },
}
# With these hydra does something else, or looks elsewhere.
_HYDRAS = ("hydra_help", "version", "info", "shell_completion", "experimental_rerun", "config_dir")


def show_usage(file: str, kind: str, arguments: Sequence[str] | None = None) -> None:
    """Say how a program is used if that is asked for, or if its YAML is not there.

    Args:
        file: the program.
        kind: ``pretrain``, ``linear`` or ``knn``, the folder of its YAMLs below ``scripts``.
        arguments: those of the command line, by default the process's own.

    Raises:
        SystemExit: with status 0 if help was asked for, 2 without a ``--config-name`` and 1 if
            there is no such YAML; else nothing happens.
    """
    program = Path(file).resolve()
    given = _parse(sys.argv[1:] if arguments is None else arguments)
    if given.help:
        print(_usage(program, kind))
        raise SystemExit(0)
    if any(getattr(given, name) for name in _HYDRAS) or "://" in str(given.config_path):
        return
    if given.config_name is None:
        print(_usage(program, kind), file=sys.stderr)
        raise SystemExit(2)
    problem = _missing(program, kind, given.config_path, given.config_name)
    if problem:
        raise SystemExit(f"error: {problem}")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read those of hydra's own options that say what it is to do."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    for name in ("--hydra-help", "--version"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    parser.add_argument("--experimental-rerun")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    return parser.parse_known_args(arguments)[0]


def _usage(program: Path, kind: str) -> str:
    found = _yamls(program.parent, kind)
    width = max(map(len, SETTINGS[kind])) + 18
    folder = Path("scripts", kind, "digits")
    name = next((name for name in found.get(folder, []) if name.startswith("rect")), "NAME")
    command = f"python {program.name} --config-path"
    needed = "" if kind == "pretrain" else " ++pretrained_feature_extractor=RUN"
    lines = [
        f"usage: {command} FOLDER --config-name YAML [++SETTING=VALUE ...]",
        "",
        f"{_PURPOSE[kind]} With -m and several values, as in ++seed=1,2, each is a run.",
        "",
        "YAMLs:",
        *(f"  {folder}/: {', '.join(names)}" for folder, names in found.items()),
        "",
        "Example:",
        f"  {command} {folder}/ --config-name {name}{needed}",
        "",
        "Settings that are set most; docs/configuration.md lists all:",
        *(
            f"  {f'++{key}={value}':<{width}} {meaning}"
            for key, (value, meaning) in SETTINGS[kind].items()
        ),
        "",
        "--hydra-help lists the options of hydra, which reads the YAMLs.",
    ]
    return "\n".join(lines)


def _yamls(root: Path, kind: str) -> dict[Path, list[str]]:
    """List the YAMLs of a program, by folder."""
    folders = sorted(path for path in (root / "scripts" / kind).glob("*") if path.is_dir())
    return {path.relative_to(root): _stems(path) for path in folders}


def _stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _missing(program: Path, kind: str, config_path: str | None, config_name: str) -> str | None:
    """Say what is wrong with the place of a YAML; None if it is there."""
    stem = config_name.removesuffix(".yaml").removesuffix(".yml")
    if config_path is None:
        found = _yamls(program.parent, kind)
        at = [str(folder) for folder, names in found.items() if stem in names]
        return f"Expected `--config-path` to be set.{_hint('', at or list(map(str, found)), at)}"
    folder = program.parent / config_path  # as hydra takes it
    if not folder.is_dir():
        others = [str(path) for path in _yamls(program.parent, kind)]
        return (
            f"Expected `--config-path` to be a folder of YAMLs, from {str(program.parent)!r}, but "
            f"got {config_path!r}.{_hint(config_path.rstrip('/'), others)}"
        )
    if any((folder / f"{stem}{end}").is_file() for end in (".yaml", ".yml")):
        return None
    return (
        f"Expected `--config-name` to be a YAML in {config_path!r} but got {config_name!r}."
        f"{_hint(stem, _stems(folder))}"
    )


def _hint(name: str, there: Sequence[str], meant: Iterable[str] = ()) -> str:
    near = [*meant] or difflib.get_close_matches(name, there, n=1)
    hint = f" Did you mean {' or '.join(f'`{one}`' for one in near)}?" if near else ""
    return f"{hint} There are: {', '.join(there) or 'none'}."
