# SPDX-License-Identifier: MIT
"""LpJEPA: the dense sibling of Rectified LpJEPA."""

__all__ = ["LpJEPA", "LpJEPASettings"]

from typing import ClassVar, Literal

from solo_plugins.methods.rectified_lpjepa.method import RectifiedLpJEPA
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.runs.description import Description


class LpJEPASettings(RectifiedLpJEPASettings):
    """Rectified LpJEPA's settings without the two rectifications.

    Args:
        target_distribution: ``lp_distribution``, nothing else.
        projector_type: ``mlp``, nothing else.
        **others: as for :class:`~solo_plugins.RectifiedLpJEPASettings`, whose errors are raised.
    """

    method: ClassVar[str] = "lpjepa"

    target_distribution: Literal["lp_distribution"] = "lp_distribution"
    projector_type: Literal["mlp"] = "mlp"


class LpJEPA(RectifiedLpJEPA):
    """Rectified LpJEPA with a generalized Gaussian target and no ReLU: dense outputs.

    Args:
        cfg: solo-learn's configuration; ``method_kwargs`` are those of :class:`LpJEPASettings`.

    References:
        Rectified LpJEPA, https://arxiv.org/abs/2602.01456 (its unrectified case)
    """

    settings_class = LpJEPASettings
    settings: LpJEPASettings

    @property
    def description(self) -> Description:
        """What a report shows of a run: a baseline among others, whose target is dense."""
        return Description(self.cfg.method, f"train_{self.loss_name}")
