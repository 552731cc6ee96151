# SPDX-License-Identifier: MIT
"""Reading one run's folder: what it was, what it came to, and what cannot be read."""

__all__ = ["Incomplete", "Number", "Run", "Target", "canonical", "read_run"]

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from solo_plugins.errors import ConfigurationError
from solo_plugins.methods.rectified_lpjepa.settings import Settings
from solo_plugins.report.curves import Curves, read_curves
from solo_plugins.report.find import LeftOut
from solo_plugins.runs.find import compared

# The setting of the kNN that a table shows: solo-learn's, and the usual one since
# Wu et al. (2018), https://arxiv.org/abs/1805.01978
KNN = {"k": 20, "distance": "cosine", "temperature": 0.07}

# What is known of the projector's outputs, by its name in knn.json, and in the summary.
_OUTPUTS = {
    "l0": "val_l0_sparsity_metric",
    "l1": "val_l1_sparsity_metric",
    "dead_outputs": "val_dead_outputs",
    "always_on_outputs": "val_always_on_outputs",
    "all_zero_rows": "val_all_zero_rows",
    "effective_rank": "val_effective_rank",
    "marginal_distance": "val_marginal_distance",
    "nhsic": "val_nhsic",
}


class Incomplete(Exception):
    """A run that the report cannot use; the text is the reason."""


class Number(NamedTuple):
    """A measured value.

    Args:
        value: percent for accuracies, seconds, a share in [0, 1], or in the unit of its column; NaN
            if that was measured.
        mark: how it was measured if not in the usual way, e.g. ``online``, or an empty string.
    """

    value: float
    mark: str = ""


class Target(NamedTuple):
    """The distribution that a run's outputs were matched to.

    Args:
        p: exponent, positive.
        loc: mu, in the unit of the outputs.
        sigma: scale, in the unit of the outputs.
        rectified: whether its negative part is moved to zero.
        l0: the share of its draws that are not zero, in closed form.
        held: whether thresholds hold the outputs at that share.
    """

    p: float
    loc: float
    sigma: float
    rectified: bool
    l0: float
    held: bool


@dataclass
class Run:
    """One run's folder, as read.

    Args:
        folder: where it lies.
        cfg: its resolved configuration.
        target: of Rectified LpJEPA's outputs, None for other methods.
        numbers: measured values by the column that shows them; what was not measured is missing.
        epochs: epochs that it was trained for.
        commit: of the code, or None if that is unknown.
        histogram: edges and counts of the outputs that are not zero, or None.
        curves: logged values by epoch.
        unreadable: files that could not be used, and why.
    """

    folder: Path
    cfg: DictConfig
    target: Target | None = None
    numbers: dict[str, Number] = field(default_factory=dict)
    epochs: int = 0
    commit: str | None = None
    histogram: tuple[list[float], list[float]] | None = None
    curves: Curves = field(default_factory=dict)
    unreadable: list[LeftOut] = field(default_factory=list)

    def identity(self, *but: str) -> str:
        """Return what two runs share that differ in nothing that matters.

        Args:
            but: dotted keys that are left out, e.g. ``seed``.

        Returns:
            The settings that decide what is computed, as text that can be compared.
        """
        settings = compared(self.cfg)
        for key in but:
            block, _, name = key.rpartition(".")
            (settings[block] if block else settings).pop(name, None)
        return canonical(settings)


def canonical(value: Any) -> str:
    """Write a setting so that equal ones are equal texts.

    Args:
        value: of a configuration.

    Returns:
        JSON, in which 0 and 0.0 are the same.

    Example:
        >>> canonical({"b": 0, "a": True}) == canonical({"a": True, "b": 0.0})
        True
    """
    plain = json.loads(json.dumps(value, default=str), parse_int=float)
    return json.dumps(plain, sort_keys=True)


def read_run(folder: Path) -> Run:
    """Read a pretraining run.

    Args:
        folder: its folder.

    Returns:
        What is there. A file that adds to a run (evaluation, logs) and cannot be read is noted.

    Raises:
        Incomplete: if there is no finished pretraining run with a checkpoint in it.
    """
    cfg = _config(folder)
    if not list(folder.glob("*.ckpt")):
        raise Incomplete("there is no checkpoint")
    run = Run(folder, cfg)
    run.curves, notes = read_curves(folder)
    run.unreadable += notes
    if not (folder / "summary.json").is_file():
        raise Incomplete(f"there is no summary.json, the run {_progress(run)}")
    try:
        summary = _json(folder / "summary.json")
        run.target = _target(cfg)
        run.epochs = int(summary["epochs"])
        run.commit = summary.get("commit")
        _take(run.numbers, "seconds", summary.get("seconds"))
        # What a later file says replaces what was measured during training.
        _online(run, summary)
    except (ValueError, KeyError, TypeError) as error:
        raise Incomplete(f"summary.json or config.yaml cannot be used: {_text(error)}") from error
    for name in ("linear-backbone", "linear-projector", "knn"):
        _evaluation(run, name)
    return run


