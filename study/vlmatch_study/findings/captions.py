"""How well scores follow the truth if captions are embedded in other ways: by layer, pooling and centring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vlmatch.evidence.rules import single
from vlmatch.evidence.truths import Comparison
from vlmatch.report.evidence import bare
from vlmatch_study.blocks.worlds import world_of
from vlmatch_study.findings.scored import Followed, followed
from vlmatch_study.rows import Row
from vlmatch_study.tables import figure, probability, table

TITLES = {"gw": "GW", "mutual_nn": "MutualNN", "cka": "CKA", "rsa": "RSA"}
COMPARED = ("gw", "mutual_nn")
LOWER_IS_BETTER = ("gw",)
POOLINGS = {"last": "last token", "mean": "mean", "mean_after_first": "mean after the first token"}


class Choice(NamedTuple):
    """How captions are embedded; centring: 'none', or 'both' if the mean of each side is subtracted."""

    layer: str
    pooling: str
    centring: str

    @property
    def captions(self) -> str:
        """Layer and pooling in words."""
        return f"{self.layer}, {POOLINGS[self.pooling]}"

    @property
    def words(self) -> str:
        """The whole choice in words."""
        return f"layer {self.captions}" + (", centred" if self.centring == "both" else "")


PAPER = Choice("-2", "last", "none")


@dataclass(frozen=True)
class Chosen:
    """How well one score follows the truth if captions are embedded by one choice."""

    score: str
    choice: Choice
    found: Followed


def by_choice(comparison: Comparison, rows: Sequence[Row], families: Mapping[str, str]) -> list[Chosen]:
    """Every score by every choice, corrected for their number; empty for fewer encoders than a pool has.

    rows: of study/worlds/caption_choices.csv, of one LLM. families: by encoder.
    """
    wide: dict[str, dict[str, str]] = {}
    keys: dict[str, tuple[str, Choice]] = {}
    for row in rows:
        name = row["encoder"]
        each = wide.setdefault(name, {"encoder": name, "family": families[name]})
        for score in TITLES:
            choice = Choice(row["layer"], row["pooling"], row["centring"])
            key = " ".join((score, *choice))
            each[key], keys[key] = row[score], (score, choice)
    rules = [single(key, TITLES[score], score not in LOWER_IS_BETTER) for key, (score, _) in keys.items()]
    world = world_of("caption_choices", comparison, list(wide.values()), rules)
    priced = [rule for rule in rules if keys[rule.name][0] in COMPARED]
    return [Chosen(*keys[each.rule.name], each) for each in followed(world, rules, priced)] if world else []


def choices_table(found: Sequence[Chosen]) -> str:
    """The table of GW and MutualNN: a line for each choice."""
    by_key = {(each.choice, each.score): each.found for each in found}
    rows = []
    for choice in dict.fromkeys(each.choice for each in found):
        cells = [choice.captions, "both sides" if choice.centring == "both" else "no"]
        for score in COMPARED:
            each = by_key[choice, score]
            cells += [figure(*each.spearman), probability(each.corrected), figure(*each.regret)]
        rows.append(cells)
    columns = [f"{TITLES[score]}: {what}" for score in COMPARED for what in ("Spearman", "p by Holm", "regret")]
    return table(["captions: layer, pooling", "centred", *columns], rows)


def spearman_table(found: Sequence[Chosen]) -> str:
    """The table of docs/scores.md: Spearman of every score, a line for each layer and pooling."""
    values = {(each.score, each.choice): each.found.spearman.value for each in found}
    columns = [("gw", "none"), ("gw", "both"), ("rsa", "none"), ("rsa", "both"), ("mutual_nn", "none"), ("cka", "none")]
    head = [TITLES[score] + (", centred" if centring == "both" else "") for score, centring in columns]
    rows = [
        [captions.captions, *(bare(values.get((score, captions._replace(centring=word)))) for score, word in columns)]
        for captions in dict.fromkeys(each.choice._replace(centring="none") for each in found)
    ]
    return table(["captions: layer, pooling", *head], rows)


def answer(found: Sequence[Chosen]) -> str:
    """The range of each score over the choices, and how many choices correlate significantly."""
    said = []
    for score in COMPARED:
        lines = [each for each in found if each.score == score]
        significant = [each.found.spearman.value or 0.0 for each in lines if each.found.significant]
        wrong = sum(value < 0 for value in significant)
        among = f"; for {wrong} of these it is negative" if wrong else ""
        said += [
            _range(f"{TITLES[score]}'s Spearman", lines, "spearman"),
            _range("Its regret, as a fraction of a random pick's,", lines, "regret"),
            f"Its correlation with the truth is significant for {len(significant) or 'none'} of the {len(lines)} "
            f"choices{among}.",
        ]
    paper = next((each.found for each in found if (each.score, each.choice) == ("gw", PAPER)), None)
    if paper is not None:
        said.append(
            f"With the paper's choice ({PAPER.words}, not centred), GW has a Spearman of {figure(*paper.spearman)}."
        )
    return " ".join(each for each in said if each)


def _range(subject: str, lines: Sequence[Chosen], what: str) -> str:
    """'GW ranges from -.94 (layer -2, mean, centred) to .93 (layer -2, last token).'; '' if no figure is known."""
    known = [(value, each) for each in lines if (value := getattr(each.found, what).value) is not None]
    if not known:
        return ""
    ends = (end(known, key=lambda pair: pair[0]) for end in (min, max))
    return f"{subject} ranges from " + " to ".join(f"{bare(value)} ({each.choice.words})" for value, each in ends) + "."
