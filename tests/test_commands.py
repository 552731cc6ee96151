# SPDX-License-Identifier: MIT
"""Every command of README and pages is one that the programs take; `make torture` runs them."""

import configparser
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from solo_plugins.__main__ import main
from solo_plugins.args.evaluation import parse_knn_cfg, parse_linear_cfg
from solo_plugins.args.pretrain import parse_cfg

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PARSERS = {"pretrain": parse_cfg, "linear": parse_linear_cfg, "knn": parse_knn_cfg}
# What stands for something of the reader's.
VALUES = {
    "CONFIG": "rectified_lpjepa_cifar100",
    "NAME": "named",
    "SEED": "5",
    "EXTRA": "++method_kwargs.mean_shift_value=-1",
    "ENTITY": "somebody",
    "PROJECT": "something",
}
PLACES = ("RUN", "FOLDER", "DATA", "DIR", "OUT", "ATLAS", "WHERE_THE_IMAGES_LIE_NOW")
EMBEDDED = ("TRAIN", "TEST", "codes")


def _commands() -> dict[str, list[str]]:
    """Return the words of each command of the pages, with the first value of every loop."""
    found = {}
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            text = block.replace("\\\n", " ")
            for name, value in re.findall(r"for (\w+) in (\S+).*; do", text):
                text = re.sub(rf"\$\{{?{name}\b\}}?", value, text)
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] not in ("for", "done"):
                    found[" ".join(words)] = words[1:] if words[0] == "srun" else words
    return found


COMMANDS = _commands()


def _started(*programs: str) -> pytest.MarkDecorator:
    lines = [line for line, words in COMMANDS.items() if _program(words) in programs]
    return pytest.mark.parametrize("line", lines)


def _program(words: list[str]) -> str:
    """Return what a command starts: `main_pretrain.py`, `benchmarks`, `solo_plugins`, ..."""
    start = words[1] if words[0] == "python" else words[0]
    return "solo_plugins" if start == "torchrun" else start.split("/")[0]


def _filled(words: list[str], places: dict[str, Path]) -> list[str]:
    """Put the reader's things into a command."""
    values = {**VALUES, **{name: str(path) for name, path in places.items()}}
    names = "|".join(sorted(values, key=len, reverse=True))
    words = [word.replace("trained_models/*/*", "RUN") for word in words]
    return [
        re.sub(rf"(?<![\w.])({names})(?![\w.])", lambda found: values[found[1]], word)
        for word in (word.removesuffix("...") for word in words)
    ]


def _subcommand(words: list[str]) -> list[str]:
    return words[words.index("solo_plugins") + 1 :]


