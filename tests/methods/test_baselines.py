# SPDX-License-Identifier: MIT
"""The baselines as methods: their losses by formula, their settings, their logs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.nn import functional as F

from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import simclr_loss, vicreg_loss
from solo_plugins.methods.lejepa import LeJEPASettings
from solo_plugins.methods.lpjepa import LpJEPASettings
from solo_plugins.methods.ncl import NCLSettings
from solo_plugins.methods.nvicreg import NVICRegSettings
from solo_plugins.methods.rectified_lpjepa.method import RectifiedLpJEPA
from solo_plugins.methods.visreg import VISRegSettings
from solo_plugins.modules import MLP
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")

# large crops first; each with the pairs of which one is large
CROPS = {"2": (2, 0), "2+2": (2, 2), "1+2": (1, 2)}
PAIRS = {
    "2": [(0, 1)],
    "2+2": [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)],
    "1+2": [(0, 1), (0, 2)],
}
SETTINGS = {name: {"num_projections": 16} for name in ("lejepa", "lpjepa", "visreg")}


def _wanted(model: Any, views: list[Tensor], crops: str) -> Tensor:
    def over_pairs(term: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return torch.stack([term(views[i], views[j]) for i, j in PAIRS[crops]]).mean()

    generator = model.step_generator(0)
    if model.cfg.method == "lpjepa":
        regulariser = model.rdm_reg(views, generator=generator)
        return 25 * over_pairs(F.mse_loss) + 125 * regulariser
    if model.cfg.method == "nvicreg":
        return over_pairs(vicreg_loss)
    if model.cfg.method == "ncl":
        return over_pairs(lambda one, other: simclr_loss(one, other, temperature=0.2))
    centre = sum(views[: CROPS[crops][0]]) / CROPS[crops][0]
    pull = torch.stack([(view - centre).square().mean() for view in views]).mean()
    if model.cfg.method == "visreg":
        terms = [_visreg_terms(view, generator.initial_seed()) for view in torch.stack(views)]
        return 0.1 * pull + 0.9 * torch.stack(terms).mean()
    return 0.95 * pull + 0.05 * model.sigreg(views, generator=generator)


def _visreg_terms(z: Tensor, seed: int) -> Tensor:
    """Compute the paper's equations 1, 5 and 6 for one view, with lightly's directions."""
    n, dim = z.shape
    directions = F.normalize(
        torch.randn(dim, 16, generator=torch.Generator().manual_seed(seed)), dim=0
    )
    std = z.std(dim=0, correction=0)
    rows = (z - z.mean(dim=0)) / (std.detach() + 1e-4)
    quantiles = torch.tensor(scipy.stats.norm.ppf(np.arange(1, n + 1) / (n + 1)), dtype=z.dtype)
    shape = ((rows @ directions).sort(dim=0).values - quantiles[:, None]).square().mean()
    return shape + (1 - std).square().mean() + z.mean(dim=0).square().mean()


@pytest.mark.parametrize(
    ("method", "crops"),
    [
        *(("visreg", "2"), ("visreg", "1+2")),
        *(("lejepa", "2"), ("lejepa", "2+2"), ("lejepa", "1+2"), ("lpjepa", "1+2")),
        *(("ncl", "2"), ("ncl", "2+2"), ("nvicreg", "2"), ("nvicreg", "1+2")),
    ],
)
def test_the_loss_is_the_formula_over_views(
    method: str, crops: str, model_and_batch: Callable, augmentation: Callable
) -> None:
    large, small = CROPS[crops]
    entries = [augmentation(num_crops=large)]
    entries += [augmentation(num_crops=small, crop_size=16)] if small else []
    model, batch = model_and_batch(method, SETTINGS.get(method), augmentations=entries)
    out = model.training_step(batch, 0)
    views = [model(crop)["z"] for crop in batch[1]]
    wanted = _wanted(model, views, crops) + out["classifier"]
    torch.testing.assert_close(out["loss"], wanted)
    out["loss"].backward()
    for part in (model.backbone, model.projector, model.classifier):
        assert any(weight.grad.abs().sum() > 0 for weight in part.parameters())


@pytest.mark.parametrize(
    ("method", "rectified"),
    [*((name, False) for name in SETTINGS), ("ncl", True), ("nvicreg", True)],
)
def test_outputs_are_rectified_where_the_method_says_so(
    method: str, rectified: bool, model_and_batch: Callable
) -> None:
    model, batch = model_and_batch(method, SETTINGS.get(method))
    assert bool((model(batch[1][0])["z"] >= 0).all()) is rectified


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_lpjepa_is_rectified_lpjepa_without_its_rectifications(
    p: float, model_and_batch: Callable
) -> None:
    settings = {"num_projections": 16, "lp_norm_parameter": p}
    dense = {"target_distribution": "lp_distribution", "projector_type": "mlp"}
    model, batch = model_and_batch("lpjepa", settings)
    same, _ = model_and_batch("rectified_lpjepa", settings | dense)
    assert type(same) is RectifiedLpJEPA
    torch.testing.assert_close(model.training_step(batch, 0), same.training_step(batch, 0))


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (LeJEPASettings, {"sigreg_weight": 1.5}, r"`method_kwargs.sigreg_weight` .* \[0, 1\].*1.5"),
        (LeJEPASettings, {"num_knots": 1}, r"`method_kwargs.num_knots` .* at least 2 but got 1"),
        (LeJEPASettings, {"num_projections": 0}, r"num_projections` to be a positive integer"),
        (LeJEPASettings, {"max_frequency": 0}, r"max_frequency` to be positive but got 0"),
        (LeJEPASettings, {"lambda": 0.1}, r"known settings but got `method_kwargs.lambda`"),
        (LpJEPASettings, {"projector_type": "rectified_mlp"}, r"projector_type` to be one of mlp"),
        (
            LpJEPASettings,
            {"target_distribution": "rectified_lp_distribution"},
            r"target_distribution` to be one of lp_distribution but got 'rectified_lp_d",
        ),
        (NCLSettings, {"temperature": 0.0}, r"temperature` to be a number of at least 0.02"),
        (NCLSettings, {"temperature_": 0.2}, r"Did you mean `temperature`"),
        (
            VISRegSettings,
            {"regularizer_weight": 2},
            r"regularizer_weight` .* from 0 to 1 but got 2",
        ),
        (VISRegSettings, {"shape_weight": -1}, r"shape_weight` to be non-negative .* -1"),
        (VISRegSettings, {"num_projections": 0}, r"num_projections` to be a positive integer"),
        (NVICRegSettings, {"cov_loss_weight": -1}, r"cov_loss_weight` to be non-negative .* -1"),
        (NVICRegSettings, {"projector_type": "linear"}, r"`method_kwargs.projector_type` to be o"),
        (NVICRegSettings, {"logging_interval": 0}, r"logging_interval` to be a positive integer"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(settings: Any, changes: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings.from_config({"proj_hidden_dim": 4, "proj_output_dim": 4, **changes})


def test_visregs_directions_leave_other_draws_alone(model_and_batch: Callable) -> None:
    model, batch = model_and_batch("visreg", SETTINGS["visreg"])
    before = torch.get_rng_state()
    views = [model(crop)["z"] for crop in batch[1]]
    first, again, other = (model.objective(views, number)[0] for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_visreg_without_lightly_says_how_to_get_it(
    model_and_batch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solo_plugins.methods.visreg.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'solo_plugins\[visreg\]'"):
        model_and_batch("visreg")


def test_a_run_without_a_target_logs_its_sparsity_and_reports_no_target(
    make_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    cfg = make_cfg(
        "ncl", max_epochs=1, checkpoint__enabled=False, method_kwargs__add_projector_classifier=True
    )
    metrics = pretrain(cfg).metrics
    printed = capsys.readouterr().out
    assert f"Active outputs: {100 * metrics['val_l0_sparsity_metric']:.1f} %\n" in printed
    assert "the target has" not in printed
    assert {"train_ncl_loss_epoch", "val_l1_sparsity_metric", "val_proj_acc1"} <= set(metrics)
    assert not any("target" in name for name in metrics)


def test_lejepas_outputs_are_compared_with_the_standard_normal(
    make_cfg: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    forward = MLP.forward

    def keep(self: MLP, x: torch.Tensor) -> torch.Tensor:
        seen.append(forward(self, x))
        return seen[-1]

    monkeypatch.setattr(MLP, "forward", keep)
    metrics = pretrain(make_cfg("lejepa", max_epochs=1, checkpoint__enabled=False)).metrics
    z = torch.cat(seen[-2:]).double().numpy()  # two validation batches end the run
    quantiles = scipy.stats.norm.ppf((np.arange(len(z)) + 0.5) / len(z))
    wanted = np.sqrt(((np.sort(z, axis=0) - quantiles[:, None]) ** 2).mean(axis=0)).mean()
    assert metrics["val_marginal_distance"] == pytest.approx(wanted, rel=1e-5)


def test_a_run_without_labels_trains(make_cfg: Make, tmp_path: Any) -> None:
    from torchvision.datasets import FakeData

    for index, (image, _) in enumerate(FakeData(16, (3, 32, 32), 2)):
        image.save(tmp_path / f"{index}.png")
    cfg = make_cfg(
        "nvicreg",
        data={
            "dataset": "custom",
            "train_path": str(tmp_path),
            "no_labels": True,
            "num_workers": 0,
        },
        optimizer__batch_size=8,
        max_epochs=1,
        checkpoint__enabled=False,
    )
    assert "train_nvicreg_loss_epoch" in pretrain(cfg).metrics
