"""Arguments of a target: a wrong name or type is one line with its full path; what is no plain value is left alone."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import pytest

from vlmatch.arguments import require_arguments
from vlmatch.errors import VlmatchError
from vlmatch.objects import build, buildable

PIXELS = "vlmatch.encoders.controls.Pixels"


class Options(TypedDict, total=False):
    feature: str
    licence: Mapping[str, str] | None


def typed(
    name: str,
    size: int,
    *,
    part: float = 1.0,
    path: str | Path | None = None,
    how: Literal["one", "two"] = "one",
    either: bool | None = None,
    sizes: Sequence[int] = (),
    **options: Unpack[Options],
) -> None:
    """Takes values of every kind."""


@buildable
def open_ended(name: str, **options: Any) -> dict[str, Any]:
    """Takes whatever comes."""
    return {"name": name, **options}


GOOD = {"name": "x", "size": 1}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"part": 1},
        {"part": 0.5, "path": None, "how": "two", "either": False},
        {"path": "/x", "feature": "paper", "licence": None},
        {"sizes": "not looked at", "licence": 3},
    ],
)
def test_arguments_that_fit_are_taken(more: dict[str, Any]) -> None:
    require_arguments("encoder", typed, {**GOOD, **more}, partial=False)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"size": "1"}, ["encoder.size='1'", "a whole number"]),
        ({"size": 1.5}, ["encoder.size=1.5", "a whole number"]),
        ({"size": True}, ["encoder.size=true", "a whole number"]),
        ({"size": None}, ["encoder.size=null", "a whole number"]),
        ({"part": "1"}, ["encoder.part='1'", "a number"]),
        ({"path": 3}, ["encoder.path=3", "text or null"]),
        ({"how": "three"}, ["encoder.how='three'", "'one' or 'two'"]),
        ({"either": 0}, ["encoder.either=0", "true or false or null"]),
        ({"feature": 3}, ["encoder.feature=3", "text"]),
        ({"sise": 3}, ["encoder.sise=3", "size"]),
    ],
)
def test_an_argument_of_another_name_or_type_is_told_with_its_path(given: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(VlmatchError) as caught:
        require_arguments("encoder", typed, {**GOOD, **given}, partial=False)
    for part in parts:
        assert part in str(caught.value)


def test_an_argument_that_is_missing_is_told_with_what_is_wanted() -> None:
    with pytest.raises(VlmatchError, match=r"encoder\.size is missing.*encoder\.size=\.\.\..*a whole number"):
        require_arguments("encoder", typed, {"name": "x"}, partial=False)
    require_arguments("encoder", typed, {"name": "x"}, partial=True)


def test_a_function_that_takes_any_option_is_left_to_check_them() -> None:
    require_arguments("probe", open_ended, {"name": "x", "limit": 3}, partial=False)


def test_parts_are_told_with_their_place_and_before_anything_is_built() -> None:
    part = {"_target_": PIXELS, "name": "part", "size": "4"}
    for size, place in ((part, "size"), ([part], r"size\.0")):
        with pytest.raises(VlmatchError, match=rf"encoder\.{place}\.size='4'"):
            build({"_target_": PIXELS, "name": "whole", "size": size}, "encoder")
    with pytest.raises(VlmatchError, match=r"encoder\.size=\[4\]"):
        build({"_target_": PIXELS, "name": "whole", "size": [4]}, "encoder")


@buildable
def of_later(name: str, size: "NeverDefined" = 1) -> dict[str, Any]:  # type: ignore[name-defined]  # noqa: F821
    """Has an annotation that only type checkers can resolve."""
    return {"name": name, "size": size}


def test_annotations_that_only_type_checkers_can_resolve_are_not_looked_at() -> None:
    require_arguments("encoder", of_later, {"name": 3}, partial=False)
    require_arguments("encoder", partial(open_ended, colour="red"), {"name": "x"}, partial=False)
    with pytest.raises(VlmatchError, match=r"encoder\.nmae='x' is not an argument of of_later; it takes name, size"):
        require_arguments("encoder", of_later, {"nmae": "x"}, partial=False)
