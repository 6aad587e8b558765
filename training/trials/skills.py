"""Which skills a frozen encoder gives a VLM: `python training/trials/skills.py efficientnet_lite0 blind ...`.

A projector is trained by the embedded recipe on captions and all skills, over the pooled feature and over a 2 x 2
grid, and asked about held-out pictures. Rows go to skills.csv beside this file; what has been done is kept below
cache/, and the same command goes on from there. What came out: docs/recipe.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from skill_pictures import PROMPTS, Album, Lesson, Question, lessons, questions
from torch import Tensor, nn

from vlmatch import paths
from vlmatch.benchmarks.choices import TIE, above_prior, choice
from vlmatch.benchmarks.likelihood import log_likelihoods
from vlmatch.benchmarks.measured import Array, Outcome, standard_error
from vlmatch.benchmarks.suite import evaluating
from vlmatch.cli import composed
from vlmatch.encoders.base import Encoder
from vlmatch.files import renamed
from vlmatch.objects import build, plain
from vlmatch.results import BLIND
from vlmatch.vlm.building import build_vlm
from vlmatch.vlm.captions import answer_ids
from vlmatch.vlm.fit import FINAL, Training
from vlmatch.vlm.material import Listed, Material, Sample
from vlmatch.vlm.model import VLM
from vlmatch.vlm.saved import load
from vlmatch.vlm.tokens import answered, encode

WEIGHTS = {"caption": 0.4, "presence": 0.12, "colour": 0.12, "counting": 0.12, "left_right": 0.12, "words": 0.12}
STEPS, SEED, BATCH = 200, 0, 16
BLIND_STEPS = 3  # all its pictures are one, so each question is a tie, whatever it has learnt
GRIDS = {"feature": 1, "grid2": 2}


def main() -> None:
    """Train and ask each encoder, and write the table of all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoders", nargs="+")
    parser.add_argument("--variants", nargs="+", default=list(GRIDS), choices=list(GRIDS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--kept", type=Path, default=paths.cache() / "skills")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    options = parser.parse_args()
    config = composed("recipe=embedded", "recipe.data=vlm_a", f"recipe.seed={SEED}")
    split = build(plain(config.split))
    taught, asked = lessons(split, SEED), questions(split, SEED)
    trial = Trial(config, taught, asked, options.steps, options.kept)
    found = []
    for name in options.encoders:
        for variant in options.variants if name != BLIND else ["feature"]:
            found.append(trial.run(name, variant))
            print(found[-1].to_string(), flush=True)
    with_blind(pd.concat(found)).to_csv(options.out, index=False, float_format="%.4f")


class Trial:
    """Trainings over cached features and their answers, each in a folder of its own below `kept`."""

    def __init__(
        self,
        config: Any,
        taught: tuple[Album, list[Lesson]],
        asked: tuple[Album, list[Question]],
        steps: int,
        kept: Path,
    ) -> None:
        self.config, self.taught, self.asked, self.steps, self.kept = config, taught, asked, steps, kept

    def run(self, name: str, variant: str) -> pd.DataFrame:
        """Train one encoder's VLM and ask it, unless that has been done; a row for each skill."""
        steps = BLIND_STEPS if name == BLIND else self.steps
        folder = self.kept / f"{name}-{variant}-{steps}"
        path = folder / "answers.safetensors"
        if not path.is_file():
            train, test = (self._features(name, part)[str(GRIDS[variant])] for part in ("train", "test"))
            vlm = self._trained(name, folder, train, steps)
            with evaluating(vlm):
                answers = asked_of(vlm, test, self.asked[1])
            with renamed(path) as temporary:
                save_file({str(number): found for number, found in enumerate(answers)}, temporary)
        kept = load_file(path)
        rows = scored(self.asked[1], [kept[str(number)] for number in range(len(kept))])
        return pd.DataFrame(rows).assign(encoder=name, variant=variant, steps=steps)

    def _features(self, name: str, part: str) -> dict[str, Tensor]:
        """Features (n, cells, d) of an album's pictures, by the grid's side: its one pass serves all variants."""
        path = self.kept / f"{name}-{part}.safetensors"
        if not path.is_file():
            encoder: Encoder = build(plain(composed(f"encoder={name}").encoder))
            path.parent.mkdir(parents=True, exist_ok=True)
            album = self.taught[0] if part == "train" else self.asked[0]
            with renamed(path) as temporary:
                save_file(embedded(encoder, album), temporary)
        return dict(load_file(path))

    def _trained(self, name: str, folder: Path, features: Tensor, steps: int) -> VLM:
        llm = build(plain(self.config.llm))
        if (folder / FINAL).is_dir():
            return load(folder / FINAL, llm=llm)
        recipe = plain(self.config.recipe)
        recipe.update(name="skills", prompts=PROMPTS)
        recipe["stages"][0].update(steps=steps, data=WEIGHTS)
        vlm = build_vlm(recipe, llm, None, (features.shape[1], features.shape[2]))
        models = {"encoder": {"name": name}, "llm": plain(self.config.llm)}
        about = {**models, "recipe": recipe, "shape": list(features.shape[1:])}
        material = material_of(vlm.tokenizer, self.taught[1], features)
        fitted = Training(vlm, about, folder, plain(self.config.trainer)).fit([material])
        print(f"{folder.name}: {fitted.seconds:.0f} s, loss {fitted.loss_at(fitted.steps):.3f}", flush=True)
        return vlm


@torch.inference_mode()
def embedded(encoder: Encoder, album: Album) -> dict[str, Tensor]:
    """Tokens averaged over grids of each side in `GRIDS`; side 1 is the convnets' own feature, the global average."""
    found: dict[str, list[Tensor]] = {str(side): [] for side in GRIDS.values()}
    drawings = album.drawings
    for start in track(range(0, len(drawings), BATCH), f"{encoder.name}: {len(drawings)} pictures"):
        images = [encoder.prepare(draw()) for draw in drawings[start : start + BATCH]]
        tokens = encoder.tokens(encoder.collate(images)).float().transpose(1, 2)
        side = round(tokens.shape[2] ** 0.5)
        for key, cells in found.items():
            pooled = nn.functional.adaptive_avg_pool2d(tokens.reshape(*tokens.shape[:2], side, side), int(key))
            cells.append(pooled.flatten(2).transpose(1, 2))
    return {key: torch.cat(cells).contiguous() for key, cells in found.items()}


def material_of(tokenizer: Any, taught: Sequence[Lesson], features: Tensor) -> Material:
    """The lessons, each skill with its weight in the mixture."""
    parts: dict[str, tuple[float, Listed]] = {skill: (weight, Listed()) for skill, weight in WEIGHTS.items()}
    for lesson in taught:
        prompt, answer = encode(tokenizer, lesson.prompt, special=True), answer_ids(tokenizer, lesson.answer, ends=True)
        parts[lesson.skill][1].append(Sample(lesson.skill, answered(prompt, answer), (lesson.picture,)))
    return Material(parts, features)


def asked_of(vlm: VLM, features: Tensor, asked: Sequence[Question]) -> list[Tensor]:
    """Log-likelihoods (pictures, answers) of each question; those of one prompt go through the LLM together."""
    found = [torch.zeros(len(question.pictures), len(question.answers), dtype=torch.float64) for question in asked]
    prompts: dict[str, list[int]] = {}
    for number, question in enumerate(asked):
        prompts.setdefault(question.prompt, []).append(number)
    for prompt, numbers in track(prompts.items(), "questions"):
        rows = [(number, row) for number in numbers for row in range(len(asked[number].pictures))]
        pictures = features[torch.tensor([asked[number].pictures[row] for number, row in rows])]
        candidates = [[answer_ids(vlm.tokenizer, a, ends=False) for a in asked[number].answers] for number, _ in rows]
        ids = encode(vlm.tokenizer, prompt, special=True)
        for place, values in log_likelihoods(vlm, pictures, ids, candidates, BATCH):
            number, row = rows[place]
            found[number][row] = values
    return found


def scored(asked: Sequence[Question], answers: Sequence[Tensor]) -> list[dict[str, Any]]:
    """A row for each skill: score, standard error, chance and number of credits."""
    skills: dict[str, list[tuple[Question, Array]]] = {}
    for question, found in zip(asked, answers, strict=True):
        skills.setdefault(question.skill, []).append((question, found.numpy()))
    rows = []
    for skill, parts in skills.items():
        if skill.startswith("presence"):
            rules = ("ranking", "both priors", "prior", "raw")
            rows += [row_of(f"{skill}, {rule}", *presence(parts, rule), chance=0.5) for rule in rules]
        else:
            rows.append(chosen(skill, parts))
    return rows


def chosen(skill: str, parts: Sequence[tuple[Question, Array]]) -> dict[str, Any]:
    """Which answer fits, its mean under the question's other pictures subtracted; ties share the credit."""
    credit = np.concatenate([choice(found)[np.arange(len(found)), question.own] for question, found in parts])
    clusters = [cluster for question, _ in parts for cluster in question.clusters]
    strata = [str(own) if question.balanced else "" for question, _ in parts for own in question.own]
    return row_of(skill, credit, clusters, strata, chance=1 / len(parts[0][0].answers))


def presence(parts: Sequence[tuple[Question, Array]], rule: str) -> tuple[Array, list[str]]:
    """The credit of each question over the pictures that answer it by yes and by no, half each, and its cluster.

    ranking: the part of the pairs of one of yes and one of no where the first gives greater odds of yes. both priors:
    the same with each picture's odds above their mean under the other questions. prior: whether the odds are above
    their mean under the other pictures. raw: whether they are above 1. Chance is .5 in all; ties get half. Pictures of
    one category are alike, so a category's question is one credit, however many it has.
    """
    credits, clusters = [], []
    odds_of = {question.prompt: found[:, 0] - found[:, 1] for question, found in parts}
    for question, _ in parts:
        odds, yes = odds_of[question.prompt], np.array(question.own) == 0
        if rule == "both priors":
            asked = [odds_of[other.prompt] for other, _ in parts if other.pictures == question.pictures]
            odds = odds - (np.sum(asked, axis=0) - odds) / (len(asked) - 1)
        if rule in ("ranking", "both priors"):
            credits.append(sign(odds[yes][:, None] - odds[~yes]).mean())
        else:
            above = sign(odds if rule == "raw" else above_prior(odds[:, None])[:, 0])
            credits.append((above[yes].mean() + 1 - above[~yes].mean()) / 2)
        clusters.append(question.clusters[0] if question.skill == "presence_caption" else question.prompt)
    return np.array(credits), clusters


def sign(values: Array) -> Array:
    """1 above 0, 0 below, half for what is a tie."""
    return np.where(np.abs(values) <= TIE, 0.5, (values > 0).astype(float))


def row_of(
    skill: str, credit: Array, clusters: list[str], strata: Sequence[str] | None = None, *, chance: float
) -> dict[str, Any]:
    """The score with its standard error over clusters; it is the mean over strata, if there are any."""
    names = np.array(strata or [""] * len(credit))
    items = np.arange(len(credit))
    outcome = Outcome(items, credit, credit, np.array(clusters), names, names, chance, balanced=True)
    return {
        "skill": skill,
        "score": outcome.score,
        "standard_error": standard_error([(1.0, outcome)]),
        "chance": chance,
        "n": len(credit),
    }


def with_blind(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the blind model's score beside each, where that has been asked."""
    blind = table[table.encoder == BLIND].set_index("skill").score
    columns = ["skill", "encoder", "variant", "steps", "score", "standard_error", "chance", "blind", "n"]
    return table.assign(blind=table.skill.map(blind))[columns]


if __name__ == "__main__":
    main()
