"""Check the arguments that a yaml gives to a class or a function: their names, and the types of plain values."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from vlmatch.errors import VlmatchError, shown

BUILT = ...
"""Stands for an argument that will be built from its own settings, so its type is not known yet."""

_PLAIN: Mapping[Any, tuple[str, tuple[type, ...]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("text", (str,)),
    Path: ("text", (str, Path)),
    bool: ("true or false", (bool,)),
    NoneType: ("null", (NoneType,)),
}
"""For each annotation of a plain value: its name in messages, and the types that a value may have."""


def require_arguments(where: str, target: Callable[..., Any], given: Mapping[str, Any], *, partial: bool) -> None:
    """Raise VlmatchError on the first argument in `given` that is unknown, missing or of a wrong type.

    where: the config key of these arguments. partial: whether required arguments may be missing, because they are given
    later. Only the types of plain values are checked here; the target itself checks all other values.
    """
    hints, required, is_open = _accepted(target)
    for key, value in given.items():
        if key in hints:
            if wanted := _wanted(hints[key], value):
                raise VlmatchError(f"{where}.{key}={_shown(value)}; wanted {wanted}")
        elif not is_open:
            takes = ", ".join(hints) or "none"
            raise VlmatchError(
                f"{where}.{key}={_shown(value)} is not an argument of {target.__name__}; it takes {takes}"
            )
    missing = [key for key in required if key not in given]
    if missing and not partial:
        wanted = _words(hints[missing[0]]) or "a value"
        raise VlmatchError(f"{where}.{missing[0]} is missing; give {where}.{missing[0]}=..., wanted {wanted}")


def arguments_of(target: Callable[..., Any]) -> list[str]:
    """The names of all arguments of `target`."""
    return list(_accepted(target)[0])


def _accepted(target: Callable[..., Any]) -> tuple[dict[str, Any], list[str], bool]:
    """The arguments of `target` with their annotations, the required ones, and whether it takes any other argument."""
    called = target.__init__ if inspect.isclass(target) else target
    try:
        resolved = get_type_hints(called)
    except (NameError, TypeError):  # a name that is imported only for type checkers, or a functools.partial
        resolved = {}
    hints: dict[str, Any] = {}
    required: list[str] = []
    is_open = False
    for name, parameter in inspect.signature(target).parameters.items():
        annotation = resolved.get(name, Any)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            if get_origin(annotation) is Unpack:  # named options, as a TypedDict
                hints |= get_type_hints(get_args(annotation)[0])
            else:
                is_open = True
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            hints[name] = annotation
            if parameter.default is inspect.Parameter.empty:
                required.append(name)
    return hints, required, is_open


def _wanted(annotation: Any, value: Any) -> str | None:
    """What is wanted instead of `value`, in words; None if it is right, or if other than plain values are allowed."""
    words = _words(annotation)
    if words is None or value is BUILT or any(_is_of(kind, value) for kind in _kinds(annotation)):
        return None
    return words


def _is_of(kind: Any, value: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return isinstance(value, _PLAIN[kind][1]) and (kind is bool or not isinstance(value, bool))


def _words(annotation: Any) -> str | None:
    """The plain values that an annotation allows, in words; None if it allows other values too."""
    kinds = _kinds(annotation)
    if not all(kind in _PLAIN or get_origin(kind) is Literal for kind in kinds):
        return None
    words = [word for kind in kinds for word in (map(repr, get_args(kind)) if get_origin(kind) else [_PLAIN[kind][0]])]
    return " or ".join(dict.fromkeys(words))


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _shown(value: Any) -> str:
    return "..." if value is BUILT else shown(value)
