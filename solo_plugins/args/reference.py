# SPDX-License-Identifier: MIT
"""The page of all settings, written from the models."""

__all__ = ["bounds", "meanings", "reference"]

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from solo_plugins.args.evaluated import KnnSettings, LinearSettings
from solo_plugins.args.foreign import MEANINGS, METHOD_KWARGS, OPTIMIZER_KWARGS
from solo_plugins.args.kinds import Left, Rule
from solo_plugins.args.models import PretrainSettings
from solo_plugins.args.trainer import NOT_AVAILABLE
from solo_plugins.args.wording import Place, fields, place, rule

_HEAD = """\
# Settings

Every setting of the three programs, written from the models that check them by
`solo_plugins settings > docs/configuration.md`. On the command line a setting is given as
`++block.setting=value`; the signs before it may be left out. *required*: there is no default. A
number may be written with or without a decimal point where it says number. What is not listed here
is refused.

"""
_NOT_AVAILABLE = "Arguments of Lightning's trainer that cannot be set: "
Row = tuple[str, str, str, str]


def reference(own: Mapping[str, type[BaseModel]]) -> str:
    """Write the page.

    Args:
        own: the settings of this plugin's methods, by their names.

    Returns:
        Markdown.
    """
    parts = [_HEAD]
    done: set[type[BaseModel]] = set()
    for program, model in (
        ("main_pretrain.py", PretrainSettings),
        ("main_linear.py", LinearSettings),
        ("main_knn.py", KnnSettings),
    ):
        parts.append(f"## {program}\n\n")
        parts += _section(model, "", done)
        if program == "main_pretrain.py":
            reasons = (f"`{name}` ({reason})" for name, reason in sorted(NOT_AVAILABLE.items()))
            parts.append(f"{_NOT_AVAILABLE}{'; '.join(reasons)}.\n\n")
            parts += _named("method_kwargs", {**own, **METHOD_KWARGS})
            parts += _named("optimizer.kwargs", OPTIMIZER_KWARGS)
    return "".join(parts).rstrip("\n") + "\n"


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Read what settings mean from the ``Args`` of a block's documentation, and of its bases.

    Args:
        model: the block.

    Returns:
        Meanings by the settings' names.
    """
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        text = inspect.getdoc(kind) if "__doc__" in vars(kind) else None
        arguments = (text or "").partition("\nArgs:\n")[2]
        arguments = re.split(r"\n\n|\n\S", arguments)[0]
        for entry in re.split(r"\n(?=    \w)", f"\n{arguments}"):
            name, colon, meaning = entry.strip().partition(": ")
            if colon and name.isidentifier():
                found[name] = " ".join(meaning.split()).removesuffix(".").replace("``", "`")
    return found


def bounds(where: Place) -> str:
    """Say the largest value of a place, if its rule does not.

    Args:
        where: the place.

    Returns:
        Words to be put behind the rule, or an empty string.
    """
    for item in _flat(where.metadata):
        most = getattr(item, "le", None)
        if isinstance(most, int | float) and most > 1:
            return f", at most {most:,.0f}"
    return ""


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _flat(item.metadata)
        else:
            yield item


def _section(model: type[BaseModel], key: str, done: set[type[BaseModel]]) -> Iterator[str]:
    """Write a block's table, and those of the blocks in it; one that was written is referred to."""
    rows, inside, said = [], [], meanings(model)
    for name, where in fields(model):
        entry = place(get_args(where.kind)[0]) if get_origin(where.kind) is list else Place(None)
        block = where.block or entry.block
        full = f"{key}{name}" + ("[0]" if entry.block else "")
        if block is not None:
            inside.append((full, block))
        rows.append((f"`{key}{name}`", _value(where), _default(where), said.get(name, "")))
    yield _table(rows)
    for full, block in inside:
        doc = (inspect.getdoc(block) or "").partition("\n")[0]
        yield f"{'###' if '.' not in full else '####'} `{full}`\n\n"
        if block in done:
            yield f"{doc} As for main_pretrain.py.\n\n"
            continue
        done.add(block)
        yield f"{doc}\n\n"
        yield from _section(block, f"{full}.", done)


def _named(key: str, models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """Write the tables of a block whose settings depend on a name."""
    for name, model in models.items():
        said = MEANINGS | meanings(model)
        rows = [
            (f"`{key}.{field}`", _value(where), _default(where), said.get(field, ""))
            for field, where in fields(model)
        ]
        yield f"### `{key}` of {name}\n\n{_table(rows)}"


def _value(where: Place) -> str:
    own = where.of(Rule)
    text = own.text.removesuffix(",") if own else rule(where)
    return f"{text}{bounds(where)}{', or null' if where.nullable else ''}"


def _default(where: Place) -> str:
    if where.required:
        return "*required*"
    if where.block is not None and not isinstance(where.default, Left):
        return ""
    if isinstance(where.default, Left):
        return where.default.text
    plain = {True: "true", False: "false", None: "null"}
    value = where.default
    known = isinstance(value, bool) or value is None
    return f"`{plain[value] if known else value}`"


def _table(rows: Iterable[Row]) -> str:
    lines = ["| Setting | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n\n"
