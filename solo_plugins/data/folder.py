# SPDX-License-Identifier: MIT
"""What an image folder holds, found out once and before training: classes, images, damage."""

__all__ = ["FolderScan", "is_folder", "scan_folder"]

import hashlib
import itertools
import os
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from solo_plugins.data.headers import looks_whole
from solo_plugins.data.images import image_size, read_image
from solo_plugins.errors import ConfigurationError, UnreadableImageError
from solo_plugins.untrusted.files import UnusableFileError

_AT_ONCE = 256
_MOST_NAMED = 20  # damaged files
# From so many seconds a file on, it is the disk that takes them, and threads help.
_SLOW, _THREADS = 1e-4, 16
_Found = dict[str, list[str]]
# Folders of these names alone are parts of a data set, not classes.
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
# The last scan of each folder.
_KEPT: dict[tuple[str, bool], "FolderScan"] = {}


@dataclass(frozen=True)
class FolderScan:
    """The images of a folder, all readers' one list of them.

    Args:
        root: the folder.
        classes: the names of the class folders in sorted order, whose places are the labels; empty
            without labels.
        counts: the number of images of each class; without labels one number.
        names: the images' paths below `root`, class after class, in torchvision's order.
        sizes: their sizes in bytes.
        passed_over: how many entries are hidden or no images.
        example: the path of one of those, or an empty string.
    """

    root: Path
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    passed_over: int = 0
    example: str = ""

    @property
    def paths(self) -> list[str]:
        """The images' full paths."""
        return [f"{self.root}/{name}" for name in self.names]

    def targets(self, classes: tuple[str, ...] | None = None) -> list[int]:
        """Give each image its label, -1 without labels.

        Args:
            classes: the classes that labels count in; None takes the folder's own.

        Returns:
            The labels, in the order of the images.

        Raises:
            ConfigurationError: if the folder has a class that is not among them.
        """
        if not self.classes:
            return [-1] * len(self.names)
        classes = self.classes if classes is None else classes
        place = {name: index for index, name in enumerate(classes)}
        unknown = [name for name in self.classes if name not in place]
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise ConfigurationError(
                f"Expected the class folders in {str(self.root)!r} to be among those of the "
                f"training images but got {unknown[0]!r}{more}, which training lacks."
            )
        pairs = zip(self.classes, self.counts, strict=True)
        return [place[name] for name, count in pairs for _ in range(count)]

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that depend on classes, images and sizes, not on where they lie."""
        digest = hashlib.sha256()
        for part in (self.classes, self.counts, self.names, self.sizes):
            # no name has a zero or a slash of its own
            line = "\0".join(map(str, part)) + "\0/\0"
            digest.update(line.encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    @property
    def notes(self) -> list[str]:
        """What a person should know of the folder, a line each."""
        if not self.passed_over:
            return []
        plural = "entry is" if self.passed_over == 1 else "entries are"
        return [
            f"{self.passed_over} {plural} left out of {str(self.root)!r}, hidden or no images by "
            f"the name: {self.example!r} for example."
        ]

    def typical_side(self, sample: int = 64) -> int:
        """Measure images by their headers.

        Args:
            sample: how many to measure, evenly spread over the folder.

        Returns:
            The median of their shorter sides, in pixels.

        Raises:
            UnreadableImageError: naming the file, if a header cannot be read.
        """
        step = max(1, len(self.names) // sample)
        sampled = self.names[::step][:sample]
        return int(statistics.median(min(image_size(f"{self.root}/{name}")) for name in sampled))


def scan_folder(
    root: str | Path,
    *,
    labelled: bool,
    key: str = "data.train_path",
    fingerprint: str | None = None,
    damaged: bool = False,
) -> FolderScan:
    """List a folder's images and look at the beginning and the end of each.

    Hidden entries and files without an image's extension are left out. A file that looks damaged is
    decoded, to be sure.

    Args:
        root: the folder: of a folder for each class, whose own folders are read too, or of images.
        labelled: whether there are folders of classes.
        key: the setting that names the folder, for errors.
        fingerprint: that of an earlier scan in this process; if it is the last one of the folder,
            it is not made again.
        damaged: whether files that cannot be read are listed too, to be found out by who reads
            them.

    Returns:
        The scan.

    Raises:
        ConfigurationError: naming the path, if images lie where nothing reads them, a class has
            none, or a file cannot be read.
    """
    root = Path(root).resolve()
    kept = _KEPT.get((str(root), labelled))
    if kept is not None and kept.fingerprint == fingerprint:
        return kept
    try:
        scan = _scan(root, key, labelled=labelled, damaged=damaged)
    except OSError as error:
        raise ConfigurationError(
            f"Expected `{key}` to be a folder that can be read but got {error.filename!r}: "
            f"{error.strerror}."
        ) from error
    if not damaged:
        _KEPT[(str(root), labelled)] = scan
    return scan


def _scan(root: Path, key: str, *, labelled: bool, damaged: bool) -> FolderScan:
    folders, images, passed = _list(str(root))
    if labelled:
        _check_class_folders(root, key, folders, images)
    elif folders:
        raise ConfigurationError(
            f"Expected `{key}` to hold images themselves with `data.no_labels: true`, folders in "
            f"it are not read, but got the folder {_join(root, folders[0])}."
        )
    found: list[list[str]] = [] if labelled else [images]
    for name in folders:
        inside, more = _below(f"{root}/{name}", name)
        if not inside:
            held = f" and {len(more)} other entries such as {more[0]!r}" if more else ""
            raise ConfigurationError(
                f"Expected each class folder in `{key}` to hold images but got "
                f"{_join(root, name)} with none{held}."
            )
        found.append(inside)
        passed += more
    names = tuple(itertools.chain.from_iterable(found))
    if not names:
        raise ConfigurationError(
            f"Expected `{key}` to hold images, files named {', '.join(IMG_EXTENSIONS)}, but got "
            f"{str(root)!r} with none."
        )
    return FolderScan(
        root,
        tuple(folders),
        tuple(map(len, found)),
        names,
        _check_files(root, key, names, allowed=damaged),
        len(passed),
        f"{root}/{passed[0]}" if passed else "",
    )


def _check_class_folders(root: Path, key: str, folders: list[str], images: list[str]) -> None:
    if not folders:
        raise ConfigurationError(
            f"Expected `{key}` to hold a folder for each class, or `data.no_labels` to be true, "
            f"but got {str(root)!r} without any."
        )
    if {name.lower() for name in folders} <= _SPLITS:
        meant = [f"{root}/{name}" for name in folders]
        raise ConfigurationError(
            f"Expected `{key}` to hold a folder for each class but got {str(root)!r}, whose "
            f"folders are parts of a data set. Did you mean {' or '.join(map(repr, meant))}?"
        )
    if images:
        raise ConfigurationError(
            f"Expected `{key}` to hold images in class folders only but got {len(images)} beside "
            f"them, such as {_join(root, images[0])}."
        )


def _join(root: Path, name: str) -> str:
    return repr(f"{root}/{name}")


def is_folder(entry: os.DirEntry) -> bool:
    """Tell whether an entry is a folder, or a link to one; of a link to itself, that it is none."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _list(folder: str) -> tuple[list[str], list[str], list[str]]:
    """Sort a folder's entries into folders, images, and what is passed over."""
    folders, images, passed = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                passed.append(name)
            elif is_folder(entry):
                folders.append(name)
            elif name.lower().endswith(IMG_EXTENSIONS):
                images.append(name)
            else:
                passed.append(name)
    return sorted(folders), sorted(images), sorted(passed)


