"""The base of all settings: frozen values with checked types, and one line for a key that is wrong."""

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from vlmatch.configs import nearest
from vlmatch.errors import VlmatchError, shown
from vlmatch.files import FOLDER_NAME, is_folder_name

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "mapping_type": "a mapping",
    "list_type": "a list",
    "is_instance_of": "a list",
    "sequence_str": "a list",
    "too_short": "at least one entry",
    "string_too_short": "text that is not empty",
}


class Node(BaseModel):
    """Settings with fixed keys. They never change, and no value is converted to another type."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    @classmethod
    def of(cls, key: str, values: Any) -> Self:
        """Check `values`, the plain settings that stand under `key` of the config.

        Raises VlmatchError on the first key that is missing, unknown or of a wrong type. The message has the key's
        full path, the value given and what is wanted.
        """
        values = dict(values) if isinstance(values, Mapping) else values  # any mapping, where pydantic wants a dict
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            for each in error.errors():  # pydantic wraps what `model_post_init` raises
                if isinstance(own := each.get("ctx", {}).get("error"), VlmatchError):
                    raise own from None
            raise VlmatchError(_line(cls, key, values, error)) from error

    def plain(self) -> dict[str, Any]:
        """The settings as they were given, as plain values: nothing is added, and equal settings give equal hashes."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    def changed(self, **values: Any) -> Self:
        """The same settings with other values for some keys, which are checked too."""
        return self.of("", {**self.plain(), **values})

    @classmethod
    def keys(cls) -> list[str]:
        """The keys that these settings have."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def may_have(cls, key: str) -> bool:
        """Whether a key that is not in `keys` is allowed."""
        return cls.model_config.get("extra") == "allow"

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: Any) -> Any:
        """Refuse unknown keys before looking for missing ones, because a typo causes both."""
        if isinstance(values, Mapping):
            keys = cls.keys()
            for key in values:
                if key not in keys and not cls.may_have(str(key)):
                    raise PydanticCustomError(
                        "unknown_key", "{near}", {"key": str(key), "near": nearest(str(key), keys)}
                    )
        return values


def of_types(wanted: str, *types: type, items: type = object) -> PlainValidator:
    """Accept values of these types as they are; `wanted` names them in words. True and false are not numbers here.

    items: the type of what lists hold.
    """

    def fits(value: Any, types: tuple[type, ...]) -> bool:
        return isinstance(value, types) and (bool in types or not isinstance(value, bool))

    def checked(value: Any) -> Any:
        if fits(value, types) and (not isinstance(value, list) or all(fits(each, (items,)) for each in value)):
            return value
        raise PydanticCustomError("wanted", "{wanted}", {"wanted": wanted})

    return PlainValidator(checked)


def _name(value: Any) -> Any:
    if isinstance(value, str) and is_folder_name(value):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "text")
    raise PydanticCustomError("wanted", "{wanted}, since it names a folder", {"wanted": FOLDER_NAME})


def _place(value: Any) -> Any:
    """Expand `~`, and refuse an empty path: it means the working folder, and with "/name" added, the root folder."""
    if value == "":
        raise PydanticCustomError("path_type", "a path")
    return os.path.expanduser(value) if isinstance(value, str) else value  # Path.expanduser raises on an unknown user


Name = Annotated[str, PlainValidator(_name)]
Number = Annotated[float, of_types("a number", int, float)]
"""A number that stays as it was given: 1 and 1.0 are hashed differently."""
Place = Annotated[Path, Field(strict=False), BeforeValidator(_place)]
Count = Annotated[int, Field(ge=1)]


def _line(cls: type[Node], key: str, values: Any, error: ValidationError) -> str:
    """The line for the first thing that is wrong."""
    first, *others = error.errors()
    path = ".".join(str(part) for part in (key, *first["loc"]) if part not in ("", "[key]"))
    more = f"; {len(others)} more wrong" if others else ""
    if first["type"] == "unknown_key":
        unknown = first["ctx"]["key"]
        full = f"{path}.{unknown}" if path else unknown
        return f"{full}={shown(first['input'][unknown])} is not a key of {path or 'the config'}; {first['ctx']['near']}"
    if first["type"] == "missing":
        wanted = _wanted_at(cls, first["loc"], values)
        return f"{path} is missing; give {path}=..., wanted {wanted}{more}"
    return f"{path}={shown(first['input'])}; wanted {_wanted(first)}{more}"


def _wanted(error: Mapping[str, Any]) -> str:
    """What a value must be, in words."""
    if error["type"] == "greater_than_equal":
        return f"{error['ctx']['ge']} or more"
    return _WANTED.get(error["type"]) or str(error["msg"]).removeprefix("Input should be ")


def _wanted_at(cls: type[Node], place: Sequence[str | int], values: Any) -> str:
    """What a missing value must be: the check says it about a value that no key accepts."""
    tried = copy.deepcopy(values)
    node = tried
    for part in place[:-1]:
        node = node[part]
    node[place[-1]] = object()
    try:
        cls.model_validate(tried)
    except ValidationError as error:
        return next((_wanted(each) for each in error.errors() if each["loc"] == tuple(place)), "a value")
    return "a value"
