# SPDX-License-Identifier: MIT
"""Every YAML composes, parses and builds; the programs run as a user starts them."""

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.framework import release
from solo_plugins.methods.joint_embedding import JointEmbedding
from solo_plugins.methods.rectified_lpjepa.settings import RectifiedLpJEPASettings
from solo_plugins.training.pretrain import pretrain

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("pretrain/*/*.yaml"))
over_scripts = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)

# Paper, appendix L and the reference's YAMLs: optimizer, rate at batch 256, the classifier's,
# batch, width, weight of RDMReg
PAPER = {
    "rectified_lpjepa_cifar100": ("lars", 0.03, 0.01, 256, 512, 250.0),
    "rectified_lpjepa_cifar100_vit": ("adamw", 5e-4, 5e-3, 128, 512, 125.0),
    "rectified_lpjepa_cifar100_convnext": ("adamw", 5e-4, 5e-3, 128, 512, 125.0),
    "rectified_lpjepa_imagenet": ("lars", 0.165, 0.055, 128, 2048, 125.0),
    "rectified_lpjepa_vit": ("adamw", 5e-4, 5e-3, 128, 2048, 125.0),
    "rectified_lpjepa_convnext": ("adamw", 5e-4, 5e-3, 128, 2048, 125.0),
}


def _compose(path: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(path.parent), version_base="1.2"):
        return compose(path.stem, overrides=list(overrides))


def _projected(model: Any, out: dict[str, torch.Tensor]) -> torch.Tensor:
    """Compute the projector's outputs, which not every method of both releases returns as z."""
    if isinstance(model, JointEmbedding):
        return out["z"]
    # DINO's projector is the first part of a head
    projector = model.head.mlp if hasattr(model, "head") else model.projector
    return projector(out["feats"])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Make folders of a hundred classes, and return overrides that name them."""
    folder = tmp_path_factory.mktemp("images")
    for split in ("train", "val"):
        for label in range(100):
            (folder / split / str(label)).mkdir(parents=True)
            Image.new("RGB", (1, 1)).save(folder / split / str(label) / "1.png")
    return [f"++data.{split}_path={folder / split}" for split in ("train", "val")]


@over_scripts
def test_every_yaml_parses_and_builds(path: Path, methods: dict, images: list[str]) -> None:
    given = _compose(path, *images)
    OmegaConf.set_struct(given, False)
    cfg, _ = parse_cfg(given)
    if path.stem.endswith("_imagenet100") or path.stem.endswith("_digits"):
        return  # its twin for CIFAR-100 builds the same; those for the digits train elsewhere
    model = methods[cfg.method](cfg.copy())
    size = cfg.augmentations[0].crop_size
    out = model.eval()(torch.zeros(1, 3, size, size))
    assert out["feats"].shape == (1, model.features_dim)
    assert out["logits"].shape == (1, cfg.data.num_classes)
    assert _projected(model, out).shape == (1, cfg.method_kwargs.proj_output_dim)
    assert (cfg.data.num_large_crops, cfg.data.num_small_crops) == (2, 0)


@pytest.mark.parametrize("name", PAPER)
def test_hyper_parameters_are_the_papers(name: str) -> None:
    (path,) = (path for path in SCRIPTS if path.stem == name)
    cfg = _compose(path)
    got = (
        cfg.optimizer.name,
        cfg.optimizer.lr,
        cfg.optimizer.classifier_lr,
        cfg.optimizer.batch_size,
        cfg.method_kwargs.proj_output_dim,
        cfg.method_kwargs.rdm_reg_loss_weight,
    )
    assert got == PAPER[name]
    kwargs = RectifiedLpJEPASettings(**cfg.method_kwargs)
    assert (kwargs.lp_norm_parameter, kwargs.mean_shift_value) == (1.0, 0.0)
    assert (kwargs.num_projections, kwargs.invariance_loss_weight) == (8192, 25.0)
    assert (cfg.max_epochs, cfg.optimizer.weight_decay, cfg.precision) == (1000, 1e-4, "16-mixed")
    blur, solarize = (cfg.augmentations[0][op].prob for op in ("gaussian_blur", "solarization"))
    assert blur == (0.0 if "cifar" in name else 0.5)
    assert solarize == (0.0 if "cifar100_" in name else 0.1)


# The reference implementation's YAMLs have this form and these keys; the numbers are our own.
REFERENCE = """
defaults:
  - _self_
  - wandb: private.yaml
  - override hydra/hydra_logging: disabled
  - override hydra/job_logging: disabled
hydra: {output_subdir: null, run: {dir: .}}
name: reference
method: rectified_lpjepa
backbone: {name: vit_tiny}
method_kwargs:
  target_distribution: rectified_lp_distribution
  lp_norm_parameter: 1.0
  proj_hidden_dim: 16
  proj_output_dim: 8
  invariance_loss_weight: 25.0
  rdm_reg_loss_weight: 125.0
  projector_type: rectified_mlp
  num_projections: 32
  projection_vectors_type: random
  add_projector_classifier: true
  mean_shift_value: 0.0
  mode_of_sigma: sigma_GN
  logging_interval: 50
