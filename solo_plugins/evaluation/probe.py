# SPDX-License-Identifier: MIT
"""Logistic regression on frozen features, by scikit-learn, its regularisation chosen beforehand."""

__all__ = ["FIXED_C", "PROTOCOL", "Labelled", "Probe", "accuracies", "probe"]

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from solo_plugins.errors import ConfigurationError

# CLIP's coarse values, and its way of looking closer around the best: Radford et al. 2021,
# https://arxiv.org/abs/2103.00020, appendix A.3, with this largest number of iterations.
_COARSE = tuple(10.0**power for power in range(-6, 7, 2))
_STEP = 10.0
_ITERATIONS = 1000
# After so many values in a row that are worse than the best, weaker regularisation is not tried.
_PATIENCE = 2
_FOLDS = 5
# Above so many training images one fold says it within half a point.
_ONE_FOLD_FROM = 10_000
# scikit-learn's default, in the middle of the values.
FIXED_C = 1.0
# All that decides what comes out.
PROTOCOL: dict[str, Any] = {
    "classifier": "multinomial logistic regression, scikit-learn's lbfgs",
    "features": "standardised by the training images",
    "C": list(_COARSE),
    "closer": _STEP,
    "patience": _PATIENCE,
    "folds": _FOLDS,
    "one_fold_from": _ONE_FOLD_FROM,
    "fixed_C": FIXED_C,
    "max_iter": _ITERATIONS,
}


class Labelled(NamedTuple):
    """Features of images and their labels.

    Args:
        features: float32 (N, D).
        labels: non-negative integers (N,).
    """

    features: np.ndarray
    labels: np.ndarray


class Probe(NamedTuple):
    """What a linear classifier gets right.

    Args:
        accuracy: that which C was chosen by, in percent: one of the following.
        top1: percent of the test images.
        per_class: mean of the percentages of each class's test images.
        c: inverse strength of regularisation, as scikit-learn has it.
        chosen_by: how it was chosen: ``validation split``, ``<n> folds``, ``one fold of <n>`` or
            ``fixed``.
        iterations: of the last fit, at most 1000.
    """

    accuracy: float
    top1: float
    per_class: float
    c: float
    chosen_by: str
    iterations: int


def probe(
    train: Labelled,
    test: Labelled,
    validation: Labelled | None = None,
    *,
    per_class: bool = False,
    join: bool = False,
    seed: int = 0,
) -> Probe:
    """Train a linear classifier on frozen features and test it.

    C is chosen on `validation`, or else by stratified folds of `train`, as many as the smallest
    class has images and at most 5; above 10,000 images by the first of them alone. A class with one
    image leaves nothing to choose by: C is 1 then. The stronger regularisation wins a tie. The test
    images have no say in it.

    Args:
        train: what is trained on, of two classes at least.
        test: what is tested on.
        validation: what C is chosen on.
        per_class: whether C is chosen by, and ``accuracy`` is, the mean over classes.
        join: whether the last fit is on `train` and `validation` together.
        seed: of the folds.

    Returns:
        The accuracies, and how they came about.

    Raises:
        ConfigurationError: if the training images are of one class.
    """
    if len(np.unique(train.labels)) < 2:
        raise ConfigurationError(
            f"Expected training images of two classes at least but got {len(train.labels)} of one."
        )
    c, chosen_by = _choose(train, validation, seed, _metric(per_class=per_class))
    if join and validation is not None:
        train = Labelled(*map(np.concatenate, zip(train, validation, strict=True)))
    last = _Fit(train, test)
    top1, mean = accuracies(last.predict(c), test.labels)
    return Probe(mean if per_class else top1, top1, mean, c, chosen_by, last.iterations)


def accuracies(predicted: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Compare predictions with labels.

    Args:
        predicted: integers (N,).
        labels: integers (N,).

    Returns:
        Percent of all, and the mean of the percentages of each class that is among the labels.

    Example:
        >>> accuracies(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        (75.0, 50.0)
    """
    right = predicted == labels
    counts = np.bincount(labels)
    rates = np.bincount(labels, right)[counts > 0] / counts[counts > 0]
    return 100 * float(right.mean()), 100 * float(rates.mean())


class _Fit:
    """A classifier that is trained on one part and predicts another, for C after C."""

    def __init__(self, train: Labelled, test: Labelled) -> None:
        scaler = StandardScaler().fit(train.features)
        self._train, self._test = (scaler.transform(part.features) for part in (train, test))
        self._labels = train.labels
        # Each C begins from zeros, as anybody's own fit does: from the last solution, the solver
        # would stop early at weak regularisation.
        self._model = LogisticRegression(max_iter=_ITERATIONS)

    @property
    def iterations(self) -> int:
        return int(np.max(self._model.n_iter_))

    def predict(self, c: float) -> np.ndarray:
        self._model.set_params(C=c)
        with warnings.catch_warnings():
            # the number of iterations is written down
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self._model.fit(self._train, self._labels).predict(self._test)


def _metric(*, per_class: bool) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda predicted, labels: accuracies(predicted, labels)[per_class]


def _choose(
    train: Labelled, validation: Labelled | None, seed: int, metric: Callable
) -> tuple[float, str]:
    if validation is not None:
        return _best([(_Fit(train, validation), validation.labels)], metric), "validation split"
    number = min(_FOLDS, int(np.unique(train.labels, return_counts=True)[1].min()))
    if number < 2:
        return FIXED_C, "fixed"
    one = len(train.labels) > _ONE_FOLD_FROM
    splits = StratifiedKFold(number, shuffle=True, random_state=seed).split(*train)
    folds = []
    for kept, held in splits:
        held_out = Labelled(train.features[held], train.labels[held])
        rest = Labelled(train.features[kept], train.labels[kept])
        folds.append((_Fit(rest, held_out), held_out.labels))
        if one:
            break
    return _best(folds, metric), f"one fold of {number}" if one else f"{number} folds"


def _best(folds: list[tuple[_Fit, np.ndarray]], metric: Callable) -> float:
    """Try weaker and weaker regularisation until it has got worse, then closer around the best."""
    scores: dict[float, float] = {}

    def evaluate(c: float) -> None:
        scores[c] = float(np.mean([metric(fit.predict(c), labels) for fit, labels in folds]))

    for c in _COARSE:
        evaluate(c)
        if all(score < max(scores.values()) for score in list(scores.values())[-_PATIENCE:]):
            break
    best = max(scores, key=lambda c: (scores[c], -c))
    for c in (best / _STEP, best * _STEP):
        if _COARSE[0] <= c <= _COARSE[-1]:
            evaluate(c)
    return max(scores, key=lambda c: (scores[c], -c))
