"""Local tasks of lmms-eval over drawn pictures, which it evaluates without network."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

installed = pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is None, reason="lmms-eval is not installed")
COLOURS = ("red", "green", "blue", "orange", "purple", "black")
HEAD = """
task: {name}
dataset_path: {folder}
dataset_kwargs: {{load_from_disk: true}}
test_split: test
doc_to_visual: image
doc_to_text: question
"""
CHOICE = """
output_type: multiple_choice
doc_to_choice: choices
doc_to_target: "{{choices.index(answer)}}"
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""
ANSWER = """
output_type: generate_until
doc_to_target: said
generation_kwargs: {max_new_tokens: 5, temperature: 0, image_aspect_ratio: original, until: ["<never>"]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


def items() -> list[dict[str, Any]]:
    """Twelve drawn pictures, each with a question, two to four colours to choose from, and the right one."""
    found = []
    for number in range(12):
        colour = COLOURS[number % 6]
        picture = Image.new("RGB", (40 + number, 32), "white")
        ImageDraw.Draw(picture).ellipse((2 * number, 4, 20 + number, 28), fill=colour)
        others = [other for other in COLOURS if other != colour][: 1 + number % 3]
        question = f"What colour is it?{' Look again.' * (number % 4)}"
        found.append({"image": picture, "question": question, "choices": [*others, colour], "answer": colour})
    return found


def write_tasks(
    folder: Path, rows: list[dict[str, Any]], choice: str = "drawn_choice", answer: str = "drawn_answer"
) -> Path:
    """Two tasks over these items: choosing by likelihood, and saying what `said` says."""
    import datasets

    datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)}).save_to_disk(folder / "data")
    for name, task in ((choice, CHOICE), (answer, ANSWER)):
        (folder / f"{name}.yaml").write_text(HEAD.format(name=name, folder=folder / "data") + task)
    return folder
