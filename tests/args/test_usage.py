# SPDX-License-Identifier: MIT
"""The programs say how they are used at once, and which YAMLs there are."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from solo_plugins.args.evaluated import KnnSettings, LinearSettings
from solo_plugins.args.models import pretrain_model
from solo_plugins.args.usage import SETTINGS, arguments_for_hydra, escape_missing_signs, located
from solo_plugins.args.wording import every_name
from solo_plugins.configs import scripts

PROGRAMS = ["pretrain", "linear", "knn"]
DIGITS = ["--config-path", "scripts/pretrain/digits/"]


@pytest.mark.parametrize("kind", [*PROGRAMS, "report"])
def test_help_comes_before_torch(kind: str, root: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['main_{kind}.py', '--help']\n"
        f"try: runpy.run_path({str(root / f'main_{kind}.py')!r}, run_name='__main__')\n"
        "except SystemExit as end: print(end.code)\n"
        "print(*sorted({'torch', 'lightning', 'pandas', 'numpy'} & set(sys.modules)) or ['none'])"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.lower().startswith("usage: ")
    assert run.stdout.splitlines()[-2:] == ["0", "none"]


@pytest.mark.parametrize("kind", PROGRAMS)
def test_without_a_yaml_the_usage_lists_them(
    kind: str, root: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end:
        arguments_for_hydra(str(root / f"main_{kind}.py"), kind, [])
    assert end.value.code == 2
    text = capsys.readouterr().err
    for path in root.glob(f"scripts/{kind}/*/*.yaml"):
        (line,) = (line for line in text.splitlines() if f"/{path.parent.name}/: " in line)
        assert path.stem in line.partition(": ")[2].split(", ")
    assert f"python main_{kind}.py --config-path scripts/{kind}/digits/ --config-name rect" in text


@pytest.mark.parametrize(
    ("kind", "name", "folder"),
    [
        ("pretrain", "byol_digits", "digits"),
        ("pretrain", "digits/byol_digits.yaml", "digits"),
        ("linear", "cifar/rectified_lpjepa", "cifar"),
    ],
)
def test_a_subcommand_finds_a_yaml_by_its_name(
    kind: str, name: str, folder: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = ["--config-path", str(root / "scripts" / kind / folder), "--config-name"]
    stem = Path(name).stem
    got = located(kind, ["-m", f"--config-name={name}", "++seed=1,2"], scripts())
    assert got == [*wanted, stem, "-m", "++seed=1,2"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").touch()
    own = located(kind, ["--config-path", "own", "-cn", "mine"], scripts())
    assert own == ["--config-path", str(tmp_path / "own"), "--config-name", "mine"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-cn", "byol_digit"], "one YAML but got 'byol_digit'. Did you mean `digits/byol_digits`"),
        (["-cn", "digits/x"], r"one YAML but got 'digits/x'\. There are: cifar/barlow_twins_cifar"),
        (["-cp", "no", "-cn", "x"], "`--config-path` to be a folder of YAMLs"),
    ],
)
def test_a_subcommand_names_the_yamls_that_there_are(arguments: list[str], text: str) -> None:
    with pytest.raises(SystemExit, match=text):
        located("pretrain", arguments, scripts())


def test_a_name_in_several_folders_is_asked_for() -> None:
    with pytest.raises(SystemExit, match="Did you mean `cifar/rectified_lpjepa` or `custom/rect"):
        located("knn", ["--config-name", "rectified_lpjepa"], scripts())


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_settings_of_the_usage_exist(kind: str) -> None:
    model = {"linear": LinearSettings, "knn": KnnSettings}.get(kind)
    names = every_name(model or pretrain_model("rectified_lpjepa", "sgd"))
    assert set(SETTINGS[kind]) <= set(names)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([*DIGITS, "-cn", "byol_digit"], r"`--config-name` to be .* Did you mean `byol_digits`"),
        ([*DIGITS, "--config-name=x"], r"to be a YAML in .* but got 'x'\. There are: barlow_twins"),
        (["--config-path=scripts/pretrian", "-cn=x"], r"`--config-path` to be a folder of YAMLs"),
        (["--config-name=byol_digits"], r"`--config-path` .* mean `scripts/pretrain/digits`"),
        (
            [*DIGITS, "--config", "x"],
            r"^error: .*--config could match --config-path, --config-name",
        ),
        ([*DIGITS, "--config-name"], r"^error: .* --config-name/-cn: expected one argument"),
        (["--config-name=x"], r"`--config-path` to be set\. There are: scripts/pretrain/cifar, "),
    ],
    ids=str,
)
def test_a_yaml_that_is_not_there_is_answered_with_those_that_are(
    arguments: list[str], text: str, root: Path
) -> None:
    with pytest.raises(SystemExit, match=text) as end:
        arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", arguments)
    assert "\n" not in str(end.value)


@pytest.mark.parametrize(
    "arguments",
    [
        [*DIGITS, "--config-name", "byol_digits.yaml", "-m", "++seed=1"],
        [*DIGITS, "--config-name", "byol_digits"],
        [*DIGITS, "--config-name", "byol_digits", "--multirun", "--cfg", "job", "--resolve"],
        ["--hydra-help"],
        ["--config-dir", "/tmp", "--config-name", "x"],
        ["--config-path", "pkg://solo_plugins.configs", "--config-name", "x", "a=1"],
    ],
    ids=str,
)
def test_what_hydra_can_do_is_left_to_it(arguments: list[str], root: Path) -> None:
    given = arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", arguments)
    assert given == arguments


def test_options_may_stand_anywhere(root: Path) -> None:
    # argparse, and so hydra, takes no settings on both sides of an option
    place = [*DIGITS, "--config-name", "byol_digits"]
    given = ["++seed=1,2", "-m", "name=a", "--package", "p", "++lr=3", "--cfg=job"]
    got = arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", [*place, *given])
    settings = ["++seed=1,2", "++name=a", "++lr=3"]
    assert got == [*place, "-m", "--package", "p", "--cfg=job", *settings]
    assert get_args_parser().parse_args(got).overrides == settings


@pytest.mark.parametrize(
    ("argument", "wanted"),
    [
        ("max_epochs=3", "++max_epochs=3"),
        ("+max_epochs=3", "++max_epochs=3"),
        ("++max_epochs=3", "++max_epochs=3"),
        ("data.format=dali", "++data.format=dali"),
        ("augmentations.0.crop_size=16", "++augmentations.0.crop_size=16"),
        ("name=a=b", "++name='a=b'"),  # hydra reads no second sign
        ("max_epochs=", "++max_epochs="),
        ("~optimizer.kwargs", "~optimizer.kwargs"),
        ("~data.val_path=x", "~data.val_path=x"),
        ("hydra.run.dir=x", "hydra.run.dir=x"),
        ("hydra/launcher=x", "hydra/launcher=x"),
        ("own=first", "own=first"),  # chooses own/first.yaml
        ("+own=first", "+own=first"),
        ("own.first=1", "++own.first=1"),
    ],
)
def test_hydra_adds_a_setting_as_it_changes_one(argument: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "scripts" / "own").mkdir(parents=True)
    (tmp_path / "scripts" / "mine.yaml").touch()
    place = ["--config-path", "scripts", "--config-name", "mine"]
    got = arguments_for_hydra(str(tmp_path / "main.py"), "pretrain", [*place, "-m", argument])
    assert got == [*place, "-m", wanted]
    folder = str(tmp_path / "scripts")
    place = ["--config-path", folder, "--config-name", "mine"]
    assert located("pretrain", [*place, argument], scripts()) == [*place, wanted]


def test_a_setting_that_hydra_does_not_know_gets_a_guess(run_main: Callable) -> None:
    run = run_main("main_pretrain.py", *DIGITS, "--config-name=byol_digits", "max_epoch=3")
    assert run.returncode == 1
    wanted = "error: Expected only known settings but got `max_epoch`. Did you mean `max_epochs`?"
    assert run.stderr.splitlines()[-1] == wanted


def test_a_sign_that_an_8_bit_terminal_lacks_is_shown_as_an_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    escape_missing_signs()
    print("\xb5 \u03bc", flush=True)
    assert written.getvalue() == b"\xb5 \\u03bc\n"


@pytest.mark.torture
def test_programs_run_under_an_8_bit_locale(run_main: Callable, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "\xe4 \u03bc"
    folder.mkdir()
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    yaml = ("--config-name", "rectified_lpjepa_digits", "++max_epochs=1", "++limit_train_batches=1")
    start = (str(root / "main_pretrain.py"), "--config-path", str(root / "scripts/pretrain/digits"))
    for command in (
        (*start, *yaml),
        (str(root / "main_report.py"), "trained_models"),
        ("-m", "solo_plugins", "report", "trained_models"),
    ):
        done = run_main(*command, cwd=folder, PYTHONPATH=str(root), **locale)
        assert done.returncode == 0, done.stderr
    assert "\u03bc" in (folder / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "argument",
    ["--max_epochs", "--max_epochs=3", "--method_kwargs.p", "max_epochs", "++max_epochs", "-e=3"],
)
def test_what_is_no_setting_is_refused(argument: str, root: Path) -> None:
    name = argument.lstrip("-+").partition("=")[0]
    arguments = [*DIGITS, "--config-name=rectified_lpjepa_digits", argument, "3"]
    with pytest.raises(SystemExit, match=rf"`\+\+{name}=VALUE` but got '{re.escape(argument)}'"):
        arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", arguments)
    with pytest.raises(SystemExit, match=rf"`\+\+{name}=VALUE`"):
        located(
            "pretrain", ["--config-name", "digits/rectified_lpjepa_digits", argument], scripts()
        )


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["scripts/pretrain/digits/byol_digits.yaml", "++seed=1"],
            "--config-path scripts/pretrain/digits/ --config-name byol_digits.yaml",
        ),
        (
            ["--config-path", "scripts/pretrain/digits/", "byol_digits.yaml"],
            "--config-path scripts/pretrain/digits/ --config-name byol_digits.yaml",
        ),
    ],
)
def test_a_yaml_without_its_option_is_one_line(
    arguments: list[str], wanted: str, root: Path
) -> None:
    with pytest.raises(SystemExit, match=f"Expected the YAML as `{wanted}` but got ") as end:
        arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", arguments)
    assert "\n" not in str(end.value)


@pytest.mark.parametrize(
    "given", ["digits/byol_digits", "scripts/pretrain/digits/byol_digits.yaml"]
)
def test_a_subcommands_yaml_without_its_option_is_one_line(given: str) -> None:
    with pytest.raises(SystemExit, match="as `--config-name digits/byol_digits` but got "):
        located("pretrain", [given, "++seed=1"], scripts())


@pytest.mark.parametrize(
    "value",
    [
        "images/写真", "Bücher", "my images (1)", "it's \\", "a\\'b", "[1,2", "a=b, 'c",
        "x: y", "{", "~/Mes images/été", "'",
    ],
)  # fmt: skip
def test_a_value_that_hydra_cannot_read_is_that_text(value: str, root: Path) -> None:
    yaml = [*DIGITS, "--config-name=rectified_lpjepa_digits"]
    for sign in ("", "++"):
        given = [*yaml, f"{sign}data.train_path={value}"]
        *_, setting = arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", given)
        (override,) = OverridesParser.create().parse_overrides([setting])
        assert override.value() == value


def test_each_value_of_a_sweep_is_quoted_by_itself(root: Path) -> None:
    given = [*DIGITS, "--config-name=rectified_lpjepa_digits", "-m", "name=写,b (1),3"]
    *_, setting = arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", given)
    (override,) = OverridesParser.create().parse_overrides([setting])
    assert [str(getattr(one, "text", one)) for one in override.sweep_iterator()] == [
        "写", "b (1)", "3",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["1,2", "choice(1,2)", "range(1,3)"])
def test_several_values_without_a_sweep_are_one_line(value: str, root: Path) -> None:
    given = [*DIGITS, "--config-name=rectified_lpjepa_digits", f"++seed={value}"]
    with pytest.raises(SystemExit, match=r"^error: Expected one value, or -m .* got '\+\+seed="):
        arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", given)
    for sweep in ("-m", "--multirun", "hydra.mode=MULTIRUN"):
        arguments_for_hydra(str(root / "main_pretrain.py"), "pretrain", [*given, sweep])
