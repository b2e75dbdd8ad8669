"""The model as JSON and back, strictly: for what vmnet saves and what its processes tell each other.

A validator library would do this too, but costs `vmnet up` 40 ms or more; these are 60 lines.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from typing import Any, TypeVar

from vmnet.model.strict_json import loads

T = TypeVar("T")
_MOST_SHOWN = 256
"""Characters that an error tells of names that do not belong there."""


def encode(value: object) -> str:
    """Return a dataclass of the model as JSON text."""
    return json.dumps(plain(value), separators=(",", ":"))


def decode(kind: type[T], text: str | bytes) -> T:
    """Return the `kind` that JSON text holds.

    Raises:
        ValueError: not JSON, or not exactly of the kind's fields and types; it names the path to the culprit.
    """
    return typed(kind, parse(text))


def parse(text: str | bytes) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return what JSON text holds.

    Raises:
        ValueError: it is not JSON, or such as nobody would write who means well.
    """
    return loads(text)


def typed(kind: type[T], value: Any) -> T:  # noqa: ANN401 # JSON is of any type
    """Return the `kind` that a parsed value holds.

    Raises:
        ValueError: it is not exactly of the kind's fields and types; it names the path to the culprit.
    """
    return typing.cast("T", _typed(kind, value, kind.__name__))


def plain(value: object) -> Any:  # noqa: ANN401 # JSON is of any type
    """Return dataclasses as dictionaries and tuples as lists, all the way down."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: plain(getattr(value, name)) for name in fields}
    return value


def _typed(kind: Any, value: Any, path: str) -> Any:  # noqa: ANN401 # any type in, the same type out
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _tuple(typing.get_args(kind), value, path)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _typed(_without_none(kind), value, path)
    if hasattr(kind, "__dataclass_fields__"):
        return _dataclass(kind, value, path)
    # bool is an int to Python, but not to us.
    if type(value) is not kind:
        raise ValueError(f"{path} is {type(value).__name__}, not {kind.__name__}")
    return value


def _without_none(kind: Any) -> Any:  # noqa: ANN401
    (only,) = (member for member in typing.get_args(kind) if member is not types.NoneType)
    return only


def _tuple(members: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:  # noqa: ANN401
    if type(value) is not list:
        raise ValueError(f"{path} is {type(value).__name__}, not a list")
    if members[-1] is Ellipsis:
        members = members[:1] * len(value)
    if len(members) != len(value):
        raise ValueError(f"{path} has {len(value)} items, not {len(members)}")
    pairs = zip(members, value, strict=True)
    return tuple(_typed(member, item, f"{path}[{at}]") for at, (member, item) in enumerate(pairs))


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:  # noqa: ANN401
    """The field types of a dataclass: to work them out takes longer than all the rest."""
    return typing.get_type_hints(kind)


def _dataclass(kind: Any, value: Any, path: str) -> Any:  # noqa: ANN401
    if type(value) is not dict:
        raise ValueError(f"{path} is {type(value).__name__}, not an object")
    hints = _hints(kind)
    if value.keys() != kind.__dataclass_fields__.keys():
        # A name is whatever the file says: neither its control characters nor its length must break the line.
        names = sorted(value.keys() ^ kind.__dataclass_fields__.keys())[:_MOST_SHOWN]
        odd = ", ".join(repr(name[:_MOST_SHOWN])[1:-1] for name in names)[:_MOST_SHOWN]
        raise ValueError(f"{path} lacks or should not have: {odd}")
    return kind(**{name: _typed(hints[name], item, f"{path}.{name}") for name, item in value.items()})
