"""A probe set by the name of its yaml, or from a folder or table of your own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vlmatch.api.settings import settings_named
from vlmatch.configs import choices, unknown_choice
from vlmatch.errors import VlmatchError
from vlmatch.objects import build
from vlmatch.probes.fetch import fetch_stamps
from vlmatch.probes.pairs import ProbeSet
from vlmatch.probes.text import encoding_of
from vlmatch.settings.buildable import ProbeSettings

Probe: TypeAlias = "ProbeSet | str | Path | Mapping[str, Any] | ProbeSettings"
"""A probe set, the name of a yaml in conf/probe, the path of a folder or table, or settings."""


def probe(source: Probe, /, **options: Any) -> ProbeSet:
    """Read image-caption pairs.

    source: the name of a yaml in `conf/probe` ('stamps', 'llava', ...), or the path of your own folder with
    captions.csv (columns image, caption), of such a table itself, of a zip file with both, of a LLaVA json (a list, or
    lines), of a WebDataset's shards (.tar) or of Parquet files. For the last two it can also be a pattern, such as
    'a-{000..009}.tar' or 'a-*.parquet'. options: keys of its yaml, such as `limit`, `sample`, `seed`, `bad_rows`.

    Data that come inside a package are fetched at first use.
    Raises VlmatchError if there is no such probe or option, or if an entry is bad.

    >>> import vlmatch
    >>> pairs = vlmatch.probe("pictures", limit=4)  # a folder
    >>> len(pairs), pairs.captions[0]
    (4, 'A red ellipse.')
    """
    if isinstance(source, ProbeSet):
        if options:
            raise VlmatchError(
                f"probe options {', '.join(options)}: this probe has already been read; give them to vlmatch.probe(...)"
            )
        return source
    if isinstance(source, Mapping | ProbeSettings):
        plain = source.plain() if isinstance(source, ProbeSettings) else dict(source)
        return _built(ProbeSettings.of("probe", {**plain, **options}))
    if isinstance(source, str) and source in choices("probe"):
        return _built(ProbeSettings.of("probe", settings_named("probe", source, options)))
    path = Path(source).expanduser()
    reader = READERS.get(path.suffix.lower(), "folder")
    if reader == "folder" and not path.exists():
        raise VlmatchError(f"{unknown_choice('probe', str(source))}; and there is no folder or file of this name")
    if path.suffix.lower() in CONVERSATIONS and _holds_conversations(path):
        reader = "llava"
    return _built(ProbeSettings.of("probe", settings_named("probe", reader, {"path": str(path), **options})))


READERS = {".tar": "webdataset", ".parquet": "parquet"}
"""By the ending of files or of a pattern, the yaml that reads them; any other file or folder is read by `folder`."""

CONVERSATIONS = (".json", ".jsonl")
"""The endings of files that `llava` reads if they hold conversations."""

_START = 100_000  # the first conversation of a json begins within so many bytes


def _holds_conversations(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_START)
    text = start.decode(encoding_of(start)[0], "replace")
    return any(f'"{key}"' in text for key in ("conversations", "messages"))


def _built(settings: ProbeSettings) -> ProbeSet:
    """Build the probe set, after fetching its data if a package holds them and they are not here yet."""
    if settings.archive is not None and settings.path is not None and not Path(settings.path).exists():
        fetch_stamps(Path(settings.path), settings.archive.build())
    found: ProbeSet = build(settings.plain())
    return found
