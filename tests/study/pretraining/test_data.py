"""What may be trained on, what is held out, and how the images are changed."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from study.pretraining.made_data import drawn
from vlmatch.errors import VlmatchError
from vlmatch.probes.items import Split
from vlmatch.settings.buildable import EncoderSettings
from vlmatch_study.pretraining.augmentation import augmented, normalised
from vlmatch_study.pretraining.backbone import backbone_features
from vlmatch_study.pretraining.data import PretrainingData, held_apart, training_items


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Every source and share that there is, of twelve drawings each."""
    kinds = [
        ("clipart", "encoder_training"),
        ("emoji_google", "encoder_training"),
        ("openmoji", "encoder_training"),
        ("clipart", "vlm_a"),
        ("emoji_google", "benchmarks"),
        ("stamps", "probe"),
    ]
    return Split(tuple(item for kind in kinds for item in drawn(tmp_path / "-".join(kind), *kind)))


@pytest.mark.parametrize("sources", [["openmoji"], ["stamps"], ["clipart", "openmoji"], ["emoji_google", "stamps"]])
def test_openmoji_and_stamps_are_refused(split: Split, sources: list[str]) -> None:
    with pytest.raises(VlmatchError, match=rf"pretrain\.sources=.*'{sources[-1]}'.*clipart, emoji_google"):
        training_items(split, sources)


def test_only_the_share_for_training_is_taken(split: Split) -> None:
    items = training_items(split, ["clipart", "emoji_google"])
    assert len(items) == 24
    assert {item.source for item in items} == {"clipart", "emoji_google"}
    assert {item.share for item in items} == {"encoder_training"}


def test_a_split_that_hands_out_strangers_is_refused(split: Split) -> None:
    class Leaking(Split):
        def share(self, name: str, sources: object = None) -> tuple:
            return self.items

    with pytest.raises(VlmatchError, match=r"split: 'emoji_google/.*'encoder_training' of \['clipart'\]"):
        training_items(Leaking(split.items), ["clipart"])


def test_held_out_categories_are_apart(split: Split) -> None:
    items = training_items(split, ["clipart"])
    kept, held_out = held_apart(items, ["ellipse"])
    assert {item.category for item in kept} == {"rectangle"}
    assert {item.category for item in held_out} == {"ellipse"}


def test_a_tenth_of_the_concepts_is_held_out_whatever_the_source(split: Split) -> None:
    items = training_items(split, ["clipart", "emoji_google"])
    kept, held_out = held_apart(items)
    assert not {item.concept for item in kept} & {item.concept for item in held_out}
    assert len(kept) + len(held_out) == len(items)
    assert 0 < len(held_out) < len(kept)


@pytest.mark.parametrize(
    ("categories", "told"),
    [(["triangle"], "'triangle'"), (["ellipse", "rectangle"], "0 items to train on, 12 held out")],
)
def test_a_useless_choice_is_refused(split: Split, categories: list[str], told: str) -> None:
    with pytest.raises(VlmatchError, match=rf"pretrain\.held_out=.*{told}"):
        held_apart(training_items(split, ["clipart"]), categories)


def test_images_are_padded_with_white_which_is_0(tmp_path: Path) -> None:
    data = PretrainingData.images(drawn(tmp_path / "drawn"), 40)
    values = normalised(data.inputs)
    assert values.shape == (12, 3, 40, 40)
    assert values[:, :, :4].abs().max() == 0  # 40 x 30 in the middle of a square
    assert values.min() == -2  # black
    assert float(values[0, 0, 20, 20]) == 0  # red's own channel
    assert float(values[0, 1, 20, 20]) == -2


def test_a_view_without_crop_or_colour_is_the_image_or_its_mirror(tmp_path: Path) -> None:
    data = PretrainingData.images(drawn(tmp_path / "drawn"), 40)
    torch.manual_seed(0)
    whole = torch.nn.functional.pad(normalised(data.inputs), (8, 8, 8, 8))  # white all around: shifts lose nothing
    images = ((whole / 2 + 1) * 255).round().to(torch.uint8)
    views = augmented(images, smallest=1.0, colour=0.0)
    torch.testing.assert_close(views.sum(dim=(1, 2, 3)), whole.sum(dim=(1, 2, 3)), rtol=0.02, atol=1)


def test_views_differ_and_keep_the_background(tmp_path: Path) -> None:
    images = PretrainingData.images(drawn(tmp_path / "drawn"), 40).inputs
    torch.manual_seed(0)
    first, second = (augmented(images, smallest=0.8, colour=0.5) for _ in range(2))
    assert first.shape == (12, 3, 40, 40)
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    white = torch.full((5, 3, 16, 16), 255, dtype=torch.uint8)
    assert augmented(white, smallest=0.3, colour=0.5).abs().max() < 1e-5


def test_a_head_over_a_backbone_that_is_not_free_is_refused(split: Split) -> None:
    licence = {"name": "own terms", "source": "https://resmem.org"}
    backbone = EncoderSettings.of("encoder", {"name": "resmem", "_target_": "x", "licence": licence})
    with pytest.raises(VlmatchError, match=r"encoder 'resmem'.*'own terms'"):
        backbone_features(training_items(split, ["clipart"]), backbone, None, None)  # type: ignore[arg-type]


def test_an_image_that_is_gone_is_named(split: Split) -> None:
    items = training_items(split, ["clipart"])
    items[3].image.unlink()
    with pytest.raises(VlmatchError, match=items[3].image.name):
        PretrainingData.images(items, 16)


def test_a_wide_image_is_not_squashed(tmp_path: Path) -> None:
    from dataclasses import replace

    item = drawn(tmp_path / "drawn")[0]
    Image.new("RGB", (80, 20), "black").save(tmp_path / "wide.png")
    pixels = PretrainingData.images([replace(item, image=tmp_path / "wide.png")], 40).inputs[0, 0]
    assert (pixels[15:25] == 0).all()
    assert (pixels[:14] == 255).all()
