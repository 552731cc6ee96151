# SPDX-License-Identifier: MIT
"""The sentence for settings that cannot work: key at full depth, rule, value, nearest name."""

__all__ = ["Place", "check", "every_name", "fields", "place", "refusal", "rule", "shown"]

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from solo_plugins.args.kinds import Choices, Rule
from solo_plugins.args.suggestions import suggestion
from solo_plugins.errors import ConfigurationError, nearest

M = TypeVar("M", bound=BaseModel)
Key = Sequence[str | int]
_UNKNOWN = ("extra_forbidden", "invalid_key")
_MISSING = object()
_LONGEST = 200


class Place(NamedTuple):
    """What may stand in one place of a configuration.

    Args:
        kind: a type, or a literal's values.
        metadata: what is annotated, a :class:`~solo_plugins.args.kinds.Rule` among it.
        nullable: whether it may be null.
        required: whether it has no default.
        default: the default, if it has one.
    """

    kind: Any
    metadata: tuple[Any, ...] = ()
    nullable: bool = False
    required: bool = False
    default: Any = None

    @property
    def block(self) -> type[BaseModel] | None:
        """The block of settings that stands here, if it is one of known settings."""
        # Python 3.10 takes list[int] for a type
        is_type = isinstance(self.kind, type) and get_origin(self.kind) is None
        return self.kind if is_type and issubclass(self.kind, BaseModel) else None

    def of(self, kind: type[Any]) -> Any:
        """Return what is annotated of one kind, or None."""
        return next((item for item in self.metadata if isinstance(item, kind)), None)


