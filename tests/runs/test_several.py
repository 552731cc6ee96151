# SPDX-License-Identifier: MIT
"""Which runs a pattern means, and how the evaluation programs are given them."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from solo_plugins.args.usage import arguments_for_hydra
from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.folder import RunFolder, RunState
from solo_plugins.runs.several import finished_runs, is_pattern


def _run(path: Path, status: str = "finished", config: str = "method: byol\n") -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(config)
    folder = RunFolder(path)
    folder.write_summary({"epochs": 1, "steps": 1})
    folder.write_state(RunState(status=status, epochs=1, steps=1))
    return path


def test_a_pattern_means_finished_pretraining_runs(tmp_path: Path) -> None:
    wanted = [_run(tmp_path / "byol" / name) for name in ("a", "b, 'c'")]
    _run(tmp_path / "byol" / "interrupted", "interrupted")
    _run(tmp_path / "linear" / "a", config="pretrained_feature_extractor: x\n")
    (tmp_path / "byol" / "empty").mkdir()
    (tmp_path / "byol" / "file").touch()
    for pattern in ("*/*", "**"):
        assert finished_runs(str(tmp_path / pattern)) == wanted
    with pytest.raises(
        ConfigurationError, match=r"finished runs, .* none of the 1 that '.*/linear/\*' matches"
    ):
        finished_runs(str(tmp_path / "linear" / "*"))


def test_a_path_with_a_patterns_signs_may_be_there(tmp_path: Path) -> None:
    assert is_pattern(str(tmp_path / "a[1]"))
    (tmp_path / "a[1]").mkdir()
    assert not is_pattern(str(tmp_path / "a[1]"))
    assert not is_pattern(str(tmp_path / "a"))


def _asked(root: Path, *arguments: str) -> list[str]:
    yaml = ["--config-path", "scripts/knn/digits", "--config-name", "rectified_lpjepa"]
    return arguments_for_hydra(str(root / "main_knn.py"), "knn", [*yaml, *arguments])


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_a_pattern_becomes_a_value_for_each_run(sign: str, root: Path, tmp_path: Path) -> None:
    runs = [_run(tmp_path / "it's, b" / name) for name in ("a=b", "c [d]")]
    quote = sign and '"'  # hydra's
    pattern = f"{sign}pretrained_feature_extractor={quote}{tmp_path}/*/*{quote}"
    *_, setting = _asked(root, "-m", pattern, "++k=[20]")[:-1]
    (override,) = OverridesParser.create().parse_overrides([setting])
    assert [value.text for value in override.sweep_iterator()] == [str(run) for run in runs]
    with pytest.raises(SystemExit, match=r"^error: Expected -m with several runs, .* matches 2"):
        _asked(root, pattern)
    with pytest.raises(SystemExit, match=r"^error: Expected `pretrained_feature_extractor` to"):
        _asked(root, "-m", "pretrained_feature_extractor=/no/such/*")


def test_one_run_needs_no_sweep(root: Path, tmp_path: Path) -> None:
    run = _run(tmp_path / "byol" / "a")
    setting = _asked(root, f"++pretrained_feature_extractor={tmp_path}/byol/*")[-1]
    assert setting == f"++pretrained_feature_extractor='{run}'"


def test_a_run_whose_configuration_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    wanted = _run(tmp_path / "whole")
    (_run(tmp_path / "damaged") / "config.yaml").write_text("{")
    assert finished_runs(str(tmp_path / "*")) == [wanted]


def test_a_pattern_below_nothing_that_is_there_matches_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for pattern in ("nowhere/*", "*"):
        with pytest.raises(ConfigurationError, match="none of the 0 that"):
            finished_runs(pattern)
