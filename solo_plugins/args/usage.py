# SPDX-License-Identifier: MIT
"""How the programs are used: said at once, before torch is imported, and before hydra starts."""

__all__ = ["PURPOSE", "SETTINGS", "arguments_for_hydra", "escape_missing_signs", "located"]

import argparse
import difflib
import io
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from typing_extensions import override

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.several import finished_runs, is_pattern

# Of each program: what it does, and the settings that are set most, with an example and a meaning.
PURPOSE = {
    "pretrain": "Pretrain a self-supervised method.",
    "linear": "Train a linear classifier on a pretrained network; RUN is its folder.",
    "knn": "Classify by nearest neighbours in a pretrained network's features; RUN is its folder.",
}
SETTINGS: dict[str, dict[str, tuple[str, str]]] = {
    "pretrain": {
        "method_kwargs.target_active_fraction": ("0.1", "active outputs, which determine mu"),
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
# Hydra's other options, without and with a value.
_FLAGS = ("--run", "-r", "--multirun", "-m", "--resolve")
_WITH_VALUE = ("--cfg", "-c", "--package", "-p")
# The setting that may be a pattern of runs.
_EVALUATED = "pretrained_feature_extractor"
# A setting that hydra would only change (NAME=VALUE) or only add (+NAME=VALUE).
_SETTING = re.compile(r"\+?(?P<name>[A-Za-z_]\w*(\.\w+)*)=.*", re.DOTALL)


def escape_missing_signs() -> None:
    """Let what is printed show signs that the terminal's encoding lacks as escapes, not end.

    For the start of a program: names and paths may have any sign, and an 8-bit locale has few.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def arguments_for_hydra(file: str, kind: str, arguments: Sequence[str] | None = None) -> list[str]:
    """Say how a program is used if that is asked for, or if its YAML is not there.

    Args:
        file: the program.
        kind: ``pretrain``, ``linear`` or ``knn``, the folder of its YAMLs below ``scripts``.
        arguments: those of the command line, by default the process's own.

    Returns:
        The arguments for hydra, in which NAME=VALUE and +NAME=VALUE are ++NAME=VALUE: whether there
        is such a setting is checked later, with a guess at what was meant.

    Raises:
        SystemExit: with status 0 if help was asked for, 2 without a ``--config-name`` and 1 if
            there is no such YAML or an argument is no setting.
    """
    escape_missing_signs()
    program = Path(file).resolve()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    given, others = _parse(arguments)
    if given.config_name is None and (bare := _bare_yaml(others)) is not None:
        folder = Path(given.config_path or bare.parent)
        raise _without_option(bare, f"--config-path {folder}/ --config-name {bare.name}")
    folder = Path("scripts", kind, "digits")
    usage = _Usage(
        program.parent,
        kind,
        f"python {program.name} --config-path FOLDER --config-name YAML",
        f"python {program.name} --config-path {folder}/ --config-name {{}}",
        str(Path("scripts", kind)) + "/",
    )
    if _answered(usage, given):
        return arguments
    problem = _missing(program.parent, kind, given.config_path, given.config_name)
    if problem:
        raise SystemExit(f"error: {problem}")
    place = ["--config-path", given.config_path, "--config-name", given.config_name]
    return [*place, *_settings(others, program.parent / given.config_path)]


def located(kind: str, arguments: Sequence[str], scripts: Path) -> list[str]:
    """Find the YAML that a subcommand of ``solo_plugins`` is given by its name.

    Args:
        kind: ``pretrain``, ``linear`` or ``knn``.
        arguments: those of the command line. ``--config-name`` may be a name that only one folder
            has, or FOLDER/NAME; ``--config-path`` is a folder of one's own.
        scripts: the folder of all programs' YAMLs.

    Returns:
        The arguments for hydra, with the folder of the YAML, as those of
        :func:`arguments_for_hydra`.

    Raises:
        SystemExit: as :func:`arguments_for_hydra`.
    """
    given, others = _parse(arguments)
    if given.config_name is None and (bare := _bare_yaml(others)) is not None:
        raise _without_option(bare, f"--config-name {Path(*bare.parts[-2:]).with_suffix('')}")
    command = f"solo_plugins {kind} --config-name"
    usage = _Usage(scripts.parent, kind, f"{command} YAML", f"{command} digits/{{}}", "")
    if _answered(usage, given):
        return list(arguments)
    if given.config_path is not None:
        problem = _missing(Path.cwd(), kind, given.config_path, given.config_name)
        folder, name = Path(given.config_path).resolve(), given.config_name
    else:
        name = _stem(given.config_name)
        found = [folder / stem for folder, stems in usage.yamls().items() for stem in stems]
        meant = [path for path in found if path.match(name)]
        short = [str(Path(*path.parts[-2:])) for path in found]
        problem = None
        if len(meant) != 1:
            twice = [str(Path(*path.parts[-2:])) for path in meant]
            problem = (
                f"Expected `--config-name` to be one YAML but got {given.config_name!r}."
                f"{_hint(name, short, twice)}"
            )
        else:
            folder, name = scripts.parent / meant[0].parent, meant[0].name
    if problem:
        raise SystemExit(f"error: {problem}")
    return ["--config-path", str(folder), "--config-name", name, *_settings(others, folder)]


class _Usage(NamedTuple):
    """What a program's usage says.

    Args:
        root: the folder that has ``scripts``.
        kind: the folder of its YAMLs below.
        command: how it is started.
        example: a command with a place for the name of a YAML for the digits.
        prefix: what folders are shown with.
    """

    root: Path
    kind: str
    command: str
    example: str
    prefix: str

    def yamls(self) -> dict[Path, list[str]]:
        return _yamls(self.root, self.kind)

    def several(self) -> str:
        """Say how a program does several things one after the other."""
        if self.kind == "pretrain":
            return "With -m and several values, as in ++seed=1,2, each is a run."
        return f"-m '++{_EVALUATED}=trained_models/*/*' evaluates all finished runs."

    def text(self) -> str:
        found = self.yamls()
        width = max(map(len, SETTINGS[self.kind])) + 18
        digits = found.get(Path("scripts", self.kind, "digits"), [])
        name = next((name for name in digits if name.startswith("rect")), "NAME")
        needed = "" if self.kind == "pretrain" else " ++pretrained_feature_extractor=RUN"
        lines = [
            f"usage: {self.command} [++SETTING=VALUE ...]",
            "",
            PURPOSE[self.kind],
            self.several(),
            "",
            "YAMLs:",
            *(f"  {self.prefix}{path.name}/: {', '.join(stems)}" for path, stems in found.items()),
            "",
            "Example:",
            f"  {self.example.format(name)}{needed}",
            "",
            "Settings that are set most; docs/configuration.md lists all:",
            *(
                f"  {f'++{key}={value}':<{width}} {meaning}"
                for key, (value, meaning) in SETTINGS[self.kind].items()
            ),
            "",
            "--hydra-help lists the options of hydra, which reads the YAMLs.",
        ]
        return "\n".join(lines)


def _answered(usage: _Usage, given: argparse.Namespace) -> bool:
    """Say how a program is used, and end, if that is asked for; tell whether hydra is to answer."""
    if given.help:
        print(usage.text())
        raise SystemExit(0)
    if any(getattr(given, name) for name in _HYDRAS) or "://" in str(given.config_path):
        return True
    if given.config_name is None:
        print(usage.text(), file=sys.stderr)
        raise SystemExit(2)
    return False


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    @override
    def error(self, message: str) -> NoReturn:
        raise SystemExit(f"error: Expected hydra's options, see --hydra-help, but: {message}.")


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Read those of hydra's own options that say what it is to do."""
    parser = _Parser(add_help=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-dir", "-cd")
    for name in ("--hydra-help", "--version"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    parser.add_argument("--experimental-rerun")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    return parser.parse_known_args(arguments)


def _bare_yaml(arguments: Sequence[str]) -> Path | None:
    """Find what looks like a YAML and stands where settings do."""
    for argument in arguments:
        is_setting = "=" in argument or argument.startswith(("-", "~"))
        if not is_setting and (argument.endswith((".yaml", ".yml")) or "/" in argument):
            return Path(argument)
    return None


def _without_option(yaml: Path, wanted: str) -> SystemExit:
    return SystemExit(f"error: Expected the YAML as `{wanted}` but got {str(yaml)!r} alone.")


def _settings(arguments: Iterable[str], folder: Path) -> list[str]:
    """Check what is not about the YAML's place: settings, and options of hydra's, which come first.

    An option between two settings would be an error of argparse's.
    """
    options, settings, rest = [], [], iter(arguments)
    for argument in rest:
        if argument.partition("=")[0] not in (*_FLAGS, *_WITH_VALUE):
            settings.append(_setting(argument, folder))
        else:
            options += [argument, *(islice(rest, 1) if argument in _WITH_VALUE else ())]
    several = bool({"--multirun", "-m", "hydra.mode=MULTIRUN"} & {*options, *settings})
    settings = [_expanded(setting, several=several) for setting in settings]
    return options + [_readable(setting, several=several) for setting in settings]


def _readable(setting: str, *, several: bool) -> str:
    """Quote a value that hydra cannot read, such as a path with spaces or of another alphabet."""
    name, _, value = setting.partition("=")
    if _SETTING.fullmatch(setting.lstrip("+")) is None:
        return setting
    parsed = _parsed(name, value)
    if parsed is None and several:
        parts = value.split(",")
        value = ",".join(part if _parsed(name, part) else _quoted(part) for part in parts)
        parsed = _parsed(name, value)
    if parsed is not None and parsed.is_sweep_override() and not several:
        raise SystemExit(
            f"error: Expected one value, or -m by which each is a run, but got {setting!r}. Of a "
            f"text with commas each quote counts: '{name}=\"{value}\"'."
        )
    return f"{name}={value if parsed is not None else _quoted(value)}"


def _parsed(name: str, value: str) -> Any:
    """Let hydra read a setting; None if it cannot."""
    # not needed for help, which is to come at once
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_overrides([f"{name}={value}"])[0]
    except HydraException:
        return None


def _quoted(value: str) -> str:
    """Write a text as hydra reads it, whatever is in it."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(value, Quote.single).with_quotes()


def _expanded(setting: str, *, several: bool) -> str:
    """Put the runs that a pattern means in its place, as values of which each is a run."""
    name, _, value = setting.partition("=")
    if value[:1] in ("'", '"') and value.endswith(value[0]):
        value = value[1:-1]  # hydra's quotes
    if name.lstrip("+") != _EVALUATED or not is_pattern(value):
        return setting
    try:
        runs = [str(path) for path in finished_runs(value)]
    except ConfigurationError as error:
        raise SystemExit(f"error: {error}") from None
    if len(runs) > 1 and not several:
        raise SystemExit(
            f"error: Expected -m with several runs, as {value!r} matches {len(runs)}: it evaluates "
            "one after the other."
        )
    return f"{name}={','.join(map(_quoted, runs))}"


def _setting(argument: str, folder: Path) -> str:
    """Refuse what is no setting, and let hydra add one as it would change one.

    Args:
        argument: of the command line.
        folder: that of the YAML. What has the name of a folder there chooses a YAML in it.
    """
    if argument.startswith("-") or not ("=" in argument or argument.startswith("~")):
        name = argument.lstrip("-+").partition("=")[0] or "NAME"
        raise SystemExit(f"error: Expected settings as `++{name}=VALUE` but got {argument!r}.")
    setting = _SETTING.fullmatch(argument)
    if (
        setting is None
        or setting["name"].startswith("hydra.")
        or (folder / setting["name"]).is_dir()
    ):
        return argument
    return f"++{argument.lstrip('+')}"


def _yamls(root: Path, kind: str) -> dict[Path, list[str]]:
    """List the YAMLs of a program, by folder."""
    folders = sorted(path for path in (root / "scripts" / kind).glob("*") if path.is_dir())
    return {path.relative_to(root): _stems(path) for path in folders}


def _stems(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _stem(name: str) -> str:
    return name.removesuffix(".yaml").removesuffix(".yml")


def _missing(root: Path, kind: str, config_path: str | None, config_name: str) -> str | None:
    """Say what is wrong with the place of a YAML; None if it is there."""
    stem = _stem(config_name)
    if config_path is None:
        found = _yamls(root, kind)
        at = [str(folder) for folder, names in found.items() if stem in names]
        return f"Expected `--config-path` to be set.{_hint('', at or list(map(str, found)), at)}"
    folder = root / config_path  # as hydra takes it
    if not folder.is_dir():
        others = [str(path) for path in _yamls(root, kind)]
        return (
            f"Expected `--config-path` to be a folder of YAMLs, from {str(root)!r}, but "
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
