# SPDX-License-Identifier: MIT
"""What a configuration may say, and what a person is told when it is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.errors import ConfigurationError, nearest_path
from solo_plugins.training.pretrain import pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods")


def _off() -> dict[str, float]:
    return {"prob": 0.0}


_OURS = {"proj_output_dim": 16, "num_projections": 64, "mean_shift_value": -1.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"method": "rectified_lpjpea"},
            r"`method` to be one of .*byol.*Did you mean `rectified_l",
        ),
        ({"method": "linear"}, r"`method` to be one of .* but got 'linear'"),
        ({"method_kwarsg": {"rdm_reg_loss_weight": 1}}, r"`method_kwarsg`. Did you mean `method_k"),
        ({"optimiser": {"lr": 1}}, r"`optimiser`. Did you mean `optimizer`"),
        ({"max_epoch": 3}, r"`max_epoch`. Did you mean `max_epochs`"),
        ({"optimizer.Lr": 0.1}, r"`optimizer.Lr`. Did you mean `lr`"),
        ({"data.trainpath": "x"}, r"`data.trainpath`. Did you mean `train_path`"),
        ({"max_epochs": 0}, r"`max_epochs` to be a positive integer but got 0"),
        ({"optimizer.name": "adamax"}, r"`optimizer.name` to be one of .* got 'adamax'"),
        ({"optimizer.lr": -1}, r"`optimizer.lr` to be a non-negative number but got -1"),
        ({"optimizer.lr": None}, r"Expected `optimizer.lr` to be set"),
        ({"scheduler.interval": "hour"}, r"`scheduler.interval` to be one of step, epoch"),
        ({"knn_eval": {"distance_func": "l1"}}, r"`knn_eval.distance_func` to be one of"),
        ({"data.dataset": "mnist"}, r"`data.dataset` to be one of cifar10, .* got 'mnist'"),
        ({"data.format": "tfds"}, r"`data.format` to be one of .* got 'tfds'"),
        ({"data.format": "dalli"}, r"`data.format` to be one of .* `dali`"),
        ({"data.fraction": 0.5}, r"`data.fraction` .* but got 0.5 for digits"),
        (
            {"data.dataset": "custom"},
            r"`data.train_path` to be a folder .* that exists but got None",
        ),
        ({"data.preload": 1}, r"`data.preload` to be true or false but got 1"),
        ({"debug_augmentations": "on"}, r"`debug_augmentations` to be true or false but got 'on'"),
        ({"data": {"dataset": "cifar10"}}, r"Expected `data.train_path` to be set"),
        ({"mlp_probe": {"enabled": True}}, r"`mlp_probe.enabled` to be false"),
        ({"auto_umap": {"enabled": 1}}, r"`auto_umap.enabled` to be"),
        ({"auto_umap": {"frequency": 0}}, r"`auto_umap.frequency` to be"),
        ({"auto_umap": {"dir": "../x"}}, r"`auto_umap.dir` to be the name of a folder"),
        ({"backbone": "resnet18"}, r"`backbone` .* Did you mean `backbone.name=resnet18`\?"),
        ({"optimizer": "adamw"}, r"`optimizer` .* Did you mean `optimizer.name=adamw`\?"),
        ({"data": "cifar10"}, r"`data` .* Did you mean `data.dataset=cifar10`\?"),
        (
            {"method": "byol", "method_kwargs": _OURS},
            r"those of `method: byol` .* rectified_lpjepa.* takes one of byol\.$",
        ),
        (
            {"method": "vicreg", "method_kwargs": _OURS},
            r"those of `method: vicreg` .* takes one of vicreg\.$",
        ),
        ({"wandb": True}, r"`wandb` to be a block of settings but got True"),
        ({"augmentations": []}, r"`augmentations` to be a list of entries but got \[\]"),
        ({"accelerator": "tpu"}, r"`accelerator` to be one of auto, gpu, cuda, cpu but got 'tpu'"),
        ({"devices": 0}, r"`devices` to be a positive number, .* but got 0"),
        ({"dali": {"device": "tpu"}}, r"`dali.device` to be one of gpu, cpu"),
        (
            {"checkpoint": {"enabled": False, "monitor": "val_acc1"}},
            r"`checkpoint.monitor` to be left out .* but got 'val_acc1'",
        ),
        ({"checkpoint": {"enabled": False, "keep_prev": True}}, r"`checkpoint.keep_prev` to be"),
        (
            {"checkpoint": {"enabled": True, "monitor": "val_acc1"}, "limit_val_batches": 0},
            r"`limit_val_batches` .* with `checkpoint.monitor: val_acc1`.* but got 0\.$",
        ),
        (
            {"auto_umap": {"enabled": True}, "check_val_every_n_epoch": 5},
            r"`check_val_every_n_epoch` .* with `auto_umap.enabled: True`.* but got 5\.$",
        ),
        ({"gradient_clip_algorithm": "value"}, r"`gradient_clip_val` to be set .* but got None"),
        ({"min_steps": 9, "max_steps": 3}, r"`min_steps` to be at most `max_steps`, .* got 9"),
        ({"backbone.name": "resnet81"}, r"`backbone.name` .* 'resnet81'.*Did you mean `resnet18`"),
        ({"resume_from_checkpoint": "no.ckpt"}, r"`resume_from_checkpoint` .* got 'no.ckpt'"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    changes: dict[str, Any], message: str, make_cfg: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        pretrain(make_cfg(**{key.replace(".", "__"): value for key, value in changes.items()}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lp_norm_parameter": 0}, r"`method_kwargs.lp_norm_parameter` to be positive but got 0"),
        (
            {"lp_norm_parameter": "1"},
            r"`method_kwargs.lp_norm_parameter` to be positive but got '1",
        ),
        (
            {"mean_shift_value": float("inf")},
            r"`method_kwargs.mean_shift_value` to be finite .* inf",
        ),
        (
            {"mean_shift_value": float("nan")},
            r"`method_kwargs.mean_shift_value` to be finite .* nan",
        ),
        (
            {"rdm_reg_loss_wieght": 1},
            r"`method_kwargs.rdm_reg_loss_wieght`. Did you mean `rdm_reg_loss_weight`",
        ),
        ({"target_distribution": "lp"}, r"`method_kwargs.target_distribution` to be one of"),
        ({"mode_of_sigma": "sigma_NG"}, r"`method_kwargs.mode_of_sigma` .*Did you mean `sigma_GN`"),
        (
            {"projector_type": "linear"},
            r"`method_kwargs.projector_type` to be one of mlp, rectified",
        ),
        ({"projection_vectors_type": "svd"}, r"`method_kwargs.projection_vectors_type` to be one"),
        ({"num_projections": 0}, r"`method_kwargs.num_projections` to be a positive integer"),
        ({"num_projections": 1.5}, r"`method_kwargs.num_projections` to be a positive integer"),
        (
            {"proj_output_dim": None},
            r"proj_output_dim` to be set, to a positive integer, but got None",
        ),
        ({"invariance_loss_weight": -1}, r"`method_kwargs.invariance_loss_weight` to be non-neg"),
        (
            {"add_projector_classifier": 1},
            r"`method_kwargs.add_projector_classifier` to be true or",
        ),
        (
            {"projection_vectors_type": "torch_svd_and_random", "num_projections": 15},
            r"at least the number of singular directions, 16 at .* but got 15",
        ),
        (
            {"projection_vectors_type": "hadamard", "proj_output_dim": 1},
            r"`method_kwargs.proj_output_dim` to be at least 2 with .*hadamard.* but got 1",
        ),
    ],
    ids=str,
)
def test_a_wrong_setting_of_the_method_is_named(
    changes: dict[str, Any], message: str, make_cfg: Make, tmp_path: Path
) -> None:
    cfg = make_cfg()
    cfg.method_kwargs.update(changes)
    with pytest.raises(ConfigurationError, match=message):
        pretrain(cfg)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["random", "hadamard"])
def test_fewer_directions_than_processes_are_refused(
    kind: str, make_cfg: Make, tmp_path: Path
) -> None:
    cfg = make_cfg(devices=3)
    cfg.method_kwargs.update(projection_vectors_type=kind, num_projections=2)
    message = r"`method_kwargs.num_projections` to be at least .* processes, .* = 3, .* but got 2"
    with pytest.raises(ConfigurationError, match=message):
        pretrain(cfg)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch_size", [1, 5000])
def test_impossible_batch_sizes_are_refused(
    batch_size: int, make_cfg: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"`optimizer.batch_size` .* got {batch_size}"):
        pretrain(make_cfg(optimizer__batch_size=batch_size))
    assert not list(tmp_path.iterdir())


def test_a_single_crop_is_refused(make_cfg: Make, augmentation: Callable) -> None:
    with pytest.raises(ConfigurationError, match="at least 2 crops of an image but got 1"):
        pretrain(make_cfg(augmentations=[augmentation(num_crops=1)]))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"crop_size": 0}, r"`augmentations\[0\].crop_size` to be a positive integer but got 0"),
        ({"blur": {}}, r"`augmentations\[0\].blur`"),
        ({"grayscale": {}}, r"`augmentations\[0\].grayscale.prob` to be set"),
        ({"grayscale": {"probability": 1}}, r"`augmentations\[0\].grayscale.probability`"),
    ],
    ids=str,
)
def test_augmentations_are_checked(
    entry: dict, message: str, make_cfg: Make, augmentation: Callable
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_cfg(make_cfg(augmentations=[augmentation(**entry)]))


def test_a_path_that_does_not_exist_is_named_with_the_nearest(
    make_cfg: Make, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    wrong = str(tmp_path / "imags")
    with pytest.raises(
        ConfigurationError, match=r"`data.train_path` .*imags'.*Did you mean .*ages'"
    ):
        parse_cfg(make_cfg(data={"dataset": "custom", "train_path": wrong}))


def test_a_folder_without_classes_is_refused(make_cfg: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"a folder for each class, or `data.no_labels`"):
        parse_cfg(make_cfg(data={"dataset": "custom", "train_path": str(tmp_path)}))


def test_a_download_that_fails_names_the_path_and_leaves_nothing(
    make_cfg: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR100

    monkeypatch.setattr(CIFAR100, "url", "http://127.0.0.1:9/cifar.tar.gz")  # the discard port
    for name, hint in (("data", ""), ("cifar-100-python", rf" Did you mean '{tmp_path}'\?")):
        root = str(tmp_path / name)
        cfg = make_cfg(data={"dataset": "cifar100", "train_path": root})
        rule = r"`data.train_path` to hold cifar100, or the Internet"
        with pytest.raises(ConfigurationError, match=rf"{rule}.*'{root}' and: .*\.{hint}$"):
            pretrain(cfg)
        assert not list(tmp_path.iterdir())


def test_the_folder_of_both_parts_of_a_data_set_is_refused(make_cfg: Make, tmp_path: Path) -> None:
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    data = {"dataset": "custom", "train_path": str(tmp_path)}
    wanted = rf"a folder for each class .* mean '{tmp_path}/train' or '{tmp_path}/val'\?"
    with pytest.raises(ConfigurationError, match=wanted):
        parse_cfg(make_cfg(data=data))


def test_a_file_in_a_folders_place_is_called_one(make_cfg: Make, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    data = {"dataset": "custom", "train_path": str(tmp_path / "a.png")}
    with pytest.raises(ConfigurationError, match=r"exists but got '.*a\.png'\. That is a file\."):
        parse_cfg(make_cfg(data=data))


def test_a_saved_path_is_found_from_other_folders(
    make_cfg: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a" / "x.png")
    monkeypatch.chdir(tmp_path)
    cfg, _ = parse_cfg(make_cfg(data={"dataset": "custom", "train_path": "images"}))
    assert cfg.data.train_path == str(tmp_path / "images")


def test_a_text_for_nothing_gets_a_guess(make_cfg: Make) -> None:
    with pytest.raises(ConfigurationError, match=r"'None'\. Did you mean `null`\?"):
        parse_cfg(make_cfg(method_kwargs__target_active_fraction="None"))


@pytest.mark.parametrize(
    ("optimizer", "devices", "batch_size", "wanted"),
    [("sgd", 1, 256, 0.1), ("lars", 1, 128, 0.05), ("adamw", [0, 1], 128, 0.1)],
)
def test_rates_are_scaled_by_the_batch_of_all_devices(
    optimizer: str, devices: Any, batch_size: int, wanted: float, make_cfg: Make
) -> None:
    # solo-learn's rule: times batch size, devices and nodes over 256
    changes = {"optimizer__name": optimizer, "optimizer__batch_size": batch_size}
    cfg, _ = parse_cfg(make_cfg(devices=devices, **changes))
    assert cfg.optimizer.lr == pytest.approx(wanted)
    assert cfg.optimizer.classifier_lr == pytest.approx(wanted)


@pytest.mark.parametrize(("large", "small"), [(2, 4), (1, 1), (3, 0)])
def test_crops_are_counted_by_size(
    large: int, small: int, make_cfg: Make, augmentation: Callable
) -> None:
    entries = [augmentation(num_crops=large)]
    entries += [augmentation(num_crops=small, crop_size=16)] if small else []
    cfg, _ = parse_cfg(make_cfg(augmentations=entries))
    assert (cfg.data.num_large_crops, cfg.data.num_small_crops) == (large, small)


def test_small_crops_before_large_ones_are_refused(make_cfg: Make, augmentation: Callable) -> None:
    sizes = (32, 16, 32)
    entries = [augmentation(num_crops=1, crop_size=size) for size in sizes]
    with pytest.raises(ConfigurationError, match=r"large crops before .* \[32, 16, 32\]"):
        parse_cfg(make_cfg(augmentations=entries))


@pytest.mark.parametrize("size", [32, 64])
def test_transformers_get_the_crop_size(size: int, make_cfg: Make, augmentation: Callable) -> None:
    crops = [augmentation(crop_size=size)]
    cfg, _ = parse_cfg(make_cfg(backbone={"name": "vit_tiny"}, augmentations=crops))
    assert cfg.backbone.kwargs.img_size == size


def test_defaults_do_not_overwrite_and_the_given_config_is_not_changed(make_cfg: Make) -> None:
    given = make_cfg(scheduler__warmup_epochs=7)
    before = OmegaConf.to_container(given)
    cfg, _ = parse_cfg(given)
    assert (cfg.scheduler.warmup_epochs, cfg.scheduler.min_lr, cfg.seed) == (7, 0.0, 5)
    assert OmegaConf.to_container(given) == before


def test_a_name_that_is_like_none_in_its_folder_has_no_hint(tmp_path: Path) -> None:
    for name in ("codes", "reports"):
        (tmp_path / name).mkdir()
    assert nearest_path(tmp_path / "code") == f" Did you mean {str(tmp_path / 'codes')!r}?"
    assert nearest_path(tmp_path / "nope") == nearest_path(tmp_path / "nowhere" / "codes") == ""
