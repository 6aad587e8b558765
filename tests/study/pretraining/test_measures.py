"""The measures, against answers that are known beforehand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from vlmatch_study.pretraining.measures import nearest_neighbours, retrieval, zero_shot


def test_zero_shot_is_balanced_accuracy_of_the_nearest_class() -> None:
    random = np.random.default_rng(0)
    images, classes, labels = (
        random.normal(size=(60, 5)),
        random.normal(size=(3, 5)),
        random.choice(3, 60, p=[0.7, 0.2, 0.1]),
    )

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    expected = balanced_accuracy_score(labels, (unit(images) @ unit(classes).T).argmax(axis=1))
    found = zero_shot(torch.from_numpy(images), torch.from_numpy(classes), labels.tolist())
    assert found["zero_shot"] == pytest.approx(expected, abs=1e-6)
    assert found["zero_shot_chance"] == pytest.approx(1 / 3)


def test_retrieval_counts_any_image_of_the_same_caption() -> None:
    texts = torch.eye(8)
    captions = [f"thing {i}" for i in range(8)]
    assert retrieval(texts, texts, captions) == {"recall_at_5": 1.0, "recall_at_5_chance": 5 / 8}
    assert retrieval(-texts, texts, captions)["recall_at_5"] < 1
    assert retrieval(-texts, texts, ["same"] * 8)["recall_at_5"] == 1.0


def test_neighbours_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(1)
    known, asked = random.normal(size=(40, 4)), random.normal(size=(30, 4))
    names = [f"class {int(row[0] > 0)}" for row in known]  # two classes: five votes leave no tie
    truth = [f"class {int(row[0] > 0)}" for row in asked]
    reference = KNeighborsClassifier(5, metric="cosine").fit(known, names)
    found = nearest_neighbours(torch.from_numpy(known), names, torch.from_numpy(asked), truth)
    assert found["neighbours"] == pytest.approx(reference.score(asked, truth))
    commonest = max(names, key=names.count)
    assert found["neighbours_chance"] == pytest.approx(truth.count(commonest) / 30)
