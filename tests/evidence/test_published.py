"""Published ranks: recomputed by pandas; the mapping of names is complete and its entries agree in resolution."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from vlmatch import paths
from vlmatch.configs import MAPPING
from vlmatch.evidence.published import FOLDER, RANKS, TABLES, ordinal, published_ranks

FILES = sorted(path.name for path in FOLDER.glob("*.csv") if path.name not in (MAPPING, RANKS))
COLUMNS = ["encoder", "llm", "benchmark", "score", "source", "recipe"]
REASONS = ("no loader: ", "not in conf: ", "several encoders: ", "several scales: ")


def table(name: str) -> pd.DataFrame:
    """One file of the tables, its encoders by our names ('' where we have none)."""
    rows = pd.read_csv(FOLDER / name)
    named = pd.read_csv(FOLDER / MAPPING, keep_default_na=False).query("table == @name").set_index("their_name").encoder
    return rows.assign(ours=rows.encoder.map(named))


def lines(encoder: str, start: str) -> list[str]:
    """The ranks of an encoder in one table, as text."""
    return [str(rank) for rank in published_ranks(encoder) if rank.table == start]


def test_the_example_of_the_readme() -> None:
    assert "Cambrian-1, 1.2M frozen: 51.2, 3rd of 18" in lines("dfn5b_h14_378", "Cambrian-1")
    assert published_ranks("efficientnet_lite0") == []
    assert published_ranks("no such encoder") == []


def test_cambrians_places_are_those_of_its_average_column() -> None:
    averages = table("cambrian1.csv").query("benchmark == 'Average'")
    seen = 0
    for recipe, group in averages.groupby("recipe"):
        ranks = group.score.rank(ascending=False, method="min").astype(int)
        for row, rank in zip(group.itertuples(), ranks, strict=True):
            if row.ours:
                (found,) = (s for s in published_ranks(row.ours) if s.recipe == str(recipe).replace("_", " "))
                assert (found.score, found.rank, found.n) == (row.score, rank, len(group))
                assert str(found).startswith(f"Cambrian-1, {found.recipe}: {row.score:.1f}, ")
                seen += 1
    assert seen == (averages.ours != "").sum() > 50


def test_law_is_the_mean_of_its_eight_benchmarks_with_mme_over_20() -> None:
    rows = table("law_of_vision.csv")
    rows.loc[rows.benchmark == "mme", "score"] /= 20
    means = rows.groupby("encoder").score.mean().sort_values(ascending=False)
    place = list(means.index).index("CLIP336") + 1
    expected = f"Law of Vision Representation: {means['CLIP336']:.1f} (mean of 8, mme / 20), {ordinal(place)} of 13"
    assert lines("clip_l336", "Law of Vision Representation") == [expected]


def test_vtbenchlabs_ranks_are_those_of_the_studys_table() -> None:
    published = paths.root() / "study" / "published"
    truths = pd.read_csv(published / "truth_vtbenchlab.csv").set_index("encoder").score
    ranks = truths.rank(ascending=False, method="min").astype(int)
    mapped = pd.read_csv(published / "encoders.csv").dropna(subset="encoder")
    kept = pd.read_csv(FOLDER / RANKS)
    assert sorted(zip(kept.encoder, kept.their_name, strict=True)) == sorted(
        zip(mapped.encoder, mapped.their_name, strict=True)
    )
    for row in kept.itertuples():
        expected = f"VTBenchLab: {ordinal(ranks[row.their_name])} of {len(truths)} (mean of 11)"
        assert lines(row.encoder, "VTBenchLab") == [expected]


def test_llms_tried_with_the_same_encoders_are_averaged() -> None:
    rows = table("tinyllava.csv").query("recipe == 'base'")
    rows = rows.assign(score=rows.score.where(rows.benchmark != "MME", rows.score / 20))
    both = rows.groupby("llm").filter(lambda group: group.encoder.nunique() == 2)
    means = both.groupby("ours").score.mean()
    assert both.llm.nunique() == 4
    assert lines("siglip", "TinyLLaVA") == [
        f"TinyLLaVA, base, 4 LLMs: {means['siglip']:.1f} (mean of 8, MME / 20), 1st of 2"
    ]
    assert lines("clip_l336", "TinyLLaVA")[0].endswith("2nd of 2")


def test_llms_tried_with_other_encoders_are_compared_apart_and_those_with_one_not_at_all() -> None:
    rows = table("llava_more.csv").query("llm == 'llama3.1-8b-instruct'")
    divisors = rows.benchmark.map({"MME-P": 20, "MME-C": 8}).fillna(1)
    means = (rows.score / divisors).groupby(rows.encoder).mean()
    first, second = lines("clip_l336", "LLaVA-MORE")
    assert first == (
        f"LLaVA-MORE, llama3.1-8b-instruct: {means['clip-vit-l-14-336']:.1f} "
        f"(mean of 13, MME-P / 20, MME-C / 8), {ordinal(int((means > means['clip-vit-l-14-336']).sum()) + 1)} of 4"
    )
    assert second.startswith("LLaVA-MORE, gemma-2-9b-it: ")
    assert second.endswith("2nd of 2")


@pytest.fixture
def made_tables(tmp_path: Path) -> Callable[[dict[str, float]], Path]:
    """Writes a folder of tables: averages of one recipe as Cambrian-1's, and the others empty."""

    def make(averages: dict[str, float]) -> Path:
        for each in TABLES:
            pd.DataFrame(columns=COLUMNS).to_csv(tmp_path / each.file, index=False)
        pd.read_csv(FOLDER / RANKS).head(0).to_csv(tmp_path / RANKS, index=False)
        rows = [(name, "an llm", "Average", score, "here", "one") for name, score in averages.items()]
        pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / "cambrian1.csv", index=False)
        named = [("cambrian1.csv", name, name.lower(), "", "") for name in averages]
        pd.DataFrame(named, columns=["table", "their_name", "encoder", "reason", "note"]).to_csv(
            tmp_path / MAPPING, index=False
        )
        return tmp_path

    return make


