"""Two small towers trained from random weights by SigLIP's loss (Zhai et al., 2023), kept as an open_clip model."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmatch_study.pretraining.augmentation import MEAN, STD, augmented, normalised
from vlmatch_study.pretraining.data import PretrainingData
from vlmatch_study.pretraining.kept import write_halves
from vlmatch_study.pretraining.measures import retrieval, zero_shot
from vlmatch_study.pretraining.objective import Objective

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
SPECIAL = ("<pad>", "<unk>", "</s>")


class SiglipTowers(Objective):
    """An open_clip model of both towers. Its tokeniser is learnt from the training captions by byte-pair encoding.

    model: open_clip's model config (`embed_dim`, `vision_cfg`, `text_cfg`), to which the vocabulary's size is added.
    vocabulary: the largest number of tokens. colour, smallest: see `augmentation.augmented`.
    """

    def __init__(
        self,
        data: PretrainingData,
        *,
        model: Mapping[str, Any],
        vocabulary: int,
        smallest: float,
        colour: float,
        **training: Any,
    ) -> None:
        from open_clip.loss import SigLipLoss
        from open_clip.model import CustomTextCLIP

        super().__init__(data, **training)
        self.smallest, self.colour = smallest, colour
        self.tokenizer = tokenizer_of(data.captions, vocabulary)
        self.model_config = complete(model, data.inputs.shape[-1], len(self.tokenizer), self.batch_size)
        # open_clip changes its argument, so it gets a copy. `custom_text` is for its factory, not for the model.
        built = {key: value for key, value in copy.deepcopy(self.model_config).items() if key != "custom_text"}
        self.towers: Any = CustomTextCLIP(**built)
        self.contrast: Any = SigLipLoss()
        self.words = self._tokens(data.captions)

    def loss(self, rows: list[int]) -> Tensor:
        """SigLIP's loss: each pair of an image and a caption in the batch is classified as right or wrong."""
        view = augmented(self.data.inputs[rows].to(self.device), smallest=self.smallest, colour=self.colour)
        images, texts, scale, bias = self.towers(view, self.words[rows].to(self.device))
        loss: Tensor = self.contrast(images, texts, scale, bias)
        return loss

    @torch.inference_mode()
    def measures(self, held_out: PretrainingData) -> Mapping[str, float]:
        """Zero-shot accuracy on the held-out categories, and retrieval of captions."""
        self.towers.eval()
        known, asked = held_out.labelled(), sorted({c for c in held_out.categories if c is not None})
        labels = [asked.index(str(category)) for category in known.categories]
        images, texts = self._images(held_out), self._texts(held_out.captions)
        return {
            **zero_shot(self._images(known), self._texts(asked), labels),
            **retrieval(images, texts, held_out.captions),
        }

    def write(self, folder: Path) -> None:
        """Write a folder that `open_clip.create_model('local-dir:...')` and `get_tokenizer` read."""
        size = self.data.inputs.shape[-1]
        preprocess = {
            "size": size,
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bicubic",
            "resize_mode": "longest",
            "fill_color": 255,
        }
        config = {"model_cfg": self.model_config, "preprocess_cfg": preprocess}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        self.tokenizer.save_pretrained(folder)
        write_halves(folder / WEIGHTS, self.towers.state_dict())

    def _tokens(self, captions: Sequence[str]) -> Tensor:
        length = self.model_config["text_cfg"]["context_length"]
        found: Tensor = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        ).input_ids
        return found

    def _images(self, data: PretrainingData) -> Tensor:
        found: Tensor = self.towers.encode_image(normalised(data.inputs).to(self.device))
        return normalize(found).cpu()

    def _texts(self, sentences: Sequence[str]) -> Tensor:
        found: Tensor = self.towers.encode_text(self._tokens(sentences).to(self.device))
        return normalize(found).cpu()


def complete(model: Mapping[str, Any], image_size: int, vocabulary: int, batch_size: int) -> dict[str, Any]:
    """The model config with SigLIP's own parts: the initial values of its loss, and a text tower without causal mask.

    The bias starts at the log odds of a right pair in a batch. SigLIP's own -10 is the value for batches of 32,000.
    """
    return {
        **model,
        "init_logit_scale": math.log(10),
        "init_logit_bias": -math.log(batch_size - 1),
        "custom_text": True,
        "vision_cfg": {"image_size": image_size, **model["vision_cfg"]},
        "text_cfg": {
            **model["text_cfg"],
            "vocab_size": vocabulary,
            "hf_tokenizer_name": "tokenizer.json",  # makes open_clip look for the tokeniser in the folder
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
        },
    }


def tokenizer_of(captions: Sequence[str], vocabulary: int) -> Any:
    """A lower-case byte-pair tokeniser learnt from the captions; CLIP's own would need 49,408 rows of embeddings."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE(unk_token=SPECIAL[1]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(captions), trainer)
    end = (SPECIAL[2], tokenizer.token_to_id(SPECIAL[2]))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {SPECIAL[2]}", special_tokens=[end])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], unk_token=SPECIAL[1], eos_token=SPECIAL[2]
    )
