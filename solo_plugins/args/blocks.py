# SPDX-License-Identifier: MIT
"""The blocks of a configuration: what may stand in each, and what holds if it does not."""

__all__ = [
    "AnyOptimizer", "AutoResume", "AutoUmap", "Backbone", "Checkpoint", "Dali", "Data", "KnnEval",
    "MlpProbe", "Momentum", "Optimizer", "Performance", "Scheduler", "Wandb",
]  # fmt: skip

from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator
from typing_extensions import Self

from solo_plugins.args.kinds import (
    Block,
    Choices,
    Count,
    Flag,
    Follows,
    Fraction,
    NonNegative,
    Path,
    Positive,
    Rate,
    Rule,
    Text,
    broken,
    is_number,
    left,
)
from solo_plugins.data.datasets import DATASETS
from solo_plugins.framework import DISTANCES, SCHEDULES
from solo_plugins.framework.defaults import MOMENTUM

# solo-learn main's defaults
_OPTIMIZER, _SCHEDULER, _KNN = (MOMENTUM[name] for name in ("optimizer", "scheduler", "knn_eval"))
_MOMENTUM, _PERFORMANCE = MOMENTUM["momentum"], MOMENTUM["performance"]
_LEFT_OUT = left("worked out")

_SCHEDULE = "one of warmup_cosine, step, none, and with solo-learn 1.0.2 cosine"
Format: TypeAlias = Literal["image_folder", "dali", "h5"]
Workers: TypeAlias = Annotated[int, Field(ge=0, le=4096), Rule("a non-negative integer")]


def _datasets() -> list[str]:
    return [name for name, info in DATASETS.items() if not info.downstream]


def _is_fraction(value: Any) -> bool:
    return is_number(value) and (value == -1 or value > 0)


def _is_name(value: Any) -> bool:
    parts = PurePath(value).parts if isinstance(value, str) else ()
    return bool(parts) and not PurePath(value).is_absolute() and ".." not in parts


class Data(Block):
    """The images.

    Args:
        dataset: the data set's name.
        train_path: the folder of training images; the bundled digits need none.
        val_path: the folder of validation images; without one, or labels, nothing is validated.
        format: how images are read: by torchvision, by NVIDIA DALI, or from ImageNet's HDF5 file.
        no_labels: a folder of images without class folders.
        fraction: the part of the training images that is used, above 0 and below 1; -1 for all.
        num_workers: processes that load images, at most the machine's cores.
        preload: read image files into memory once.
        num_classes: worked out; a value that is given has to agree.
        num_large_crops: worked out.
        num_small_crops: worked out.
        train_fingerprint: worked out; a value that is given has to agree.
        val_fingerprint: likewise.
    """

    dataset: Annotated[str, Choices(_datasets)]
    train_path: Path | None = None
    val_path: Path | None = None
    format: Format = "image_folder"
    no_labels: Flag = False
    fraction: Annotated[
        Any, Follows(_is_fraction), Rule("a number between 0 and 1, or -1 for all")
    ] = -1
    num_workers: Workers = 4
    preload: Flag = False
    num_classes: Count | None = _LEFT_OUT
    num_large_crops: None = _LEFT_OUT
    num_small_crops: None = _LEFT_OUT
    train_fingerprint: Text | None = _LEFT_OUT
    val_fingerprint: Text | None = _LEFT_OUT


class Backbone(Block):
    """The network.

    Args:
        name: solo-learn's name of a network, or ``timm/`` and timm's.
        kwargs: arguments of the network's own constructor.
    """

    name: Text
    kwargs: dict[str, Any] = Field(default={})


class AnyOptimizer(Block):
    """The optimizer.

    Args:
        name: the optimizer.
        batch_size: images of a step, in each process.
        lr: the learning rate for a batch of 256; it is scaled by the images of a step over 256.
        weight_decay: the weight decay.
        exclude_bias_n_norm_wd: no weight decay for biases and norms.
        kwargs: arguments of the optimizer's own.
    """

    name: Literal["sgd", "lars", "adam", "adamw"]
    batch_size: Annotated[int, Field(gt=0, le=10**6), Rule("a positive integer")]
    lr: Rate
    weight_decay: Rate
    exclude_bias_n_norm_wd: Flag = _OPTIMIZER["exclude_bias_n_norm_wd"]
    kwargs: dict[str, Any] = Field(default={})


class Optimizer(AnyOptimizer):
    """The optimizer.

    Args:
        classifier_lr: the online linear classifiers' learning rate, scaled as ``lr``.
    """

    classifier_lr: Rate = left("`optimizer.lr`")


