# SPDX-License-Identifier: MIT
"""Runs of strangers in use: nothing in them is executed, downloaded, or built at absurd size."""

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import solo_plugins
from solo_plugins.errors import ConfigurationError
from solo_plugins.evaluation.knn import knn
from solo_plugins.evaluation.linear import linear
from solo_plugins.runs.checkpoints import check_weights, load_checkpoint
from solo_plugins.runs.pretrained import find_pretrained

pytestmark = pytest.mark.usefixtures("methods")


class _Executes:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


@pytest.fixture
def stranger(shared_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a run's folder, in a process that must not reach a network nor execute anything."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "last.ckpt"):
        (run / name).write_bytes((shared_run / name).read_bytes())
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("reached a network"))
    monkeypatch.chdir(tmp_path)
    return run


WEIGHTS = {"w": torch.ones(3, 2), "n": torch.tensor(1)}


def _each(change: Callable[[torch.Tensor], Any]) -> Callable[[Path], Any]:
    return _saved({"state_dict": {name: change(weight) for name, weight in WEIGHTS.items()}})


def _saved(content: Any, **form: Any) -> Callable[[Path], Any]:
    return lambda path: torch.save(content, path, **form)


def _repacked(path: Path, change: Callable[[bytes], bytes], packing: int) -> None:
    torch.save({"state_dict": WEIGHTS}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in entries.items():
            archive.writestr(name, change(content) if "/data/" in name else content)


CHECKPOINTS = {
    "pickle": (_saved(_Executes()), "damaged|are not loaded"),
    "object": (_saved({"state_dict": WEIGHTS, "more": _Executes()}), "are not loaded"),
    "old form": (_saved(_Executes(), _use_new_zipfile_serialization=False), "damaged"),
    "packed": (
        lambda path: _repacked(path, lambda _: bytes(10**7), zipfile.ZIP_DEFLATED),
        "it unpacks to .* bytes, and torch writes nothing packed",
    ),
    "short": (
        lambda path: _repacked(path, lambda content: content[:4], zipfile.ZIP_STORED),
        "damaged, or no checkpoint at all",
    ),
    "list": (_saved({"state_dict": [1]}), "to hold tensors by name but got a list"),
    "keys": (_saved({"state_dict": {1: torch.ones(1)}}), "got a dict with other keys"),
    "no dict": (_saved({(1, 2): 3}), "with a `state_dict` but .* has dict"),
    "numbers": (_each(lambda weight: 5), "w is a int, not a tensor"),
    "meta": (_each(lambda weight: torch.empty(10**6, 10**6, device="meta")), "on meta"),
    "expanded": (_each(lambda w: torch.zeros(1).expand(10**6, 10**6)), r"w is \(1000000, 1000000"),
    "sparse": (_each(lambda w: w.to_sparse() if w.ndim else w), "layout torch.sparse_coo"),
    "complex": (_each(lambda weight: weight.to(torch.complex64)), "torch.complex64, not"),
    "whole": (_each(lambda weight: weight.to(torch.int8)), "w is torch.int8, not torch.float32"),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_hostile_checkpoint_is_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write, match = CHECKPOINTS[kind]
    write(tmp_path / "last.ckpt")
    with pytest.raises(ConfigurationError, match=match) as caught:
        check_weights(load_checkpoint(Path("last.ckpt"))["state_dict"], WEIGHTS, Path("last.ckpt"))
    assert "\n" not in str(caught.value)
    assert os.listdir() == ["last.ckpt"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "dangling", "device"])
@pytest.mark.parametrize("asked", ["folder", "file"])
def test_what_is_no_checkpoint_is_one_line(
    asked: str, kind: str, stranger: Path, put_instead: Callable
) -> None:
    put_instead(kind, stranger / "last.ckpt")
    path = stranger if asked == "folder" else stranger / "last.ckpt"
    with pytest.raises(ConfigurationError, match=r"with a checkpoint but|that exists but got"):
        solo_plugins.load(path)


CONFIGURATIONS = {
    "wide": ({"method_kwargs.proj_hidden_dim": 10**9}, "it cannot be built: "),
    "wider": ({"method_kwargs.proj_hidden_dim": 30_000}, "more than .* bytes of weights"),
    "outputs": ({"method_kwargs.proj_output_dim": 10**10}, "it cannot be built: "),
    "classes": ({"data.num_classes": 10**12}, "`data.num_classes` is to be a whole number"),
    "crop": ({"augmentations.0.crop_size": 10**9}, "`augmentations.0.crop_size` is to be"),
    "channels": ({"augmentations.0.std": [0, 0, 0]}, "`augmentations.0.std` is to be three"),
    "kind": ({"backbone.kwargs": {"channels": "x"}}, "it cannot be built: "),
    "hub": ({"backbone.name": "timm/hf-hub:a/b"}, "`backbone.name` to be one of"),
    "depth": (
        {
            "backbone": {
                "name": "vit_tiny",
                "kwargs": {"img_size": 16, "depth": 10**7, "embed_dim": 1, "num_heads": 1},
            }
        },
        "it cannot be built: ",
    ),
}


def _change(path: Path, changes: dict[str, Any]) -> None:
    cfg = OmegaConf.load(path)
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True, merge=False)
    OmegaConf.save(cfg, path)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_a_hostile_configuration_builds_nothing(kind: str, stranger: Path) -> None:
    changes, match = CONFIGURATIONS[kind]
    _change(stranger / "config.yaml", changes)
    with pytest.raises(ConfigurationError, match=match) as caught:
        solo_plugins.load(stranger)
    assert "\n" not in str(caught.value)