def _below(folder: str, prefix: str) -> tuple[list[str], list[str]]:
    """List images and what is passed over in a class folder and in the folders within it."""
    found: _Found = {}
    passed: list[str] = []
    for inner, images, others in _walk(folder, prefix, frozenset()):
        found[inner] = images
        passed += [f"{inner}/{name}" for name in others]
    # torchvision's order: by folder, then by name
    return [f"{inner}/{name}" for inner in sorted(found) for name in found[inner]], passed


def _walk(
    folder: str, prefix: str, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, list[str], list[str]]]:
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise ConfigurationError(
            f"Expected class folders without a link to a folder above it but got {folder!r}."
        )
    folders, images, passed = _list(folder)
    yield prefix, images, passed
    for name in folders:
        yield from _walk(f"{folder}/{name}", f"{prefix}/{name}", above | {here})


def _check_files(root: Path, key: str, names: tuple[str, ...], *, allowed: bool) -> tuple[int, ...]:
    """Look at all files: 20 microseconds each, in threads on a disk that takes longer to answer."""

    def look(first: int) -> tuple[list[int], list[tuple[str, str]]]:
        sizes: list[int] = []
        damaged: list[tuple[str, str]] = []
        for name in names[first : first + _AT_ONCE]:
            path = f"{root}/{name}"
            try:
                size, whole = looks_whole(path)
            except OSError as error:
                if not allowed and not isinstance(error, UnusableFileError):
                    raise
                size, whole = -1, False  # reading it tells what it is
            sizes.append(size)
            if not whole and not allowed and (problem := _problem(path, size)):
                damaged.append((name, problem))
        return sizes, damaged

    begin = time.perf_counter()
    looked = [look(0)]
    slow = time.perf_counter() - begin > _SLOW * min(len(names), _AT_ONCE)
    with ThreadPoolExecutor(_THREADS if slow else 1) as pool:
        looked += pool.map(look, range(_AT_ONCE, len(names), _AT_ONCE))
    damaged = [found for _, part in looked for found in part]
    if damaged:
        others = [repr(name) for name, _ in damaged[1:]]
        unnamed = len(others) - _MOST_NAMED
        more = f" and {unnamed} more" if unnamed > 0 else ""
        also = (
            f" {len(damaged)} of {len(names)} files are damaged, also "
            f"{', '.join(others[:_MOST_NAMED])}{more}."
        )
        text = f"Expected `{key}` to hold images but {damaged[0][1]}{also if others else ''}"
        raise ConfigurationError(text)
    return tuple(size for sizes, _ in looked for size in sizes)


def _problem(path: str, size: int) -> str:
    if size == 0:
        return f"{path!r} is empty."
    try:
        read_image(path)
    except UnreadableImageError as error:
        return str(error)
    return ""
