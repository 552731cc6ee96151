# SPDX-License-Identifier: MIT
"""Reading one run's folder: its configuration, its results, and the files that cannot be read."""

__all__ = ["KNN", "MARKS", "Elsewhere", "Incomplete", "Number", "RunRecord", "read_run"]

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_plugins.report.curves import Curves, read_curves
from solo_plugins.report.search import LeftOut
from solo_plugins.runs.description import Description
from solo_plugins.runs.files import digest
from solo_plugins.runs.find import compared
from solo_plugins.runs.folder import RunFileError, RunFolder
from solo_plugins.runs.transfer import TransferTable
from solo_plugins.untrusted.text import one_line

# The setting of the kNN that a table shows: solo-learn's, and the usual one since
# Wu et al. (2018), https://arxiv.org/abs/1805.01978
KNN = {"k": 20, "distance": "cosine", "temperature": 0.07}

# Measures of the projector's outputs, by their names in the kNN's result and in the summary.
_OUTPUTS = {
    "l0": "val_l0_sparsity_metric",
    "l1": "val_l1_sparsity_metric",
    "dead_outputs": "val_dead_outputs",
    "always_on_outputs": "val_always_on_outputs",
    "all_zero_rows": "val_all_zero_rows",
    "effective_rank": "val_effective_rank",
    "backbone_rank": "val_backbone_effective_rank",
    "marginal_distance": "val_marginal_distance",
    "nhsic": "val_nhsic",
}
_ACCURACIES = {
    "knn_backbone": "val_knn_acc1",
    "online_backbone": "val_acc1",
    "online_projector": "val_proj_acc1",
}


# The same of training images, augmented, which is all that a run without validation has.
_TRAINING = {
    column: name.replace("val_", "train_") + ("_step" if column in ("l0", "l1") else "")
    for column, name in _OUTPUTS.items()
}

# Of values that were measured in several ways the first of these is shown, never a mixture.
MARKS = ("", "cached", "fine-tuned", "online", "training", "unreadable")
# What a probe's kind is marked by.
_KINDS = {"linear": "", "linear-cached": "cached"}
# What is raised for values of another type or size than those that a run writes.
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
_LONGEST, _EPOCHS, _MOST_BINS, _LARGEST = 60, 10**9, 10_000, 1e18
# The smallest and the largest value by column, with room for rounding; others are percentages.
_PERCENT = (0.0, 100.001)
_FRACTION = (-1e-3, 1.001)
_RANGES = {
    "seconds": (0.0, 1e12),
    "effective_rank": (0.0, 1e9),
    "backbone_rank": (0.0, 1e9),
    "marginal_distance": (0.0, _LARGEST),
    **dict.fromkeys(
        ("l0", "l1", "dead_outputs", "always_on_outputs", "all_zero_rows", "nhsic"), _FRACTION
    ),
}


class Incomplete(Exception):
    """A run that the report cannot use; the text is the reason."""


class Number(NamedTuple):
    """A measured value.

    Args:
        value: percent for accuracies, seconds, a fraction in [0, 1], or in the unit of its column;
            NaN if the measurement gave no finite number.
        mark: how it was measured if not in the usual way, e.g. ``online``, or an empty string.
    """

    value: float
    mark: str = ""


class Elsewhere(NamedTuple):
    """An accuracy on other data than the run's own.

    Args:
        data: the name of the data.
        evaluation: how it was measured.
        features: ``backbone`` or ``projector``.
        acc1: top-1 accuracy in percent, or the mean of the classes' if `evaluation` says so.
        spread: its sample standard deviation over draws of the training images, or None.
    """

    data: str
    evaluation: str
    features: str
    acc1: float
    spread: float | None = None


