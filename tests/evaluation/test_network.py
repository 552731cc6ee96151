# SPDX-License-Identifier: MIT
"""Checkpoints of all writers, and what is said of those that cannot be evaluated."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_plugins.args.evaluation import parse_linear_cfg
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.network import build
from solo_plugins.framework import release
from solo_plugins.runs.pretrained import Pretrained, find_pretrained

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("methods")


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def _write(run: Path, weights: dict[str, torch.Tensor]) -> None:
    torch.save({"state_dict": weights}, run / "last.ckpt")


def _as_foreign(run: Path) -> Path:
    """Lay a run out as solo-learn's Checkpointer does on main, and the reference's."""
    cfg: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    cfg["method_kwargs"]["active_feature_threshold"] = 1e-3  # which the reference fills in
    (run / "args.json").write_text(json.dumps({**cfg, "wandb_run_id": "offline-1a2b"}))
    (run / "config.yaml").unlink()
    (run / "last.ckpt").rename(run / "test-offline-1a2b-ep=9.ckpt")
    return run


def _build(run: Path, linear_cfg: Make, features: str = "projector", **changes: Any) -> Any:
    cfg, _, pretrained = parse_linear_cfg(linear_cfg(run, features=features, **changes))
    return build(pretrained, cfg, projector=features == "projector")


@pytest.mark.parametrize("writer", ["ours", "main"])
@pytest.mark.parametrize("features", ["backbone", "projector"])
def test_weights_are_loaded_and_the_network_evaluates(
    writer: str, features: str, make_run: Make, linear_cfg: Make
) -> None:
    run = make_run()
    saved = _weights(run)
    model = _build(_as_foreign(run) if writer == "main" else run, linear_cfg, features)
    assert not any(part.training for part in model.modules())
    loaded = model.state_dict()
    names = [name for name in saved if name.startswith(("backbone.", f"{features}."))]
    assert names
    assert all(torch.equal(loaded[name], saved[name]) for name in names)


def test_a_run_with_settings_that_are_gone_is_evaluated(make_run: Make, linear_cfg: Make) -> None:
    run = make_run()
    cfg = OmegaConf.load(run / "config.yaml")
    cfg.method_kwargs.update({"coordinate_weight": 0.5, "target_draws": 1, "mean_shift_rate": 0.1})
    OmegaConf.save(cfg, run / "config.yaml")
    loaded = _build(run, linear_cfg).state_dict()
    assert torch.equal(loaded["projector.6.weight"], _weights(run)["projector.6.weight"])


def test_a_file_and_its_folder_are_the_same_checkpoint(make_run: Make) -> None:
    run = make_run()
    assert find_pretrained(run) == find_pretrained(run / "last.ckpt")
    assert find_pretrained(run).folder.path == run


def test_the_newest_checkpoint_counts_where_none_is_the_last(make_run: Make) -> None:
    run = _as_foreign(make_run())
    assert find_pretrained(run).checkpoint.name == "test-offline-1a2b-ep=9.ckpt"


def _of_an_old_release(weights: dict) -> dict:
    return {name.replace("backbone.", "encoder."): weights[name] for name in weights}


def _of_other_data(weights: dict) -> dict:
    return {**weights, "classifier.weight": torch.zeros(3, 3), "extra": torch.zeros(1)}


@pytest.mark.parametrize("change", [_of_an_old_release, _of_other_data])
def test_weights_that_are_there_by_another_name_or_with_others_are_loaded(
    change: Callable, make_run: Make, linear_cfg: Make
) -> None:
    run = make_run()
    saved = _weights(run)
    _write(run, change(saved))
    loaded = _build(run, linear_cfg).state_dict()
    assert torch.equal(loaded["backbone.conv1.0.weight"], saved["backbone.conv1.0.weight"])


def _drop(weights: dict) -> dict:
    return {name: weights[name] for name in weights if name != "projector.6.bias"}


def _add(weights: dict) -> dict:
    return {**weights, "backbone.fc.weight": torch.zeros(1)}


def _reshape(weights: dict) -> dict:
    return {**weights, "projector.6.bias": torch.zeros(7)}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_drop, r"1 do not: missing projector\.6\.bias"),
        (_add, r"1 do not: unknown backbone\.fc\.weight"),
        (_reshape, r"1 do not: projector\.6\.bias is \(7,\), not \(16,\)"),
        (lambda _: {}, r"missing backbone\.conv1"),
    ],
)
def test_weights_that_do_not_fit_are_listed(
    change: Callable, match: str, make_run: Make, linear_cfg: Make
) -> None:
    run = make_run()
    _write(run, change(_weights(run)))
    with pytest.raises(ConfigurationError, match=match):
        _build(run, linear_cfg)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"backbone__name": "resnet18"},
            r"`backbone\.name` .* 'timm/resnet10t' in .*config\.yaml', but got 'resnet18'",
        ),
        (
            {"backbone__kwargs": {"stem_width": 64}},
            r"`backbone\.kwargs\.stem_width` .* 8 in .*, but got 64",
        ),
        ({"pretrain_method": "byol"}, r"`pretrain_method` .* 'rectified_lpjepa' in .* 'byol'"),
    ],
    ids=["name", "kwargs", "method"],
)
def test_a_yaml_that_contradicts_the_run_is_an_error_with_both(
    changes: dict, match: str, make_run: Make, linear_cfg: Make
) -> None:
    with pytest.raises(ConfigurationError, match=match):
        parse_linear_cfg(linear_cfg(make_run(), **changes))


def test_a_checkpoint_alone_takes_the_yamls_backbone(
    make_run: Make, linear_cfg: Make, tmp_path: Path
) -> None:
    run = make_run()
    backbone = OmegaConf.load(run / "config.yaml").backbone
    (tmp_path / "alone").mkdir()
    shutil.copy(run / "last.ckpt", tmp_path / "alone" / "some.pth")
    given = {
        "backbone": backbone,
        "data__dataset": "digits",
        "data__augmentations": {"crop_size": 16},
    }
    path = tmp_path / "alone" / "some.pth"
    model = _build(path, linear_cfg, "backbone", **given)
    name = "backbone.conv1.0.weight"
    assert torch.equal(model.state_dict()[name], _weights(run)[name])
    with pytest.raises(ConfigurationError, match=r"config.yaml or args.json beside the checkpoint"):
        _build(path, linear_cfg, "projector", **given)
    with pytest.raises(ConfigurationError, match=r"`backbone.name` to be set, there is no config"):
        _build(path, linear_cfg, "backbone", **{**given, "backbone": {}})


def test_a_backbone_for_another_network_is_listed(
    make_run: Make, linear_cfg: Make, tmp_path: Path
) -> None:
    run = make_run()
    (run / "config.yaml").unlink()
    given = {
        "backbone": {"name": "timm/resnet18"},
        "data__dataset": "digits",
        "data__augmentations": {"crop_size": 16},
    }
    with pytest.raises(ConfigurationError, match=r"to fit this configuration's model but \d+ do"):
        _build(run, linear_cfg, "backbone", **given)


def _empty(run: Path) -> Path:
    (run / "last.ckpt").unlink()
    return run


def _misspelt(run: Path) -> Path:
    return run.with_name("rum")


def _pickled(run: Path) -> Path:
    torch.save({"state_dict": {}, "hyper_parameters": Pretrained}, run / "last.ckpt")
    return run


def _not_a_checkpoint(run: Path) -> Path:
    (run / "last.ckpt").write_text("hello")
    return run


def _bare(run: Path) -> Path:
    torch.save({"model": {}}, run / "last.ckpt")
    return run


def _of_a_probe(run: Path) -> Path:
    (run / "config.yaml").write_text("name: probe\n")
    return run


def _no_json(run: Path) -> Path:
    _as_foreign(run)
    (run / "args.json").write_text("{")
    return run


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_empty, r"run's folder with a checkpoint but .* holds config\.yaml"),
        (
            lambda run: run.parent,
            r"holds run \(no file\)\. Did you mean '.*/rectified_lpjepa/run'\?",
        ),
        (lambda run: run.parents[1], r"\(no file\)\. Did you mean '.*/rectified_lpjepa/run'\?"),
        (_misspelt, r"that exists but got '.*rum'. Did you mean '.*run'"),
        (lambda _: None, r"`pretrained_feature_extractor` to be a checkpoint or a run's folder"),
        (_pickled, r"tensors and plain values\. .* could run any code.*weights_only=False"),
        (_not_a_checkpoint, r"last\.ckpt' to be a readable checkpoint but it is damaged"),
        (_bare, r"with a `state_dict` but .* has model"),
        (_of_a_probe, r"of a pretraining run but it has no `method`"),
        (_no_json, r"args\.json' cannot be used"),
    ],
)
def test_what_cannot_be_evaluated_is_one_clear_error(
    change: Callable, match: str, make_run: Make, linear_cfg: Make
) -> None:
    run = change(make_run())
    with pytest.raises(ConfigurationError, match=match):
        _build(run, linear_cfg)


@pytest.mark.usefixtures("lightning_quiet")
@pytest.mark.skipif(release() != "main", reason="needs a clone of solo-learn's main branch")
def test_a_checkpoint_that_main_itself_wrote_is_loaded(
    make_run: Make, linear_cfg: Make, tmp_path: Path, methods: dict
) -> None:
    from lightning.pytorch import Trainer
    from solo.utils.checkpointer import Checkpointer

    widths = {"proj_hidden_dim": 16, "proj_output_dim": 8}
    cfg = OmegaConf.load(make_run("vicreg", method_kwargs=widths) / "config.yaml")
    cfg.optimizer.name, cfg.optimizer.kwargs = "adamw", {"betas": [0.9, 0.999]}
    model = methods["vicreg"](cfg)
    batch = [torch.arange(4), [torch.randn(4, 3, 16, 16)] * 2, torch.arange(4)]
    callback = Checkpointer(cfg, logdir=tmp_path / "main")
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, callbacks=[callback],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, torch.utils.data.DataLoader([batch], batch_size=None))
    (run,) = (tmp_path / "main").iterdir()
    loaded = _build(run, linear_cfg).state_dict()
    wanted = model.state_dict()
    for name in ("backbone.conv1.0.weight", "projector.0.weight"):
        assert torch.equal(loaded[name], wanted[name])
