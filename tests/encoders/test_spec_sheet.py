"""The spec sheet: from the catalogue, the embeddings' header and the settings they were made with."""

from dataclasses import replace

import pytest

from made_rows import header
from vlmatch.encoders.spec_sheet import SpecSheet


def test_it_joins_the_catalogue_and_the_embeddings() -> None:
    found = header("encoder", "clip_l336").spec_sheet
    assert found == SpecSheet(True, 1_000_000, 381.9, 4, 576, 336, 76.56)


def test_of_a_stranger_only_what_its_embeddings_say_is_known() -> None:
    assert header("encoder", "mine").spec_sheet == SpecSheet(parameters=1_000_000, width=4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image_size": None}, (4, 576, 336, 381.9)),
        ({"image_size": 336}, (4, 576, 336, 381.9)),
        ({"image_size": 224}, (4, None, 224, None)),
        ({"feature": "grid2"}, (1, 576, 336, 381.9)),
    ],
)
def test_settings_that_change_it_count(settings: dict[str, object], expected: tuple[object, ...]) -> None:
    of_clip = header("encoder", "clip_l336")
    found = replace(of_clip, spec=replace(of_clip.spec, settings=settings)).spec_sheet
    assert (found.width, found.tokens, found.resolution, found.gflops) == expected
