# SPDX-License-Identifier: MIT
"""Lightning callbacks of a pretraining run."""

__all__ = ["Resumable", "RunFolder", "StopOnNonFinite"]

import json
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_warn
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_plugins.errors import NonFiniteLossError
from solo_plugins.runs.provenance import commit, versions


class StopOnNonFinite(Callback):
    """Stops a run whose loss became NaN or infinite, before it overwrites a good checkpoint.

    The first bad step of every term is kept on the device and looked at every `interval` steps and
    at the end of each epoch, so that a GPU is not waited for in every step. On the CPU, where there
    is nothing to wait for, it is looked at after every step.

    Args:
        interval: steps between two looks on an accelerator.
        skip: terms that are not looked at.
    """

    def __init__(self, interval: int = 50, *, skip: tuple[str, ...] = ()) -> None:
        self.interval = interval
        self.skip = skip
        self._first_bad: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Note which terms of the step's output are not finite.

        Args:
            trainer: the trainer.
            pl_module: the method.
            outputs: what ``training_step`` returned.
        """
        terms = outputs if isinstance(outputs, dict) else {"loss": outputs}
        for name, value in terms.items():
            if name in self.skip or not isinstance(value, Tensor) or value.ndim:
                continue
            never = torch.full((), -1, device=value.device)
            first = self._first_bad.get(name, never)
            bad_now = (first < 0) & ~value.detach().isfinite()
            # global_step counts the step that has just been made
            self._first_bad[name] = torch.where(bad_now, trainer.global_step - 1, first)
        if pl_module.device.type == "cpu" or trainer.global_step % self.interval == 0:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look before the epoch's checkpoint is written.

        Args:
            trainer: the trainer.
            pl_module: the method.
        """
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        steps = {name: int(first) for name, first in self._first_bad.items() if first >= 0}
        if not steps:
            return
        # The total is bad whenever a term is: the term is named.
        name = min(steps, key=lambda term: (steps[term], term == "loss"))
        kept = getattr(trainer.checkpoint_callback, "last_model_path", "") or getattr(
            trainer.checkpoint_callback, "best_model_path", ""
        )
        raise NonFiniteLossError(
            f"Expected every term of the loss to be finite but `{name}` was not at step "
            f"{steps[name]}. The last good checkpoint is {kept or 'none, no epoch was finished'}. "
            "A lower `optimizer.lr` or `precision: 32-true` may help."
        )


class Resumable(Callback):
    """Makes checkpoints that a run can go on from, whatever its method does.

    SwAV registers its queue when training starts: a new model has no place for a saved one, and
    would empty it. Such late buffers are saved apart and put back. On solo-learn's main SimSiam's
    schedule holds a function, and with it a copy of the optimizer: what is no value is left out.
    """

    _KEY = "late_buffers"

    def __init__(self) -> None:
        self._early: set[str] = set()
        self._saved: dict[str, Tensor] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Note which buffers a new model has.

        Args:
            trainer: the trainer.
            pl_module: the method.
            stage: Lightning's.
        """
        self._early = {name for name, _ in pl_module.named_buffers()}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Set late buffers apart and leave out functions.

        Args:
            trainer: the trainer.
            pl_module: the method.
            checkpoint: changed in place.
        """
        weights, buffers = checkpoint["state_dict"], dict(pl_module.named_buffers())
        late = [name for name in buffers if name in weights and name not in self._early]
        checkpoint[self._KEY] = {name: weights.pop(name) for name in late}
        for schedule in checkpoint.get("lr_schedulers", []):
            for name in [name for name, value in schedule.items() if callable(value)]:
                del schedule[name]

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the late buffers until there is a place for them.

        Args:
            trainer: the trainer.
            pl_module: the method.
            checkpoint: a loaded one.
        """
        self._saved = dict(checkpoint.get(self._KEY, {}))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put late buffers back, once.

        Args:
            trainer: the trainer.
            pl_module: the method.
        """
        for name, value in self._saved.items():
            buffer = pl_module.get_buffer(name)
            if buffer.shape == value.shape:
                buffer.copy_(value)
            else:
                rank_zero_warn(
                    f"The checkpoint's `{name}` of {tuple(value.shape)} does not fit one of "
                    f"{tuple(buffer.shape)}, of another number of processes: it is filled anew."
                )
        self._saved = {}


class RunFolder(Callback):
    """Makes the run's folder when training starts and leaves what the run was and came to.

    ``config.yaml`` is the resolved configuration, ``summary.json`` the last metrics, the number of
    epochs and steps, the ``seconds`` of all parts of a resumed run up to their checkpoints, and the
    ``commit`` of the code and the ``versions`` of what it rests on.

    Args:
        path: the folder.
        cfg: the resolved configuration.
    """

    def __init__(self, path: Path, cfg: DictConfig) -> None:
        self.path = path
        self.cfg = cfg
        self._started = time.monotonic()
        self._commit: str | None = None

    def state_dict(self) -> dict[str, float]:
        """Return the seconds that the run has taken, for its checkpoint."""
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Add the seconds of the parts before.

        Args:
            state_dict: of a checkpoint.
        """
        self._started -= state_dict["seconds"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the configuration.

        Args:
            trainer: the trainer.
            pl_module: the method.
        """
        if trainer.is_global_zero:
            self.path.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.cfg, self.path / "config.yaml")
            self._commit = commit()  # now: the code may be edited while the run goes on

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the last value of every metric.

        Args:
            trainer: the trainer.
            pl_module: the method.
        """
        if not trainer.is_global_zero:
            return
        summary: dict[str, Any] = {
            name: float(value) for name, value in trainer.callback_metrics.items()
        }
        summary |= {
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "seconds": round(self._seconds(), 1),
            "commit": self._commit,
            "versions": versions(),
        }
        (self.path / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True))

    def _seconds(self) -> float:
        return time.monotonic() - self._started
