# SPDX-License-Identifier: MIT
"""A model of a method and a batch for it, outside a Trainer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule


@pytest.fixture
def model_and_batch(
    make_cfg: Callable[..., DictConfig], methods: dict[str, type]
) -> Callable[..., tuple[Any, list]]:
    """Return a function that builds a small model by method and settings, and its first batch."""

    def make(method: str, settings: dict[str, Any] | None = None, **changes: Any) -> tuple:
        given = make_cfg(method, performance={"disable_channel_last": True}, **changes)
        given.backbone.kwargs = {"channels": [8, 16, 32, 64]}
        given.method_kwargs.update(settings or {})
        cfg, _ = parse_cfg(given)
        torch.manual_seed(0)
        model: Any = methods[method](cfg)
        # Lightning logs within a Trainer only
        model.log = model.log_dict = lambda *_, **__: None
        return model, next(iter(PretrainDataModule(cfg).train_dataloader()))

    return make