def test_equal_scores_share_a_rank_and_the_next_is_counted_from_all(
    made_tables: Callable[[dict[str, float]], Path],
) -> None:
    folder = made_tables({"A": 60.0, "B": 50.0, "C": 50.0, "D": 40.0})
    assert [str(published_ranks(name, folder)[0]) for name in "abcd"] == [
        "Cambrian-1: 60.0, 1st of 4",
        "Cambrian-1: 50.0, joint 2nd of 4",
        "Cambrian-1: 50.0, joint 2nd of 4",
        "Cambrian-1: 40.0, 4th of 4",
    ]


def test_encoders_measured_on_other_benchmarks_are_not_compared(
    made_tables: Callable[[dict[str, float]], Path],
) -> None:
    folder = made_tables({"A": 60.0, "B": 50.0})
    file = folder / "cambrian1.csv"
    rows = pd.read_csv(file)
    rows.loc[len(rows)] = ["B", "an llm", "another", 1.0, "here", "one"]
    rows.to_csv(file, index=False)
    assert published_ranks("a", folder) == []


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (113, "113th")]
)  # fmt: skip
def test_ordinals(number: int, text: str) -> None:
    assert ordinal(number) == text


def test_every_table_has_its_columns_and_states_a_source_for_every_cell() -> None:
    assert {each.file for each in TABLES} <= set(FILES)
    for name in FILES:
        rows = pd.read_csv(FOLDER / name)
        assert list(rows.columns) == COLUMNS
        assert rows.score.notna().all()
        assert rows.source.str.len().gt(10).all()
        assert not rows.duplicated(["encoder", "llm", "benchmark", "recipe"]).any()


def test_every_encoder_of_every_table_is_mapped_once_or_says_why_not() -> None:
    mapping = pd.read_csv(FOLDER / MAPPING, keep_default_na=False)
    theirs = {(name, encoder) for name in FILES for encoder in pd.read_csv(FOLDER / name).encoder}
    pairs = list(zip(mapping.table, mapping.their_name, strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == theirs
    here = {path.stem for path in (paths.conf() / "encoder").glob("*.yaml")}
    assert set(mapping.encoder) - {""} <= here
    for row in mapping.itertuples():
        assert (row.encoder == "") == row.reason.startswith(REASONS), row
        assert row.encoder or len(row.reason) > 30


def test_an_encoder_runs_at_the_resolution_that_their_name_states() -> None:
    mapping = pd.read_csv(FOLDER / MAPPING, keep_default_na=False)
    checked = 0
    for row in mapping[mapping.encoder != ""].itertuples():
        if stated := re.search(r"@(\d+)$", row.their_name):
            first_line = (paths.conf() / "encoder" / f"{row.encoder}.yaml").read_text(encoding="utf-8").splitlines()[0]
            assert re.findall(r"at (\d+) px", first_line)[-1] == stated[1], row
            checked += 1
    assert checked > 15


def test_every_yaml_named_is_what_the_mapping_takes_it_for() -> None:
    weights = {
        "dfn5b_h14_378": "dfn5b",
        "dfn2b_l14": "dfn2b",
        "eva02_clip_l14_336": "merged2b_s6b_b61k",
        "ijepa_h14_22k": "facebook/ijepa_vith14_22k",
        "mae_h": "vit_huge_patch14_224.mae",
        "vit_l16_in21k": "vit_large_patch16_224.orig_in21k",
        "midas_dpt_l": "Intel/dpt-large",
        "laion2b_l14": "laion2b_s32b_b82k",
        "laion2b_convnext_l_512": "laion2b_s29b_b131k_ft_soup",
    }
    for encoder, wanted in weights.items():
        config = yaml.safe_load((paths.conf() / "encoder" / f"{encoder}.yaml").read_text(encoding="utf-8"))
        assert wanted in {config.get(key) for key in ("pretrained", "model", "repository")}, encoder
