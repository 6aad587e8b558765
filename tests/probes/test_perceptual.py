"""Copies of an image hash alike, unrelated images do not, and clusters are what brute force finds."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vlmatch.probes.perceptual import clusters, perceptual_hash


def drawing(seed: int) -> Image.Image:
    """Ten random ellipses on white."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (200, 160), "white")
    for _ in range(10):
        x, y, width, height = rng.integers(5, 120, 4)
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        ImageDraw.Draw(image).ellipse((x, y, x + width, y + height), fill=colour)
    return image


def bits_between(one: Image.Image, other: Image.Image) -> int:
    """The Hamming distance of two images' hashes."""
    return (perceptual_hash(one) ^ perceptual_hash(other)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_copies_hash_alike_and_other_drawings_do_not(seed: int) -> None:
    image = drawing(seed)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    assert perceptual_hash(image) < 2**64
    assert bits_between(image, image.copy()) == 0
    assert bits_between(image, Image.open(buffer)) <= 6
    assert bits_between(image, image.resize((90, 72))) <= 6
    assert bits_between(image, drawing(seed + 100)) > 12


def components(hashes: list[int], distance: int) -> list[int]:
    """Connected components by flood fill over all pairs."""
    found: list[int | None] = [None] * len(hashes)
    number = 0
    for start in range(len(hashes)):
        if found[start] is None:
            reached = [start]
            found[start] = number
            while reached:
                one = hashes[reached.pop()]
                for place, other in enumerate(hashes):
                    if found[place] is None and (one ^ other).bit_count() <= distance:
                        found[place] = number
                        reached.append(place)
            number += 1
    return [int(place) for place in found if place is not None]


near = st.lists(st.integers(0, 63), max_size=3).map(lambda bits: sum({1 << bit for bit in bits}))
hashes_of_two_crowds = st.lists(st.tuples(near, st.sampled_from([0, 2**64 - 1])).map(lambda pair: pair[0] ^ pair[1]))


@given(hashes_of_two_crowds, st.integers(0, 8))
def test_clusters_are_the_connected_components(hashes: list[int], distance: int) -> None:
    assert clusters(hashes, distance) == components(hashes, distance)


def test_a_chain_of_small_differences_is_one_cluster_whatever_its_order() -> None:
    chain = [(1 << length) - 1 for length in range(65)]
    shuffled = [chain[place] for place in np.random.default_rng(0).permutation(65)]
    assert clusters(shuffled, 1) == [0] * 65
    assert clusters(shuffled, 0) == list(range(65))


def test_clusters_of_many_hashes_span_the_blocks_they_are_compared_in() -> None:
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    copies = np.concatenate([centres, centres ^ (np.uint64(1) << rng.integers(0, 64, 3000, dtype=np.uint64))])
    found = clusters([int(value) for value in copies], 2)
    assert found == [*range(3000), *range(3000)]


def test_no_hashes_have_no_clusters() -> None:
    assert clusters([], 4) == []
