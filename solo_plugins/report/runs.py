# SPDX-License-Identifier: MIT
"""Reading one run's folder: what it was, what it came to, and what cannot be read."""

__all__ = ["Incomplete", "Number", "Run", "canonical", "read_run"]

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_plugins.report.curves import Curves, read_curves
from solo_plugins.report.find import LeftOut
from solo_plugins.runs.description import Description
from solo_plugins.runs.find import compared
from solo_plugins.runs.folder import RunFileError, RunFolder

# The setting of the kNN that a table shows: solo-learn's, and the usual one since
# Wu et al. (2018), https://arxiv.org/abs/1805.01978
KNN = {"k": 20, "distance": "cosine", "temperature": 0.07}

# What is known of the projector's outputs, by its name in the kNN's result, and in the summary.
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


@dataclass
class Run:
    """One run's folder, as read.

    Args:
        folder: where it lies.
        cfg: its resolved configuration.
        description: what it says of its method.
        numbers: measured values by the column that shows them; what was not measured is missing.
        epochs: epochs that it was trained for.
        commit: of the code, or None if that is unknown.
        histogram: edges and counts of the outputs that are not zero, or None.
        curves: logged values by epoch.
        unreadable: files that could not be used, and why.
    """

    folder: Path
    cfg: DictConfig
    description: Description
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
    run_folder = RunFolder(folder)
    cfg = _config(run_folder)
    if run_folder.find_checkpoint() is None:
        raise Incomplete("there is no checkpoint")
    if not run_folder.finished:
        raise Incomplete(f"there is no {run_folder.SUMMARY}, {_progress(run_folder, cfg)}")
    try:
        summary = run_folder.read_summary()
        run = Run(folder, cfg, Description.from_summary(summary, cfg))
        run.epochs = int(summary["epochs"])
        run.commit = summary.get("commit")
        _take(run.numbers, "seconds", summary.get("seconds"))
        # What a later file says replaces what was measured during training.
        _online(run, summary)
    except RunFileError as error:
        raise Incomplete(f"{error.path.name} cannot be used: {error.reason}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Incomplete(f"{run_folder.SUMMARY} cannot be used: {_text(error)}") from error
    run.curves, notes = read_curves(run_folder, run.description.loss)
    run.unreadable += notes
    for kind, features in (("linear", "backbone"), ("linear", "projector"), ("knn", None)):
        _evaluation(run, run_folder, kind, features)
    return run


def _config(folder: RunFolder) -> DictConfig:
    if folder.config_path is None:
        raise Incomplete(f"there is no {folder.CONFIG}")
    try:
        cfg = folder.read_config()
    except RunFileError as error:
        raise Incomplete(f"{error.path.name} cannot be used: {error.reason}") from error
    if "pretrained_feature_extractor" in cfg:
        raise Incomplete("it is a linear probe, which is shown with the run that it evaluates")
    for key in ("method", "seed", "name", "data.dataset", "backbone.name"):
        if OmegaConf.select(cfg, key) is None:
            raise Incomplete(f"{folder.CONFIG} cannot be used: it has no `{key}`")
    return cfg


def _online(run: Run, summary: dict[str, Any]) -> None:
    for column, metric in {
        "knn_backbone": "val_knn_acc1",
        "online_backbone": "val_acc1",
        "online_projector": "val_proj_acc1",
        **_OUTPUTS,
    }.items():
        _take(run.numbers, column, summary.get(metric), "online")


def _evaluation(run: Run, folder: RunFolder, kind: str, features: str | None) -> None:
    path = folder.evaluation_path(kind, features)
    names = ("backbone", "projector") if features is None else (features,)
    columns = [f"{kind}_{name}" for name in names]
    try:
        content = folder.read_evaluation(kind, features)
        if content is None:
            return
        if features is None:
            _knn(run, content)
        else:
            mark = "fine-tuned" if content.get("finetune") else ""
            run.numbers[columns[0]] = Number(_number(content["acc1"], "acc1"), mark)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.reason if isinstance(error, RunFileError) else _text(error)
        run.unreadable.append(LeftOut(str(path), f"cannot be used: {reason}"))
        run.numbers |= {column: Number(float("nan"), "unreadable") for column in columns}


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


def _progress(folder: RunFolder, cfg: DictConfig) -> str:
    curves, _ = read_curves(folder, "")
    epochs = [epoch for curve in curves.values() for epoch in curve]
    if not epochs:
        return "the run has logged no epoch"
    return f"the run is at epoch {max(epochs) + 1} of {cfg.get('max_epochs', '?')}"


def _take(numbers: dict[str, Number], column: str, value: Any, mark: str = "") -> None:
    if value is not None:
        numbers[column] = Number(_number(value, column), mark)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{name}` is {value!r}, not a number")
    return float(value)


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{text} is missing" if isinstance(error, KeyError) else text[:200]
