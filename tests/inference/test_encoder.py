# SPDX-License-Identifier: MIT
"""A run, in use: a plain module that gives what the method itself gives."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from omegaconf.errors import ReadonlyConfigError
from PIL import Image
from torch import nn

import solo_plugins
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import outputs

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("methods")
IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _as_foreign(run: Path) -> Path:
    """Lay a run out as solo-learn's main branch and the reference do."""
    cfg: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    (run / "args.json").write_text(json.dumps({**cfg, "wandb_run_id": "offline-1a2b"}))
    (run / "config.yaml").unlink()
    (run / "last.ckpt").rename(run / "test-offline-1a2b-ep=9.ckpt")
    return run


@pytest.mark.parametrize("layout", [lambda run: run, lambda run: run / "last.ckpt", _as_foreign])
def test_features_and_codes_are_those_of_the_method(
    layout: Callable, make_run: Make, methods: dict
) -> None:
    run = make_run()
    method = methods["rectified_lpjepa"](OmegaConf.load(run / "config.yaml"))
    method.load_state_dict(torch.load(run / "last.ckpt", weights_only=True)["state_dict"])
    method.eval()
    model = solo_plugins.load(layout(run))
    with torch.no_grad():
        features = method.backbone(IMAGES)
        assert torch.equal(model(IMAGES), features)
        assert torch.equal(model.encode(IMAGES), outputs(method, features))
    assert not any(part.training for part in model.modules())


def test_a_sparse_code_is_the_dense_one(shared_model: solo_plugins.Encoder) -> None:
    model = shared_model
    with torch.no_grad():
        dense, sparse = model.encode(IMAGES), model.encode(IMAGES, sparse=True)
    assert sparse.layout is torch.sparse_csr
    assert 0 < sparse.values().numel() == dense.count_nonzero() < dense.numel()
    assert torch.equal(sparse.to_dense(), dense)


@pytest.mark.parametrize("method", ["rectified_lpjepa", "vicreg", "byol"])
def test_nothing_of_lightning_or_solo_learns_methods_is_in_it(method: str, make_run: Make) -> None:
    widths = {"method_kwargs__pred_hidden_dim": 8} if method == "byol" else {}
    model = solo_plugins.load(make_run(method, **widths))
    homes = {type(part).__module__.partition(".")[0] for part in model.modules()}
    assert homes <= {"torch", "torchvision", "timm", "solo_plugins"}
    assert isinstance(model.projector, nn.Module)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    ("mode", "size"), [("RGB", (16, 16)), ("L", (30, 20)), ("I;16", (8, 8)), ("RGBA", (50, 40))]
)
def test_the_transform_takes_images_of_any_mode_and_size(
    mode: str, size: tuple, shared_model: solo_plugins.Encoder
) -> None:
    model = shared_model
    image = model.transform(Image.new(mode, size))
    assert image.shape == (3, 16, 16)
    mean, std = (torch.tensor(values) for values in model.normalization)
    # black, normalised
    torch.testing.assert_close(image[:, 0, 0], -mean / std)


def test_the_configuration_is_the_runs_and_cannot_be_changed(
    shared_run: Path, shared_model: solo_plugins.Encoder
) -> None:
    config = shared_model.config
    assert config == OmegaConf.load(shared_run / "config.yaml")
    with pytest.raises(ReadonlyConfigError, match="read"):
        config.method = "byol"


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "of torch.float32, .* got torch.uint8"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.float64), "of torch.float32, .* got torch.float64"),
        (torch.zeros(1, 3, 32, 32).half(), "of torch.float32, .* got torch.float16"),
        (np.zeros((1, 3, 32, 32), np.float32), "a tensor but got ndarray"),
        ("image.png", "a tensor but got str"),
    ],
    ids=["bytes", "double", "half", "array", "path"],
)
def test_what_are_no_images_is_refused(
    images: Any, text: str, shared_model: solo_plugins.Encoder
) -> None:
    for call in (shared_model, shared_model.encode):
        with pytest.raises(TypeError, match=f"`images` to be {text}"):
            call(images)


def test_autocast_takes_what_it_casts_itself(shared_model: solo_plugins.Encoder) -> None:
    images = torch.rand(2, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert shared_model(images.bfloat16()).dtype == torch.bfloat16
        with pytest.raises(TypeError, match=r"`images` .* got torch.float64"):
            shared_model(images.double())


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 1, 16, 16)])
def test_images_of_another_shape_are_refused(
    shape: tuple, shared_model: solo_plugins.Encoder
) -> None:
    with pytest.raises(ValueError, match=r"`images` to be of shape \(N, 3, H, W\).* but got \("):
        shared_model(torch.zeros(shape))


def _without_config(run: Path) -> Path:
    (run / "config.yaml").unlink()
    return run


def _empty(run: Path) -> Path:
    (run / "last.ckpt").unlink()
    return run


def _other(run: Path) -> Path:
    (run / "last.ckpt").write_text("hello")
    return run


def _of_unknown_data(run: Path) -> Path:
    cfg = OmegaConf.load(run / "config.yaml")
    cfg.data.dataset = "svhn"
    OmegaConf.save(cfg, run / "config.yaml")
    return run


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda run: run.with_name("rum"), r"`path` to be a checkpoint or a run's folder that ex"),
        (_empty, r"`path` to be a run's folder with a checkpoint but .* holds config\.yaml"),
        (_without_config, r"config\.yaml or args\.json beside the checkpoint.* has none; copy"),
        (_other, r"last\.ckpt' to be a readable checkpoint but it is damaged"),
        (_of_unknown_data, r"`data\.dataset \(in .*config\.yaml\)` to be one of .* 'svhn'"),
    ],
)
def test_what_cannot_be_loaded_is_one_clear_error(
    change: Callable, match: str, make_run: Make
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        solo_plugins.load(change(make_run()))