HOSTILE = {
    **{f"configuration {kind}": kind for kind in CONFIGURATIONS},
    **{f"checkpoint {kind}": kind for kind in CHECKPOINTS},
}


@pytest.mark.torture
@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("evaluate", [linear, knn])
@pytest.mark.parametrize("kind", HOSTILE)
def test_an_evaluation_of_a_stranger_is_one_line(
    kind: str, evaluate: Callable, stranger: Path, root: Path
) -> None:
    if kind.startswith("checkpoint"):
        CHECKPOINTS[HOSTILE[kind]][0](stranger / "last.ckpt")
    else:
        _change(stranger / "config.yaml", CONFIGURATIONS[HOSTILE[kind]][0])
    before = {path: path.stat().st_size for path in stranger.rglob("*")}
    folder = root / "scripts" / evaluate.__name__ / "digits"
    with initialize_config_dir(str(folder), version_base="1.2"):
        # a probe on the backbone does not build the projector
        given = [f"++pretrained_feature_extractor={stranger}", "++features=projector"]
        cfg = compose("rectified_lpjepa", given)
    OmegaConf.set_struct(cfg, False)
    with pytest.raises(ConfigurationError) as caught:
        evaluate(cfg)
    assert "\n" not in str(caught.value)
    assert {path: path.stat().st_size for path in stranger.rglob("*")} == before
    assert not Path("executed").exists()


def test_the_weights_that_a_run_began_with_are_neither_fetched_nor_read(stranger: Path) -> None:
    torch.save(_Executes(), stranger / "evil.pt")
    cfg = OmegaConf.load(stranger / "config.yaml")
    kwargs = {"pretrained": True, "checkpoint_path": str(stranger / "evil.pt"), "cache_dir": "/x"}
    cfg.backbone.kwargs.update(kwargs)
    OmegaConf.save(cfg, stranger / "config.yaml")
    encoder = solo_plugins.load(stranger)
    assert not set(kwargs) & set(encoder.config.backbone.kwargs)
    assert not Path("executed").exists()


def test_a_linked_checkpoint_has_the_configuration_beside_the_link(
    stranger: Path, tmp_path: Path
) -> None:
    target = tmp_path / "elsewhere" / "weights.bin"
    target.parent.mkdir()
    (stranger / "last.ckpt").rename(target)
    (stranger / "last.ckpt").symlink_to(target)
    found = find_pretrained(stranger / "last.ckpt")
    assert (found.checkpoint, found.source) == (
        stranger / "last.ckpt",
        stranger / "config.yaml",
    )
    (stranger / "config.yaml").rename(target.with_name("config.yaml"))
    assert find_pretrained(stranger / "last.ckpt").source == target.with_name("config.yaml")
