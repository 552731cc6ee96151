# SPDX-License-Identifier: MIT
"""The programs say how they are used at once, and which YAMLs there are."""

import subprocess
import sys
from pathlib import Path

import pytest

from solo_plugins.args.evaluated import KnnSettings, LinearSettings
from solo_plugins.args.models import pretrain_model
from solo_plugins.args.usage import SETTINGS, show_usage
from solo_plugins.args.wording import every_name

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
    assert run.stdout.startswith("usage: ")
    assert run.stdout.splitlines()[-2:] == ["0", "none"]


@pytest.mark.parametrize("kind", PROGRAMS)
def test_without_a_yaml_the_usage_lists_them(
    kind: str, root: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end:
        show_usage(str(root / f"main_{kind}.py"), kind, [])
    assert end.value.code == 2
    text = capsys.readouterr().err
    for path in root.glob(f"scripts/{kind}/*/*.yaml"):
        (line,) = (line for line in text.splitlines() if f"/{path.parent.name}/: " in line)
        assert path.stem in line.partition(": ")[2].split(", ")
    assert f"python main_{kind}.py --config-path scripts/{kind}/digits/ --config-name rect" in text


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
        (["--config-name=x"], r"`--config-path` to be set\. There are: scripts/pretrain/cifar, "),
    ],
    ids=str,
)
def test_a_yaml_that_is_not_there_is_answered_with_those_that_are(
    arguments: list[str], text: str, root: Path
) -> None:
    with pytest.raises(SystemExit, match=text) as end:
        show_usage(str(root / "main_pretrain.py"), "pretrain", arguments)
    assert "\n" not in str(end.value)


@pytest.mark.parametrize(
    "arguments",
    [
        [*DIGITS, "--config-name=byol_digits.yaml", "++seed=1", "-m"],
        [*DIGITS, "-cn", "byol_digits"],
        ["--hydra-help"],
        ["--config-dir", "/tmp", "--config-name", "x"],
        ["--config-path", "pkg://solo_plugins.configs", "--config-name", "x"],
    ],
    ids=str,
)
def test_what_hydra_can_do_is_left_to_it(arguments: list[str], root: Path) -> None:
    show_usage(str(root / "main_pretrain.py"), "pretrain", arguments)
