"""Measures of an encoder on held-out items, each with its value by chance."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

NEIGHBOURS = 5


def zero_shot(images: Tensor, classes: Tensor, labels: Sequence[int]) -> dict[str, float]:
    """Accuracy of the class whose text is nearest, averaged over classes; chance is 1 / k.

    images: (n, d) and classes: (k, d), embeddings in the shared space. labels: the class of each image.
    """
    found = (normalize(images) @ normalize(classes).T).argmax(dim=1)
    truth = torch.tensor(labels)
    rates = [(found[truth == label] == label).float().mean() for label in sorted(set(labels))]
    return {"zero_shot": float(torch.stack(rates).mean()), "zero_shot_chance": 1 / len(classes)}


def retrieval(images: Tensor, texts: Tensor, captions: Sequence[str]) -> dict[str, float]:
    """How often an image's caption is among the five nearest captions. images, texts: (n, d), row by row."""
    k = min(5, len(captions))
    nearest = (normalize(images) @ normalize(texts).T).topk(k, dim=1).indices.tolist()
    found = [captions[row] in {captions[i] for i in columns} for row, columns in enumerate(nearest)]
    return {"recall_at_5": sum(found) / len(found), "recall_at_5_chance": k / len(captions)}


def nearest_neighbours(known: Tensor, names: Sequence[str], asked: Tensor, truth: Sequence[str]) -> dict[str, float]:
    """Accuracy of a vote of the five nearest rows of `known`; the nearest row breaks a tie.

    known: (n, d), with n names. asked: (m, d), with m true names. Chance is the share in `truth` of the name that is
    commonest in `names`.
    """
    nearest = (normalize(asked) @ normalize(known).T).topk(min(NEIGHBOURS, len(names)), dim=1).indices.tolist()
    votes = [[names[i] for i in columns] for columns in nearest]
    right = [max(vote, key=vote.count) == true for vote, true in zip(votes, truth, strict=True)]
    commonest = max(names, key=names.count)
    return {
        "neighbours": sum(right) / len(right),
        "neighbours_chance": sum(true == commonest for true in truth) / len(truth),
    }