@dataclass(eq=False)
class RunRecord:
    """The content of one run's folder.

    Args:
        folder: its path.
        cfg: its resolved configuration.
        asked: the same as it was asked for, before e.g. learning rates are scaled; None if the run
            has only one.
        description: what the run says of its method.
        numbers: measured values by the column that shows them; what was not measured is missing.
        epochs: epochs that it was trained for.
        commit: of the code, or None if that is unknown.
        histogram: edges and counts of the outputs that are not zero, or None.
        curves: logged values by epoch.
        elsewhere: accuracies on other data.
        unreadable: files that could not be used, and why.
    """

    folder: Path
    cfg: DictConfig
    description: Description
    asked: DictConfig | None = None
    numbers: dict[str, Number] = field(default_factory=dict)
    epochs: int = 0
    commit: str | None = None
    histogram: tuple[list[float], list[float]] | None = None
    curves: Curves = field(default_factory=dict)
    elsewhere: list[Elsewhere] = field(default_factory=list)
    unreadable: list[LeftOut] = field(default_factory=list)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that decide what is computed, by dotted key and number in a list."""
        return dict(_flat(compared(self.cfg)))

    @cached_property
    def typed(self) -> dict[str, Any]:
        """The settings as a person gave them, by dotted key and number in a list."""
        asked = {} if self.asked is None else OmegaConf.to_container(self.asked)
        return {**self.settings, **dict(_flat(asked))}

    def identity(self, *but: str) -> str:
        """Return a text that is the same for runs that compute the same.

        Args:
            but: dotted keys of settings that may differ, e.g. ``seed``.

        Returns:
            The other settings that decide what is computed, as JSON in which 3 and 3.0 are one.
        """
        kept = {key: value for key, value in self.settings.items() if key not in but}
        plain = json.loads(json.dumps(kept, default=str), parse_int=float)
        return json.dumps(plain, sort_keys=True)


def read_run(path: Path) -> RunRecord:
    """Read a pretraining run.

    Args:
        path: its folder.

    Returns:
        The run. A file that adds to it (evaluation, logs) and cannot be read is noted.

    Raises:
        Incomplete: if there is no finished pretraining run in it. Its checkpoint may be gone.
    """
    folder = RunFolder(path)
    try:
        cfg = _config(folder)
        _check_finished(folder, cfg)
        run = _from_summary(path, cfg, folder.read_summary())
        run.identity()  # found out now if the configuration has none
    except RunFileError as error:
        raise Incomplete(f"{error.path.name} cannot be used: {error.reason}") from error
    except _DAMAGED as error:
        raise Incomplete(f"{folder.SUMMARY} cannot be used: {_text(error)}") from error
    try:
        run.asked = folder.read_asked()
    except RunFileError as error:
        run.unreadable.append(LeftOut(str(error.path), f"cannot be used: {error.reason}"))
    run.curves, notes = read_curves(folder, run.description.loss)
    run.unreadable += notes
    for path in folder.evaluations():
        _add_evaluation(run, folder, path)
    _add_transfer(run, folder)
    return run


def _config(folder: RunFolder) -> DictConfig:
    if folder.config_path is None:
        raise Incomplete(f"there is no {folder.CONFIG}")
    cfg = folder.read_config()
    if "pretrained_feature_extractor" in cfg:
        raise Incomplete("it is a linear probe, which is shown with the run that it evaluates")
    for key in ("method", "seed", "name", "data.dataset", "backbone.name"):
        if OmegaConf.select(cfg, key) is None:
            raise Incomplete(f"{folder.CONFIG} cannot be used: it has no `{key}`")
    return cfg


def _from_summary(path: Path, cfg: DictConfig, summary: dict[str, Any]) -> RunRecord:
    run = RunRecord(path, cfg, Description.from_summary(summary, cfg))
    run.epochs = _whole("epochs", summary["epochs"])
    commit = summary.get("commit")
    if not isinstance(commit, str | None):
        raise ValueError(f"`commit` is {commit!r}, not a text")
    run.commit = None if commit is None else one_line(commit, _LONGEST)
    _take(run, _known(summary, {"seconds": "seconds"}))
    # A metric that was logged as NaN is null; one that was not logged is missing.
    logged = {name: math.nan if value is None else value for name, value in summary.items()}
    _take(run, _known(logged, _TRAINING), "training")
    _take(run, _known(logged, {**_ACCURACIES, **_OUTPUTS}), "online")
    return run


def _add_evaluation(run: RunRecord, folder: RunFolder, path: Path) -> None:
    """Add a result: to the run's own numbers, or to those on other data, which the name says."""
    kind, _, rest = path.stem.partition("@")[0].rpartition("-")
    kind, features = (kind, rest) if kind else (rest, "")
    try:
        content = folder.read_evaluation(path)
        if content is None:
            return
        if late := _outdated(content, folder):
            run.unreadable.append(LeftOut(str(path), late))
            return
        if "@" in path.stem:
            run.elsewhere += _on_other_data(content, kind, path.stem.partition("@")[2])
        elif kind == "knn":
            _add_knn(run, content)
        elif kind in _KINDS:
            cached = _KINDS[kind] if content.get("augmented", True) else "cached"
            mark = "fine-tuned" if content.get("finetune") else cached
            _take_better(run, f"linear_{features}", content["acc1"], mark)
    except _DAMAGED as error:
        reason = error.reason if isinstance(error, RunFileError) else _text(error)
        run.unreadable.append(LeftOut(str(path), f"cannot be used: {reason}"))
        names = (features,) if features else ("backbone", "projector")
        column = "knn" if kind == "knn" else "linear"
        if "@" not in path.stem and kind != "finetuned":
            _take(run, {f"{column}_{name}": math.nan for name in names}, "unreadable")


def _outdated(content: Mapping[str, Any], folder: RunFolder) -> str:
    """Say that a result is of another step than the run's last, or nothing."""
    checkpoint, state, last = (
        content.get("checkpoint"),
        folder.read_state(),
        folder.find_checkpoint(),
    )
    if not isinstance(checkpoint, Mapping) or state is None or last is None:
        return ""  # one of an earlier commit
    step, ends = checkpoint.get("step"), state.steps
    if checkpoint.get("file") != last.name or not isinstance(step, int) or ends in (0, step):
        return ""
    return f"it was measured at step {step} of the run, which went on to step {ends}: measure again"


