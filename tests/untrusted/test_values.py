# SPDX-License-Identifier: MIT
"""JSON and YAML of any kind are plain values or an error, and soon."""

import json
import math

import pytest
import yaml

from solo_plugins.untrusted.values import check_plain, check_yaml, json_value, without_nan


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"a":' * 100_000, "more than 32 levels"),
        ('{"a":' * 40 + "1" + "}" * 40, "more than 32 levels"),
        ("[" + "1," * 200_000 + "1]", "more than 200000 values"),
        ('{"a": 1' + "0" * 30 + "}", r"`a` is a whole number of more than 64 bits"),
        ('{"a": ' + "9" * 10_000 + "}", "Exceeds the limit"),
        ('{"a": [1, {"b": -9223372036854775809}]}', r"`a.1.b` is a whole number"),
        ("\x00", "Expecting value"),
        ("nan", "Expecting value"),
        ("", "Expecting value"),
    ],
    ids=["deep", "levels", "wide", "large", "endless", "nested", "nul", "word", "empty"],
)
def test_json_that_no_run_writes_is_refused(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        json_value(text)


def test_the_numbers_of_old_files_are_taken() -> None:
    found = json_value('{"a": NaN, "b": [Infinity, -Infinity, 1e308, 1e999]}')
    assert math.isnan(found["a"])
    assert found["b"] == [math.inf, -math.inf, 1e308, math.inf]


@pytest.mark.parametrize("value", [{1: 2}, {"a": b"x"}, {"a": {1, 2}}, [object()]], ids=range(4))
def test_what_is_not_plain_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"has a key that is no text|is of type"):
        check_plain(value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a: ${oc.env:HOME}", "references"),
        (r'a: "\x24{oc.env:HOME}"', "references"),
        (r'a: "\u0024\x7boc.env:HOME}"', "references"),
        ('a: "$\\\n  {oc.env:HOME}"', "references"),
        (r'"\x24{oc.env:HOME}": 1', "references"),
        ("a: |\n  ${b}", "references"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("a: !!binary aaaa", "tags"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("[" * 200_000 + "*a", "levels"),
        ("\n".join(" " * n + "a:" for n in range(40)), "levels"),
    ],
    ids=str,
)
def test_yaml_that_means_more_than_it_says_is_refused(text: str, match: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError), match=f"{match}|nesting depth"):
        check_yaml(text)


@pytest.mark.parametrize("text", ["a: '*'\nb: 5 * 3", "price: $5", "a: '!x'", r"a: '\x24'"])
def test_plain_yaml_is_taken(text: str) -> None:
    check_yaml(text)


def test_nothing_else_than_numbers_becomes_null() -> None:
    content = {"a": (1, math.nan), "b": {"c": "nan", "d": True}, "e": -math.inf}
    plain = without_nan(content)
    assert plain == {"a": [1, None], "b": {"c": "nan", "d": True}, "e": None}
    json.dumps(plain, allow_nan=False)
