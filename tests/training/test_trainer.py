# SPDX-License-Identifier: MIT
"""What memory and others refuse is one line that names the settings."""

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig

from solo_plugins.errors import ConfigurationError
from solo_plugins.training.memory import enough_memory
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods")


def test_a_network_that_memory_does_not_do_for_names_the_settings(make_cfg: Make) -> None:
    cfg = make_cfg()
    cfg.method_kwargs.proj_hidden_dim = 10**6  # 4 TB
    with pytest.raises(
        ConfigurationError, match=r"memory to do for `method_kwargs.proj_hidden_dim` 1000000, "
    ):
        pretrain(cfg)


def test_other_errors_pass(make_cfg: Make) -> None:
    with pytest.raises(RuntimeError, match="something else"), enough_memory(make_cfg()):
        raise RuntimeError("something else")


def test_wandb_that_cannot_log_is_one_line(make_cfg: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.loggers import WandbLogger
    from wandb.errors import UsageError

    def refuse(*_: Any) -> None:
        raise UsageError("No API key.\nUse wandb login")

    monkeypatch.setattr(WandbLogger, "log_hyperparams", refuse)
    with pytest.raises(ConfigurationError, match=r"`wandb.enabled` .* No API key. Use wandb login"):
        pretrain(make_cfg(wandb={"enabled": True}))
