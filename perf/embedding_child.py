"""Measure one encoder in its own process: bare forward pass, embedding loop, decoding and peak memory.

perf/embedding.py starts this process: `python perf/embedding_child.py ENCODER IMAGES REPEATS` prints one JSON object.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gromov_child import peak_bytes

from vlmatch.configs import chosen
from vlmatch.embeddings import predict
from vlmatch.embeddings.decoded import DecodedImages
from vlmatch.embeddings.store import Shards
from vlmatch.encoders.base import Encoder
from vlmatch.encoders.timm_models import TimmEncoder
from vlmatch.inventory.agreement import precision_agreement
from vlmatch.objects import build, plain
from vlmatch.settings.work import TrainerSettings

VIT_L = "vit_l14_shape"  # random weights: the speed is that of any ViT-L/14 at 224 pixels
_MIB = 2**20
_AGREEMENT_IMAGES = 64


class Repeated:
    """`n` images: those of a smaller probe set, repeated."""

    def __init__(self, probe: Any, n: int) -> None:
        self.probe, self.n = probe, n
        self.fingerprint, self.max_pixels = f"{probe.fingerprint} x {n}", probe.max_pixels

    def __len__(self) -> int:
        return self.n

    def image(self, row: int) -> Any:
        return self.probe.image(row % len(self.probe))

    @property
    def captions(self) -> list[str]:
        return [self.probe.captions[row % len(self.probe)] for row in range(self.n)]


def measure(name: str, images: int, repeats: int) -> dict[str, Any]:
    """The row of one encoder; times are medians of `repeats` passes, taken in turn."""
    gpu = name == VIT_L
    device = torch.device("cuda" if gpu else "cpu")
    trainer = plain(chosen("trainer", "gpu" if gpu else "cpu"))
    probe = Repeated(_stamps(), images)
    encoder = (_vit_l() if gpu else build(plain(chosen("encoder", name)))).to(device, memory_format=torch.channels_last)
    size = int(trainer["batch_size"])
    one = encoder.collate([encoder.prepare(probe.image(row)) for row in range(size)]).to(device)
    _reset_peak()
    _forward(encoder, [one], gpu)
    own = peak_bytes()
    cold, peak = _cold(encoder, probe, trainer)
    decode, decoded = _timed(lambda: [probe.image(row) for row in range(images)])
    prepare, prepared = _timed(lambda: [encoder.prepare(image) for image in decoded])
    batches = [encoder.collate(prepared[start : start + size]).to(device) for start in range(0, images, size)]
    forwards, warms, colds = [], [], [cold]
    for _ in range(repeats):
        forwards.append(_timed(lambda: _forward(encoder, batches, gpu))[0])
        warms.append(_timed(lambda: _embed(encoder, probe, trainer))[0])
        predict.DECODED = DecodedImages()
        colds.append(_timed(lambda: _embed(encoder, probe, trainer))[0])
    forward, warm, cold = (statistics.median(times) for times in (forwards, warms, colds))
    few = torch.cat(batches)[:_AGREEMENT_IMAGES]
    return {
        "encoder": name,
        "device": torch.cuda.get_device_name() if gpu else "CPU",
        "precision": trainer["precision"],
        "images": images,
        "repeats": repeats,
        "batch_size": size,
        "threads": torch.get_num_threads(),
        "decode_seconds": decode,
        "prepare_seconds": prepare,
        "forward_seconds": forward,
        "loop_decoded_seconds": warm,
        "loop_cold_seconds": cold,
        "forward_images_per_second": images / forward,
        "loop_images_per_second": images / warm,
        "loop_to_forward": forward / warm,
        "cold_to_decode_and_forward": cold / (decode + forward),
        "model_mib": own / _MIB,
        "peak_mib": peak / _MIB,
        "added_mib": (peak - own) / _MIB,
        "batch_mib": one.numel() * one.element_size() / _MIB,
        "bf16_kendall_tau": precision_agreement(encoder, few),
    }


def _cold(encoder: Any, probe: Any, trainer: dict[str, Any]) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of a loop that starts without decoded images."""
    _embed(encoder, Repeated(probe.probe, int(trainer["batch_size"])), trainer)  # import and set up Lightning
    predict.DECODED = DecodedImages()
    _reset_peak()
    seconds, _ = _timed(lambda: _embed(encoder, probe, trainer))
    return seconds, peak_bytes()


def _embed(encoder: Any, probe: Any, trainer: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shards = Shards(Path(folder), "", range(len(probe)), int(trainer["shard_size"]))
        predict.predict_missing(encoder, probe, shards, TrainerSettings.of("trainer", trainer))


def _forward(encoder: Any, batches: list[torch.Tensor], gpu: bool) -> None:
    device = "cuda" if gpu else "cpu"
    encoder.to(device)  # Lightning leaves it on the CPU
    with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16, enabled=gpu):
        for batch in batches:
            encoder(batch)
    if gpu:
        torch.cuda.synchronize()


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _stamps() -> Any:
    return build(plain(chosen("probe", "stamps")))


def _vit_l() -> Encoder:
    """ViT-L/14 at 224 pixels with random weights, saved and loaded as a user's own checkpoint is."""
    import timm
    from safetensors.torch import save_file

    model = "vit_large_patch14_clip_224.openai"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(timm.create_model(model, pretrained=False).state_dict(), path)
        return TimmEncoder(VIT_L, model, checkpoint=str(path))


def _reset_peak() -> None:
    """Reset the kernel's count of peak memory (on Linux)."""
    references = Path("/proc/self/clear_refs")
    if references.exists():
        references.write_text("5")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
