# SPDX-License-Identifier: MIT
"""Every method of the installed solo-learn, built from a configuration and trained."""

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import METHODS, BaseMethod, release
from solo_plugins.runs.folder import RunFolder
from solo_plugins.training.pretrain import pretrain

_WIDTHS = {"proj_hidden_dim": 16, "proj_output_dim": 8}
_SETTINGS: dict[str, dict[str, Any]] = {
    "barlow_twins": _WIDTHS,
    "byol": _WIDTHS | {"pred_hidden_dim": 8},
    "deepclusterv2": _WIDTHS | {"num_prototypes": [4]},
    "dino": _WIDTHS | {"num_prototypes": 16},
    "mocov2plus": _WIDTHS | {"temperature": 0.2, "queue_size": 64},
    "nnbyol": _WIDTHS | {"pred_hidden_dim": 8, "queue_size": 64},
    "nnclr": _WIDTHS | {"pred_hidden_dim": 8, "queue_size": 64, "temperature": 0.2},
    "nnsiam": _WIDTHS | {"pred_hidden_dim": 8, "queue_size": 64},
    "ressl": _WIDTHS | {"queue_size": 64, "temperature_q": 0.1, "temperature_k": 0.04},
    "simclr": _WIDTHS | {"temperature": 0.2},
    "simsiam": _WIDTHS | {"pred_hidden_dim": 8},
    "swav": _WIDTHS | {"queue_size": 64, "num_prototypes": 16, "temperature": 0.1},
    "vicreg": _WIDTHS,
    "wmse": _WIDTHS | {"whitening_iters": 1, "whitening_size": 16, "whitening_eps": 0.0},
}
_IN_BOTH = sorted(_SETTINGS)


def _cfg(make_cfg: Callable[..., DictConfig], method: str, **changes: Any) -> DictConfig:
    cfg = make_cfg(method, **{"method_kwargs": _SETTINGS[method], **changes})
    cfg.pop("momentum", None)
    return cfg


