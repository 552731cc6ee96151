# SPDX-License-Identifier: MIT
"""The linear model of solo-learn's main branch, with one step replaced."""

__all__ = ["LinearModel"]

from solo.methods.linear import LinearModel as SoloLinearModel

from solo_plugins.framework.linear_step import LinearStep


class LinearModel(LinearStep, SoloLinearModel):
    """Main's own model, whose step smooths labels without mixup too.

    Args:
        backbone: the network under the classifier.
        cfg: main's configuration.
        loss_func: the loss in training; the cross-entropy if there is none.
        mixup_func: mixes images and targets in training, if there is one.
    """
