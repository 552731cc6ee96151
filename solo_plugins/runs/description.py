# SPDX-License-Identifier: MIT
"""What a run says of itself in its summary, so that a report need not know its method."""

__all__ = ["Description", "TargetDescription", "loss_name", "method_name"]

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig

from solo_plugins.distributions import (
    RectifiedGeneralizedGaussian,
    mu_gn,
    mu_rgn,
    scaled_to_unit_rms,
    sigma_gn,
    sigma_rgn,
)
from solo_plugins.untrusted.text import one_line

# What solo-learn's methods call their loss in the logs, where it is not `train_<method>_loss`.
_LOSSES = {
    "all4one": "train_comb_loss",
    "barlow_twins": "train_barlow_loss",
    "byol": "train_neg_cos_sim",
    "deepclusterv2": "train_deepcluster_loss",
    "dino": "dino_loss",
    "mae": "train_reconstruction_loss",
    "mocov2plus": "train_nce_loss",
    "mocov3": "train_contrastive_loss",
    "nnbyol": "train_neg_cos_sim",
    "nnsiam": "train_neg_cos_sim",
    "simclr": "train_nce_loss",
    "simsiam": "train_neg_cos_sim",
    "supcon": "train_nce_loss",
}


# What papers call the methods whose name is not the same letters.
_NAMES = {
    "all4one": "All4One",
    "barlow_twins": "Barlow Twins",
    "byol": "BYOL",
    "deepclusterv2": "DeepCluster v2",
    "dino": "DINO",
    "lejepa": "LeJEPA",
    "lpjepa": "LpJEPA",
    "mae": "MAE",
    "mocov2plus": "MoCo v2+",
    "mocov3": "MoCo v3",
    "ncl": "NCL",
    "nnbyol": "NNBYOL",
    "nnclr": "NNCLR",
    "nnsiam": "NNSiam",
    "nvicreg": "NVICReg",
    "rectified_lpjepa": "Rectified LpJEPA",
    "ressl": "ReSSL",
    "simclr": "SimCLR",
    "simsiam": "SimSiam",
    "supcon": "SupCon",
    "swav": "SwAV",
    "vibcreg": "VIbCReg",
    "vicreg": "VICReg",
    "visreg": "VISReg",
    "wmse": "W-MSE",
}
# Of a name in a legend, in characters; and of a target's numbers, which float32 still squares.
_LONGEST, _LARGEST = 80, 1e18


class TargetDescription(NamedTuple):
    """The rectified or dense generalized Gaussian that a run's outputs are matched to.

    Args:
        p: the exponent, positive.
        loc: mu, in the unit of the outputs.
        scale: sigma, in the unit of the outputs.
        rectified: whether its negative part is moved to zero.
        l0: the target active fraction, in closed form; 1 if the target is dense.
        calibrated: whether thresholds hold the outputs at that fraction.
        scale_rule: which variance is 1: ``sigma_GN`` before or ``sigma_RGN`` after rectification.
        location_settings: dotted settings that move `loc`; runs that differ in these only are one
            series.
    """

    p: float
    loc: float
    scale: float
    rectified: bool
    l0: float
    calibrated: bool = False
    scale_rule: str = "sigma_GN"
    location_settings: tuple[str, ...] = (
        "method_kwargs.mean_shift_value",
        "method_kwargs.target_active_fraction",
    )

    @property
    def aim(self) -> str:
        """What it asks for: mu, or the fraction that thresholds hold whatever mu is."""
        if self.calibrated:
            return f"calibrated to {100 * self.l0:.3g} %"
        return f"μ={self.loc:.3g}"


