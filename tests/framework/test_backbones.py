# SPDX-License-Identifier: MIT
"""timm's models of one image size take the crops' sizes, or are refused in one line."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import size_settings


@pytest.mark.parametrize("sizes", [[32], [64], [32, 16]], ids=str)
@pytest.mark.parametrize(
    "name",
    ["swinv2_tiny_window8_256", "vit_tiny_patch16_224", "deit_tiny_patch16_224",
     "xcit_nano_12_p8_224", "resnet10t"],
)  # fmt: skip
def test_a_model_takes_the_crops_on_a_real_device(name: str, sizes: list[int]) -> None:
    model = timm.create_model(
        name, num_classes=0, **size_settings(f"timm/{name}", {}, sizes)
    ).eval()
    with torch.no_grad():
        for size in sizes:
            assert model(torch.randn(1, 3, size, size)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("efficientformer_l1", [32]),
        ("tnt_s_patch16_224", [32, 16]),
        ("mixer_s16_224", [32, 16]),
        ("convnext_atto", [32, 16]),
        ("inception_v3", [32]),
    ],
)
def test_a_size_that_cannot_work_is_refused(name: str, sizes: list[int]) -> None:
    size = ", ".join(map(str, sizes))
    if name == "convnext_atto" and torch.__version__ < "2.7":
        pytest.skip("torch 2.6 compares no kernel with the image on the meta device")
    with pytest.raises(ConfigurationError, match=rf"timm/{name}` takes, .*, but got {size}"):
        size_settings(f"timm/{name}", {}, sizes)


def test_what_is_given_is_kept() -> None:
    given: dict[str, Any] = {"img_size": 64}
    assert size_settings("timm/swinv2_tiny_window8_256", given, [64]) == {}
    with pytest.raises(ConfigurationError, match="made for 64, but got 32"):
        size_settings("timm/swinv2_tiny_window8_256", given, [32])


def test_a_checkpoints_network_is_checked_as_it_is() -> None:
    with pytest.raises(ConfigurationError, match="made for 256, but got 32"):
        size_settings("timm/swinv2_tiny_window8_256", {}, [32], add=False)
    assert size_settings("timm/swinv2_tiny_window8_256", {"img_size": 32}, [32], add=False) == {}


@pytest.mark.usefixtures("methods")
def test_pretraining_asks_timm(make_cfg: Callable) -> None:
    from solo_plugins.args.pretrain import parse_cfg

    cfg, _ = parse_cfg(make_cfg(backbone={"name": "timm/swinv2_tiny_window8_256"}))
    assert cfg.backbone.kwargs.img_size == 32
