# SPDX-License-Identifier: MIT
"""An export, loaded by others: timm and torchvision in a process without this package."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

import solo_plugins
from solo_plugins.errors import ConfigurationError
from solo_plugins.inference.export import export
from solo_plugins.inference.onnx_form import missing_for_onnx
from solo_plugins.inference.timm_form import NotInTimmError, timm_twin

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("methods")
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
needs_onnx = pytest.mark.skipif(
    bool(missing_for_onnx()), reason=f"needs the extra export: {', '.join(missing_for_onnx())}"
)
TINY_VIT = {"name": "vit_tiny", "kwargs": {"img_size": 16, "patch_size": 8}}


@pytest.fixture(scope="session")
def exported(
    shared_run: Path, registered: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the shared run's export, without ONNX."""
    with registered():
        return export(shared_run, tmp_path_factory.mktemp("export") / "timm", onnx=False).folder


def _alone(code: str, folder: Path) -> torch.Tensor:
    """Run code that makes `model` in a process without this package; return its features."""
    torch.save(IMAGES, folder / "images.pt")
    code = f"""
import sys, torch
sys.path = [path for path in sys.path if path]
sys.modules["solo_plugins"] = None  # an import of it fails
torch.set_num_threads({torch.get_num_threads()})  # products of other numbers round otherwise
{code}
with torch.no_grad():
    torch.save(model(torch.load("images.pt")), "features.pt")
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, capture_output=True)
    return torch.load(folder / "features.pt")


def _cards_code(folder: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return code.replace("DIR", str(folder))


@torch.no_grad()
def test_timm_loads_it_in_both_ways_without_this_package(
    exported: Path, shared_model: solo_plugins.Encoder, tmp_path: Path
) -> None:
    args = json.loads((exported / "config.json").read_text())
    # timm's own weights have these
    assert not {"license", "tag", "origin_url"} & set(args["pretrained_cfg"])
    code = f"""
import timm
a = timm.create_model({args["architecture"]!r},
    checkpoint_path={str(exported / "model.safetensors")!r}, **{args["model_args"]!r}).eval()
{_cards_code(exported)}
for name, value in a.state_dict().items():
    assert torch.equal(value, model.state_dict()[name]), name
"""
    assert torch.equal(_alone(code, tmp_path), shared_model(IMAGES))


@pytest.mark.parametrize("size", [(16, 16), (40, 30), (300, 500)])
@pytest.mark.parametrize("dataset", ["digits", "imagenet"])
def test_timms_transform_is_the_evaluation_transform(
    dataset: str, size: tuple, make_run: Make, tmp_path: Path
) -> None:
    run = make_run()
    text = (run / "config.yaml").read_text().replace("dataset: digits", f"dataset: {dataset}")
    (run / "config.yaml").write_text(text)
    model = solo_plugins.load(run)
    folder = export(run, tmp_path / "out", onnx=False).folder
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    transform = create_transform(**resolve_model_data_config(theirs))
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    torch.testing.assert_close(transform(image), model.transform(image))


@pytest.mark.parametrize(
    "backbone",
    [
        pytest.param({"name": "resnet18", "kwargs": {}}, id="torchvision"),
        pytest.param(TINY_VIT, id="solo-learn's vit"),
    ],
)
@torch.no_grad()
def test_other_backbones_are_timms_by_another_name(backbone: dict, make_run: Make) -> None:
    encoder = solo_plugins.load(make_run(backbone=backbone))
    assert torch.equal(timm_twin(encoder).model(IMAGES), encoder(IMAGES))


@torch.no_grad()
def test_a_stem_for_small_images_is_loaded_by_torchvision(make_run: Make, tmp_path: Path) -> None:
    run = make_run(
        backbone={"name": "resnet18"}, data__dataset="cifar10", data__train_path=str(tmp_path)
    )
    encoder = solo_plugins.load(run)
    with pytest.raises(NotInTimmError, match=r"conv1\.weight is \(64, 3, 3, 3\), timm's is"):
        timm_twin(encoder)
    done = export(run, tmp_path / "out", onnx=False)
    assert any("Not in timm's form" in note for note in done.notes)
    torch.testing.assert_close(_alone(_cards_code(done.folder), tmp_path), encoder(IMAGES))


@needs_onnx
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="rectified"),
        pytest.param(
            {
                "method_kwargs__projector_type": "rep_rectified_mlp",
                "method_kwargs__threshold_rate": 0.1,
                "method_kwargs__standardize_outputs": True,
                "method_kwargs__row_floor": 0.25,
                "method_kwargs__target_active_fraction": 0.2,
            },
            id="calibrated",
        ),
    ],
)
def test_onnx_runtime_gives_features_and_codes(
    changes: dict, make_run: Make, tmp_path: Path
) -> None:
    import onnxruntime

    run = make_run(**changes)
    folder = export(run, tmp_path / "out", onnx=True).folder
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    images = torch.cat([IMAGES, IMAGES.flip(3), IMAGES.flip(2)])
    found = session.run(None, {"images": images.numpy()})
    found = dict(zip(("features", "codes"), found, strict=True))
    model = solo_plugins.load(run)
    with torch.no_grad():
        np.testing.assert_allclose(found["features"], model(images), atol=1e-4)
        np.testing.assert_allclose(found["codes"], model.encode(images), atol=1e-4)


def test_all_files_may_be_read_by_the_same_people(exported: Path) -> None:
    assert len({file.stat().st_mode for file in exported.iterdir()}) == 1


def test_the_card_tells_of_data_method_and_what_is_not_known(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    assert "pretrained by rectified_lpjepa on digits" in text
    assert "| results | none: there is no summary.json" in text


def test_the_card_has_the_runs_numbers(make_run: Make, tmp_path: Path) -> None:
    run = make_run()
    summary = {"epochs": 2, "steps": 6, "commit": "abc", "val_l0_sparsity_metric": 0.1234}
    (run / "summary.json").write_text(json.dumps(summary))
    probe = {"features": "backbone", "acc1": 61.5, "acc5": 99.0, "finetune": False}
    (run / "linear-backbone.json").write_text(json.dumps(probe))
    text = (export(run, tmp_path / "out", onnx=False).folder / "README.md").read_text()
    for line in ("| active fraction of codes | 0.123 |", "| linear probe on features | 61.50 % |"):
        assert line in text
    assert "| target | rectified, p = 1, mu = 0, 0.500 active |" in text


def test_the_card_of_another_checkpoint_has_none_of_the_runs_numbers(
    make_run: Make, tmp_path: Path
) -> None:
    run = make_run()
    (run / "summary.json").write_text(json.dumps({"epochs": 2, "steps": 6}))
    shutil.copy(run / "last.ckpt", run / "a-ep=0.ckpt")
    folder = export(run / "a-ep=0.ckpt", tmp_path / "out", onnx=False).folder
    text = (folder / "README.md").read_text()
    assert "| results | none: those of the run are of its last checkpoint |" in text
    assert "epochs" not in text


def test_a_folder_that_holds_something_is_left_as_it_is(shared_run: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("own")
    with pytest.raises(ConfigurationError, match="it is there already; remove it or name another"):
        export(shared_run, tmp_path, onnx=False)
    assert [path.name for path in tmp_path.iterdir()] == ["own.txt"]


def test_an_export_that_fails_leaves_nothing(
    shared_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("solo_plugins.inference.export.save_file", fail)
    with pytest.raises(ConfigurationError, match=r"out' cannot be written: .*No space left"):
        export(shared_run, tmp_path / "out", onnx=False)
    assert list(tmp_path.iterdir()) == []
