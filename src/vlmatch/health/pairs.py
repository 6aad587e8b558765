"""Checks of the pairs themselves, without a model: how captions end, repeated items, too few pairs, missing labels."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from vlmatch.health.findings import Finding
from vlmatch.health.geometries import COPIES, NEIGHBOURS, SHOWN
from vlmatch.llms.templates import CHAT, PLACE
from vlmatch.probes.pairs import ProbeSet

SAME_ENDING = 0.5
"""If at least this share of captions has the same ending, the last token is the same for most captions.

Of the stamps' captions, 94% end in a full stop. With SmolLM2, GW's rank correlation with the truth of 32 encoders is
.34 for the last token, .53 with words after the caption, and .90 for the mean of the tokens after the first. MutualNN's
is .91 or .92 for all three.
"""


def health_of_captions(
    captions: Sequence[str], pooling: str = "last", *, template: str = PLACE, name: str | None = None
) -> tuple[Finding, ...]:
    """What the captions' text shows: the same ending for most, if the LLM's last token is used; repeated captions.

    pooling, template: of the LLM, whose name is `name`. If the template has words after the caption, all captions end
    in the same token of the template; this token reads the caption before it, so this is not a finding.
    """
    found = [_same_ending(captions, pooling, template, name), _repeated_captions(captions)]
    return tuple(finding for finding in found if finding is not None)


def health_of_pairs(probe: ProbeSet, k: int = NEIGHBOURS) -> tuple[Finding, ...]:
    """What the probe shows without any model: too few pairs for k neighbours, repeated images, missing labels."""
    found = [_few_pairs(len(probe), k), _repeated_images(probe), _partial_labels(probe.labels)]
    return tuple(finding for finding in found if finding is not None)


def ending_of(caption: str) -> str:
    """What a caption's last token is made of: its last character, or its last word if it ends in a letter or digit."""
    word = (caption.split() or [""])[-1]
    return word.casefold() if word[-1:].isalnum() else word[-1:]


def _same_ending(captions: Sequence[str], pooling: str, template: str, name: str | None) -> Finding | None:
    if not captions or pooling != "last" or template == CHAT or template.rsplit(PLACE, maxsplit=1)[-1].strip():
        return None
    ending, count = Counter(ending_of(caption) for caption in captions).most_common(1)[0]
    share = count / len(captions)
    if share < SAME_ENDING:
        return None
    return Finding(
        "same_ending",
        "captions",
        model=name,
        figure=share,
        measured=f"{count} of {len(captions)} end in '{ending}', and only the last token is compared",
        warning=True,
        remedy="Rank again with llm.pooling=mean_after_first and with words after the caption, such as "
        "llm.template='{caption} In one word:', and trust an order by gw only if it stays the same",
    )


def _repeated_captions(captions: Sequence[str]) -> Finding | None:
    places = _repeated([" ".join(caption.split()).casefold() for caption in captions])
    if not places:
        return None
    return Finding(
        "repeated_captions",
        "captions",
        model=None,
        figure=len(places) / len(captions),
        measured=f"{len(places)} of {len(captions)} repeat another one, apart from spaces and capitals",
        warning=len(places) >= COPIES * len(captions),
        remedy="A caption that two images share can't tell them apart: probe.drop_duplicates=true drops equal "
        "captions; remove the rest from the table",
        items=tuple(places[:SHOWN]),
    )


def _repeated_images(probe: ProbeSet) -> Finding | None:
    places = _repeated([pair.image_sha256 for pair in probe.pairs])
    if not places:
        return None
    return Finding(
        "repeated_images",
        "images",
        model=None,
        figure=len(places) / len(probe),
        measured=f"{len(places)} of {len(probe)} are files with the same bytes as another one",
        warning=len(places) >= COPIES * len(probe),
        remedy="probe.drop_duplicates=true keeps the first of each",
        items=tuple(places[:SHOWN]),
    )


def _few_pairs(n: int, k: int) -> Finding | None:
    if n >= k + 2:
        return None
    return Finding(
        "few_pairs",
        "pairs",
        model=None,
        figure=n,
        measured=f"{n}, wanted at least {k + 2}: with fewer, every pair is a neighbour of all others (k = {k})",
        warning=True,
        remedy="Scores by neighbours are left out; add pairs, hundreds if you can",
    )


def _partial_labels(labels: Sequence[str | None]) -> Finding | None:
    known = sum(label is not None for label in labels)
    if known in (0, len(labels)):
        return None
    return Finding(
        "partial_labels",
        "pairs",
        model=None,
        figure=known / len(labels),
        measured=f"{known} of {len(labels)} have a label",
        warning=False,
        remedy="Figures by label leave the other pairs out; add their labels to the table",
        items=tuple(place for place, label in enumerate(labels) if label is None)[:SHOWN],
    )


def _repeated(keys: Sequence[str]) -> list[int]:
    """The places of all keys that occur more than once."""
    places = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return sorted(place for same in places.values() if len(same) > 1 for place in same)
