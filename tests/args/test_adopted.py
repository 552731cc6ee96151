# SPDX-License-Identifier: MIT
"""YAMLs of the reference's baselines: what they say is done, or said to be left out."""

from contextlib import suppress
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_plugins.args.adopted import adopted
from solo_plugins.errors import ConfigurationError

# As in the reference's ncl.yaml.
UNREAD = {
    "drop": 0, "loss_type": "xent", "tau": 1, "gsize": 256, "learnable_temp": 0, "normalize": "dim",
    "power_iter": 1,
}  # fmt: skip
PROBE = {"add_projector_classifier": True}


def _adopt(method: str, data: dict[str, Any] | None = None, **kwargs: Any) -> tuple[Any, list[str]]:
    cfg = {"method": method, "method_kwargs": {"temperature": 0.2, **kwargs}, "data": data or {}}
    given: DictConfig = OmegaConf.create(cfg)
    OmegaConf.set_struct(given, True)  # as hydra's
    found, notes = adopted(given)
    assert given == cfg
    return found, notes


# The reference's solo/methods/{ncl,simclr,vicreg}.py: layers, BatchNorm and what comes behind them
@pytest.mark.parametrize(
    ("method", "kwargs", "ours", "projector"),
    [
        ("ncl", {"non_neg": "rep_relu"}, "ncl", "rep_rectified_mlp2"),
        ("ncl", {"non_neg": "relu"}, "ncl", "rectified_mlp2"),
        ("ncl", {"non_neg": None}, "ncl", "mlp2"),
        ("ncl", {"non_neg": "relu", "projector_type": "mlp_3_w_batchnorm"}, "ncl", "rectified_mlp"),
        ("ncl", {"projector_type": "rep_rectified_mlp"}, "ncl", "rep_rectified_mlp"),
        ("ncl", {}, "ncl", None),
        ("simclr", {"projector_type": "standard"}, "simclr", None),
        ("simclr", {"projector_type": "mlp3"}, "ncl", "mlp"),
        ("simclr", {"projector_type": "mlp3_with_one_more_relu"}, "ncl", "rectified_mlp"),
        ("simclr", {"projector_type": "mlp3_with_one_more_rep_relu"}, "ncl", "rep_rectified_mlp"),
        ("vicreg", {"non_neg": False}, "vicreg", None),
        ("vicreg", {"non_neg": True}, "nvicreg", "rectified_mlp"),
        ("vicreg", {"projector_type": "mlp3"}, "vicreg", None),
        ("vicreg", {"projector_type": "mlp3_with_one_more_relu"}, "nvicreg", "rectified_mlp"),
    ],
    ids=str,
)
def test_projectors_are_those_of_the_reference(
    method: str, kwargs: dict, ours: str, projector: str | None
) -> None:
    cfg, notes = _adopt(method, **kwargs)
    assert cfg.method == ours
    wanted = {} if projector is None else {"projector_type": projector}
    assert cfg.method_kwargs == {"temperature": 0.2, **wanted}
    assert [f"is `{ours}` here" in note for note in notes] == [True] * (ours != method)


def test_what_nothing_reads_is_left_out_and_said() -> None:
    cfg, (note,) = _adopt("ncl", {"dup": 1, "extra_data": "None"}, non_neg="relu", **UNREAD)
    assert set(cfg.method_kwargs) == {"temperature", "projector_type"}
    assert not cfg.data
    assert all(f"`{name}`" in note for name in UNREAD)


@pytest.mark.parametrize("method", ["simclr", "vicreg"])
def test_a_probe_that_solo_learn_lacks_is_left_out_and_said(method: str) -> None:
    cfg, (note,) = _adopt(method, **PROBE)
    assert cfg.method_kwargs == {"temperature": 0.2}
    assert "`add_projector_classifier`" in note
    # this plugin's methods have it
    cfg, _ = _adopt(method, projector_type="mlp3_with_one_more_relu", **PROBE)
    assert cfg.method_kwargs.add_projector_classifier is True


@pytest.mark.parametrize("method", ["rectified_lpjepa", "byol", "vicreg", "ncl"])
def test_other_configurations_are_left_as_they_are(method: str) -> None:
    cfg, notes = _adopt(method)
    assert (cfg.method_kwargs, notes) == ({"temperature": 0.2}, [])


@pytest.mark.parametrize(
    ("method", "data", "kwargs", "message"),
    [
        ("ncl", {}, {"non_neg": "exp"}, "`method_kwargs.non_neg` to be one of .* got 'exp'"),
        ("ncl", {}, {"non_neg": [1]}, r"`method_kwargs.non_neg` to be one of .* got \[1\]"),
        ("simclr", {}, {"projector_type": "mlp4"}, "projector_type` to be one of standard, mlp3"),
        ("vicreg", {}, {"projector_type": "standard"}, "projector_type` to be one of mlp3"),
        ("ncl", {"dup": 2}, {}, "`data.dup` to be 1, it is not available here, but got 2"),
        ("ncl", {"extra_data": "x"}, {}, "`data.extra_data` to be None, .* but got 'x'"),
    ],
    ids=str,
)
def test_what_is_not_here_is_refused(method: str, data: dict, kwargs: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        _adopt(method, data, **kwargs)


def test_an_enabled_second_probe_is_left_out_and_said() -> None:
    given = OmegaConf.create(
        {"method": "ncl", "method_kwargs": {}, "mlp_probe": {"enabled": True, "num_layers": 3}}
    )
    cfg, (note,) = adopted(given)
    assert cfg.mlp_probe.enabled is False
    assert "`mlp_probe`" in note


@pytest.mark.parametrize("value", [3, [1], {"a": 1}, "${nowhere}"], ids=str)
@pytest.mark.parametrize(
    "key",
    ["data", "data.dup", "mlp_probe", "mlp_probe.enabled", "method_kwargs.projector_type"],
)
def test_settings_of_other_kinds_are_left_to_the_parser_or_refused(key: str, value: Any) -> None:
    cfg: DictConfig = OmegaConf.create({"method": "ncl", "method_kwargs": {}})
    OmegaConf.update(cfg, key, value, force_add=True)
    with suppress(ConfigurationError):  # any other error is a traceback for the user
        adopted(cfg)
