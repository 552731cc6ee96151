# SPDX-License-Identifier: MIT
"""The configuration of ``main_pretrain.py``, at full depth."""

__all__ = [
    "PretrainSettings", "Seed", "check_whose", "defaults", "known", "pretrain_model", "with_kwargs",
]  # fmt: skip

from collections.abc import Collection
from functools import cache
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, Field, create_model

from solo_plugins.args import blocks
from solo_plugins.args.augmentations import Augmentation
from solo_plugins.args.foreign import METHOD_KWARGS, OPTIMIZER_KWARGS
from solo_plugins.args.kinds import (
    Block,
    Choices,
    Flag,
    Left,
    Path,
    Rule,
    Text,
    left,
)
from solo_plugins.args.trainer import TrainerSettings, by_signature
from solo_plugins.args.wording import fields
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import METHODS

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32), Rule("an integer from 0 to below 2**32")]


# One setting may be a mistake, more of another method's are its YAML.
_STRANGE = 2


def _methods() -> list[str]:
    return sorted(set(METHODS) - {"base", "linear"})


class PretrainSettings(TrainerSettings):
    """main_pretrain.py.

    Args:
        name: the run's name, of which its folder's is made.
        method: the method.
        method_kwargs: the method's own settings.
        seed: of all random numbers.
        backbone: the network.
        data: the images.
        augmentations: what is done to the images, an entry for each kind of crop.
        two_views: what augmentations refer to by ``${two_views...}``.
        optimizer: the optimizer.
        scheduler: the learning rate's schedule.
        momentum: the momentum network.
        checkpoint: what a run keeps.
        auto_resume: going on with the newest run of the same configuration.
        resume_from_checkpoint: a run's folder, or a checkpoint, to go on from.
        knn_eval: the online evaluation by nearest neighbours.
        auto_umap: pictures of validation features.
        mlp_probe: the reference implementation's.
        performance: how fast.
        dali: NVIDIA DALI.
        wandb: Weights & Biases.
        debug_augmentations: print the augmentations.
    """

    name: Text
    method: Annotated[
        str, Choices(_methods), Rule("a method of the installed solo-learn or of this plugin")
    ]
    method_kwargs: dict[str, Any] = Field(default={})
    seed: Seed = 5
    backbone: blocks.Backbone
    data: blocks.Data
    augmentations: Annotated[
        list[Augmentation], Field(min_length=1, max_length=100), Rule("a list of entries")
    ]
    two_views: dict[str, Any] = Field(default={})
    optimizer: blocks.Optimizer
    scheduler: blocks.Scheduler
    momentum: blocks.Momentum = blocks.Momentum()
    checkpoint: blocks.Checkpoint = blocks.Checkpoint()
    auto_resume: blocks.AutoResume = blocks.AutoResume()
    resume_from_checkpoint: Path | None = None
    knn_eval: blocks.KnnEval = blocks.KnnEval()
    auto_umap: blocks.AutoUmap = blocks.AutoUmap()
    mlp_probe: blocks.MlpProbe = blocks.MlpProbe()
    performance: blocks.Performance = blocks.Performance()
    dali: blocks.Dali = blocks.Dali()
    wandb: blocks.Wandb = blocks.Wandb()
    debug_augmentations: Flag = False


def pretrain_model(method: Any, optimizer: Any) -> type[PretrainSettings]:
    """Make the model of a pretraining configuration.

    Args:
        method: the method's name; of one that is not known, or whose settings are not, any are
            taken.
        optimizer: likewise.

    Returns:
        The model, with the settings of both.
    """
    return _pretrain_model(_settings_of(method), known(OPTIMIZER_KWARGS, optimizer))


def check_whose(method: str, given: Collection[str]) -> None:
    """Refuse the settings of another method, as a YAML has them whose ``method`` alone was changed.

    Args:
        method: the method's name, known or not.
        given: the names of settings in ``method_kwargs`` that are to be its own.

    Raises:
        ConfigurationError: if it lacks one of them and there is a method that has just these, or
            two and there is one that has all.
    """
    own = _settings_of(method)
    strange = set() if own is None else set(given) - set(own.model_fields)
    if not strange:
        return
    blocks_of = {name: _settings_of(name) for name in _methods()}
    fields_of = {name: {*block.model_fields} for name, block in blocks_of.items() if block}
    whose = [
        name
        for name, names in fields_of.items()
        if {*given} == names or (len(strange) >= _STRANGE and {*given} <= names)
    ]
    if whose:
        raise ConfigurationError(
            f"Expected `method_kwargs` to be those of `method: {method}` but got those of "
            f"{' or '.join(whose[:3])}, e.g. `{min(strange)}`. A YAML is of one method: "
            f"`--config-name` takes one of {method}."
        )


def _settings_of(method: Any) -> type[Block] | None:
    own = getattr(METHODS.get(method), "settings_class", None) if isinstance(method, str) else None
    if own is not None and not issubclass(own, BaseModel):
        own = None  # a method of others, which checks its settings itself
    return own or known(METHOD_KWARGS, method)


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """List the defaults of a configuration's optional settings.

    Args:
        model: the configuration, or a block of it.

    Returns:
        Values and blocks of them, without settings that are left out unless they are set.
    """
    found: dict[str, Any] = {}
    for name, where in fields(model):
        if where.block is not None:
            if not isinstance(where.default, Left):
                found[name] = defaults(where.block)
        elif not where.required and not isinstance(where.default, Left):
            found[name] = where.default
    return found


def known(blocks_by_name: dict[str, type[Block]], name: Any) -> type[Block] | None:
    """Find a block of settings by a name that may be anything.

    Args:
        blocks_by_name: the blocks.
        name: the name.

    Returns:
        The block, or None.
    """
    return blocks_by_name.get(name) if isinstance(name, str) else None


@cache
def _pretrain_model(own: type[Block] | None, kwargs: type[Block] | None) -> type[PretrainSettings]:
    changed: dict[str, Any] = by_signature()
    if own is not None:
        # Without a constructor of its own, whose error would know the names of this block alone.
        namespace = {"__init__": Block.__init__, "__module__": __name__}
        metaclass: Any = type(Block)
        plain = metaclass(own.__name__, (own,), namespace)
        changed["method_kwargs"] = (plain, ...)
    if kwargs is not None:
        changed["optimizer"] = (with_kwargs(blocks.Optimizer, kwargs), ...)
    return create_model("PretrainConfiguration", __base__=PretrainSettings, **changed)


def with_kwargs(base: type[Block], kwargs: type[Block]) -> type[Block]:
    """Make a block whose ``kwargs`` are known.

    Args:
        base: the block.
        kwargs: what these may be.

    Returns:
        The block with them.
    """
    return create_model(base.__name__, __base__=base, kwargs=(kwargs, left("solo-learn's")))
