"""Secrets in a config: found, so that they can be refused before they are written, and masked wherever one is shown."""

import re
from collections.abc import Iterator
from typing import Any

MASK = "***"
_NAME = re.compile(
    r"(^|_)(token|secret|password|passwd|pwd|passphrase|credentials?|(api|access|private)_?key)($|_)", re.IGNORECASE
)
_USER = re.compile(r"(?<=://)[^/\s'\"]+@")  # the user in an address, with or without a password, which may have an @
_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_REFERENCE = re.compile(r"\$\{[^{},]*(,null)?\}")  # with another default than null, it may contain the secret


def masked(node: Any) -> Any:
    """A plain config with the value of every key that looks like a secret, and the user in every address, masked."""
    if isinstance(node, dict):
        return {key: MASK if _NAME.search(str(key)) and value else masked(value) for key, value in node.items()}
    if isinstance(node, list):
        return [masked(value) for value in node]
    return masked_addresses(node) if isinstance(node, str) else node


def masked_addresses(text: str) -> str:
    """The text with `user:password@` in addresses masked."""
    return _USER.sub(f"{MASK}@", text)


def secrets_in(node: Any, name: str = "") -> Iterator[str]:
    """The dotted names of what looks like a secret in a config that is not resolved.

    An interpolation such as `${oc.env:MLFLOW_PASSWORD}` does not count: it only names the place of the secret.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            yield from secrets_in(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list):
        for value in node:
            yield from secrets_in(value, name)
    elif node and not isinstance(node, bool):
        literal = _REFERENCE.sub("", str(node)).strip("'\"")
        if (literal and _NAME.search(name.rpartition(".")[2])) or _PASSWORD.search(literal):
            yield name


def secrets_in_overrides(overrides: list[str]) -> Iterator[str]:
    """The same for the words of a command line, `key=value` each."""
    for override in overrides:
        key, _, value = override.partition("=")
        yield from secrets_in({key.lstrip("+~"): value})
