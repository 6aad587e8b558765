"""Memory: what scoring takes, how running out of it is recognised, and what a user can do about it."""

EMBEDDING_ADVICE = (
    "choose a smaller model, a shorter number format (trainer.precision=bf16-mixed) or a device with more memory"
)
_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")  # PyTorch's, on GPUs and on CPUs
MANY_PAIRS = 2000
"""From so many pairs on, scoring says before what it will take, and each slow score that it is being computed."""
_SUBSAMPLES = 1.6 * 2**30  # bytes: 20 of 500 pairs; measured with the default scores at 1,000 and 1,500 pairs
_PER_SQUARE = 190  # bytes for each two pairs, measured likewise


def scoring_line(n_pairs: int) -> str:
    """What the default scores of so many pairs take, for the line that is printed before."""
    gib = (_SUBSAMPLES + _PER_SQUARE * n_pairs**2) / 2**30
    return (
        f"{n_pairs:,} pairs take about {gib:.0f} GiB of memory for the default scores, and GW's time grows with their "
        "cube; probe.sample=1000 takes 2 GiB"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on this machine.

    PyTorch has a class for a GPU's error alone: a CPU's is a plain RuntimeError that only its text tells apart.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _TEXTS)


def training_advice(stage: int) -> str:
    """What makes stage number `stage` of a recipe (counted from 0) take less memory."""
    key = f"recipe.stages.{stage}"
    return (
        f"give a larger {key}.accumulate, which trains on the same samples in smaller parts, "
        f"{key}.gradient_checkpointing=true, trainer=fsdp on several GPUs, or a narrower encoder"
    )
