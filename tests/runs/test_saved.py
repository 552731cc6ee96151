# SPDX-License-Identifier: MIT
"""The bounds of what a saved configuration may say, on both sides of each."""

import copy
import math
from typing import Any

import pytest

from solo_plugins.runs.saved import check_saved, inlined

_MEAN = [0.5, 0.4, 0.3]


def _with(key: str, value: Any) -> dict[str, Any]:
    """Put a value at a dotted key of blocks."""
    content: dict[str, Any] = {}
    place = content
    *blocks, name = key.split(".")
    for block in blocks:
        place = place.setdefault(block, {})
    place[name] = value
    return content


@pytest.mark.parametrize(
    ("key", "taken", "refused"),
    [
        ("name", ["", "a" * 100, 3, 0.5], ["a" * 101, True, [], math.nan]),
        ("method", ["a" * 100, None], ["a" * 101, 3]),
        ("data.train_path", ["/" * 4096], ["/" * 4097, {}]),
        ("seed", [-(2**63), 2**63 - 1, 5.0], [-(2**63) - 1, 2**64, 5.5, True, "5", math.inf]),
        ("max_epochs", [-1, 10**9], [-2, 10**9 + 1]),
        ("num_nodes", [1], [0]),
        ("optimizer.batch_size", [1, 10**7], [0, 10**7 + 1]),
        ("backbone.kwargs", [{}, None], [[], "a", 3]),
        ("data", [{}], [None, []]),
        ("performance", [{}], [None]),
        (
            "devices",
            ["auto", -1, 8, [], [0, 100_000]],
            [-2, 100_001, [-1], [100_001], [0] * 100_001],
        ),
        ("augmentations", [None, [{}], [{"crop_size": None}]], [[], {}, "a", [3]]),
    ],
)
def test_a_setting_is_taken_within_its_bounds(key: str, taken: list, refused: list) -> None:
    for value in taken:
        check_saved(_with(key, value))
    for value in refused:
        with pytest.raises(ValueError, match=rf"^`{key}(\.\d)?` is to be .* but is "):
            check_saved(_with(key, value))


@pytest.mark.parametrize(
    ("key", "taken", "refused"),
    [
        ("crop_size", [1, 1024], [0, 1025, 32.5, "32"]),
        ("mean", [_MEAN, [0, 0, -1.0]], [_MEAN[:2], [*_MEAN, 1], 0.5, ["a"] * 3, [math.nan] * 3]),
        ("std", [_MEAN], [[0.5, 0.5, 0], [0.5, -1, 0.5], [True] * 3]),
    ],
)
def test_an_entry_of_augmentations_is_taken_within_its_bounds(
    key: str, taken: list, refused: list
) -> None:
    for value in taken:
        check_saved({"augmentations": [{}, {key: value}]})
    rule = {"crop_size": "a whole number from 1 to 1024", "mean": "three numbers but"}
    for value in refused:
        wanted = rf"^`augmentations\.1\.{key}` is to be {rule.get(key, 'three numbers above 0')}"
        with pytest.raises(ValueError, match=wanted):
            check_saved({"augmentations": [{}, {key: value}]})


def test_a_gap_and_a_reference_are_named_at_full_depth() -> None:
    with pytest.raises(ValueError, match=r"^`a\.1\.b` has no value, \?\?\?$"):
        check_saved({"a": [1, {"b": "???"}]})
    with pytest.raises(ValueError, match=r"^`a\.0` has a reference, 'x\$\{b\}', which is never"):
        check_saved({"a": ["x${b}"]})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("${lr}", 0.5),
        ("${flag}", False),
        ("${nothing}", None),
        ("${block.name}", "adamw"),
        ("${list.1}", "second"),
        ("${list.2}", "${list.2}"),  # not there
        ("${block}", "${block}"),  # not a single value
        ("${other}", "${other}"),  # a reference itself
        ("${lr.x}", "${lr.x}"),
        ("${oc.env:HOME}", "${oc.env:HOME}"),
        ("a ${lr}", "a ${lr}"),
        ("plain", "plain"),
    ],
)
def test_only_references_to_single_values_are_replaced(text: str, wanted: Any) -> None:
    content = {
        "lr": 0.5,
        "flag": False,
        "nothing": None,
        "block": {"name": "adamw"},
        "list": ["first", "second"],
        "other": "${lr}",
        "here": [{"x": text}],
    }
    before = copy.deepcopy(content)
    assert inlined(content)["here"] == [{"x": wanted}]
    assert content == before
