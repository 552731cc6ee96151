# SPDX-License-Identifier: MIT
"""Any edit of a YAML is taken as it stands, or refused by one line that names the setting."""

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from solo_plugins.args.automatic import AUTO
from solo_plugins.args.evaluation import parse_knn_cfg, parse_linear_cfg
from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.args.trainer import NOT_AVAILABLE, TrainerSettings
from solo_plugins.errors import ConfigurationError, NonFiniteLossError
from solo_plugins.training.pretrain import pretrain

pytestmark = pytest.mark.usefixtures("methods")

DIGITS = Path(__file__).resolve().parents[2] / "scripts" / "pretrain" / "digits"
YAMLS = ["rectified_lpjepa_digits", "byol_digits", "swav_digits"]
MORE = ["dino_digits", "lejepa_digits", "mocov2plus_digits", "ncl_digits", "simclr_digits"]
OWN_IMAGES = ["rectified_lpjepa", "byol", "vicreg"]
DELETED = object()
# Settings that YAMLs leave out.
OPTIONAL = (
    *TrainerSettings.model_fields, *NOT_AVAILABLE, "seed", "nonsense", "resume_from_checkpoint",
    "debug_augmentations", "method_kwargs.nonsense", "method_kwargs.temperature",
    "data.fraction", "data.no_labels", "data.preload", "data.num_classes", "data.nonsense",
    "data.train_fingerprint", "data.shots", "backbone.kwargs.drop_path_rate",
    "backbone.kwargs.in_chans", "backbone.kwargs.nonsense", "backbone.kwargs.zero_init_last",
    "optimizer.kwargs.momentum", "optimizer.kwargs.betas", "optimizer.kwargs.nesterov",
    "optimizer.exclude_bias_n_norm_wd", "scheduler.interval", "scheduler.min_lr",
    "scheduler.lr_decay_steps", "scheduler.warmup_start_lr", "checkpoint.every_n_steps",
    "checkpoint.every_n_minutes", "checkpoint.monitor", "checkpoint.mode", "auto_resume.max_hours",
    "momentum.base_tau", "momentum.nonsense", "knn_eval.k", "performance.compile", "dali.device",
    "auto_umap.dir", "auto_umap.frequency", "mlp_probe.enabled", "augmentations.0.mean",
    "augmentations.0.std", "augmentations.0.nonsense", "augmentations.0.rrc.nonsense",
    "augmentations.0.grayscale.enabled", "two_views.nonsense", "wandb.offline",
)  # fmt: skip
WORDS = (
    "", "u", "auto", "None", "1", "0.1", "sgd", "lars", "cosine", "step", "none", "min", "ddp",
    "mlp", "hadamard", "lp_distribution", "sigma_RGN", "bf16-mixed", "warn", "simple", "norm",
    "byol", "dali", "h5", "custom", "resnet18", "00:00:00:05", "../x", "é\n`x`", "${nowhere}",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 17, -1, -3, 10**6, 10**20, 10**30, 0.5, 1.0, 5.5, 1e-9, 1e30, -1e30)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(WORDS),
)
BLOCKS = st.dictionaries(st.sampled_from(["a", "enabled", "prob", "name"]), SCALARS, max_size=2)
VALUES = st.one_of(SCALARS, SCALARS, SCALARS, st.lists(SCALARS, max_size=3), BLOCKS)
# What a run makes of these: rates for its batch, and what the machine has.
SETTLED = ("accelerator", "devices", "precision", "sync_batchnorm", "optimizer.lr",
           "optimizer.classifier_lr", "knn_eval.enabled",
           "pretrained_feature_extractor")  # fmt: skip
# ``auto`` stands for something here, if images are one's own.
AUTOMATIC = ("no_labels", "crop_size", "mean", "std", "batch_size", "k")
# Other settings are right or wrong by these.
DECIDING = ("method", "optimizer.name", "backbone.name", "data.dataset", "data.format", "devices",
            "num_nodes", "scheduler.name", "backbone.kwargs", "cache_features",
            "finetune")  # fmt: skip


