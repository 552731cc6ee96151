# SPDX-License-Identifier: MIT
"""solo-learn behind one door: main's interface, whichever release is installed.

This package alone imports ``solo``, and its release is asked for here, once. What differs between
the releases stands in the twins ``main`` and ``pypi``, which have the same modules with the same
names, and what they share stands beside them.
"""

__all__ = [
    "DALI_FIXED", "DISTANCES", "FORMATS", "LOSSES", "METHODS", "SCHEDULES", "BaseMethod",
    "FullTransformPipeline",
    "LinearModel", "NCropAugmentation", "WeightedKNNClassifier", "accuracy_at_k", "adapt_methods",
    "backbone_constructor", "build_transform_pipeline", "build_transform_pipeline_dali",
    "check_kwargs", "dataset_with_index",
    "has_projector", "hits",
    "known_backbones", "nearest_neighbours", "outputs", "prepare_datasets", "projector_name",
    "release", "simclr_loss", "size_settings", "vicreg_loss", "vote",
]  # fmt: skip

from solo_plugins.framework.release import import_solo, release

# This stands before every other import, as the other modules of this room import `solo`.
if import_solo() == "main":
    from solo_plugins.framework.main.dali import DALI_FIXED, build_transform_pipeline_dali
    from solo_plugins.framework.main.data import (
        FORMATS,
        FullTransformPipeline,
        NCropAugmentation,
        build_transform_pipeline,
        dataset_with_index,
        prepare_datasets,
    )
    from solo_plugins.framework.main.linear import LinearModel
    from solo_plugins.framework.main.losses import simclr_loss, vicreg_loss
    from solo_plugins.framework.main.methods import (
        LOSSES,
        SCHEDULES,
        BaseMethod,
        adapt_methods,
        backbone_constructor,
        known_backbones,
    )
else:
    from solo_plugins.framework.pypi.dali import DALI_FIXED, build_transform_pipeline_dali
    from solo_plugins.framework.pypi.data import (
        FORMATS,
        FullTransformPipeline,
        NCropAugmentation,
        build_transform_pipeline,
        dataset_with_index,
        prepare_datasets,
    )
    from solo_plugins.framework.pypi.linear import LinearModel
    from solo_plugins.framework.pypi.losses import simclr_loss, vicreg_loss
    from solo_plugins.framework.pypi.methods import (
        LOSSES,
        SCHEDULES,
        BaseMethod,
        adapt_methods,
        backbone_constructor,
        known_backbones,
    )

from solo.methods import METHODS as _METHODS
from solo.utils.metrics import accuracy_at_k

from solo_plugins.framework.backbones import size_settings
from solo_plugins.framework.constructors import check_kwargs
from solo_plugins.framework.neighbours import (
    DISTANCES,
    WeightedKNNClassifier,
    hits,
    nearest_neighbours,
    vote,
)
from solo_plugins.framework.outputs import has_projector, outputs, projector_name

METHODS: dict[str, type] = _METHODS
