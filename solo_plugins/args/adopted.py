# SPDX-License-Identifier: MIT
"""The settings of baselines that the reference implementation's YAMLs have and solo-learn has not.

The reference is https://github.com/YilunKuang/rectified-lp-jepa at commit 5ae61ab.
"""

__all__ = ["adopted"]

from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.models import check_whose
from solo_plugins.args.reading import plain
from solo_plugins.errors import ConfigurationError, one_of

# Settings of its NCL that nothing reads there.
_UNREAD = ("drop", "loss_type", "tau", "gsize", "learnable_temp", "normalize", "power_iter")
# Of its data block, settings that nothing reads there, with what they stand at.
_UNREAD_DATA: dict[str, tuple[Any, ...]] = {"extra_data": (None, "None"), "dup": (None, 1)}
# Of its SimCLR and VICReg, settings that solo-learn's lack.
_BASELINES = {"projector_type", "non_neg", "add_projector_classifier"}
# Its projectors by method, the first of which is the default: by its name, ours without the ReLU.
_PROJECTORS = {
    "ncl": {"mlp_2_wo_batchnorm": "mlp2", "mlp_3_w_batchnorm": "mlp"},
    "simclr": {"standard": "mlp2", "mlp3": "mlp"},
    "vicreg": {"mlp3": "mlp"},
}
_ENDS = {"_with_one_more_relu": "rectified_", "_with_one_more_rep_relu": "rep_rectified_"}
# What `non_neg` applies to the outputs; of its NCL and of its VICReg.
_ACTIVATIONS = {None: "", False: "", True: "rectified_", "relu": "rectified_"}
_ACTIVATIONS |= {"rep_relu": "rep_rectified_"}
# solo-learn's own projectors, and the method here whose loss is that of solo-learn's.
_OWN = {"simclr": "mlp2", "vicreg": "mlp"}
_SAME_LOSS = {"simclr": "ncl", "vicreg": "nvicreg"}


def adopted(cfg: DictConfig) -> tuple[DictConfig, list[str]]:
    """Say in this project's settings what a YAML of the reference says in its own.

    Its SimCLR and VICReg with a projector other than solo-learn's become ``ncl`` and ``nvicreg``,
    which have the same losses, and its names of projectors those of this project. What nothing
    reads there is left out, and so are probes that train beside the network and change nothing in
    it.

    Args:
        cfg: the configuration as composed by hydra, of any method.

    Returns:
        The configuration, a copy if anything is changed, and a line for each change.

    Raises:
        ConfigurationError: if the settings are those of another method, or the reference has one
            for which there is nothing here, or one refers to what is not there.
    """
    notes: list[str] = []
    given = plain(cfg)
    method, kwargs = given.get("method"), given.get("method_kwargs")
    if not isinstance(method, str) or not isinstance(kwargs, dict):
        return cfg, notes
    check_whose(method, {*map(str, kwargs)} - (_BASELINES if method in _PROJECTORS else set()))
    if method not in _PROJECTORS:
        return cfg, notes
    asked, cfg = cfg, cfg.copy()
    OmegaConf.set_struct(cfg, False)
    _leave_out_unread(cfg, notes)
    if method == "ncl":
        _adopt_ncl(cfg)
    elif _BASELINES & set(cfg.method_kwargs):
        _adopt_baseline(cfg, notes)
    return (cfg, notes) if cfg != asked else (asked, notes)


def _leave_out_unread(cfg: DictConfig, notes: list[str]) -> None:
    unread = [name for name in _UNREAD if cfg.method == "ncl" and name in cfg.method_kwargs]
    for name in unread:
        del cfg.method_kwargs[name]
    data = OmegaConf.select(cfg, "data")
    for name, values in _UNREAD_DATA.items():
        if isinstance(data, DictConfig) and name in data:
            if data[name] not in values:
                raise ConfigurationError(
                    f"Expected `data.{name}` to be {values[-1]}, it is not available here, but got "
                    f"{data[name]!r}."
                )
            del data[name]
    if unread:
        names = ", ".join(f"`{name}`" for name in unread)
        notes.append(f"Left out, as nothing in the reference reads them: {names}.")
    probe = OmegaConf.select(cfg, "mlp_probe")
    if isinstance(probe, DictConfig) and probe.get("enabled") is True:
        cfg.mlp_probe.enabled = False
        notes.append("Left out: `mlp_probe`, a second probe, which changes nothing in the network.")


def _adopt_ncl(cfg: DictConfig) -> None:
    kwargs = cfg.method_kwargs
    names = _PROJECTORS["ncl"]
    if "non_neg" not in kwargs and kwargs.get("projector_type") not in names:
        return  # our own settings
    projector = kwargs.get("projector_type", next(iter(names)))
    if projector not in names:
        raise one_of("method_kwargs.projector_type", projector, names)
    kwargs.projector_type = _activation(kwargs.pop("non_neg", None)) + names[projector]


def _adopt_baseline(cfg: DictConfig, notes: list[str]) -> None:
    kwargs, method = cfg.method_kwargs, cfg.method
    names = _PROJECTORS[method]
    ends = {f"mlp3{end}": prefix + "mlp" for end, prefix in _ENDS.items()}
    projector = kwargs.pop("projector_type", next(iter(names)))
    choices = {**names, **ends}
    if projector not in choices:
        raise one_of("method_kwargs.projector_type", projector, choices)
    found = choices[projector]
    activation = _activation(kwargs.pop("non_neg", None))
    if activation and projector in names:  # behind a ReLU another one does nothing
        found = activation + found
    if found == _OWN[method]:
        if kwargs.pop("add_projector_classifier", False):
            notes.append(
                f"Left out: `add_projector_classifier`, as solo-learn's {method} has no probe on "
                "its outputs, which changes nothing in the network."
            )
        return
    cfg.method = _SAME_LOSS[method]
    kwargs.projector_type = found
    notes.append(
        f"`{method}` with the reference's projector {projector!r} is `{cfg.method}` here, which "
        f"has the same loss, with `projector_type: {found}`."
    )


def _activation(value: Any) -> str:
    if value == "None":
        value = None
    if not isinstance(value, str | bool | None) or value not in _ACTIVATIONS:
        names = ", ".join(str(name) for name in _ACTIVATIONS)
        raise ConfigurationError(
            f"Expected `method_kwargs.non_neg` to be one of {names} but got {value!r}."
        )
    return _ACTIVATIONS[value]
