# SPDX-License-Identifier: MIT
"""solo-learn's losses mean the same on both releases: judged by torch's and numpy's own."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from solo_plugins.framework import simclr_loss, vicreg_loss

N, D = 12, 5


def _views(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, N, D, generator=generator).relu()
    first[0] = 0  # a rectified output may be all zero
    return first.to(dtype), second.to(dtype)


@pytest.mark.parametrize("temperature", [0.02, 0.2, 1.0])
def test_simclr_is_the_cross_entropy_of_finding_the_other_view(temperature: float) -> None:
    first, second = _views()
    z = F.normalize(torch.cat((first, second)), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
    wanted = F.cross_entropy(logits, torch.arange(2 * N).roll(N))
    torch.testing.assert_close(simclr_loss(first, second, temperature=temperature), wanted)


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (25, 25, 1)], ids=str)
def test_vicreg_is_distance_variance_and_covariance(weights: tuple[float, float, float]) -> None:
    first, second = _views()
    terms = np.zeros(3)
    terms[0] = np.square(first.numpy() - second.numpy()).mean()
    for z in (first.numpy(), second.numpy()):
        cov = np.cov(z.T)
        terms[1] += np.maximum(0, 1 - np.sqrt(np.diag(cov) + 1e-4)).mean()  # VICReg's epsilon
        terms[2] += np.square(cov[~np.eye(D, dtype=bool)]).sum() / D
    got = vicreg_loss(
        first,
        second,
        sim_loss_weight=weights[0],
        var_loss_weight=weights[1],
        cov_loss_weight=weights[2],
    )
    assert got.item() == pytest.approx(terms @ weights, rel=1e-5)


def test_losses_run_in_float32_under_autocast() -> None:
    first, second = _views(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = vicreg_loss(first, second), simclr_loss(first, second, temperature=0.2)
    wide = first.float(), second.float()
    wanted = vicreg_loss(*wide), simclr_loss(*wide, temperature=0.2)
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_a_row_of_zeros_gives_finite_gradients() -> None:
    first, second = (view.requires_grad_() for view in _views())
    (vicreg_loss(first, second) + simclr_loss(first, second, temperature=0.2)).backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()
