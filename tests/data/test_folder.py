# SPDX-License-Identifier: MIT
"""What a scan finds in a folder, and what it refuses."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image
from torchvision.datasets import ImageFolder

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import LabelledDataModule, PretrainDataModule
from solo_plugins.data.folder import scan_folder
from solo_plugins.errors import ConfigurationError

Make = Callable[..., DictConfig]
PIXELS = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def _save(path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path, **options)
    return path


def test_a_scan_lists_what_torchvision_lists(folder: Path) -> None:
    for name in ("b/c/1.JPEG", "b/c-d/2.png", "b/c/e/3.jpg", "10.webp", "b.bmp"):
        _save(folder / "first" / name)
    judge = ImageFolder(folder)
    scan = scan_folder(folder, labelled=True)
    assert list(zip(scan.paths, scan.targets(), strict=True)) == judge.samples
    assert list(scan.classes) == judge.classes
    assert list(scan.sizes) == [Path(path).stat().st_size for path in scan.paths]
    assert scan.notes == []


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(
    folder: Path, tmp_path: Path
) -> None:
    first = scan_folder(folder, labelled=True).fingerprint
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "again"))
    assert scan_folder(moved, labelled=True).fingerprint == first
    (moved / "first" / ".DS_Store").write_text("x")
    assert scan_folder(moved, labelled=True).fingerprint == first
    assert len(first) == 16
    assert int(first, 16)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "first").rename(root / "third"),
        lambda root: (root / "first" / "3.png").unlink(),
        lambda root: (root / "first" / "3.png").rename(root / "first" / "x.png"),
        lambda root: (root / "first" / "3.png").rename(root / "second" / "x.png"),
        lambda root: Image.new("RGB", (9, 9)).save(root / "first" / "3.png"),
        lambda root: _save(root / "third" / "1.png"),
    ],
    ids=["class", "gone", "name", "moved", "size", "more"],
)
def test_a_changed_folder_has_another_fingerprint_at_once(change: Callable, folder: Path) -> None:
    first = scan_folder(folder, labelled=True).fingerprint
    change(folder)
    assert scan_folder(folder, labelled=True).fingerprint != first


def test_the_scan_of_a_run_is_made_once(
    on_folder: Make, folder: Path, methods: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    import solo_plugins.data.folder as module

    looked: list[str] = []
    look = module.looks_whole
    monkeypatch.setattr(module, "looks_whole", lambda path: looked.append(path) or look(path))
    cfg, _ = parse_cfg(on_folder(folder))
    PretrainDataModule(cfg).check()
    assert len(looked) == 24


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(
    "name", ["._3.png", ".DS_Store", ".hidden.jpg", "labels.csv", "notes.gif", ".cache/3.png"]
)
@pytest.mark.parametrize("image_format", ["image_folder", "preload", "dali"])
def test_what_is_no_image_is_left_out_by_all_readers_and_said(
    image_format: str, name: str, labelled: bool, on_folder: Make, folder: Path, methods: dict
) -> None:
    if image_format == "dali":
        pytest.importorskip("nvidia.dali")
    root = folder if labelled else folder / "first"
    stray = folder / "first" / name
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"no image")
    data: dict[str, Any] = {"no_labels": not labelled, "preload": image_format == "preload"}
    data["format"] = "dali" if image_format == "dali" else "image_folder"
    cfg, _ = parse_cfg(on_folder(root, **data))
    module = PretrainDataModule(cfg)
    assert module.num_train_images == (24 if labelled else 12)
    assert len(list(module.train_dataloader())) == module.num_train_images // 8
    (note,) = module.train_scan.notes
    assert note.startswith("1 entry is left out")
    assert str(stray if stray.parent.name == "first" else stray.parent) in note


def _loop(root: Path) -> None:
    (root / "first" / "again").symlink_to(root / "first")


@pytest.mark.parametrize(
    ("change", "labelled", "message"),
    [
        (lambda root: _save(root / "a.png"), True, r"in class folders only .* 1 .*images/a.png'"),
        (lambda root: (root / "empty").mkdir(), True, r"each class folder .*images/empty' with no"),
        (lambda root: (root / "text").mkdir() or (root / "text" / "a.txt").touch(), True,
         r"images/text' with none and 1 other entries such as 'text/a.txt'"),
        (lambda root: None, False, r"`data.no_labels: true`, folders .*images/first'"),
        (lambda root: (root / "first" / "x.png").write_bytes(b""), True, r"first/x.png' is empty"),
        (lambda root: (root / "first" / "x.png").write_text("text"), True, r"first/x.png' cannot"),
        (lambda root: (root / "first" / "x.png").symlink_to("gone"), True, r"x.png': No such file"),
        (_loop, True, r"without a link to a folder above it but got '.*first/again'"),
    ],
    ids=["beside", "empty", "no-image", "no-labels", "zero", "text", "link", "loop"],
)  # fmt: skip
def test_a_folder_that_is_not_read_as_it_lies_is_refused(
    change: Callable, labelled: bool, message: str, folder: Path
) -> None:
    change(folder)
    with pytest.raises(ConfigurationError, match=message) as caught:
        scan_folder(folder, labelled=labelled)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "ppm", "pgm", "tif"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.97])
def test_a_truncated_file_is_refused_by_name(part: float, suffix: str, tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS if suffix != "pgm" else PIXELS[..., 0])
    for index in range(2):
        image.save(tmp_path / f"{index}.{suffix}")
    path = tmp_path / f"1.{suffix}"
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(ConfigurationError, match=rf"1.{suffix}' cannot be read as an image: "):
        scan_folder(tmp_path, labelled=False)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF", "GIF"])
@pytest.mark.parametrize("behind", [b"", b"\0" * 7, b"trailing" * 200])
def test_a_whole_file_passes_whatever_its_name_and_whatever_lies_behind(
    behind: bytes, kind: str, tmp_path: Path
) -> None:
    path = _save(tmp_path / "image.png", format=kind)
    path.write_bytes(path.read_bytes() + behind)
    assert len(scan_folder(tmp_path, labelled=False).names) == 1


def test_several_damaged_files_are_counted(folder: Path) -> None:
    for name in ("3", "7"):
        (folder / "second" / f"{name}.png").write_bytes(b"")
    message = r"second/3.png' is empty. 2 of 24 files are damaged, also 'second/7.png'.$"
    with pytest.raises(ConfigurationError, match=message):
        scan_folder(folder, labelled=True)


def test_of_many_damaged_files_some_are_named(tmp_path: Path) -> None:
    for name in range(25):
        (tmp_path / f"{name:02}.png").write_bytes(b"")
    message = (
        r"00.png' is empty. 25 of 25 files are damaged, also '01.png', .*'20.png' and 4 more.$"
    )
    with pytest.raises(ConfigurationError, match=message):
        scan_folder(tmp_path, labelled=False)


@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "dangling"])
def test_what_is_no_file_is_refused_or_left_to_the_reader(
    kind: str, folder: Path, put_instead: Callable
) -> None:
    path = next(folder.rglob("*.png"))
    put_instead(kind, path)
    with pytest.raises(
        ConfigurationError, match=rf"{path.name}'(: | cannot be read as an image: it is)"
    ):
        scan_folder(folder, labelled=True)
    assert str(path) in scan_folder(folder, labelled=True, damaged=True).paths


def test_a_slow_disk_is_read_in_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import solo_plugins.data.folder as module

    def slow(path: str) -> tuple[int, bool]:
        time.sleep(0.002)
        return 1, True

    monkeypatch.setattr(module, "looks_whole", slow)
    monkeypatch.setattr(module, "_AT_ONCE", 16)
    for index in range(272):
        (tmp_path / f"{index:03}.png").touch()
    begin = time.perf_counter()
    assert len(scan_folder(tmp_path, labelled=False).sizes) == 272
    assert time.perf_counter() - begin < 272 * 0.002 / 2


def _three_classes(root: Path, *without: str) -> Path:
    for label in sorted({"ape", "bee", "cow", "dog"} - set(without)):
        for index in range(4):
            _save(root / label / f"{index}.png")
    return root


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("lacks", ["ape", "bee", "cow"])
def test_validation_labels_are_trainings(lacks: str, on_folder: Make, tmp_path: Path) -> None:
    train = _three_classes(tmp_path / "train", "dog")
    val = _three_classes(tmp_path / "val", "dog", lacks)
    cfg, _ = parse_cfg(on_folder(train, val_path=str(val)))
    names = ["ape", "bee", "cow"]
    for module in (PretrainDataModule(cfg), _evaluated(cfg)):
        val_set: Any = module.val_set
        for index, path in enumerate(val_set.paths):
            assert names[val_set[index][1]] == Path(path).parent.name
        assert any(lacks in note for note in module.notes)


def _evaluated(cfg: DictConfig) -> LabelledDataModule:
    cfg = cfg.copy()
    cfg.auto_augment = False
    return LabelledDataModule(cfg)


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
def test_a_class_that_training_lacks_is_refused_by_name(
    image_format: str, on_folder: Make, tmp_path: Path
) -> None:
    train = _three_classes(tmp_path / "train", "bee")
    val = _three_classes(tmp_path / "val")
    with pytest.raises(ConfigurationError, match=r"/val' to be among .* got 'bee', which training"):
        parse_cfg(on_folder(train, val_path=str(val), format=image_format))


@pytest.mark.usefixtures("methods")
def test_validation_labels_are_those_of_an_h5_file(on_folder: Make, tmp_path: Path) -> None:
    val = _three_classes(tmp_path / "val", "bee", "dog")
    cfg, _ = parse_cfg(on_folder(val, val_path=str(val), dataset="imagenet100"))
    cfg.data.format = "h5"
    module = PretrainDataModule(cfg)
    # what solo-learn's H5Dataset knows of a file
    module.train_set = SimpleNamespace(_data=[("ape", "1", 0), ("bee", "1", 1), ("cow", "1", 2)])
    val_set: Any = module.val_set
    assert val_set.targets == [0] * 4 + [2] * 4
    module.train_set._data.pop()
    with pytest.raises(ConfigurationError, match="got 'cow', which training lacks"):
        module._labelled(train=False, transform=np.asarray)


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("numbers", [False, True])
def test_dali_takes_our_labels(numbers: bool, on_folder: Make, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    root = _three_classes(tmp_path / "train")
    (root / ".trash").mkdir()  # DALI and solo-learn's main branch would count it as a class
    _save(root / "cow" / "inner" / "5.png")
    cfg = on_folder(root, format="dali")
    cfg.dali = {"encode_indexes_into_labels": numbers}
    cfg, _ = parse_cfg(cfg)
    module = PretrainDataModule(cfg)
    batches = list(module.train_dataloader())
    judge = [
        ["ape", "bee", "cow", "dog"].index(Path(name).parts[0]) for name in module.train_scan.names
    ]
    for indexes, _, targets in batches:
        if numbers:
            assert [judge[index] for index in indexes] == targets.tolist()
    counted = np.bincount(np.concatenate([targets for _, _, targets in batches]), minlength=4)
    # 16 of 17 images
    assert counted.sum() == 16
    assert counted.max() <= 5
    assert counted.min() >= 3


@pytest.mark.usefixtures("methods")
def test_the_fingerprints_are_in_the_configuration(
    on_folder: Make, folder: Path, make_cfg: Make
) -> None:
    cfg, _ = parse_cfg(on_folder(folder, val_path=str(folder)))
    wanted = scan_folder(folder, labelled=True).fingerprint
    assert cfg.data.train_fingerprint == cfg.data.val_fingerprint == wanted
    cfg, _ = parse_cfg(on_folder(folder))
    assert (cfg.data.train_fingerprint, cfg.data.val_fingerprint) == (wanted, None)
    with pytest.raises(ConfigurationError, match=rf"to be what the images come to, '{wanted}'"):
        parse_cfg(on_folder(folder, train_fingerprint="mine"))
    cfg, _ = parse_cfg(make_cfg())
    assert (cfg.data.train_fingerprint, cfg.data.val_fingerprint) == (None, None)


@pytest.mark.usefixtures("methods")
def test_more_classes_than_the_data_set_has_are_refused(on_folder: Make, tmp_path: Path) -> None:
    for index in range(101):
        _save(tmp_path / "images" / f"{index}" / "1.png")
    with pytest.raises(ConfigurationError, match=r"the 100 classes of imagenet100 but got 101"):
        parse_cfg(on_folder(tmp_path / "images", dataset="imagenet100"))