@pytest.mark.parametrize("method", _IN_BOTH)
def test_method_is_built_from_a_configuration(
    method: str, make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    cfg, _ = parse_cfg(_cfg(make_cfg, method))
    model = methods[method](cfg)
    names = {name.partition(".")[0] for name in model.state_dict()}
    assert {"backbone", "classifier"} <= names
    assert not any("encoder" in name for name in names)


@pytest.mark.skipif(release() == "main", reason="main's methods take what they are given")
def test_unknown_setting_of_a_bridged_method_is_named(
    make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    cfg, _ = parse_cfg(_cfg(make_cfg, "vicreg"))
    cfg.method_kwargs.sim_los_weight = 1.0
    with pytest.raises(
        ValueError, match=r"`method_kwargs.sim_los_weight`.*Did you mean `sim_loss_"
    ):
        methods["vicreg"](cfg)


@pytest.mark.usefixtures("lightning_quiet")
def test_swavs_prototypes_keep_length_one(
    make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    cfg, _ = parse_cfg(_cfg(make_cfg, "swav"))
    model = methods["swav"](cfg)
    directions = model.prototypes(torch.eye(8))  # (D, prototypes)
    torch.testing.assert_close(directions.norm(dim=0), torch.ones(16))
    trained = {name for name, weight in model.prototypes.named_parameters() if weight.requires_grad}
    assert trained == {"weight_v"}


@pytest.mark.skipif(release() == "main", reason="main's DINO clips by a name of its own")
def test_dino_clips_the_gradient_of_each_weight(
    make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    # Lightning calls its own hook of the same name in each step, as the next test does.
    cfg, _ = parse_cfg(_cfg(make_cfg, "dino"))
    model = methods["dino"](cfg)
    weights = list(model.backbone.parameters())
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    model.clip_gradients(0.1)
    norms = [weight.grad.double().norm().item() for weight in weights]
    # A float32 norm of a million ones, by which is divided, is right to three digits.
    assert norms == pytest.approx([0.1] * len(weights), rel=1e-3)


# main's W-MSE solves by a function that torch will remove
@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated:UserWarning")
@pytest.mark.parametrize("method", _IN_BOTH)
def test_method_trains_and_validates_and_its_loss_is_found(
    method: str, make_cfg: Callable[..., DictConfig]
) -> None:
    cfg = _cfg(make_cfg, method, knn_eval__enabled=True, max_epochs=1)
    result = pretrain(cfg)
    names = set(result.metrics)
    assert {"train_class_loss_epoch", "val_acc1", "val_loss", "val_knn_acc1"} <= names
    loss = RunFolder(result.folder).read_summary()["description"]["loss"]
    assert {loss, f"{loss}_epoch"} & names


@pytest.mark.skipif(release() == "main", reason="main's own whitening is left alone")
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_wmse_whitens(eps: float, make_cfg: Callable[..., DictConfig], methods: dict) -> None:
    settings = _SETTINGS["wmse"] | {"whitening_eps": eps}
    cfg, _ = parse_cfg(_cfg(make_cfg, "wmse", method_kwargs=settings))
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)) @ torch.randn(8, 8)
    whitened = methods["wmse"](cfg).whitening(x)
    assert whitened.mean(dim=0).abs().max() < 1e-5
    # by numpy in float64: W (shrunk covariance) W' is the identity
    centred = (x - x.mean(dim=0)).double().numpy()
    shrunk = (1 - eps) * np.cov(centred.T) + eps * np.eye(8)
    wanted = np.linalg.solve(np.linalg.cholesky(shrunk), centred.T).T
    assert whitened.double().numpy() == pytest.approx(wanted, abs=1e-3)


@pytest.mark.usefixtures("lightning_quiet")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_tau_follows_its_cosine_over_the_steps_that_are_made(
    accumulate: int, make_cfg: Callable[..., DictConfig]
) -> None:
    cfg = _cfg(
        make_cfg,
        "byol",
        max_epochs=2,
        limit_train_batches=4,
        limit_val_batches=0,
        accumulate_grad_batches=accumulate,
        checkpoint__enabled=False,
        backbone__kwargs={"channels": [8, 8, 8, 8]},
    )
    cfg.momentum = {"base_tau": 0.9, "final_tau": 1.0}
    # BYOL, https://arxiv.org/abs/2006.07733, section 3.3; logged is that of the last step
    steps = 8 // accumulate
    wanted = 1 - (1 - 0.9) * (math.cos(math.pi * (steps - 1) / steps) + 1) / 2
    assert pretrain(cfg).metrics["tau"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("backbone", ["resnet18", "convnext_tiny", "vit_tiny", "timm/resnet10t"])
def test_backbones_of_both_releases_give_features(
    backbone: str, make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    cfg, _ = parse_cfg(make_cfg(backbone={"name": backbone}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # main logs by a deprecated name
        model = methods["base"](cfg).eval()
    out = model(torch.zeros(2, 3, 32, 32))
    assert out["feats"].shape == (2, model.features_dim)
    assert out["logits"].shape == (2, 10)


def test_unknown_timm_backbone_is_an_error(
    make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    with pytest.raises(ValueError, match=r"backbone.name.*timm/resnet10'.*Did you mean"):
        parse_cfg(make_cfg(backbone={"name": "timm/resnet10"}))


def test_base_method_is_in_the_table(methods: dict) -> None:
    assert METHODS["base"] is BaseMethod


def _with_crops(make_cfg: Callable[..., DictConfig], method: str, crops: int) -> DictConfig:
    cfg = _cfg(make_cfg, method, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    cfg.augmentations[0].num_crops = crops
    return cfg


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("method", sorted({*_SETTINGS, "rectified_lpjepa", "lejepa", "ncl"}))
@pytest.mark.usefixtures("methods", "lightning_quiet")
def test_another_number_of_crops_trains_or_is_one_line(
    method: str, crops: int, make_cfg: Callable[..., DictConfig]
) -> None:
    if method in _SETTINGS:
        cfg = _with_crops(make_cfg, method, crops)
    else:
        cfg = make_cfg(method, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
        cfg.augmentations[0].num_crops = crops
    try:
        pretrain(cfg)
    except ConfigurationError as error:
        assert re.search(r"crops|num_crops", str(error))  # noqa: PT017


@pytest.mark.parametrize(
    ("method", "changes", "says"),
    [
        (
            "mocov2plus",
            {"optimizer__batch_size": 24},
            r"`method_kwargs.queue_size` .* the 24 images .* got 64",
        ),
        (
            "nnclr",
            {"method_kwargs.queue_size": 100},
            r"`method_kwargs.queue_size` .* the 16 images .* got 100",
        ),
        ("ressl", {"method_kwargs.queue_size": 8}, r"to be a multiple of the 16 images .* got 8"),
        ("swav", {"method_kwargs.queue_size": 10}, "at least 16, .* but got 10"),
        (
            "dino",
            {"method_kwargs.warmup_teacher_temperature_epochs": 3},
            "at most `max_epochs`, which is 2, but got 3",
        ),
    ],
)
@pytest.mark.usefixtures("methods")
def test_settings_that_a_method_cannot_train_with_together_are_one_line(
    method: str, changes: dict[str, Any], says: str, make_cfg: Callable[..., DictConfig]
) -> None:
    cfg = _cfg(make_cfg, method)
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    with pytest.raises(ConfigurationError, match=says):
        parse_cfg(cfg)
