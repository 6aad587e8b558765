"""Every score against every truth, corrected for the number of scores; how captions are embedded; and theorem 1."""

from collections.abc import Sequence
from pathlib import Path

from vlmatch_study.blocks.worlds import shared_seeds, world_of
from vlmatch_study.evidence.recording import RULES
from vlmatch_study.evidence.scores import SCORES
from vlmatch_study.evidence.worlds import LLM
from vlmatch_study.findings import captions, ceilings, theorem1
from vlmatch_study.findings.scored import followed, scores_table
from vlmatch_study.findings.section import Part, Section
from vlmatch_study.findings.trained import Trained, trained
from vlmatch_study.rows import Row, read

COMPARED = tuple(rule for rule in RULES if rule.name in SCORES)


def sections(root: Path) -> dict[str, Section]:
    """The generated parts about all trainings, by the name in their mark."""
    worlds = root / "study" / "worlds"
    scores, truths = read(worlds / "embedded.csv"), trained(root)
    usable = [each for each in truths if each.llm == LLM and world_of("scores", each.comparison, scores, ())]
    by_captions = [row for row in read(worlds / "caption_choices.csv") if row["llm"] == LLM]
    families = {row["encoder"]: row["family"] for row in scores}
    n = {each.label: sum(row["encoder"] in each.comparison.by_encoder for row in scores) for each in usable}
    chosen = {each.label: captions.by_choice(each.comparison, by_captions, families) for each in usable}
    return {
        "ceilings": Section(
            ceilings.seeds_table(truths), (Part(ceilings.ceilings_table(ceilings.ceilings(truths)), ceilings.ABOVE),)
        ),
        "theorem 1": theorem1.section(truths[0].comparison, read(worlds / "theorem1.csv")),
        "scores": Section("", tuple(_scores(each, scores) for each in usable)),
        "choices": Section(
            "",
            tuple(
                Part(
                    captions.choices_table(found),
                    f"By the truth of {label}: {captions.answer(found)}{so_far(n[label], len(scores))}",
                )
                for label, found in chosen.items()
            ),
        ),
        "spearman by choice": Section(captions.spearman_table(next(iter(chosen.values())))),
    }


def _scores(truth: Trained, rows: Sequence[Row]) -> Part:
    world = world_of("scores", truth.comparison, rows, COMPARED)
    found = followed(world, COMPARED, COMPARED) if world else []
    names = world.names if world else ()
    numbers = shared_seeds(truth.comparison, names)
    seeds = f"seed{'s'[: len(numbers) != 1]} {', '.join(map(str, numbers))}"
    significant = [each for each in found if each.significant]
    wrong = sum((each.spearman.value or 0.0) < 0 for each in significant)
    among = f"; {wrong} of these correlations {'are' if wrong > 1 else 'is'} negative" if wrong else ""
    return Part(
        scores_table(found),
        f"By the truth of {truth.label} ({len(names)} encoders, {seeds}): the correlation is significant, "
        f"after the correction, for {len(significant)} of {len(found)} scores{among}.{so_far(len(names), len(rows))}",
    )


def so_far(n: int, of: int) -> str:
    """A sentence that says how few encoders a figure rests on; '' if it rests on all of them."""
    return "" if n == of else f" Preliminary: only {n} of {of} encoders have this truth so far."
