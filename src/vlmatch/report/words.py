"""How the report writes sentences and shares."""

from vlmatch.evidence.replay import Figure


def opening(words: str) -> str:
    """Words that begin in lower case, as the beginning of a sentence."""
    return words[:1].upper() + words[1:]


def sentence(words: str) -> str:
    """Words that begin in lower case as a sentence."""
    return opening(words) + ("" if words.endswith((".", "?", "!")) else ".")


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:z.0f}%"


def with_interval(figure: Figure) -> str:
    """A share as a percentage, with its interval in brackets; '-' where it is not known."""
    if figure.value is None:
        return "-"
    between = "" if figure.low is None or figure.high is None else f" [{percent(figure.low)}, {percent(figure.high)}]"
    return percent(figure.value) + between
