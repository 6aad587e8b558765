"""What a sweep will take: sizes and operations by hand, for models that are here, on the hub, and unknown."""

import pytest

from vlmatch.encoders.catalogue import catalogue
from vlmatch.inventory.ahead import RATES, ahead
from vlmatch.inventory.models import Model
from vlmatch.packages.availability import CACHED, HUB, Availability


def model(kind: str, name: str, status: str = HUB) -> Model:
    return Model(kind, name, Availability(status, "weights"), "MIT", "yes")


def test_weights_to_download_and_minutes_are_sums_over_the_models() -> None:
    clip, cached = model("encoder", "clip_l14"), model("encoder", "dino_b16", CACHED)
    found = ahead([clip, cached, model("llm", "qwen2.5-1.5b")], 1000, gpu=True, protocols=2)
    entry, other = catalogue()["clip_l14"], catalogue()["dino_b16"]
    assert found.gigabytes == pytest.approx((4 * entry.total_parameters + 2 * 1.5e9) / 1e9)
    operations = (entry.gflops + other.gflops) * 1e9 + 2 * 1.5e9 * 20
    assert found.minutes == pytest.approx(operations * 1000 * 2 / RATES["gpu"] / 60)
    assert str(found).startswith("2 encoders, 1 LLM, 1,000 pairs: about 4.7 GB to download")


def test_what_is_not_known_is_said_and_not_guessed() -> None:
    found = ahead([model("encoder", "mine"), model("llm", "phi2"), model("encoder", "clip_l14", CACHED)], 10, gpu=False)
    assert found.gigabytes == 0
    assert found.unknown == ("mine", "phi2")
    assert "about a minute of embedding" in str(found)
    assert str(found).endswith("(not counted, because the size is not known: mine, phi2)")