def _add_transfer(run: RunRecord, folder: RunFolder) -> None:
    """Add the newest table of probes of the run's checkpoint on other data sets."""
    last, others = folder.find_checkpoint(), []
    if last is None:
        return
    for path in folder.transfers():
        try:
            table = TransferTable(path)
        except RunFileError as error:
            run.unreadable.append(LeftOut(str(path), f"cannot be used: {error.reason}"))
            continue
        if table.identity.get("sha256") in (None, digest(last)):
            run.elsewhere += _transferred(table)
            return
        others.append(LeftOut(str(path), f"it is of another checkpoint than {last.name} is now"))
    run.unreadable += others


def _transferred(table: TransferTable) -> Iterator[Elsewhere]:
    for row in table.summaries():
        how = f"transfer, images of each class: {row.shots}, draws: {row.draws}, {row.metric}"
        for features, (mean, spread) in row.accuracies.items():
            yield Elsewhere(row.dataset, how, features, mean, spread)


def _on_other_data(content: Mapping[str, Any], kind: str, data: str) -> list[Elsewhere]:
    if kind != "knn":
        return [Elsewhere(data, kind, str(content["features"]), _percent(content["acc1"]))]
    return [
        Elsewhere(data, f"knn, k={result['k']}", str(result["features"]), _percent(result["acc1"]))
        for result in content["results"]
        if all(result[key] == value for key, value in KNN.items())
    ]


def _take_better(run: RunRecord, column: str, value: Any, mark: str) -> None:
    """Add an accuracy unless one that is measured in a better way is there."""
    there = run.numbers.get(column)
    if there is None or MARKS.index(mark) <= MARKS.index(there.mark):
        _take(run, {column: value}, mark)


def _add_knn(run: RunRecord, content: dict[str, Any]) -> None:
    for result in content["results"]:
        if all(result[key] == value for key, value in KNN.items()):
            _take(run, {f"knn_{result['features']}": result["acc1"]})
    outputs, features = content.get("outputs") or {}, content.get("features") or {}
    _take(run, _known(outputs, {column: column for column in _OUTPUTS}))
    _take(run, _known(features, {"backbone_rank": "effective_rank"}))
    histogram = outputs.get("histogram")
    if histogram is not None:
        edges, counts = ([float(x) for x in histogram[key]] for key in ("edges", "counts"))
        if len(edges) != len(counts) + 1 or not counts or len(counts) > _MOST_BINS:
            raise ValueError(f"{len(edges)} edges do not bound {len(counts)} bins")
        if not all(low < high for low, high in pairwise([-_LARGEST, *edges, _LARGEST])):
            raise ValueError("the edges of the histogram do not ascend")
        if not all(0 <= count < _LARGEST for count in counts):
            raise ValueError("the counts of the histogram are not numbers from 0 on")
        run.histogram = (edges, counts)


def _known(content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    known = {column: content.get(name) for column, name in names.items()}
    return {column: value for column, value in known.items() if value is not None}


def _take(run: RunRecord, values: Mapping[str, Any], mark: str = "") -> None:
    """Add measured values by column, in place of earlier ones."""
    for column, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"`{column}` is {value!r:.60}, not a number")
        low, high = _RANGES.get(column, _PERCENT)
        if math.isfinite(value) and not low <= value <= high:
            raise ValueError(f"`{column}` is {value!r}, not from {low:g} to {high:g}")
        run.numbers[column] = Number(float(value) if math.isfinite(value) else math.nan, mark)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _EPOCHS:
        raise ValueError(f"`{name}` is {value!r:.60}, not a number from 0 to {_EPOCHS}")
    return int(value)


def _percent(value: Any) -> float:
    percent = float(value)
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent!r} is no percentage")
    return percent


def _check_finished(folder: RunFolder, cfg: DictConfig) -> None:
    state = folder.read_state()
    if state is None and folder.has_summary:
        return  # what is wrong with it is found when it is read
    if state is None:
        raise Incomplete(f"there is no {folder.SUMMARY}, {_progress(folder, cfg)}")
    if state.status != "finished":
        reason = f" ({state.reason})" if state.reason else ""
        raise Incomplete(f"it is {state.status}{reason}, {_progress(folder, cfg)}")


def _progress(folder: RunFolder, cfg: DictConfig) -> str:
    curves, _ = read_curves(folder, "")
    if not curves:
        return "the run has logged no epoch"
    epoch = max(curve.index.max() for curve in curves.values())
    return f"the run is at epoch {epoch + 1} of {cfg.get('max_epochs', '?')}"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{key}[{number}]")
    else:
        yield key, value


def _text(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{text} is missing" if isinstance(error, KeyError) else text[:200]