class Description(NamedTuple):
    """What a report shows of a run's method.

    Args:
        label: what the run is called in a legend.
        loss: the name of the method's loss in the logs.
        target: the target of the outputs, or None if the method has none.
        series: what runs of all locations of the target are called together, or None.
    """

    label: str
    loss: str
    target: TargetDescription | None = None
    series: str | None = None

    @classmethod
    def with_target(cls, loss: str, target: TargetDescription) -> "Description":
        """Describe a run of Rectified LpJEPA.

        Args:
            loss: the name of the loss in the logs.
            target: the target of its outputs.

        Returns:
            The description, with label and series.
        """
        dense = "" if target.rectified else "dense, "
        calibrated = ", calibrated" if target.calibrated else ""
        label = f"{dense}p={target.p:g}, {target.aim}"
        return cls(label, loss, target, f"Rectified LpJEPA, {dense}p = {target.p:g}{calibrated}")

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any], cfg: DictConfig) -> "Description":
        """Read the description that a run has written into its summary.

        Args:
            summary: the run's summary.
            cfg: the run's configuration, from which runs are described that were written before
                summaries had a description.

        Returns:
            The description.

        Raises:
            KeyError, TypeError, ValueError, ArithmeticError: if the summary or the configuration is
                damaged.
        """
        given = summary.get("description")
        if given is None:
            return _from_config(cfg)
        target = given["target"]
        if target is not None:
            settings = tuple(map(str, target["location_settings"]))
            target = _checked(TargetDescription(**{**target, "location_settings": settings}))
        series = None if given["series"] is None else one_line(given["series"], _LONGEST)
        return cls(one_line(given["label"], _LONGEST), str(given["loss"]), target, series)

    def as_json(self) -> dict[str, Any]:
        """Return the description as ``json`` can write it."""
        target = None if self.target is None else self.target._asdict()
        return {**self._asdict(), "target": target}


def loss_name(method: str) -> str:
    """Tell what a method of solo-learn calls its loss in the logs.

    Args:
        method: its name.

    Returns:
        The metric's name.

    Example:
        >>> loss_name("vicreg"), loss_name("byol")
        ('train_vicreg_loss', 'train_neg_cos_sim')
    """
    return _LOSSES.get(method, f"train_{method}_loss")


def method_name(method: str) -> str:
    """Tell what papers call a method.

    Args:
        method: its name in configurations.

    Returns:
        The name; an unknown method's is its own.

    Example:
        >>> method_name("simclr"), method_name("mine")
        ('SimCLR', 'mine')
    """
    return _NAMES.get(method, method)


def _checked(target: TargetDescription) -> TargetDescription:
    """Refuse a target that no distribution has."""
    numbers: dict[str, Any] = {
        name: float(getattr(target, name)) for name in ("p", "loc", "scale", "l0")
    }
    for name, value in numbers.items():
        if not -_LARGEST < value < _LARGEST or (name in ("p", "scale") and value <= 0):
            raise ValueError(f"the target's `{name}` is {value!r}")
    if not 0 <= target.l0 <= 1 or target.scale_rule not in ("sigma_GN", "sigma_RGN"):
        raise ValueError(f"the target has l0 {target.l0!r} and the rule {target.scale_rule!r:.60}")
    rectified, calibrated = bool(target.rectified), bool(target.calibrated)
    return target._replace(**numbers, rectified=rectified, calibrated=calibrated)


def _from_config(cfg: DictConfig) -> Description:
    """Describe a run that was written before summaries had a description."""
    if cfg.method != "rectified_lpjepa":
        ours = cfg.method == "lpjepa"
        return Description(
            one_line(cfg.method, _LONGEST),
            "train_rectified_lp_jepa_loss" if ours else loss_name(cfg.method),
        )
    kwargs = cfg.get("method_kwargs") or {}
    p, rule = float(kwargs.get("lp_norm_parameter", 1)), kwargs.get("mode_of_sigma", "sigma_GN")
    loc, fraction = kwargs.get("mean_shift_value"), kwargs.get("target_active_fraction")
    if loc is None and fraction is not None:
        loc = (mu_gn if rule == "sigma_GN" else mu_rgn)(float(fraction), p)
    loc = float(loc or 0)
    scale = sigma_gn(p) if rule == "sigma_GN" else sigma_rgn(p, loc)
    rectified = str(kwargs.get("target_distribution", "rectified")).startswith("rectified")
    if kwargs.get("unit_rms_target") and rectified:
        loc, scale = scaled_to_unit_rms(loc, scale, p)
    exact = torch.tensor([loc, scale, p], dtype=torch.float64)
    law = RectifiedGeneralizedGaussian(exact[0], exact[1], exact[2])
    target = TargetDescription(
        p=p,
        loc=loc,
        scale=scale,
        rectified=rectified,
        l0=float(law.active_probability) if rectified else 1.0,
        calibrated=bool(kwargs.get("threshold_rate", 0)),
        scale_rule=str(rule),
    )
    return Description.with_target("train_rectified_lp_jepa_loss", _checked(target))
