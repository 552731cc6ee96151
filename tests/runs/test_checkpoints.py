# SPDX-License-Identifier: MIT
"""Which weights fit a model, and what is said of those that do not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from solo_plugins.errors import ConfigurationError
from solo_plugins.runs.checkpoints import check_fits, check_weights, load_checkpoint

_OWN = {"weight": torch.zeros(2, 3), "count": torch.tensor(0), "settings": {"a": 1}}


# torch announces that it will quantise elsewhere
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("weight", lambda: "text", "a str, not a tensor"),
        ("weight", lambda: None, "a NoneType, not a tensor"),
        ("weight", lambda: torch.zeros(2, 3).to_sparse(), "of layout torch.sparse_coo on cpu"),
        ("weight", lambda: torch.zeros(2, 3, device="meta"), "of layout torch.strided on meta"),
        (
            "weight",
            lambda: torch.quantize_per_tensor(torch.zeros(2, 3), 1.0, 0, torch.qint8),
            "of layout torch.strided on cpu",
        ),
        ("weight", lambda: torch.zeros(3, 2), "(3, 2), not (2, 3)"),
        ("weight", lambda: torch.zeros(2, 3, dtype=torch.int64), "torch.int64, not torch.float32"),
        ("count", lambda: torch.tensor(0j), "torch.complex64, not torch.int64"),
    ],
)
def test_a_weight_that_does_not_fit_is_named_with_what_it_is(
    name: str, make: Callable[[], Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_weights({**_OWN, name: make()}, _OWN, Path("last.ckpt"))
    assert f"1 do not: {name} is " in str(refused.value)
    assert str(refused.value).endswith(f"{said}.")


def test_what_fits_is_taken_whatever_a_module_keeps_of_its_own() -> None:
    given = {"weight": torch.ones(2, 3).half(), "count": torch.tensor(5), "settings": [3]}
    check_weights(given, _OWN, Path("last.ckpt"))


def test_all_that_is_missing_and_unknown_is_counted_and_eight_are_named() -> None:
    given = {f"other.{number}": torch.zeros(1) for number in range(7)}
    with pytest.raises(ConfigurationError) as refused:
        check_weights(given, {"weight": torch.zeros(1)}, Path("last.ckpt"))
    assert "8 do not: missing weight; unknown other.0; " in str(refused.value)
    assert str(refused.value).endswith("unknown other.6.")
    with pytest.raises(ConfigurationError) as refused:
        check_weights({**given, "more": torch.zeros(1)}, {"weight": torch.zeros(1)}, Path("x"))
    assert "9 do not: " in str(refused.value)
    assert str(refused.value).endswith("unknown other.6; ....")


def test_a_models_weights_are_compared_with_a_files(tmp_path: Path) -> None:
    model, path = torch.nn.Linear(3, 2), tmp_path / "last.ckpt"
    torch.save({"state_dict": model.state_dict()}, path)
    check_fits(model, path)
    with pytest.raises(ConfigurationError, match=r"last\.ckpt.*weight is \(2, 3\), not \(4, 3\)"):
        check_fits(torch.nn.Linear(3, 4), path)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"b": 1, "a": 2}, "with a `state_dict` but {path} has b, a."),
        ({}, "with a `state_dict` but {path} has dict."),
        ([1, 2], "with a `state_dict` but {path} has list."),
        (torch.zeros(2), "with a `state_dict` but {path} has Tensor."),
        ({"state_dict": [1]}, "the `state_dict` of {path} to hold tensors by name but got a list."),
        (
            {"state_dict": {1: torch.zeros(1)}},
            "the `state_dict` of {path} to hold tensors by name but got a dict with other keys.",
        ),
    ],
    ids=["other keys", "empty", "list", "tensor", "no names", "numbers"],
)
def test_a_file_without_weights_is_named_with_what_it_has(
    saved: Any, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(saved, path)
    with pytest.raises(ConfigurationError) as refused:
        load_checkpoint(path)
    assert str(refused.value).endswith(said.format(path=repr(str(path))))
