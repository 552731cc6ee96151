# SPDX-License-Identifier: MIT
"""The projector of every method of the installed solo-learn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch.nn.functional import normalize

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import outputs, release

_WIDTHS = {"proj_hidden_dim": 16, "proj_output_dim": 8}
_QUEUE = _WIDTHS | {"queue_size": 64}
# method_kwargs, and the number of outputs
_METHODS: dict[str, tuple[dict[str, Any], int]] = {
    "barlow_twins": (_WIDTHS, 8),
    "byol": (_WIDTHS | {"pred_hidden_dim": 8}, 8),
    "deepclusterv2": (_WIDTHS | {"num_prototypes": [4]}, 8),
    "dino": (_WIDTHS | {"num_prototypes": 12}, 12),  # its outputs are scores of prototypes
    "mocov2plus": (_QUEUE | {"temperature": 0.2}, 8),
    "nnbyol": (_QUEUE | {"pred_hidden_dim": 8}, 8),
    "nnclr": (_QUEUE | {"pred_hidden_dim": 8, "temperature": 0.2}, 8),
    "nnsiam": (_QUEUE | {"pred_hidden_dim": 8}, 8),
    "rectified_lpjepa": (_WIDTHS | {"num_projections": 16}, 8),
    "ressl": (_QUEUE | {"temperature_q": 0.1, "temperature_k": 0.04}, 8),
    "simclr": (_WIDTHS | {"temperature": 0.2}, 8),
    "simsiam": (_WIDTHS | {"pred_hidden_dim": 8}, 8),
    "swav": (_QUEUE | {"num_prototypes": 16, "temperature": 0.1}, 8),
    "vicreg": (_WIDTHS, 8),
    "wmse": (_WIDTHS | {"whitening_iters": 1, "whitening_size": 16, "whitening_eps": 0.0}, 8),
}


@pytest.mark.parametrize("method", _METHODS)
def test_outputs_are_what_the_method_trains(
    method: str, make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    kwargs, dim = _METHODS[method]
    cfg, _ = parse_cfg(make_cfg(method, method_kwargs=kwargs))
    model = methods[method](cfg).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        z = outputs(model, model.backbone(images))
        assert z.shape == (2, dim)
        if release() == "main":  # where SwAV and DeepCluster return it normalised
            wanted = normalize(model(images)["z"])
            torch.testing.assert_close(normalize(z), wanted)


def test_a_method_without_a_projector_is_named(
    make_cfg: Callable[..., DictConfig], methods: dict
) -> None:
    cfg, _ = parse_cfg(make_cfg())
    model = methods["base"](cfg)
    with pytest.raises(ConfigurationError, match="with a projector but BaseMethod has none"):
        outputs(model, torch.zeros(2, model.features_dim))
