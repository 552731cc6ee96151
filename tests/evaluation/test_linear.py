# SPDX-License-Identifier: MIT
"""The linear probe against scikit-learn's; what is trained, what is frozen, what is resumed."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from sklearn.linear_model import LogisticRegression
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn
from torch.nn import functional as F
from torchvision.datasets import FakeData

from solo_plugins.args.evaluation import parse_linear_cfg
from solo_plugins.data import LabelledDataModule
from solo_plugins.data.transforms import train_transform
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.features import extract
from solo_plugins.evaluation.linear import linear, linear_model
from solo_plugins.evaluation.network import build
from solo_plugins.framework import LinearModel

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")

# scikit-learn's strength of the regularisation: ten times its default, so that SGD gets to the
# minimum in few epochs
C = 0.1


def _saved(path: Path) -> dict[str, Any]:
    return torch.load(path / "last.ckpt", weights_only=True)


def _pretrain_with_labels(run: Path, cfg: Any, epochs: int = 3) -> None:
    """Give the run's backbone features that are worth something, in seconds."""
    model = build(*reversed(parse_linear_cfg(cfg)[::2]), projector=True).train()
    parts = nn.ModuleDict({"backbone": model.backbone, "head": nn.LazyLinear(10)})
    images, targets = next(iter(_loader(cfg, len_=1437)))
    parts["head"](model.backbone(images[:2]))
    optimizer = torch.optim.AdamW(parts.parameters(), lr=1e-2)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            logits = parts["head"](model.backbone(images[batch]))
            F.cross_entropy(logits, targets[batch]).backward()
            optimizer.step()
    torch.save({"state_dict": model.state_dict()}, run / "last.ckpt")


def _loader(cfg: Any, len_: int) -> Any:
    parsed, _, _ = parse_linear_cfg(cfg)
    data = LabelledDataModule(parsed, augment=False)
    return torch.utils.data.DataLoader(data.train_set, batch_size=len_)


def _logistic_regression(cfg: Any) -> float:
    parsed, _, pretrained = parse_linear_cfg(cfg)
    model = build(pretrained, parsed, projector=False)
    data = LabelledDataModule(parsed, augment=False)
    (x, y), (test, targets) = (
        (found.by_name["backbone"].numpy(), found.targets.numpy())
        for found in (
            extract(model, loader, ["backbone"], torch.device("cpu"))
            for loader in (_loader(cfg, 256), data.val_dataloader())
        )
    )
    return 100 * LogisticRegression(C=C, max_iter=5000).fit(x, y).score(test, targets)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Leave small operations to one thread; a second one only gets in the way of other programs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_accuracy_is_that_of_scikit_learns_logistic_regression(
    make_run: Make, linear_cfg: Make
) -> None:
    run = make_run()
    whole = {"limit_train_batches": 1.0, "limit_val_batches": 1.0, "log_every_n_steps": 20}
    schedule = {"max_epochs": 5, "scheduler__lr_decay_steps": [3, 4], "optimizer__lr": 2.0}
    # scikit-learn adds half the squared norm over C to the sum of 1437 losses: the same minimum
    same = {"optimizer__weight_decay": 1 / (C * 1437), "optimizer__batch_size": 64}
    cfg = linear_cfg(run, **schedule, **whole, **same)
    torch.manual_seed(0)
    _pretrain_with_labels(run, cfg)
    got, wanted = linear(cfg), _logistic_regression(cfg)
    assert wanted > 80
    # five epochs of SGD stop short of the minimum: 7 of 360 images, .8 and 1.7 points were seen
    assert got.acc1 == pytest.approx(wanted, abs=2.0)


