# SPDX-License-Identifier: MIT
"""Files are written whole or not at all: full disks, kills, and files that cannot be read."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.checkpoints import (
    DurableCheckpointIO,
    check_weights,
    load_checkpoint,
    stored,
)
from solo_plugins.runs.files import (
    RunFileError,
    parse_yaml,
    whole_folder,
    write_json,
    write_text,
)
from solo_plugins.runs.folder import RunFolder


@contextmanager
def _full_after(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with _full_after(size), pytest.raises(RunFileError, match=r"file' cannot be written: .*too l"):
        write_text(path, "new" * 100_000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_full_disk_leaves_the_old_checkpoint(size: int, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(9)}}, path)
    with _full_after(size), pytest.raises(RunFileError, match=r"last\.ckpt' cannot be written"):
        DurableCheckpointIO().save_checkpoint({"state_dict": {"w": torch.ones(90_000)}}, path)
    assert load_checkpoint(path)["state_dict"]["w"].tolist() == [1.0] * 9
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_settings_in_an_optimizers_groups_are_read_as_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "last.ckpt"
    group = {"params": [0], "lr": 0.1, "betas": OmegaConf.create([0.9, 0.999])}
    content = {
        "state_dict": {"w": torch.ones(1)},
        "optimizer_states": [{"state": {}, "param_groups": [group]}],
    }
    DurableCheckpointIO().save_checkpoint(content, path)
    read = DurableCheckpointIO().load_checkpoint(path)
    (saved,) = read["optimizer_states"][0]["param_groups"]
    assert saved == {"params": [0], "lr": 0.1, "betas": [0.9, 0.999]}
    assert type(saved["betas"]) is list


@pytest.mark.parametrize(
    ("name", "kept"),
    [("last.ckpt", {"previous.ckpt": 0.0, "last.ckpt": 1.0}), ("a.ckpt", {"a.ckpt": 1.0})],
)
def test_only_the_last_checkpoint_keeps_the_one_before(
    name: str, kept: dict[str, float], tmp_path: Path
) -> None:
    for value in range(2):
        content = {"state_dict": {"w": torch.full((1,), float(value))}}
        DurableCheckpointIO().save_checkpoint(content, tmp_path / name)
    found = {
        path.name: load_checkpoint(path)["state_dict"]["w"].item() for path in tmp_path.iterdir()
    }
    assert found == kept


def test_weights_that_do_not_fit_are_counted_and_eight_are_named() -> None:
    own = {f"w{number}": torch.ones(1) for number in range(9)}
    with pytest.raises(ConfigurationError, match=r"but 8 do not: (missing w\d; ){7}missing w7\.$"):
        check_weights({"w8": own["w8"]}, own, Path("x.ckpt"))
    with pytest.raises(ConfigurationError, match=r"but 9 do not: (missing w\d; ){8}\.\.\.\.$"):
        check_weights({}, own, Path("x.ckpt"))


def test_an_expanded_tensor_counts_as_what_it_was_expanded_from(tmp_path: Path) -> None:
    torch.save(
        {"state_dict": {"w": torch.ones(3).as_strided((10**6,), (0,))}}, tmp_path / "wide.ckpt"
    )
    weights = load_checkpoint(tmp_path / "wide.ckpt")["state_dict"]
    assert stored(weights) == 12


# The audit hook kills the process before the n-th time that it opens a file to write, or renames.
_KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from solo_plugins.runs.checkpoints import DurableCheckpointIO
folder, n = Path(sys.argv[1]), int(sys.argv[2])
save = DurableCheckpointIO().save_checkpoint
for number in range(2):
    save({"state_dict": {"w": torch.full((9,), float(number))}}, folder / "last.ckpt")
seen = 0
def hook(event, arguments):
    global seen
    writes = event == "open" and "part" in str(arguments[0])
    if writes or event == "os.rename":
        seen += 1
        if seen == n:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
save({"state_dict": {"w": torch.full((9,), 2.0)}}, folder / "last.ckpt")
n = 0  # what coverage writes at the end is not counted
print(seen)
"""


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_kill_at_any_write_leaves_a_whole_checkpoint(
    n: int, run_program: Callable, tmp_path: Path
) -> None:
    done = run_program("-c", _KILLED, str(tmp_path), str(n))
    assert done.returncode == (-signal.SIGKILL if n <= 3 else 0), done.stderr
    (best, *_) = RunFolder(tmp_path).checkpoints()
    value = float(load_checkpoint(best)["state_dict"]["w"][0])
    assert value == (2.0 if n == 4 else 1.0)
    RunFolder(tmp_path).clean()
    assert not list(tmp_path.glob(".*"))


_LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
_REFERENCES = "a0: x\n" + "".join(f"a{n}: ${{a{n - 1}}}${{a{n - 1}}}\n" for n in range(1, 60))


@pytest.mark.parametrize(
    "text",
    [
        "", "a: [", "- 1", "1", "\x00", _LAUGHS, "a: &a [*a]", _REFERENCES, "[" * 5000,
        "a: " + "x" * 17_000_000, "? {a: 1}\n: 2",
    ],
    ids=[
        "empty", "cut", "list", "number", "nul", "bomb", "endless", "references", "deep", "large",
        "key",
    ],
)  # fmt: skip
def test_a_damaged_configuration_is_an_error_and_no_hang(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(RunFileError, match=r"config\.yaml' cannot be used: \w+"):
        parse_yaml(path)


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling", "unreadable"])
def test_what_is_no_file_is_passed_over(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    make = {
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "dangling": lambda: path.symlink_to(tmp_path / "nowhere"),
        "unreadable": lambda: path.write_bytes(b"\xff\xfe"),
    }
    make[kind]()
    with pytest.raises(RunFileError):
        RunFolder(tmp_path).read_config()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"damaged, or no checkpoint at all \(0 bytes\)"),
        (b"PK\x03\x04 cut", "damaged"),
        (b"text", "damaged"),
        ("object", r"Other objects are not loaded"),
        ("cut", "damaged"),
    ],
    ids=["empty", "zip", "text", "object", "cut"],
)
def test_a_damaged_checkpoint_is_called_damaged(
    content: bytes | str, match: str, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"state_dict": {"w": torch.ones(999)}, "object": Path("x")}, path)
        if content == "cut":
            path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ConfigurationError, match=match):
        load_checkpoint(path)


def _made(parent: Path, *, fails: bool = False) -> None:
    with whole_folder(parent / "new") as folder:
        (folder / "a.txt").write_text("a")
        if fails:
            raise KeyboardInterrupt


def test_a_folder_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()  # an empty one is none
    (tmp_path / ".new.part").mkdir()
    (tmp_path / ".new.part" / "left.txt").write_text("by a killed process")
    _made(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["new", "new/a.txt"]


@pytest.mark.parametrize("name", [".new.part", "new"])
def test_a_link_in_a_folders_place_is_not_written_through(name: str, tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    if name == ".new.part":
        (outside / "kept.txt").write_text("kept")
    (inside / name).symlink_to(outside)
    if name == "new":  # a user's own link to an empty folder: that is the folder
        outside.rmdir()
        outside.mkdir()
    _made(inside)
    left = sorted(path.name for path in outside.iterdir())
    assert left == (["kept.txt"] if name == ".new.part" else ["a.txt"])
    assert (inside / "new" / "a.txt").read_text() == "a"


@pytest.mark.parametrize("write", [write_text, lambda path, text: write_json(path, {"a": text})])
def test_a_file_takes_the_place_of_a_link(write: Callable, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "file").symlink_to("outside")
    write(tmp_path / "file", "new")
    assert (tmp_path / "outside").read_text() == "kept"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_a_lock_that_is_no_file_is_left_alone(
    kind: str, put_instead: Callable, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("kept")
    os.utime(outside, (1, 1))
    if kind == "link":
        (tmp_path / ".new.lock").symlink_to(outside)
    else:
        put_instead(kind, tmp_path / ".new.lock")
    with pytest.raises(RunFileError, match=r"new' cannot be written: its lock, \.new\.lock, is"):
        _made(tmp_path)
    assert outside.stat().st_mtime == 1


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _made(tmp_path, fails=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_makes_is_refused(tmp_path: Path) -> None:
    match = r"new' cannot be written: this process works in it"
    with whole_folder(tmp_path / "new"), pytest.raises(RunFileError, match=match):
        _made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
