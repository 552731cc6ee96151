# SPDX-License-Identifier: MIT
"""A killed run of a baseline goes on as if nothing had been, and leaves a checkpoint of values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import nn

from solo_plugins.errors import ConfigurationError, NonFiniteLossError
from solo_plugins.runs.folder import RunFolder
from solo_plugins.training import umap
from solo_plugins.training.callbacks import Resumable, StopOnNonFinite
from solo_plugins.training.pretrain import PretrainResult, pretrain

Make = Callable[..., DictConfig]
pytestmark = pytest.mark.usefixtures("methods", "lightning_quiet")

_WIDTHS = {"proj_hidden_dim": 16, "proj_output_dim": 8}
_QUEUE = {"queue_size": 64, "num_prototypes": 16, "temperature": 0.1, "epoch_queue_starts": 0}

_NAN = {"loss": torch.tensor(float("nan"))}


def _weights(result: PretrainResult) -> dict[str, Any]:
    return torch.load(result.folder / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("method", "kwargs"),
    [
        ("swav", _WIDTHS | _QUEUE),
        ("simsiam", _WIDTHS | {"pred_hidden_dim": 8}),
    ],
    ids=["swav", "simsiam"],
)
def test_a_killed_baseline_resumes_bit_for_bit(
    method: str, kwargs: dict, make_cfg: Make, killed_after: Callable, tmp_path: Path
) -> None:
    def cfg(folder: str) -> DictConfig:
        settings = {"auto_resume__enabled": True, "checkpoint__dir": str(tmp_path / folder)}
        return make_cfg(method, method_kwargs=kwargs, **settings)

    whole = pretrain(cfg("whole"))
    with pytest.raises(RuntimeError, match="killed"):
        pretrain(cfg("killed"), callbacks=[killed_after(4)])
    resumed = pretrain(cfg("killed"))
    wanted, got = _weights(whole), _weights(resumed)
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():
        assert torch.equal(value, got[name]), name


def test_a_queue_of_another_size_is_filled_anew() -> None:
    module, resumable = nn.Module(), Resumable()
    module.register_buffer("queue", torch.zeros(2))
    resumable.on_load_checkpoint(None, module, {"late_buffers": {"queue": torch.ones(4)}})
    with pytest.warns(UserWarning, match=r"`queue` of \(4,\) does not fit one of \(2,\)"):
        resumable.on_train_epoch_start(None, module)
    assert module.queue.tolist() == [0.0, 0.0]


def test_tensors_that_training_moved_are_compared_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DINO's and SwAV's normed weights are on the CPU before training and on the GPU in it."""
    module, resumable = nn.Module(), Resumable()
    module.weight = torch.ones(3)  # type: ignore[assignment]
    resumable.setup(None, module, "fit")  # type: ignore[arg-type]
    module.weight = torch.ones(3, device="meta")  # type: ignore[assignment]
    equal = Mock(return_value=False)
    monkeypatch.setattr(torch, "equal", equal)
    checkpoint: dict[str, Any] = {"state_dict": {}}
    resumable.on_save_checkpoint(None, module, checkpoint)  # type: ignore[arg-type]
    assert [tensor.device.type for tensor in equal.call_args.args] == ["meta", "meta"]
    assert list(checkpoint["changed_attributes"]) == [".weight"]


@pytest.mark.parametrize(("keeps", "wanted"), [(True, {0, 2}), (False, {2})])
def test_pictures_of_some_epochs_leave_training_as_it_is(
    keeps: bool, wanted: set[int], make_cfg: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solo_plugins.training.umap.METHODS", ("pca",))  # UMAP compiles for long
    threads = torch.get_num_threads()
    draw = umap.plane

    def on_all_cores(*arguments: Any) -> Any:
        torch.set_num_threads(threads + 1)  # as numba does for UMAP
        return draw(*arguments)

    monkeypatch.setattr(umap, "plane", on_all_cores)
    settings = {"max_epochs": 3, "limit_train_batches": 1, "auto_resume__enabled": True}
    block = {"enabled": True, "dir": "pictures", "frequency": 2, "keep_previous": keeps}
    drawn = pretrain(make_cfg(**settings, auto_umap=block))
    assert torch.get_num_threads() == threads
    found = {path.name for path in (drawn.folder / "pictures").iterdir()}
    assert found == {f"epoch={epoch}.pdf" for epoch in wanted}
    again = pretrain(make_cfg(**settings))
    assert again.folder == drawn.folder  # the pictures are no part of what a run is
    plain = pretrain(make_cfg(**settings, checkpoint__dir=str(tmp_path / "plain")))
    weights = _weights(drawn)
    for name, value in _weights(plain).items():
        assert torch.equal(value, weights[name]), name


def test_pictures_without_validation_images_are_refused(make_cfg: Make, tmp_path: Path) -> None:
    for number in range(16):
        path = tmp_path / "images" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    data = {"data__dataset": "custom", "data__train_path": str(tmp_path / "images")}
    with pytest.raises(ConfigurationError, match=r"`auto_umap.enabled` .* validation images"):
        pretrain(make_cfg(**data, auto_umap={"enabled": True}))


@pytest.mark.parametrize("first_epoch", [0, 1])
def test_a_loss_without_a_value_is_let_pass_before_the_first_epoch_that_counts(
    first_epoch: int, tmp_path: Path
) -> None:
    stop = StopOnNonFinite(RunFolder(tmp_path), first_epoch=first_epoch)
    module = Mock(device=torch.device("cpu"))
    for epoch in range(first_epoch):
        stop.on_train_batch_end(Mock(current_epoch=epoch, global_step=epoch + 1), module, _NAN)
    with pytest.raises(NonFiniteLossError, match=f"`loss` was not at step {first_epoch}"):
        stop.on_train_batch_end(
            Mock(current_epoch=first_epoch, global_step=first_epoch + 1), module, _NAN
        )
