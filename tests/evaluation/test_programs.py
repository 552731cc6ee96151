# SPDX-License-Identifier: MIT
"""The evaluation's YAMLs compose and parse; its programs run as a user starts them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.evaluation import parse_knn_cfg, parse_linear_cfg
from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.linear import linear_model

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for kind in ("linear", "knn") for path in ROOT.glob(f"scripts/{kind}/*/*"))
FINETUNE = sorted(ROOT.glob("scripts/finetune/*/*"))
pytestmark = pytest.mark.usefixtures("methods")

# solo-learn's linear YAMLs: SGD, .3 at batch 256, a tenth at 60 and 80 of 100 epochs, no decay
SOLO = ("sgd", 256, 0.3, 0.0, "step", [60, 80], 100)


def _compose(path: Path) -> DictConfig:
    with initialize_config_dir(str(path.parent), version_base="1.2"):
        cfg = compose(path.stem)
    OmegaConf.set_struct(cfg, False)
    return cfg


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: "-".join(path.parts[-3:-1]))
@pytest.mark.parametrize("method", ["rectified_lpjepa", "simsiam"])
def test_every_yaml_serves_any_methods_checkpoint(path: Path, method: str, make_run: Any) -> None:
    kwargs = {"method_kwargs": {"proj_hidden_dim": 16, "proj_output_dim": 8, "pred_hidden_dim": 8}}
    cfg = _compose(path)
    cfg.pretrained_feature_extractor = str(
        make_run(method, **(kwargs if method == "simsiam" else {}))
    )
    parse: Callable = parse_linear_cfg if "linear" in path.parts else parse_knn_cfg
    parsed = parse(cfg)[0]
    assert (parsed.data.dataset, parsed.data.num_classes) == ("digits", 10)
    assert parsed.augmentations[0].crop_size == 16


@pytest.fixture(scope="module")
def trained(run_below: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run's folder."""
    return run_below(tmp_path_factory.mktemp("trained"))


# SimCLR's appendix B.5; solo-learn main's scripts/finetune/imagenet-100/mae.yaml
TUNED = {
    "rectified_lpjepa": ("sgd", 0.05, 0.0, {"momentum": 0.9, "nesterov": True}, 0.0),
    "rectified_lpjepa_vit": ("adamw", 5e-4, 0.05, {"betas": [0.9, 0.999]}, 0.1),
}


@pytest.mark.parametrize("path", FINETUNE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_yaml_of_fine_tuning_trains_the_backbone(path: Path, trained: Path) -> None:
    cfg = _compose(path)
    asked = cfg.optimizer
    got = (asked.name, asked.lr, asked.weight_decay)
    cfg.pretrained_feature_extractor = str(trained)
    parsed, _, pretrained = parse_linear_cfg(cfg)
    assert (*got, parsed.optimizer.kwargs, parsed.label_smoothing) == TUNED[path.stem]
    assert (parsed.finetune, parsed.scheduler.name) == (True, "warmup_cosine")
    model = linear_model(parsed, pretrained)
    assert all(weight.requires_grad for weight in model.backbone.parameters())


@pytest.mark.parametrize("data", ["cifar", "imagenet-100"])
def test_hyper_parameters_are_solo_learns(data: str) -> None:
    cfg = _compose(ROOT / "scripts" / "linear" / data / "rectified_lpjepa.yaml")
    got = (
        cfg.optimizer.name,
        cfg.optimizer.batch_size,
        cfg.optimizer.lr,
        cfg.optimizer.weight_decay,
        cfg.scheduler.name,
        list(cfg.scheduler.lr_decay_steps),
        cfg.max_epochs,
    )
    assert got == SOLO
    assert cfg.finetune is False


def test_the_programs_run_from_any_folder(
    make_run: Any, run_program: Callable, tmp_path: Path
) -> None:
    run = make_run()
    common = [f"++pretrained_feature_extractor={run}", "++data.num_workers=0", "++accelerator=cpu"]
    done = run_program(
        "-W", "ignore", str(ROOT / "main_knn.py"), "--config-path", "scripts/knn/digits",
        "--config-name", "rectified_lpjepa.yaml", *common, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Active outputs: " in done.stdout
    assert re.search(r"^kNN \(k = 20, cosine.*\): backbone [\d.]+ %, projector", done.stdout, re.M)
    done = run_program(
        "-W", "ignore", str(ROOT / "main_linear.py"), "--config-path", "scripts/linear/digits",
        "--config-name", "rectified_lpjepa.yaml", *common, "++max_epochs=1",
        "++limit_train_batches=2", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Linear probe (backbone): top 1 " in done.stdout
    assert {"knn.json", "linear-backbone.json"} <= {path.name for path in run.iterdir()}
    assert (tmp_path / "trained_models" / "linear").is_dir()


def test_a_missing_checkpoint_ends_the_program_with_one_line(
    run_program: Callable, tmp_path: Path
) -> None:
    done = run_program(
        "-W", "ignore", str(ROOT / "main_linear.py"), "--config-path", "scripts/linear/cifar",
        "--config-name", "rectified_lpjepa.yaml", "++pretrained_feature_extractor=nowhere",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "`pretrained_feature_extractor` to be a checkpoint" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_yaml_of_another_program_is_called_one(make_cfg: Callable, knn_cfg: Callable) -> None:
    pretraining = make_cfg()
    for kind, parse in (("linear", parse_linear_cfg), ("knn", parse_knn_cfg)):
        wanted = rf"a YAML for main_{kind}\.py, .* for main_pretrain\.py: it has `method`, 'rect"
        with pytest.raises(ConfigurationError, match=wanted):
            parse(pretraining)
    with pytest.raises(ConfigurationError, match=r"a YAML for main_pretrain\.py, .* an evaluation"):
        parse_cfg(knn_cfg("nowhere"))
