"""Sentence embeddings by all-MiniLM-L6-v2, the frozen text side of the contrastive heads. It is no LLM of the pool."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmatch.errors import VlmatchError
from vlmatch.files import sha256_of_file
from vlmatch.machine.quiet import quiet_transformers
from vlmatch.objects import Buildable
from vlmatch.packages.package import Package, package_folder
from vlmatch.packages.unpacked import refuse_changed


class SentenceEncoder(Buildable):
    """A BERT-like model in a package: the mean of its last hidden states over the words of a sentence.

    folder: the model's folder inside the package, with config.json, model.safetensors and the tokeniser.
    """

    def __init__(self, package: Mapping[str, str], folder: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        root = package_folder(Package.of(package))
        path = root / folder
        if not (path / "config.json").is_file():
            raise VlmatchError(f"pretrain.objective.text.folder='{folder}' is not in package '{package['name']}'")
        refuse_changed(root, {file: sha256_of_file(file) for file in path.iterdir() if file.is_file()})
        self._tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
        with quiet_transformers():
            self._model: Any = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True).eval()

    def __call__(self, sentences: Sequence[str], batch_size: int = 64) -> Tensor:
        """Embeddings of n sentences: (n, d) float32."""
        found = []
        for start in range(0, len(sentences), batch_size):
            batch = self._tokenizer(
                list(sentences[start : start + batch_size]), padding=True, truncation=True, return_tensors="pt"
            )
            with torch.inference_mode():
                states = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][:, :, None].to(states.dtype)
            found.append((states * mask).sum(dim=1) / mask.sum(dim=1))
        return torch.cat(found).clone()