def check(model: type[M], given: Any, *, prefix: Key = ()) -> M:
    """Check settings.

    Args:
        model: what they may be.
        given: the settings, as plain values.
        prefix: the block that they stand in.

    Returns:
        The model of them.

    Raises:
        ConfigurationError: naming the key at full depth, the rule and the value.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise refusal(error, model, given, prefix=prefix) from None


def refusal(
    error: ValidationError, model: type[BaseModel], given: Any, *, prefix: Key = ()
) -> ConfigurationError:
    """Turn pydantic's error into the sentence that the errors of this plugin are.

    Args:
        error: of one setting or more; the one that explains most is told.
        model: what the settings may be.
        given: the settings that were checked.
        prefix: the block that they stand in.

    Returns:
        The error to be raised.
    """
    details: list[Any] = error.errors(include_url=False)
    # A name that was misspelt is missing, too: what explains the other comes first.
    details.sort(key=lambda one: (one["type"] not in _UNKNOWN, one["type"] != "missing"))
    return _sentence(details[0], model, given, prefix)


def place(annotation: Any, metadata: Sequence[Any] = (), **known: Any) -> Place:
    """Take an annotation apart.

    Args:
        annotation: a type, ``Annotated`` and optional or not.
        metadata: what was annotated around it.
        **known: the other fields of the place.

    Returns:
        The place.
    """
    metadata, nullable = tuple(metadata), False
    while True:
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            annotation, metadata = parts[0], (*metadata, *parts[1:])
        elif origin in (Union, types.UnionType) and type(None) in parts and len(parts) == 2:
            (annotation,) = (part for part in parts if part is not type(None))
            nullable = True
        else:
            return Place(annotation, metadata, nullable, **known)


def fields(model: type[BaseModel]) -> Iterator[tuple[str, Place]]:
    """List a block's settings.

    Args:
        model: the block.

    Yields:
        Names and places.
    """
    for name, field in model.model_fields.items():
        known = {"required": field.is_required(), "default": field.default}
        yield name, place(field.annotation, field.metadata, **known)


def every_name(model: type[BaseModel], prefix: str = "") -> list[str]:
    """List the names of all settings, at any depth.

    Args:
        model: the configuration, or a block of it.
        prefix: what stands before the names.

    Returns:
        Dotted names; those of a list's entries are the first entry's.
    """
    found = []
    for name, where in fields(model):
        inside = get_args(where.kind)
        block, entry = where.block, ""
        if get_origin(where.kind) is list and place(inside[0]).block is not None:
            block, entry = place(inside[0]).block, "[0]"
        found.append(f"{prefix}{name}")
        if block is not None:
            found += every_name(block, f"{prefix}{name}{entry}.")
    return found


def rule(where: Place) -> str:
    """Say in words what may stand in a place.

    Args:
        where: the place.

    Returns:
        The rule, as it follows "to be".
    """
    choices = where.of(Choices)
    if choices is not None:
        return f"one of {', '.join(choices.listed())}"
    if get_origin(where.kind) is Literal:
        return f"one of {', '.join(map(str, get_args(where.kind)))}"
    said = where.of(Rule)
    if said is not None:
        return said.text
    if where.block or get_origin(where.kind) is dict:
        return "a block of settings"
    return "left out"


def shown(value: Any) -> str:
    """Write a value into a sentence.

    Args:
        value: anything.

    Returns:
        At most some 200 characters on one line.
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _sentence(
    detail: Mapping[str, Any], model: type[BaseModel], given: Any, prefix: Key
) -> ConfigurationError:
    context, kind, loc = detail.get("ctx", {}), detail["type"], list(detail["loc"])
    if isinstance(context.get("error"), ConfigurationError):
        return context["error"]
    if kind in _UNKNOWN:
        hint = suggestion(
            [str(part) for part in loc], _names(model, loc[:-1]), every_name(model), prefix
        )
        name = _dotted([*prefix, *loc])
        return ConfigurationError(f"Expected only known settings but got `{name}`.{hint}")
    if kind == "together":
        loc.append(context["field"])
    where = _walk(model, loc)
    loc, value = _given(given, loc)
    name = _dotted([*prefix, *loc])
    text = context["rule"] if kind == "together" else rule(where)
    if value is _MISSING and kind == "together":
        return ConfigurationError(f"Expected `{name}` to be {text}.")
    if value is _MISSING:
        return ConfigurationError(f"Expected `{name}` to be set, to {text}.")
    if value is None and where.required:
        return ConfigurationError(f"Expected `{name}` to be set, to {text}, but got None.")
    most = context.get("le", 0)
    if kind == "less_than_equal" and most > 1:
        text += f", at most {most:,.0f},"
    choices = where.of(Choices)
    names = choices.names() if choices else get_args(where.kind)
    hint = nearest(str(value), [str(name) for name in names if isinstance(name, str)])
    if where.block is not None and isinstance(value, str):
        hint = _named_by(where.block, name, value)
    if where.nullable and isinstance(value, str) and value.lower() in ("none", "nil", "null"):
        hint = " Did you mean `null`?"
    return ConfigurationError(f"Expected `{name}` to be {text} but got {shown(value)}.{hint}")


def _named_by(block: type[BaseModel], name: str, value: str) -> str:
    """Say which setting of a block a text is probably of: the one that names what it is."""
    inside = [key for key in ("name", "dataset") if key in block.model_fields]
    return f" Did you mean `{name}.{inside[0]}={shown(value)[1:-1]}`?" if inside else ""


def _walk(model: type[BaseModel], loc: Key) -> Place:
    where = Place(model)
    for part in loc:
        inside = get_args(where.kind)
        if where.block is not None:
            where = dict(fields(where.block)).get(str(part), Place(None))
        elif inside and get_origin(where.kind) in (list, dict):
            where = place(inside[-1])
    return where


def _given(given: Any, loc: list[Any]) -> tuple[list[Any], Any]:
    """Find a value, and where it stands as it was given: a single value may stand for a list."""
    value = given
    for depth, part in enumerate(loc):
        if isinstance(part, int) and not isinstance(value, list):
            return loc[:depth], value
        if isinstance(value, Mapping) and part not in value:
            return loc, _MISSING
        value = value[part]
    return loc, value


def _names(model: type[BaseModel], loc: Key) -> list[str]:
    block = _walk(model, loc).block
    return [] if block is None else [name for name, _ in fields(block)]


def _dotted(key: Key) -> str:
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
