# SPDX-License-Identifier: MIT
"""The configurations of ``main_linear.py`` and ``main_knn.py``, at full depth."""

__all__ = ["KnnSettings", "LinearSettings", "linear_model"]

from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, create_model

from solo_plugins.args import blocks
from solo_plugins.args.foreign import OPTIMIZER_KWARGS
from solo_plugins.args.kinds import (
    Block,
    Channels,
    Choices,
    Count,
    Deviations,
    Flag,
    Fraction,
    ListOf,
    Path,
    Positive,
    Rule,
    Size,
    Text,
    left,
)
from solo_plugins.args.models import Seed, known, with_kwargs
from solo_plugins.args.trainer import TrainerSettings, by_signature
from solo_plugins.framework import DISTANCES

_FEATURES = ("backbone", "projector")
_Features: TypeAlias = Annotated[str, Choices(lambda: _FEATURES)]
_Mixed: TypeAlias = Annotated[float, Field(ge=0, le=1000), Rule("a non-negative number")]
_ONE = left("pretraining's")


class Normalization(Block):
    """Crop size and normalisation of a checkpoint that has no configuration beside it.

    Args:
        crop_size: height and width, in pixels.
        mean: of each channel of images in [0, 1]; CIFAR and STL-10 have their own, and read neither
            this nor ``std``.
        std: likewise.
    """

    crop_size: Size = _ONE
    mean: Channels | None = _ONE
    std: Deviations | None = _ONE


class KnnData(Block):
    """The images.

    Args:
        dataset: the data set's name; by default that of pretraining.
        train_path: the folder of training images; by default that of pretraining.
        val_path: the folder of validation images; by default that of pretraining.
        format: how images are read: by torchvision, or by NVIDIA DALI.
        fraction: -1; of ``main_linear.py`` also the part of the training images that is used.
        num_workers: processes that load images, at most the machine's cores.
        preload: read image files into memory once.
        num_classes: worked out; a value that is given has to agree.
        augmentations: crop size and normalisation, if there is no pretraining configuration.
    """

    dataset: Text | None = None
    train_path: Path | None = None
    val_path: Path | None = None
    format: Literal["image_folder", "dali"] = "image_folder"
    fraction: Annotated[float, Field(ge=-1, lt=1), Rule("between 0 and 1")] = -1
    num_workers: blocks.Workers = 4
    preload: Flag = False
    num_classes: Count | None = left("worked out")
    augmentations: Normalization = _ONE


class LinearData(KnnData):
    """The images.

    Args:
        shots: the number of training images of each class; null for all.
    """

    shots: (
        Annotated[int, Field(gt=0, le=10**6), Rule("a positive integer, images of each class,")]
        | None
    ) = None


class EvaluatedBackbone(Block):
    """The network of a checkpoint; by default that of pretraining, which it has to be.

    Args:
        name: solo-learn's name of a network, or ``timm/`` and timm's.
        kwargs: arguments of the network's own constructor.
    """

    name: Text | None = None
    kwargs: dict[str, Any] = Field(default={})


class Layout(Block):
    """How fast.

    Args:
        disable_channel_last: compute with channels first.
    """

    disable_channel_last: Flag = blocks.Performance().disable_channel_last


class LinearOptimizer(blocks.AnyOptimizer):
    """The optimizer.

    Args:
        layer_decay: the factor of the rate from one layer to the one below; 0 is off.
    """

    layer_decay: Fraction = 0.0


class LinearScheduler(blocks.Scheduler):
    """The learning rate's schedule."""

    name: Literal["step", "warmup_cosine", "none"]


class LinearSettings(TrainerSettings):
    """main_linear.py.

    Args:
        name: the evaluation's name, of which its folder's is made.
        pretrained_feature_extractor: a run's folder, or a checkpoint; with -m also a
            pattern of folders.
        pretrain_method: the checkpoint's method, if it is to be checked.
        features: what is classified.
        finetune: train the network too.
        cache_features: run the frozen network once, on images that are not augmented.
        auto_augment: timm's random augmentation.
        label_smoothing: of the training labels.
        mixup: mixing of images, as timm's ``mixup_alpha``; 0 is off.
        cutmix: likewise, ``cutmix_alpha``.
        seed: of all random numbers.
        data: the images.
        backbone: the network.
        optimizer: the optimizer.
        scheduler: the learning rate's schedule.
        checkpoint: what a run keeps.
        auto_resume: going on with the newest run of the same configuration.
        resume_from_checkpoint: an evaluation's folder, or a checkpoint, to go on from.
        performance: how fast.
        dali: NVIDIA DALI.
        wandb: Weights & Biases.
    """

    name: Text
    pretrained_feature_extractor: Path | None = None
    pretrain_method: Text | None = None
    features: _Features = "backbone"
    finetune: Flag = False
    cache_features: Flag = False
    auto_augment: Flag = False
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Rule("a number from 0 to below 1")] = 0.0
    mixup: _Mixed = 0.0
    cutmix: _Mixed = 0.0
    seed: Seed = 5
    data: LinearData = LinearData()
    backbone: EvaluatedBackbone = EvaluatedBackbone()
    optimizer: LinearOptimizer
    scheduler: LinearScheduler
    checkpoint: blocks.Checkpoint = blocks.Checkpoint()
    auto_resume: blocks.AutoResume = blocks.AutoResume()
    resume_from_checkpoint: Path | None = None
    performance: Layout = Layout()
    dali: blocks.Dali = blocks.Dali()
    wandb: blocks.Wandb = blocks.Wandb()


class KnnSettings(Block):
    """main_knn.py. Every combination of features, k, temperature and distance is evaluated.

    Args:
        pretrained_feature_extractor: a run's folder, or a checkpoint; with -m also a
            pattern of folders.
        features: what neighbours are looked for in.
        k: numbers of neighbours.
        temperature: of the cosine's votes.
        distance: the distance.
        batch_size: images that the network sees at once.
        max_distances: distances that are held at once.
        accelerator: where to run; without a GPU on the CPU.
        data: the images.
        backbone: the network.
        performance: how fast.
        dali: NVIDIA DALI.
    """

    pretrained_feature_extractor: Path | None = None
    # solo-learn main's script tries these
    features: ListOf[_Features] = Field(default=["backbone", "projector"])
    k: ListOf[Count] = Field(default=[1, 5, 20, 200])
    temperature: ListOf[Annotated[Positive, Field(ge=1e-6)]] = Field(default=[0.07])
    distance: ListOf[Annotated[str, Choices(lambda: DISTANCES)]] = Field(default=list(DISTANCES))
    batch_size: Annotated[int, Field(gt=0, le=10**6), Rule("a positive integer")] = 256
    max_distances: Count = 5_000_000
    accelerator: Literal["auto", "gpu", "cuda", "cpu"] = "auto"
    data: KnnData = KnnData()
    backbone: EvaluatedBackbone = EvaluatedBackbone()
    performance: Layout = Layout()
    dali: blocks.Dali = blocks.Dali()


def linear_model(optimizer: Any) -> type[LinearSettings]:
    """Make the model of a linear evaluation's configuration.

    Args:
        optimizer: the optimizer's name; of one that is not known any settings are taken.

    Returns:
        The model.
    """
    return _linear_model(known(OPTIMIZER_KWARGS, optimizer))


@cache
def _linear_model(kwargs: type[Block] | None) -> type[LinearSettings]:
    changed: dict[str, Any] = by_signature()
    if kwargs is not None:
        changed["optimizer"] = (with_kwargs(LinearOptimizer, kwargs), ...)
    return create_model("LinearConfiguration", __base__=LinearSettings, **changed)