@pytest.fixture(scope="module")
def places(run_below: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a run, an image and folders for what stands for the reader's."""
    folder = tmp_path_factory.mktemp("reader")
    image = Image.new("RGB", (8, 8))
    for name in ("own.png", "seven.png"):
        image.save(folder / name)
    (folder / "DATA").mkdir()
    for own in ("DIR", "FOLDER", "images/train", "images/val"):
        for label in ("cat", "dog"):
            (folder / own / label).mkdir(parents=True)
            for number in range(20):
                image.save(folder / own / label / f"{number}.png")
    given = {name: folder / name for name in (*PLACES, *EMBEDDED)}
    data = {"dataset": "custom", "train_path": str(folder / "images/train"), "num_workers": 0}
    own_run = run_below(folder, name="own", data=data)
    run = run_below(folder)
    return {**given, "RUN": run, "OWN_RUN": own_run, "IMAGE": folder / "own.png"}


def _of(line: str, places: dict[str, Path]) -> dict[str, Path]:
    """Return the reader's things for a command: one for own images takes a run of such."""
    return {**places, "RUN": places["OWN_RUN"]} if "/custom" in line else places


def test_there_is_nothing_else_in_the_pages() -> None:
    known = {*(f"main_{name}.py" for name in (*PARSERS, "report")), "benchmarks", "solo_plugins"}
    assert {_program(words) for words in COMMANDS.values()} <= known | {
        *("make", "pip", "git", "cd", "source", "-c")
    }


@pytest.mark.usefixtures("methods")
@_started(*(f"main_{name}.py" for name in PARSERS))
def test_the_programs_take_what_the_pages_say(
    line: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places["RUN"].parents[2])
    words = _filled(COMMANDS[line], _of(line, places))
    values = {"--config-path": "", "--config-name": "", "-m": "", "--multirun": ""}
    overrides = []
    rest = iter([part for word in words[2:] for part in re.split(r"(?<=^--config-name)=", word)])
    for word in rest:
        if word.startswith("--config-"):
            values[word] = next(rest)
        elif word not in values:
            # one run of a sweep
            overrides.append(re.sub(r"=([^\[',]+),[^\[]*$", r"=\1", word))
    folder, name = ROOT / values["--config-path"], Path(values["--config-name"]).stem
    with initialize_config_dir(str(folder), version_base="1.2"):
        cfg = compose(name, overrides=overrides)
    OmegaConf.set_struct(cfg, False)
    kind = words[1].removeprefix("main_").removesuffix(".py")
    assert PARSERS[kind](cfg)


@_started("solo_plugins", "main_report.py")
def test_the_subcommands_take_what_the_pages_say(line: str, places: dict[str, Path]) -> None:
    words = _filled(COMMANDS[line], places)
    name, *arguments = (
        ["report", *words[2:]] if words[1] == "main_report.py" else _subcommand(words)
    )
    with main.commands[name].make_context(name, arguments):
        pass


@_started("benchmarks")
def test_the_benchmarks_have_the_options_that_the_pages_name(line: str) -> None:
    _, file, *arguments = COMMANDS[line]
    source = (ROOT / file).read_text()
    for option in arguments:
        assert not option.startswith("--") or f'"{option}"' in source


@_started("make", "pip", "git", "cd")
def test_targets_and_extras_are_there(line: str) -> None:
    words = COMMANDS[line]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extra in re.findall(r"\.\[([\w,]+)\]", line):
        assert set(extra.split(",")) <= set(setup["options.extras_require"])


@pytest.fixture(scope="module")
def embedded(places: dict[str, Path], run_program: Callable) -> dict[str, Path]:
    """Return the reader's things, with embeddings where commands look for some."""
    folder = places["RUN"].parents[2]
    for name in EMBEDDED:
        arguments = ("embed", str(places["RUN"]), "--split", "val", "--out", str(folder / name))
        assert not run_program("-c", SUBCOMMAND, *arguments, cwd=folder).returncode
    return {**places, "DIR": folder / "codes"}


SUBCOMMAND = "from solo_plugins.__main__ import main; main()"
# A step on digits stands for a training on what this machine has not.
SHORT = {
    "main_pretrain.py": [
        *("++data.dataset=digits", "++data.num_workers=0", "++optimizer.batch_size=16"),
        *("++max_epochs=1", "++limit_train_batches=1", "++limit_val_batches=1"),
        *("++wandb.enabled=false", "++knn_eval.enabled=false"),
        *("++devices=1", "++num_nodes=1"),
    ],
    "main_linear.py": ["++max_epochs=1", "++limit_train_batches=1", "++check_val_every_n_epoch=1"],
    "main_knn.py": [],
    "main_report.py": [],
}


@pytest.mark.torture
@_started(*SHORT, "solo_plugins")
def test_the_commands_of_the_pages_run(
    line: str, embedded: dict[str, Path], run_program: Callable, run_main: Callable
) -> None:
    words, folder = COMMANDS[line], embedded["RUN"].parents[2]
    reads_images = words[1] == "main_pretrain.py" or "embed" in words
    filled = {**embedded, "DIR": folder / "DIR"} if reads_images else embedded
    words = _filled(words, _of(line, filled))
    # what stands for what is not here
    instead = {
        "cifar100": "digits",
        "hydra/launcher=submitit_slurm": "hydra/launcher=submitit_local",
    }
    words = [instead.get(word, word) for word in words]
    for made in folder.glob("*/atlas"):
        shutil.rmtree(made)
    if words[0] == "torchrun":
        start = ["-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "solo_plugins"]
        arguments = [*start, *_subcommand(words)]
    elif _program(words) == "solo_plugins":
        arguments = ["-c", SUBCOMMAND, *_subcommand(words)]
    else:
        own = [] if "custom/" in line else SHORT[words[1]]
        arguments = [str(ROOT / words[1]), *words[2:], *own]
    if "--out" in arguments:
        arguments[arguments.index("--out") + 1] = str(
            folder / f"made-{len(os.listdir(folder))}.pdf"
        )
    run = run_main if words[0] == "torchrun" else run_program
    done = run(*arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.torture
@_started("-c")
def test_the_lines_of_python_run(line: str, run_program: Callable, tmp_path: Path) -> None:
    done = run_program(*COMMANDS[line][1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.png"))
