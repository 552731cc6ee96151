# SPDX-License-Identifier: MIT
"""Image files of every mode, and damaged ones, by PIL and by DALI."""

import pickle
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torch.utils.data import DataLoader

from solo_plugins.args.pretrain import parse_cfg
from solo_plugins.data import PretrainDataModule
from solo_plugins.data.encoded import EncodedFiles
from solo_plugins.data.files import ImageFiles, PreloadedFiles
from solo_plugins.data.headers import looks_whole
from solo_plugins.data.images import as_rgb, image_size, read_image
from solo_plugins.errors import UnreadableImageError

Make = Callable[..., DictConfig]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)

WIDE = np.full((2, 2), 70000, np.int32)


@pytest.fixture(autouse=True)
def _no_warnings() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # DALI's on Python 3.13, as in pyproject.toml
        warnings.filterwarnings("ignore", ".*Support for arbitrary keyword arguments is deprec")
        yield


@pytest.mark.parametrize("kind", [">u2", "<u2"], ids=["big-endian", "little-endian"])
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
@pytest.mark.parametrize("preload", [False, True])
def test_16_bit_greyscale_is_scaled_to_8(
    preload: bool, suffix: str, kind: str, tmp_path: Path
) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = tmp_path / f"grey.{suffix}"
    if suffix == "pgm":
        path.write_bytes(b"P5 256 256 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values.astype(kind)).save(path)
    read: Callable = PreloadedFiles([path]) if preload else read_image
    got = np.asarray(read(path))
    assert np.array_equal(got, np.repeat(np.round(values / 257)[..., None], 3, axis=2))


def _with_transparency(image: Image.Image, path: Path) -> np.ndarray:
    indexed = image.quantize(16)
    indexed.save(path, transparency=bytes(range(16)))
    return np.asarray(indexed.convert("RGB"))


def _in_mode(mode: str) -> Callable[[Image.Image, Path], np.ndarray]:
    def save(image: Image.Image, path: Path) -> np.ndarray:
        image.convert(mode).save(path)
        return np.asarray(image.convert(mode).convert("RGB"))

    return save


@pytest.mark.parametrize(
    ("suffix", "save"),
    [
        pytest.param("png", _with_transparency, id="palette-transparency"),
        *(pytest.param("png", _in_mode(mode), id=mode) for mode in ("1", "L", "LA", "P", "RGBA")),
        pytest.param("tif", _in_mode("CMYK"), id="CMYK"),
        pytest.param("bmp", _in_mode("RGB"), id="bmp"),
        pytest.param("ppm", _in_mode("RGB"), id="ppm"),
    ],
)
def test_every_mode_ends_as_rgb(suffix: str, save: Callable, tmp_path: Path) -> None:
    path = tmp_path / f"image.{suffix}"
    wanted = save(Image.fromarray(PIXELS), path)
    got = read_image(path)
    assert got.mode == "RGB"
    assert np.array_equal(np.asarray(got), wanted)


@pytest.mark.parametrize("given", ["cat.png", Path("cat.png"), PIXELS, None], ids=type)
def test_what_is_no_image_of_pils_is_refused_with_how_to_make_one(given: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^Expected an image that PIL has opened but got .*open\(pa"
    ):
        as_rgb(given)


def _dalis(path: Path) -> np.ndarray:
    """Decode a file by DALI alone."""
    dali = pytest.importorskip("nvidia.dali")

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def pipeline() -> Any:
        content, _ = dali.fn.readers.file(files=[str(path)])
        return dali.fn.decoders.image(content, output_type=dali.types.RGB)

    built = pipeline()
    built.build()
    return np.asarray(built.run()[0].at(0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_is_turned_as_dali_turns_it(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(tmp_path / f"photo.{suffix}", exif=exif)
    path = tmp_path / f"photo.{suffix}"
    assert np.array_equal(np.asarray(read_image(path)), _dalis(path))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_rounded_as_dali_rounds_them(suffix: str, tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / f"grey.{suffix}")
    path = tmp_path / f"grey.{suffix}"
    assert np.array_equal(np.asarray(read_image(path)), _dalis(path))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("suffix", "damage", "text"),
    [
        ("png", _cut, "truncated"),
        ("jpg", _cut, "truncated"),
        ("png", _flip, "."),
        ("png", lambda path: path.write_bytes(b""), "identify"),
        ("png", lambda path: path.write_text("no image"), "identify"),
        ("png", lambda path: path.unlink(), "No such file"),
        (
            "tif",
            lambda path: Image.fromarray(np.full((2, 2), 70000, np.int32)).save(path),
            "from 70000 to",
        ),
        ("tif", lambda path: Image.fromarray(np.ones((2, 2), "f4")).save(path), "floating-point"),
    ],
    ids=["cut-png", "cut-jpg", "flipped", "empty", "text", "gone", "32-bit", "float"],
)
def test_a_file_that_cannot_be_decoded_is_named_in_one_line(
    suffix: str, damage: Callable, text: str, tmp_path: Path
) -> None:
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(PIXELS).save(path)
    damage(path)
    with pytest.raises(UnreadableImageError, match=rf"{suffix}' cannot be .*{text}") as caught:
        read_image(path)
    assert len(str(caught.value).splitlines()) == 1


def _for_dali(path: Path) -> None:
    files = EncodedFiles([str(path)], [0], preload=False)
    assert len(list(files.read([np.array([0])]))) == 1


def _png_of(width: int, height: int) -> bytes:
    """Write the beginning of an image of one colour, which PNG packs a thousand times."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "text"),
    [((60_000, 60_000), "decompression bomb"), ((12_000, 12_000), "has 12000 x 12000 pixels")],
    ids=str,
)
def test_an_image_that_would_fill_the_memory_is_named(
    size: tuple[int, int], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(_png_of(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's own, from two thirds of the limit on
        for read in (read_image, image_size, _for_dali):
            with pytest.raises(UnreadableImageError, match=rf"image\.png' cannot be .*{text}"):
                read(path)


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "dangling", "device", "terabyte"])
@pytest.mark.parametrize("read", [read_image, image_size, lambda path: PreloadedFiles([path])])
def test_what_is_no_image_file_is_named_without_a_wait(
    read: Callable, kind: str, put_instead: Callable, tmp_path: Path
) -> None:
    put_instead(kind, tmp_path / "image.png")
    with pytest.raises(UnreadableImageError, match=r"image\.png' cannot be read as an image: ."):
        read(tmp_path / "image.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF", "GIF"])
def test_whatever_is_wrong_with_a_file_it_is_named(kind: str, tmp_path: Path) -> None:
    path, rng = tmp_path / "image.png", np.random.default_rng(0)
    Image.fromarray(PIXELS).save(path, format=kind)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    named = 0
    for _ in range(100):
        damaged = whole.copy()
        damaged[rng.integers(0, min(200, len(whole)), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's own, of tags
            assert looks_whole(str(path))[0] == len(whole)
            for read in (read_image, image_size):
                try:
                    read(path)
                except UnreadableImageError as error:
                    named += "image.png' cannot be read" in str(error)
    assert named > 10


def test_a_loading_process_names_the_file_in_the_same_line(tmp_path: Path) -> None:
    path = str(tmp_path / "image.png")
    Path(path).write_text("no image")
    with pytest.raises(UnreadableImageError, match="cannot be") as here:
        read_image(path)
    loader = DataLoader(ImageFiles([path], [0], np.asarray, preload=False), num_workers=1)
    with pytest.raises(UnreadableImageError, match="cannot be") as there:
        list(loader)
    assert str(there.value) == str(here.value) == str(pickle.loads(pickle.dumps(there.value)))


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink], ids=["cut", "flipped", "gone"])
def test_dali_names_a_file_that_is_damaged_after_the_scan(
    damage: Callable, on_folder: Make, folder: Path
) -> None:
    pytest.importorskip("nvidia.dali")
    cfg, _ = parse_cfg(on_folder(folder, format="dali"))
    damage(folder / "second" / "3.png")
    with pytest.raises(UnreadableImageError, match=r"second/3.png' cannot be read as an image"):
        list(PretrainDataModule(cfg).train_dataloader())


@pytest.mark.usefixtures("methods")
def test_dali_names_a_file_of_a_format_that_it_lacks(on_folder: Make, folder: Path) -> None:
    pytest.importorskip("nvidia.dali")
    Image.fromarray(PIXELS).save(folder / "second" / "3.png", format="GIF")
    cfg, _ = parse_cfg(on_folder(folder, format="dali"))
    with pytest.raises(UnreadableImageError, match=r"second/3.png' cannot .* it is GIF by its con"):
        list(PretrainDataModule(cfg).train_dataloader())


@pytest.mark.usefixtures("methods")
@pytest.mark.parametrize("image_format", ["image_folder", "dali"])
def test_both_readers_see_the_same_16_bit_images(
    image_format: str, on_folder: Make, tmp_path: Path, augmentation: Callable
) -> None:
    if image_format == "dali":
        pytest.importorskip("nvidia.dali")
    values = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    (tmp_path / "images" / "one").mkdir(parents=True)
    for index in range(8):
        Image.fromarray(values).save(tmp_path / "images" / "one" / f"{index}.png")
    cfg = on_folder(tmp_path / "images", format=image_format)
    whole = {"rrc": {"enabled": True, "crop_min_scale": 1.0, "crop_max_scale": 1.0}}
    cfg.augmentations = [augmentation(**whole, color_jitter={"prob": 0.0}, mean=[0.0] * 3)]
    cfg.augmentations[0].std = [1.0] * 3
    crops = next(iter(PretrainDataModule(parse_cfg(cfg)[0]).train_dataloader()))[1]
    wanted = torch.tensor(values / 65535, dtype=torch.float32).expand(8, 3, 32, 32)
    # the mean value survives whatever the crop's aspect ratio does at the borders
    assert (crops[0].mean() - wanted.mean()).abs() < 0.02
    assert len(crops[0][0, 0].unique()) > 100
