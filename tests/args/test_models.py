# SPDX-License-Identifier: MIT
"""The models know every setting that something reads, and say what is meant by others."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.evaluated import KnnSettings, LinearSettings
from solo_plugins.args.foreign import METHOD_KWARGS
from solo_plugins.args.models import pretrain_model
from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.args.suggestions import SYNONYMS
from solo_plugins.args.trainer import NOT_AVAILABLE, TrainerSettings, by_signature
from solo_plugins.args.wording import every_name
from solo_plugins.errors import ConfigurationError
from solo_plugins.framework import release

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods")
# In YAMLs of main, which does not read them; or read by 1.0.2 alone.
NOT_READ = {
    "simclr": {"supervised"} if release() == "main" else set(),
    "simsiam": {"temperature"},
    "ressl": {"base_tau_momentum", "final_tau_momentum", "momentum_classifier"},
}


def test_every_argument_of_lightnings_trainer_is_known() -> None:
    known = set(TrainerSettings.model_fields) | set(NOT_AVAILABLE)
    installed = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    assert installed <= known
    assert known - installed <= set(by_signature())  # which refuses what an older one lacks


def test_the_settings_of_solo_learns_methods_are_those_that_they_read(methods: dict) -> None:
    ours = {name for name in methods if hasattr(methods[name], "settings_class")}
    names = set(methods) - ours - {"base", "linear"}
    assert names <= set(METHOD_KWARGS)
    for name in names:
        known = set(METHOD_KWARGS[name].model_fields) - NOT_READ.get(name, set())
        assert _read(methods[name]) == known, name


def _read(method: type) -> set[str]:
    if release() == "pypi":
        from solo_plugins.framework.pypi.bridge.arguments import parser_defaults

        return set(parser_defaults(method)) - set(method._shared)
    source = "".join(inspect.getsource(kind) for kind in method.__mro__ if "solo" in str(kind))
    return set(re.findall(r"method_kwargs\.(\w+)", source))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("method_kwargs.mu", "method_kwargs.mean_shift_value"),
        ("mu", "method_kwargs.mean_shift_value"),
        ("epochs", "max_epochs"),
        ("batch_size", "optimizer.batch_size"),
        ("method_kwargs.batch_size", "optimizer.batch_size"),
        ("crop_size", "augmentations[0].crop_size"),
        ("data.num_crops", "augmentations[0].num_crops"),
        ("wd", "optimizer.weight_decay"),
        ("optimizer.LR", "lr"),
        ("wieght_decay", "optimizer.weight_decay"),
        ("method_kwargs.sigma", "method_kwargs.mode_of_sigma"),
        ("optimizer.kwargs.momentm", "momentum"),
    ],
)
def test_what_is_meant_is_said(key: str, meant: str, make_cfg: Make) -> None:
    cfg = make_cfg()
    OmegaConf.update(cfg, key, 1, force_add=True)
    with pytest.raises(ConfigurationError, match=rf"`{key}`\. Did you mean `{re.escape(meant)}`\?"):
        parse_cfg(cfg)


@pytest.mark.parametrize(
    ("key", "end"), [("xyzzy", "docs/configuration.md lists"), ("wandb.xyzzy", "Known: enabled, ")]
)
def test_a_name_like_no_other_gets_no_long_list(key: str, end: str, make_cfg: Make) -> None:
    cfg = make_cfg()
    OmegaConf.update(cfg, key, 1, force_add=True)
    with pytest.raises(ConfigurationError, match=end) as caught:
        parse_cfg(cfg)
    assert len(str(caught.value)) < 120


def test_synonyms_are_of_settings_that_exist() -> None:
    models: list[Any] = [pretrain_model(name, "sgd") for name in ("rectified_lpjepa", "ncl")]
    known = {key for model in [*models, LinearSettings, KnnSettings] for key in every_name(model)}
    assert {key for keys in SYNONYMS.values() for key in keys} <= known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, r"`seed` to be an integer from 0 to below 2\*\*32 but got -1"),
        ({"devices": {"a": 1}}, r"`devices` to be a positive number.* but got \{'a': 1\}"),
        ({"devices": -3}, r"`devices` to be a positive number.* but got -3"),
        ({"strategy": "bogus"}, r"`strategy` to be one of auto, ddp"),
        ({"limit_train_batches": True}, r"`limit_train_batches` to be a number .* but got True"),
        ({"enable_checkpointing": False}, r"to be left out, `checkpoint.enabled` is the setting"),
        ({"check_val_every_n_epoch": None}, r"`check_val_every_n_epoch` to be set, or `val_check"),
        ({"max_epochs": 10**20}, r"`max_epochs` to be a positive integer, at most 1,000,000,000,"),
        ({"two_views": {"crop": 8}}, r"`two_views.crop` to be what .* Did you mean `crop_size`"),
        ({"data.num_classes": 7}, r"`data.num_classes` to be what the images come to, 10, but"),
        ({"backbone.kwargs.foo": 1}, r"`backbone.kwargs.foo` to be an argument of timm/resnet10t"),
        ({"backbone.kwargs.zero_init_last": "u"}, r"zero_init_last` to be true or false, as timm"),
        ({"optimizer.kwargs.eta": 1}, r"`optimizer.kwargs.eta`. Did you mean|Known: momentum"),
        ({"augmentations.0.grayscale": {"prob": -3}}, r"`augmentations\[0\].grayscale.prob` to be"),
        (
            {"augmentations.0.grayscale": {"prob": 0.5, "enabled": False}},
            r"`augmentations\[0\].grayscale.prob` to be 0 with `enabled: false` but got 0.5",
        ),
        (
            {"augmentations.0.rrc": {"enabled": True, "crop_min_scale": 0.5}},
            r"Expected `augmentations\[0\].rrc.crop_max_scale` to be set with `enabled: true`\.",
        ),
        ({"auto_resume": None}, r"`auto_resume` to be a block of settings but got None"),
        ({"method_kwargs": 5}, r"`method_kwargs` to be a block of settings but got 5"),
        ({"checkpoint.dir": "${nowhere}"}, r"`checkpoint.dir` to be set, or to refer to a setting"),
        ({"augmentations.0.crop_size": "${nowhere}"}, r"`augmentations\[0\]\.crop_size` to be set"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_at_full_depth(
    changes: dict[str, Any], message: str, make_cfg: Make
) -> None:
    cfg = OmegaConf.to_container(make_cfg())
    for key, value in changes.items():
        *above, last = key.split(".")
        node: Any = cfg
        for part in above:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        node[last] = value
    with pytest.raises(ConfigurationError, match=message):
        parse_cfg(OmegaConf.create(cfg))