def test_the_result_lies_in_the_pretraining_runs_folder(
    make_run: Make, linear_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    run = make_run()
    result = linear(linear_cfg(run, max_epochs=1))
    assert result.path == run / "linear-backbone.json"
    written = json.loads(result.path.read_text())
    assert len((written.pop("commit") or 40 * "0").partition("-")[0]) == 40
    assert written == {
        "features": "backbone",
        "acc1": result.acc1,
        "acc5": result.acc5,
        "epochs": 1,
        "finetune": False,
        "augmented": True,
        "seed": 5,
        "config": str(result.folder),
        "data": {
            "dataset": "digits",
            "train_path": None,
            "val_path": None,
            "train_fingerprint": None,
            "val_fingerprint": None,
        },
        "transform": {
            "crop_size": 16,
            "mean": list(IMAGENET_DEFAULT_MEAN),
            "std": list(IMAGENET_DEFAULT_STD),
        },
        "checkpoint": {"file": "last.ckpt", "step": None},
    }
    assert {"last.ckpt", "config.yaml", "metrics.csv", "summary.json"} <= {
        path.name for path in result.folder.iterdir()
    }
    assert result.folder.parent == run.parents[1] / "linear"
    printed = capsys.readouterr().out
    assert f"Linear probe (backbone): top 1 {result.acc1:.1f} %" in printed
    assert f"Checkpoint: {run / 'last.ckpt'}" in printed


@pytest.mark.parametrize("features", ["backbone", "projector"])
@pytest.mark.parametrize("finetune", [False, True], ids=["frozen", "finetuned"])
def test_a_frozen_network_keeps_every_bit_and_a_finetuned_one_does_not(
    features: str, finetune: bool, make_run: Make, linear_cfg: Make
) -> None:
    run = make_run()
    before = _saved(run)["state_dict"]
    result = linear(linear_cfg(run, features=features, finetune=finetune, max_epochs=1))
    after = _saved(result.folder)["state_dict"]
    prefix = "backbone." if features == "projector" else ""
    names = [name for name in before if f"{prefix}{name}" in after and "classifier" not in name]
    assert any("running_mean" in name for name in names)
    assert any(name.startswith("projector") for name in names) == (features == "projector")
    same = [torch.equal(before[name], after[f"{prefix}{name}"]) for name in names]
    # a third of the parameters may stand still, those with a gradient of zero
    assert all(same) if not finetune else sum(same) < len(same) / 3
    assert result.path.name == f"{'finetuned' if finetune else 'linear'}-{features}.json"


def test_a_killed_evaluation_resumes_bit_for_bit(
    make_run: Make, linear_cfg: Make, killed_after: Callable, tmp_path: Path
) -> None:
    run = make_run()
    settings = {"auto_resume__enabled": True, "optimizer__name": "adamw", "mixup": 0.2}
    whole = linear(linear_cfg(run, checkpoint__dir=str(tmp_path / "whole"), **settings))
    cfg = linear_cfg(run, checkpoint__dir=str(tmp_path / "killed"), **settings)
    with pytest.raises(RuntimeError, match="killed"):
        linear(cfg, callbacks=[killed_after(3)])
    (killed,) = (tmp_path / "killed" / "linear").iterdir()
    assert _saved(killed)["epoch"] == 1
    resumed = linear(cfg)
    assert resumed.folder == killed
    wanted, got = _saved(whole.folder)["state_dict"], _saved(killed)["state_dict"]
    assert all(torch.equal(value, got[name]) for name, value in wanted.items())
    assert (resumed.acc1, resumed.acc5) == (whole.acc1, whole.acc5)


def test_a_finished_evaluation_is_reported_until_the_checkpoint_changes(
    make_run: Make, linear_cfg: Make, capsys: pytest.CaptureFixture
) -> None:
    run = make_run()
    cfg = linear_cfg(run, max_epochs=1, auto_resume__enabled=True)
    first = linear(cfg)
    first.path.unlink()
    assert linear(cfg) == first
    assert "nothing to do" in capsys.readouterr().out
    assert first.path.is_file()
    torch.save(_saved(run), run / "last.ckpt")
    assert linear(cfg).folder != first.folder


def _rates(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    (column,) = (name for name in rows[0] if name.startswith("lr-"))
    return [float(row[column]) for row in rows if row[column]]


# Base rates are .3 * 32 / 256; a warm-up of one of two epochs starts at 3e-5, solo-learn's default.
_BASE = 0.3 * 32 / 256


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "rates"),
    [
        ("sgd", {"name": "step", "lr_decay_steps": [1]}, [_BASE, _BASE, _BASE / 10, _BASE / 10]),
        ("lars", {"name": "warmup_cosine", "warmup_epochs": 1}, [3e-5, _BASE, _BASE, _BASE / 2]),
        ("adamw", {"name": "none"}, [_BASE] * 4),
    ],
    ids=["sgd-step", "lars-cosine", "adamw-none"],
)
def test_rates_follow_the_schedule(
    optimizer: str, scheduler: dict, rates: list, make_run: Make, linear_cfg: Make
) -> None:
    cfg = linear_cfg(make_run(), optimizer__name=optimizer)
    cfg.scheduler = scheduler
    assert _rates(linear(cfg).folder) == pytest.approx(rates)


def _model(make_run: Make, linear_cfg: Make, **changes: Any) -> LinearModel:
    cfg, _, pretrained = parse_linear_cfg(linear_cfg(make_run(), **changes))
    return linear_model(cfg, pretrained)


@pytest.mark.parametrize(("training", "smoothing"), [(True, 0.2), (False, 0.0)])
def test_labels_are_smoothed_in_training_only(
    training: bool, smoothing: float, make_run: Make, linear_cfg: Make
) -> None:
    model = _model(make_run, linear_cfg, label_smoothing=0.2).train(training)
    model.backbone.eval()
    batch = (torch.randn(8, 3, 16, 16), torch.arange(8))
    wanted = F.cross_entropy(model(batch[0])["logits"], batch[1], label_smoothing=smoothing)
    torch.testing.assert_close(model.shared_step(batch, 0)["loss"], wanted)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_images_are_mixed_in_training_only(mix: str, make_run: Make, linear_cfg: Make) -> None:
    model = _model(make_run, linear_cfg, **{mix: 1.0})
    batch = (torch.randn(8, 3, 16, 16), torch.arange(8))
    assert model.shared_step(batch, 0).keys() == {"batch_size", "loss"}
    assert model.eval().shared_step(batch, 0).keys() == {"batch_size", "loss", "acc1", "acc5"}


