# SPDX-License-Identifier: MIT
"""A linear classifier on a frozen or fine-tuned network: what ``main_linear.py`` calls."""

__all__ = ["LinearResult", "linear", "linear_model"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, seed_everything
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from timm.data.mixup import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn

from solo_plugins.args.evaluation import parse_linear_cfg
from solo_plugins.args.hardware import Hardware
from solo_plugins.args.optimizer import schedule_notes
from solo_plugins.data import LabelledDataModule
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.cached import FeatureDataModule, without_backbone
from solo_plugins.evaluation.features import device_for
from solo_plugins.evaluation.network import build
from solo_plugins.evaluation.results import checkpoint_line, described, result_path
from solo_plugins.framework import LinearModel, projector_name
from solo_plugins.registry import register
from solo_plugins.runs.find import find_run
from solo_plugins.runs.folder import RunFolder
from solo_plugins.runs.pretrained import Pretrained
from solo_plugins.runs.provenance import commit
from solo_plugins.runs.writable import check_writable
from solo_plugins.training.launch import check_processes
from solo_plugins.training.trainer import fit, in_memory_format, say


class LinearResult(NamedTuple):
    """The result of a linear evaluation.

    Args:
        folder: the evaluation's own run folder.
        checkpoint: the pretrained checkpoint.
        path: the result's file in the pretraining run's folder, which is written when the last
            epoch is done.
        acc1: top-1 accuracy of the last validation, in percent.
        acc5: top-5 accuracy, or top-C of C < 5 classes, in percent.
    """

    folder: Path
    checkpoint: Path
    path: Path
    acc1: float
    acc5: float


class ProjectorFeatures(nn.Module):
    """Backbone and projector as one backbone, whose features are the projector's outputs.

    Args:
        backbone: the pretrained backbone, in evaluation mode.
        projector: the projector, in evaluation mode.
        crop_size: height and width of an image, to find out the number of outputs.
    """

    def __init__(self, backbone: nn.Module, projector: nn.Module, crop_size: int) -> None:
        super().__init__()
        self.backbone, self.projector = backbone, projector
        with torch.no_grad():
            self.num_features = self(torch.zeros(1, 3, crop_size, crop_size)).size(1)

    def forward(self, X: Tensor) -> Tensor:
        """Compute outputs (N, D) of images (N, C, H, W)."""
        return self.projector(self.backbone(X))


def linear(cfg: DictConfig, *, callbacks: Sequence[Callback] = ()) -> LinearResult:
    """Train a linear classifier on a pretrained network.

    Everything that can be wrong with a configuration is found before a file is written. The result
    is left in the pretraining run's folder, that of fine-tuning beside that of a probe. A finished
    evaluation of the same configuration is reported, not repeated, if ``auto_resume.enabled``. With
    ``cache_features`` the frozen network sees each image once, not augmented, and the classifier
    trains on the features.

    Args:
        cfg: the configuration as composed by hydra.
        callbacks: more of Lightning's callbacks, called before the run's own.

    Returns:
        The accuracies, and where everything lies.

    Raises:
        ConfigurationError: if the configuration cannot work.
        NonFiniteLossError: if the loss diverges.
    """
    register()
    asked = cfg.copy()
    cfg, hardware, pretrained = parse_linear_cfg(cfg)
    check_processes(hardware)
    check_writable(pretrained.folder.path, "pretrained_feature_extractor")
    run = find_run(cfg, kind="linear")
    for note in [*schedule_notes(asked, cfg), *run.notes]:
        say(note)
    if run.finished:
        say(f"{run.folder} is a finished run of this configuration: nothing to do.")
        what = described(pretrained, cfg)
        return _report(cfg, pretrained, what, run.folder, run.folder.read_summary())
    check_writable(run.folder.path, "checkpoint.dir")
    say(str(hardware))
    seed_everything(cfg.seed, verbose=False)
    what = described(pretrained, cfg)  # before it may change
    model = linear_model(cfg, pretrained)
    data = LabelledDataModule(cfg, augment=not cfg.cache_features)
    data.check(hardware.processes)
    for note in data.notes:
        say(note)
    if cfg.cache_features:
        data = _cached(data, model, hardware)
        model = without_backbone(model).train()
    folder, metrics = fit(
        model, data, cfg, run, asked=asked, hardware=hardware, callbacks=callbacks
    )
    return _report(cfg, pretrained, what, folder, metrics)


def linear_model(cfg: DictConfig, pretrained: Pretrained) -> LightningModule:
    """Build the classifier on the pretrained network that it is to be trained on.

    Args:
        cfg: the parsed configuration.
        pretrained: the checkpoint.

    Returns:
        solo-learn's linear model, in training mode.
    """
    wants_projector = cfg.features == "projector"
    method = build(pretrained, cfg, projector=wants_projector)
    backbone: Any = method.backbone
    if wants_projector:
        projector = getattr(method, projector_name(method))
        backbone = ProjectorFeatures(backbone, projector, cfg.augmentations[0].crop_size)
    loss_func, mixup_func = _losses(cfg)
    model = LinearModel(backbone, cfg=cfg.copy(), loss_func=loss_func, mixup_func=mixup_func)
    # The model itself keeps a frozen backbone in evaluation mode.
    return in_memory_format(model, cfg).train()


def _cached(
    data: LabelledDataModule, model: LightningModule, hardware: Hardware
) -> FeatureDataModule:
    features = FeatureDataModule(data, model, device_for(hardware.accelerator))
    say("Computing the features of all images, once.")
    _ = features.train_set, features.val_set  # now, while the model still has its backbone
    return features


def _losses(cfg: DictConfig) -> tuple[nn.Module, Mixup | None]:
    if cfg.mixup or cfg.cutmix:
        mixup = Mixup(
            mixup_alpha=cfg.mixup,
            cutmix_alpha=cfg.cutmix,
            label_smoothing=cfg.label_smoothing,
            num_classes=cfg.data.num_classes,
        )
        return SoftTargetCrossEntropy(), mixup
    if cfg.label_smoothing:
        return LabelSmoothingCrossEntropy(smoothing=cfg.label_smoothing), None
    return nn.CrossEntropyLoss(), None


def _report(
    cfg: DictConfig,
    pretrained: Pretrained,
    what: dict[str, Any],
    folder: RunFolder,
    metrics: dict[str, float],
) -> LinearResult:
    if "val_acc1" not in metrics:
        raise ConfigurationError(
            "Expected the classifier to be validated at least once, `check_val_every_n_epoch` at "
            "most `max_epochs` and `limit_val_batches` above 0, but it was not: there is no result."
        )
    acc1, acc5 = metrics["val_acc1"], metrics["val_acc5"]
    result = {
        "features": cfg.features,
        "acc1": acc1,
        "acc5": acc5,
        "epochs": cfg.max_epochs,
        "finetune": bool(cfg.finetune),
        "augmented": not cfg.cache_features,
        "seed": cfg.seed,
        "config": str(folder),
        **what,
        "commit": commit(),
    }
    # All of them may be had: one does not overwrite the other.
    kind = "finetuned" if cfg.finetune else "linear-cached" if cfg.cache_features else "linear"
    path = result_path(pretrained, cfg, kind, cfg.features)
    name = "Fine-tuned" if cfg.finetune else "Linear probe"
    say(f"{name} ({cfg.features}): top 1 {acc1:.1f} %, top 5 {acc5:.1f} %")
    say(checkpoint_line(pretrained))
    if _is_whole(folder):
        rank_zero_only(pretrained.folder.write_evaluation)(path, result)
        say(f"Result: {path}")
    else:
        say(f"No result is written to {path.name}: the probe has not done its last epoch.")
    return LinearResult(folder.path, pretrained.checkpoint, path, acc1, acc5)


def _is_whole(folder: RunFolder) -> bool:
    """Tell whether a probe has done its last epoch: not so after `fast_dev_run` or `max_time`."""
    state = folder.read_state()
    return folder.has_summary if state is None else state.status == "finished"