def _config(folder: Path) -> DictConfig:
    path = folder / "config.yaml"
    if not path.is_file():
        raise Incomplete("there is no config.yaml")
    try:
        cfg = OmegaConf.load(path)
        OmegaConf.resolve(cfg)
        if "pretrained_feature_extractor" in cfg:
            raise Incomplete("it is a linear probe, which is shown with the run that it evaluates")
        cfg.method, cfg.seed, cfg.name, cfg.data.dataset, cfg.backbone.name  # noqa: B018
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise Incomplete(f"config.yaml cannot be used: {_text(error)}") from error
    except AttributeError as error:  # it is a list, or a bare word
        raise Incomplete("config.yaml cannot be used: it has no settings") from error
    return cfg  # type: ignore[return-value]


def _target(cfg: DictConfig) -> Target | None:
    if cfg.method != "rectified_lpjepa":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of combinations that are unusual
        settings = Settings.from_config({str(k): v for k, v in cfg.method_kwargs.items()})
    rectified = settings.target_distribution.startswith("rectified")
    l0 = float(settings.target().active_probability) if rectified else 1.0  # type: ignore[attr-defined]
    return Target(
        p=float(settings.lp_norm_parameter),
        loc=settings.mu,
        sigma=settings.sigma,
        rectified=rectified,
        l0=l0,
        held=settings.threshold_rate > 0,
    )


def _online(run: Run, summary: dict[str, Any]) -> None:
    for column, metric in {
        "knn_backbone": "val_knn_acc1",
        "online_backbone": "val_acc1",
        "online_projector": "val_proj_acc1",
        **_OUTPUTS,
    }.items():
        _take(run.numbers, column, summary.get(metric), "online")


def _evaluation(run: Run, name: str) -> None:
    path = run.folder / f"{name}.json"
    if not path.is_file():
        return
    try:
        content = _json(path)
        if name == "knn":
            _knn(run, content)
        else:
            mark = "fine-tuned" if content.get("finetune") else ""
            column = name.replace("-", "_")
            run.numbers[column] = Number(_number(content["acc1"], "acc1"), mark)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        run.unreadable.append(LeftOut(str(path), f"cannot be used: {_text(error)}"))
        columns = ("knn_backbone", "knn_projector") if name == "knn" else (name.replace("-", "_"),)
        for column in columns:
            run.numbers[column] = Number(float("nan"), "unreadable")


def _knn(run: Run, content: dict[str, Any]) -> None:
    for result in content["results"]:
        if all(result[key] == value for key, value in KNN.items()):
            column = f"knn_{result['features']}"
            run.numbers[column] = Number(_number(result["acc1"], "acc1"))
    outputs = content.get("outputs")
    if outputs is None:
        return
    for column in _OUTPUTS:
        _take(run.numbers, column, outputs.get(column))
    histogram = outputs.get("histogram")
    if histogram is not None:
        edges, counts = ([float(x) for x in histogram[key]] for key in ("edges", "counts"))
        if len(edges) != len(counts) + 1 or not counts:
            raise ValueError(f"{len(edges)} edges do not bound {len(counts)} bins")
        run.histogram = (edges, counts)


def _progress(run: Run) -> str:
    epochs = [epoch for curve in run.curves.values() for epoch in curve]
    if not epochs:
        return "has logged no epoch"
    return f"is at epoch {max(epochs) + 1} of {run.cfg.get('max_epochs', '?')}"


def _take(numbers: dict[str, Number], column: str, value: Any, mark: str = "") -> None:
    if value is not None:
        numbers[column] = Number(_number(value, column), mark)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{name}` is {value!r}, not a number")
    return float(value)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no settings")
    return content


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    text = f"{text} is missing" if isinstance(error, KeyError) else text
    return text if isinstance(error, ConfigurationError) else text[:200]