@pytest.mark.parametrize("num_classes", [2, 4, 5])
def test_up_to_five_classes_are_all_in_the_top_five(
    num_classes: int, make_run: Make, linear_cfg: Make
) -> None:
    model = _model(make_run, linear_cfg).eval()
    model.classifier = nn.Linear(32, num_classes)
    out = model.shared_step((torch.randn(4, 3, 16, 16), torch.zeros(4, dtype=torch.long)), 0)
    assert float(out["acc5"]) == 100.0


@pytest.mark.parametrize("auto_augment", [False, True])
def test_training_images_are_augmented_at_the_size_of_pretraining(
    auto_augment: bool, make_run: Make, linear_cfg: Make
) -> None:
    cfg, _, _ = parse_linear_cfg(linear_cfg(make_run(), auto_augment=auto_augment))
    cfg.data.dataset = "cifar100"
    image, _ = FakeData(1, (3, 32, 32))[0]
    transform = train_transform(cfg)
    first, second = transform(image), transform(image)
    assert first.shape == (3, 16, 16)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"features": "head"}, r"`features` to be one of backbone, projector but got 'head'"),
        ({"scheduler__name": "reduce"}, r"`scheduler.name` to be one of step, warmup_cosine, none"),
        ({"scheduler__lr_decay_steps": None}, r"`scheduler.lr_decay_steps` to list epochs"),
        ({"optimizer__name": "sdg"}, r"`optimizer.name` .* Did you mean `sgd`"),
        ({"optimizer__lr": -1}, r"`optimizer.lr` to be a non-negative number but got -1"),
        ({"fintune": True}, r"`fintune`. Did you mean `finetune`"),
        ({"cache_features": "yes"}, r"`cache_features` to be true or false but got 'yes'"),
        ({"cache_features": True, "finetune": True}, r"`finetune` to be off with `cache_features"),
        ({"cache_features": True, "mixup": 0.5}, r"`mixup` to be off .* but got 0.5"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` .* below 1 but got 1.0"),
        ({"mixup": 1.0, "optimizer__batch_size": 33}, r"`optimizer.batch_size` to be even"),
        ({"optimizer__batch_size": 2000}, r"training images, 1437, but got 2000"),
        ({"optimizer__layer_decay": 0.5}, r"`optimizer.layer_decay` .* `finetune: true`"),
        ({"optimizer__exclude_bias_n_norm_wd": True}, r"exclude_bias_n_norm_wd` .*finetune"),
        ({"data__format": "h5"}, r"`data.format` to be one of image_folder, dali"),
        ({"data__format": "dali", "auto_augment": True}, r"`auto_augment` to be false"),
        ({"data__shots": 500}, r"each class to have 500 images .* but number \d has 1"),
        ({"data__dataset": "imagenet100"}, r"`data.train_path` to be a folder"),
        ({"data__augmentations": {"crop_size": 0}}, r"crop_size` .* but got 0"),
        ({"resume_from_checkpoint": "nowhere"}, r"`resume_from_checkpoint` .* 'nowhere'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_setting_is_named_and_nothing_written(
    changes: dict, match: str, make_run: Make, linear_cfg: Make, tmp_path: Path
) -> None:
    run = make_run()
    with pytest.raises(ConfigurationError, match=match):
        linear(linear_cfg(run, **changes))
    assert not (tmp_path / "runs" / "linear").exists()
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "last.ckpt"]


def test_a_probe_on_some_images_of_each_class_has_a_result_of_its_own(
    make_run: Make, linear_cfg: Make
) -> None:
    run = make_run()
    result = linear(
        linear_cfg(run, data__shots=4, seed=3, cache_features=True, limit_train_batches=1.0)
    )
    assert result.path == run / "linear-cached-backbone@digits-4-shots-seed3.json"
    assert json.loads(result.path.read_text())["data"]["part"] == "4-shots-seed3"
    # 40 images have one whole batch of 32, in each of two epochs
    assert _saved(result.folder)["global_step"] == 2


def test_a_main_yaml_of_solo_learn_is_understood(make_run: Make, linear_cfg: Make) -> None:
    given = OmegaConf.load(make_run() / "config.yaml").backbone.name
    cfg, _, _ = parse_linear_cfg(
        linear_cfg(
            make_run(name="other"),
            backbone={"name": given},
            pretrain_method="rectified_lpjepa",
            wandb={"enabled": False, "entity": "None", "project": "solo-learn"},
        )
    )
    assert cfg.wandb.entity is None