class Scheduler(Block):
    """The learning rate's schedule.

    Args:
        name: the schedule; ``step`` divides by ten at ``lr_decay_steps``.
        lr_decay_steps: the epochs at which ``step`` lowers the rate.
        min_lr: the rate at the cosine's end.
        warmup_start_lr: the rate at the warm-up's beginning.
        warmup_epochs: epochs of warm-up.
        interval: whether the rate changes with every step or every epoch.
    """

    name: Annotated[str, Choices(lambda: SCHEDULES), Rule(_SCHEDULE)]
    lr_decay_steps: list[Count] | None = _SCHEDULER["lr_decay_steps"]
    min_lr: Rate = _SCHEDULER["min_lr"]
    warmup_start_lr: Rate = _SCHEDULER["warmup_start_lr"]
    warmup_epochs: NonNegative = _SCHEDULER["warmup_epochs"]
    interval: Literal["step", "epoch"] = _SCHEDULER["interval"]


class Checkpoint(Block):
    """What a run keeps.

    Args:
        enabled: write checkpoints.
        dir: the folder of all runs.
        frequency: epochs from one checkpoint beside the last one to the next.
        keep_prev: keep all of those.
        every_n_steps: steps from one write of the last checkpoint to the next, within an epoch too.
        every_n_minutes: likewise, in minutes.
        monitor: the metric by which the best checkpoint is kept.
        mode: whether its largest or smallest value is best.
    """

    enabled: Flag = False
    dir: Path = "trained_models"
    frequency: Count = 1
    keep_prev: Flag = False
    every_n_steps: Count | None = None
    every_n_minutes: Annotated[Positive, Rule("positive")] | None = None
    monitor: Text | None = None
    mode: Literal["max", "min"] = "max"


class AutoResume(Block):
    """Going on with the newest run of the same configuration.

    Args:
        enabled: do so.
        max_hours: the age of its last checkpoint above which a new run begins.
    """

    enabled: Flag = False
    max_hours: NonNegative = 36


class Wandb(Block):
    """Weights & Biases.

    Args:
        enabled: log there too.
        entity: the account.
        project: the project.
        offline: write files alone, to be uploaded later.
    """

    enabled: Flag = False
    entity: Text | None = None
    project: Text = "solo-learn"
    offline: Flag = False


class Dali(Block):
    """NVIDIA DALI, with ``data.format: dali``.

    Args:
        device: where it augments; null for where training runs.
        encode_indexes_into_labels: solo-learn's; indexes are those of images in any case.
    """

    device: Literal["gpu", "cpu"] | None = None
    encode_indexes_into_labels: Flag = False


class MlpProbe(Block):
    """A block of the reference implementation that may stand in a YAML, disabled.

    Args:
        enabled: false; it is not available.
        num_layers: not read.
    """

    enabled: Flag = False
    num_layers: Count = 3


class AutoUmap(Block):
    """Pictures of validation features during training.

    Args:
        enabled: draw them.
        dir: the folder in the run's own.
        frequency: epochs from one to the next.
        keep_previous: keep all of them.
    """

    enabled: Flag = False
    dir: Annotated[str, Follows(_is_name), Rule("the name of a folder in the run's own")] = (
        "auto_umap"
    )
    frequency: Count = 1
    keep_previous: Flag = False


class KnnEval(Block):
    """The online evaluation by nearest neighbours.

    Args:
        enabled: do it after every epoch.
        k: the number of neighbours.
        distance_func: the distance.
    """

    enabled: Flag = _KNN["enabled"]
    k: Count = _KNN["k"]
    distance_func: Annotated[str, Choices(lambda: DISTANCES)] = _KNN["distance_func"]


class Performance(Block):
    """How fast.

    Args:
        disable_channel_last: compute with channels first.
        compile: let torch.compile translate the networks; main_pretrain.py alone.
    """

    disable_channel_last: Flag = _PERFORMANCE["disable_channel_last"]
    compile: Flag = False


class Momentum(Block):
    """The momentum network of BYOL, MoCo, DINO and others.

    Args:
        base_tau: the part of the old weights that is kept in a step, at the beginning.
        final_tau: at the end.
        classifier: train a linear classifier on its features, too.
    """

    base_tau: Fraction = _MOMENTUM["base_tau"]
    final_tau: Fraction = _MOMENTUM["final_tau"]
    classifier: Flag = _MOMENTUM["classifier"]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.base_tau > self.final_tau:
            raise broken("base_tau", f"at most `final_tau`, {self.final_tau},")
        return self