class Edit(NamedTuple):
    """A setting and its new value; with ``DELETED`` it is left out."""

    path: tuple[str | int, ...]
    value: Any

    @property
    def key(self) -> str:
        """The setting as errors name it."""
        return re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, self.path)))

    def done_to(self, cfg: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with the edit."""
        cfg = copy.deepcopy(cfg)
        node: Any = cfg
        for part in self.path[:-1]:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node[part]
        if self.value is not DELETED:
            node[self.path[-1]] = self.value
        elif isinstance(node, list) or self.path[-1] in node:
            del node[self.path[-1]]
        return cfg


def _places(node: Any, above: tuple = ()) -> Iterator[tuple]:
    lists = enumerate(node) if isinstance(node, list) else ()
    for name, value in node.items() if isinstance(node, dict) else lists:
        yield (*above, name)
        yield from _places(value, (*above, name))


def _edits(cfg: dict[str, Any]) -> st.SearchStrategy[Edit]:
    optional = [
        tuple(int(part) if part.isdigit() else part for part in key.split(".")) for key in OPTIONAL
    ]
    where = st.sampled_from([*_places(cfg), *optional])
    return st.builds(Edit, where, st.one_of(VALUES, VALUES, VALUES, st.just(DELETED)))


def _small(name: str) -> dict[str, Any]:
    """Compose a YAML of the digits, and make it as small as a test is."""
    with initialize_config_dir(str(DIGITS), version_base="1.2"):
        cfg: Any = OmegaConf.to_container(compose(name), resolve=True)
    cfg |= {"accelerator": "cpu", "devices": 1, "precision": "32-true", "max_epochs": 1}
    cfg |= {"limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    cfg |= {"enable_progress_bar": False, "enable_model_summary": False}
    cfg["backbone"]["kwargs"] |= {"channels": [8, 8, 16, 32], "stem_width": 8}
    cfg["method_kwargs"] |= {"proj_hidden_dim": 16, "proj_output_dim": 8}
    smaller = {"num_projections": 32, "queue_size": 64, "num_prototypes": 16}
    cfg["method_kwargs"] |= {key: smaller[key] for key in smaller if key in cfg["method_kwargs"]}
    cfg["optimizer"]["batch_size"] = 16
    cfg["augmentations"][0]["crop_size"] = 16
    cfg["data"]["num_workers"], cfg["scheduler"]["warmup_epochs"] = 0, 0
    cfg["auto_resume"] = {"enabled": False}
    return cfg


def _names(line: str, key: str) -> bool:
    """Tell whether a line names a setting, the block that it is or one inside it."""
    named = re.findall(r"`([^`]+)`", line)
    parent, _, leaf = key.rpartition(".")
    related = any(one.startswith(key) or key.startswith(one) or one == leaf for one in named)
    return related or any(one.startswith(f"{parent}.") for one in named if parent)


@contextmanager
def _refused(edit: Edit) -> Iterator[None]:
    text = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NonFiniteLossError:
        pass  # a rate or weight with which training diverges, said in one line
    except ConfigurationError as error:
        text = str(error)
    if text is not None:
        assert "\n" not in text
        assert edit.key.startswith(DECIDING) or _names(text, edit.key), text


def _parse(edit: Edit, cfg: dict[str, Any], parse: Callable = parse_cfg) -> None:
    with _refused(edit):
        parsed = parse(OmegaConf.create(edit.done_to(cfg)))[0]
        settled = edit.key in SETTLED or edit.path[0] in SETTLED
        if edit.value is DELETED or isinstance(edit.value, list | dict) or settled:
            return
        if edit.value == AUTO and edit.path[-1] in AUTOMATIC:
            return
        kept = OmegaConf.select(parsed, edit.key)
        inherited = edit.value is None and edit.key.startswith(("data.", "backbone."))
        none = (edit.key, edit.value) == ("wandb.entity", "None")
        # a probe of the reference's baselines, which is left out, as a line says
        left_out = edit.key == "mlp_probe.enabled" and edit.value is True
        assert kept in (edit.value, [edit.value]) or inherited or none or left_out


def _train(edit: Edit, cfg: dict[str, Any]) -> None:
    unsafe = ("devices", "num_nodes", "wandb", "limit", "fast_dev", "performance.compile", "max_")
    if edit.key.startswith(unsafe) or (isinstance(edit.value, int) and abs(edit.value) > 10**4):
        return _parse(edit, cfg)  # processes, uploads, minutes
    with TemporaryDirectory() as folder, _refused(edit):
        cfg = {**cfg, "checkpoint": {**cfg["checkpoint"], "dir": folder}}
        pretrain(OmegaConf.create(edit.done_to(cfg)))
    return None


def _try(check: Callable, cfg: dict[str, Any], number: int, *, seeded: bool) -> None:
    """Let hypothesis draw edits of a configuration; with `seeded` the same ones every time."""
    run = settings(
        max_examples=number, deadline=None, database=None, derandomize=seeded,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip

    @run
    @given(_edits(cfg))
    def every(edit: Edit) -> None:
        check(edit, cfg)

    every()


@pytest.fixture
def evaluations(make_run: Callable, linear_and_knn: dict) -> dict[str, tuple[Callable, dict]]:
    """Return parser and configuration of the evaluations of a run."""
    run = {"pretrained_feature_extractor": str(make_run())}
    parsers = {"linear": parse_linear_cfg, "knn": parse_knn_cfg}
    return {name: (parsers[name], {**cfg, **run}) for name, cfg in linear_and_knn.items()}


@pytest.fixture
def linear_and_knn() -> dict[str, dict[str, Any]]:
    """Return the digits' configurations of both evaluations."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("linear", "knn"):
        folder = DIGITS.parents[1] / kind / "digits"
        with initialize_config_dir(str(folder), version_base="1.2"):
            cfg: Any = OmegaConf.to_container(compose("rectified_lpjepa"), resolve=True)
        found[kind] = {**cfg, "accelerator": "cpu"}
    return found


@pytest.fixture(scope="module")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Return a function that composes a YAML for a folder of images, six in two classes."""
    root = tmp_path_factory.mktemp("images")
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(3):
            Image.effect_noise((40, 40), 50).convert("RGB").save(root / name / f"{number}.png")

    def composed(name: str) -> dict[str, Any]:
        with initialize_config_dir(str(DIGITS.parent / "custom"), version_base="1.2"):
            cfg: Any = OmegaConf.to_container(compose(name), resolve=True)
        cfg["data"]["train_path"] = str(root)
        return {**cfg, "accelerator": "cpu", "devices": 1, "precision": "32-true"}

    return composed


@pytest.mark.parametrize("name", YAMLS)
def test_an_edit_is_kept_or_refused_by_one_line_that_names_it(name: str) -> None:
    _try(_parse, _small(name), 20, seeded=True)


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_an_edit_of_an_evaluation_is_kept_or_refused(kind: str, evaluations: dict) -> None:
    parse, cfg = evaluations[kind]
    _try(partial(_parse, parse=parse), cfg, 15, seeded=True)


def test_an_edit_of_a_yaml_for_own_images_is_kept_or_refused(own_images: Callable) -> None:
    _try(_parse, own_images(OWN_IMAGES[0]), 15, seeded=True)


@pytest.mark.usefixtures("lightning_quiet")
@pytest.mark.parametrize(
    "edit",
    [
        Edit(("scheduler", "name"), "none"),
        Edit(("val_check_interval",), 17),
        Edit(("checkpoint", "monitor"), "nothing"),
    ],
    ids=lambda edit: edit.key,
)
def test_an_edit_trains_or_is_refused(edit: Edit) -> None:
    _train(edit, _small(YAMLS[0]))


@pytest.mark.torture
@pytest.mark.parametrize("name", YAMLS + MORE)
def test_thousands_of_edits(name: str) -> None:
    _try(_parse, _small(name), 5000, seeded=False)


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_thousands_of_edits_of_an_evaluation(kind: str, evaluations: dict) -> None:
    parse, cfg = evaluations[kind]
    _try(partial(_parse, parse=parse), cfg, 5000, seeded=False)


@pytest.mark.torture
@pytest.mark.parametrize("name", OWN_IMAGES)
def test_thousands_of_edits_of_yamls_for_own_images(name: str, own_images: Callable) -> None:
    _try(_parse, own_images(name), 2000, seeded=False)


@pytest.mark.torture
@pytest.mark.usefixtures("lightning_quiet")
@pytest.mark.parametrize("name", YAMLS + MORE)
def test_a_hundred_edits_train(name: str) -> None:
    _try(_train, _small(name), 100, seeded=False)
