# SPDX-License-Identifier: MIT
"""Sweeps by hydra's multirun: a run that fails is reported, and the others go on.

The callback is switched on by the shared ``run.yaml``. It works wherever a job runs: in this
process (hydra's basic launcher) or on a cluster (its submitit launchers), since every job leaves
what became of it in its folder below ``hydra.sweep.dir``, where the program reads it at the end.
"""

__all__ = ["SweepReport", "one_line_errors", "sweeping"]

import math
import shutil
import signal
import sys
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from typing_extensions import override

from solo_plugins.args.interrupts import answered_by_the_program
from solo_plugins.errors import ConfigurationError, NonFiniteLossError, os_error_line
from solo_plugins.runs.files import RunFileError, parse_json, write_json
from solo_plugins.training.trainer import say
from solo_plugins.untrusted.text import printable

_OUTCOME = "outcome.json"


class _Outcome(NamedTuple):
    number: int
    overrides: str
    error: str | None

    def __str__(self) -> str:
        return f"run {self.number + 1} ({self.overrides or 'no overrides'}): {self.error or 'done'}"


class SweepReport(Callback):
    """Counts the runs of a sweep and ends the program with status 1 if one failed.

    Whatever a job raises, hydra goes on with the next one; here that is turned into one line with
    the job's overrides, and into a list when all are done. An error that is not meant for the
    user comes with its traceback besides. Ctrl-C stops the whole sweep.
    """

    def __init__(self) -> None:
        self._sweep = ""
        self._expected: int | None = None
        self._swept: set[str] = set()

    @override
    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._sweep = uuid.uuid4().hex
        try:
            _check_slurm(config)
            sizes = _sizes(config)
        except ConfigurationError as error:
            raise SystemExit(f"error: {error}") from error
        self._swept = {key for key, size in sizes.items() if size > 1}
        basic = str(config.hydra.sweeper.get("_target_")).endswith("BasicSweeper")
        self._expected = math.prod(sizes.values()) if basic else None

    @override
    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        if sweeping():
            most = "" if self._expected is None else f" of {self._expected}"
            say(f"Run {config.hydra.job.num + 1}{most}: {self._overrides(config)}")

    @override
    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        if not sweeping():
            return
        _end_wandb()
        error = job_return._return_value if job_return.status == JobStatus.FAILED else None
        outcome = _Outcome(config.hydra.job.num, self._overrides(config), _line(error))
        if error is not None:
            # A copy of the exception would keep the run's model alive, and need not pickle.
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None
            if not isinstance(error, ConfigurationError | NonFiniteLossError | OSError):
                traceback.print_exception(error)
            say(f"error: {outcome}")
        folder = Path(config.hydra.runtime.output_dir)
        _write(folder / _OUTCOME, {"sweep": self._sweep, **outcome._asdict()})

    @override
    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        outcomes = _read(Path(config.hydra.sweep.dir), self._sweep)
        known = {outcome.number for outcome in outcomes}
        missing = set(range(self._expected or 0)) - known
        outcomes += [_Outcome(number, "?", "left no outcome") for number in sorted(missing)]
        failed = [outcome for outcome in outcomes if outcome.error is not None]
        total = f"Sweep: {len(outcomes)} runs, {len(failed)} failed"
        if failed:
            raise SystemExit("\n".join([f"{total}:", *(f"  {outcome}" for outcome in failed)]))
        say(f"{total}.")

    def _overrides(self, config: DictConfig) -> str:
        """Write what sets a run apart from the others, or all overrides if nothing is swept."""
        given = config.hydra.overrides.task
        swept = [item for item in given if item.partition("=")[0] in self._swept]
        return " ".join(swept or given)


def sweeping() -> bool:
    """Tell whether the present job is one of a multirun.

    Returns:
        False outside a hydra application too.
    """
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End a single run that cannot work with one line; leave a sweep's to :class:`SweepReport`.

    Raises:
        SystemExit: with status 1, in place of an error that is meant for the user, or 130 after a
            Ctrl-C outside training, which has an answer of its own.
    """
    answered_by_the_program()
    try:
        yield
    except KeyboardInterrupt:
        print("Interrupted: nothing was written. The same command starts again.", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except (ConfigurationError, NonFiniteLossError) as error:
        if sweeping():
            raise
        raise SystemExit(printable(f"error: {error}")) from error
    except OSError as error:  # a disk that is full, or a file that is not there any more
        if sweeping():
            raise
        raise SystemExit(printable(f"error: {os_error_line(error)}")) from error


def _check_slurm(config: DictConfig) -> None:
    launcher = str(config.hydra.launcher.get("_target_"))
    if launcher.endswith("SlurmLauncher") and shutil.which("sbatch") is None:
        raise ConfigurationError(
            "Expected `hydra/launcher=submitit_slurm` on a machine that has SLURM, but there is no "
            "`sbatch`. `hydra/launcher=submitit_local` runs the same on this machine."
        )


def _sizes(config: DictConfig) -> dict[str, int]:
    params = config.hydra.sweeper.get("params") or {}
    given = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    overrides = OverridesParser.create().parse_overrides(given)
    # Of a setting that is given twice hydra takes the last.
    return {item.get_key_element(): _num_values(item) for item in overrides}


def _num_values(override: Override) -> int:
    line = override.input_line or ""
    swept = override.is_discrete_sweep()
    number = sum(1 for _ in override.sweep_string_iterator()) if swept else 1
    if not number or line.strip().endswith("="):
        key = override.get_key_element()
        raise ConfigurationError(
            f"Expected the sweep over `{key}` to have at least one value, as in `{key}=1,2`, but "
            f"got `{line}`."
        )
    return number


def _line(error: Any) -> str | None:
    if error is None:
        return None
    text = printable(" ".join(str(error).split()))
    known = isinstance(error, ConfigurationError | NonFiniteLossError)
    return text if known else f"{type(error).__name__}: {text}"


@rank_zero_only
def _write(path: Path, outcome: dict[str, Any]) -> None:
    write_json(path, outcome)


def _read(folder: Path, sweep: str) -> list[_Outcome]:
    read: list[dict[str, Any]] = []
    for path in folder.glob(f"**/{_OUTCOME}"):
        with suppress(RunFileError):  # the run is listed as one without an outcome
            read.append(parse_json(path))
    # The folder may be one that earlier sweeps have used.
    mine = [outcome for outcome in read if outcome.pop("sweep", None) == sweep]
    return sorted(_Outcome(**outcome) for outcome in mine)


def _end_wandb() -> None:
    """Close wandb's run, which the next job of this process would go on writing to."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
