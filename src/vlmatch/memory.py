"""Running out of memory: how the error is recognised, and what a user can do about it."""

EMBEDDING_ADVICE = (
    "choose a smaller model, a shorter number format (trainer.precision=bf16-mixed) or a device with more memory"
)
_TEXTS = ("out of memory", "can't allocate memory", "not enough memory")  # PyTorch's, on GPUs and on CPUs


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