mlp_probe: {enabled: False, num_layers: 3}
data: {dataset: digits, train_path: ./datasets, val_path: ./datasets, preload: True,
       format: image_folder, num_workers: 0}
augmentations:
  - rrc: {enabled: True, crop_min_scale: 0.2, crop_max_scale: 1.0}
    color_jitter:
      {enabled: True, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1, prob: 0.8}
    grayscale: {enabled: True, prob: 0.2}
    gaussian_blur: {enabled: False, prob: 0.0}
    solarization: {enabled: True, prob: 0.1}
    equalization: {enabled: False, prob: 0.0}
    horizontal_flip: {enabled: True, prob: 0.5}
    crop_size: 32
    num_crops: 2
optimizer:
  name: lars
  batch_size: 16
  lr: 0.03
  classifier_lr: 0.01
  weight_decay: 1e-4
  kwargs: {clip_lr: True, eta: 0.02, exclude_bias_n_norm: True}
scheduler: {name: warmup_cosine}
checkpoint: {enabled: True, dir: trained_models, frequency: 1}
auto_resume: {enabled: False}
max_epochs: 1
devices: [0]
sync_batchnorm: True
accelerator: gpu
strategy: ddp
precision: 16-mixed
limit_train_batches: 2
limit_val_batches: 1
"""


def _reference(folder: Path) -> Path:
    (folder / "wandb").mkdir()
    (folder / "wandb" / "private.yaml").write_text("enabled: False\nentity: None\nproject: p\n")
    path = folder / "reference.yaml"
    path.write_text(textwrap.dedent(REFERENCE))
    return path


def test_a_yaml_of_the_references_form_runs(run_program: Callable, tmp_path: Path) -> None:
    path = _reference(tmp_path)
    done = run_program(
        "-W", "ignore", str(ROOT / "main_pretrain.py"), "--config-path", str(path.parent),
        "--config-name=reference.yaml", "++wandb.enabled=true", "++wandb.offline=true",
        "++wandb.entity=someone", "++wandb.project=some", "++method_kwargs.mean_shift_value=-1.0",
        cwd=tmp_path, WANDB_SILENT="true", CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Running on cpu, 1 device, precision 32-true (asked for gpu, devices [0]" in done.stdout
    assert "(the target has 12.2 %)" in done.stdout
    (run,) = (tmp_path / "trained_models" / "rectified_lpjepa").iterdir()
    assert {"last.ckpt", "config.yaml", "metrics.csv", "wandb"} <= {p.name for p in run.iterdir()}
    assert list((run / "wandb").glob("offline-run-*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "reference.yaml", "trained_models", "wandb",
    ]  # fmt: skip


def test_a_wrong_setting_ends_the_program_with_one_line(
    run_program: Callable, tmp_path: Path
) -> None:
    path = _reference(tmp_path)
    done = run_program(
        "-W", "ignore", str(ROOT / "main_pretrain.py"), "--config-path", str(path.parent),
        "--config-name=reference.yaml", "++method_kwarsg.rdm_reg_loss_weight=1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Did you mean `method_kwargs`?" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "trained_models").exists()


@pytest.mark.skipif(release() != "main", reason="needs a clone of solo-learn's main branch")
def test_an_unedited_clone_of_main_runs_the_plugins_yaml(
    run_main: Callable, tmp_path: Path
) -> None:
    from torchvision.datasets import FakeData

    for split in ("train", "val"):
        for index, (image, label) in enumerate(FakeData(32, (3, 40, 40), 2)):
            folder = tmp_path / split / str(int(label))
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{index}.png")
    clone = Path(os.environ["PYTHONPATH"].split(":")[0])
    done = run_main(
        "-W", "ignore", str(clone / "main_pretrain.py"),
        "--config-path", str(ROOT / "scripts" / "pretrain" / "cifar"),
        "--config-name=rectified_lpjepa_cifar100.yaml", "++data.dataset=custom",
        f"++data.train_path={tmp_path / 'train'}", f"++data.val_path={tmp_path / 'val'}",
        "++accelerator=cpu", "++devices='1'", "++precision=32-true", "++strategy=auto",
        "++sync_batchnorm=False", "++backbone.name=timm/resnet10t", "++max_epochs=1",
        "++optimizer.batch_size=8", "++data.num_workers=0", "++scheduler.warmup_epochs=0",
        f"++checkpoint.dir={tmp_path / 'runs'}", "++auto_resume.enabled=False",
        "++auto_umap.enabled=False", "++limit_train_batches=2", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs" / "rectified_lpjepa").rglob("*.ckpt"))


def test_the_same_configuration_by_python_and_by_the_program(
    make_cfg: Callable[..., DictConfig], run_program: Callable, tmp_path: Path, methods: dict
) -> None:
    cfg = make_cfg(max_epochs=1)
    OmegaConf.save(cfg, tmp_path / "small.yaml")
    done = run_program(
        "-W", "ignore", "main_pretrain.py", "--config-path", str(tmp_path), "--config-name=small"
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "rectified_lpjepa").iterdir()
    program = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    python = torch.load(pretrain(cfg).checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, python[name]) for name, value in program.items())
