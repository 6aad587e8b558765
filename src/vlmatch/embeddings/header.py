"""What is stored with embeddings: everything that decided their numbers, and what tables show of the model."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from vlmatch.encoders.about import About
from vlmatch.encoders.catalogue import CatalogueEntry, entry_of
from vlmatch.encoders.grids import vectors_of
from vlmatch.encoders.spec_sheet import FACTS, STATED, SpecSheet
from vlmatch.files import require_folder_name, sha256_of_file
from vlmatch.moved import to_first_names
from vlmatch.probes.pairs import ProbeSet
from vlmatch.settings.buildable import ModelSettings

FORMAT = 1
ITEMS = {"encoder": "images", "llm": "captions"}
"""What a model of each kind embeds."""

# Keys of a model's yaml that do not change the embeddings.
_ABOUT = ("name", "device_map", *FACTS)
_LATER = ("adapter", "layer")  # keys that were added to yamls later: null means the same as a spec without the key
# Keys whose value is a path if a file or folder of that name exists. So is any other value that looks like a path.
_PLACES = ("checkpoint", "repository", "path", "adapter")
_TEXTS = ("template",)  # keys whose value is never a path, whatever it looks like
HASHED_BYTES = 64 * 2**20  # files up to this size are hashed, in a tenth of a second, whenever an EmbeddingSpec is made


@dataclass(frozen=True)
class EmbeddingSpec:
    """What is requested: one model that embeds one probe set in one way.

    `settings` is the model's yaml without the keys that do not change the embeddings. A value that names a file or
    folder is replaced by what that holds (see `_stamp`). `version` is the version of the class that loads the model,
    plus the versions of its parts. `stated` is what an encoder's yaml says for its spec sheet; it is not part of the
    fingerprint, because it changes no embedding.
    """

    kind: str
    model: str
    settings: Mapping[str, Any]
    version: int
    probe: str
    probe_fingerprint: str
    n_pairs: int
    precision: str
    stated: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: ModelSettings, probe: ProbeSet, precision: int | str) -> Self:
        """The spec of `probe` embedded by this model. Raises VlmatchError if the model's name can't name a folder."""
        require_folder_name(f"{model.kind}.name", model.name)
        plain = model.plain()
        return cls(
            model.kind,
            model.name,
            _settings(plain),
            model.version,
            probe.key,
            probe.fingerprint,
            len(probe),
            str(precision),
            {key: plain[key] for key in STATED if plain.get(key) is not None},
        )

    @property
    def slug(self) -> str:
        """A readable folder name for the choices that a user sweeps, as `slug_of` gives it."""
        return slug_of(self.kind, self.settings, self.precision)

    @property
    def layer(self) -> int | None:
        """The layer that an encoder's yaml chooses; None if it chooses none, and for an LLM."""
        layer = self.settings.get("layer") if self.kind == "encoder" else None
        return None if layer is None else int(layer)

    @property
    def label(self) -> str:
        """The model's name in tables, with the layer of an encoder if one is chosen."""
        return self.model if self.layer is None else f"{self.model} @ layer {self.layer}"

    @property
    def recipe(self) -> str:
        """The slug, but the same for all layers: tables rank encoders at a chosen layer together, after the others."""
        if self.layer is None:
            return self.slug
        return slug_of(self.kind, {**self.settings, "layer": None}, self.precision) + ", one layer"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the spec without `stated`, and of the format: equal fingerprints mean equal embeddings."""
        asked = {key: value for key, value in asdict(self).items() if key != "stated"}
        text = json.dumps(to_first_names({**asked, "format": FORMAT}), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Header:
    """The description of one stored array, written into its safetensors file."""

    spec: EmbeddingSpec
    fingerprint: str
    dimension: int
    rule: str
    control: bool
    n_parameters: int | None
    weights_sha256: str | None
    preprocessing: Mapping[str, Any]
    licence: Mapping[str, str]
    array_sha256: str
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def about(self) -> About:
        """The description of the model at the time when it embedded."""
        return About(
            self.spec.model, self.rule, self.control, self.n_parameters, self.weights_sha256, self.preprocessing
        )

    @property
    def entry(self) -> CatalogueEntry | None:
        """The catalogue's entry of this encoder; None for an LLM, and for another model that has its name."""
        return entry_of(self.spec.model, self.n_parameters) if self.spec.kind == "encoder" else None

    @property
    def spec_sheet(self) -> SpecSheet:
        """What is known about an encoder besides its embeddings: what its yaml states, else what the catalogue says.

        The catalogue's entry must have the encoder's name and size. Its FLOPs, tokens and accuracy are used only at the
        entry's layer and resolution; a resolution that is not one number counts as the entry's. The width is that of
        one vector, not of all the vectors that a grid concatenates.
        """
        settings = self.spec.settings
        cells = vectors_of(str(settings.get("feature")))
        asked = settings.get("image_size")
        sheet = SpecSheet(parameters=self.n_parameters, width=self.dimension // cells, resolution=asked)
        if self.entry is not None:
            size = asked or self.preprocessing.get("size")
            side = size if isinstance(size, int) else None
            sheet = sheet.catalogued(self.entry, side=side, layer=self.spec.layer)
        return replace(sheet, **self.spec.stated)

    def to_json(self) -> str:
        """One JSON object, keys sorted: the same header is the same bytes."""
        return json.dumps(self.plain(), sort_keys=True, ensure_ascii=False)

    def plain(self) -> dict[str, Any]:
        """The header as plain values; files keep the spec under its first name, 'recipe'."""
        values = asdict(self)
        spec = values.pop("spec")
        if not spec["stated"]:
            del spec["stated"]  # so that the bytes are those that versions without `stated` wrote
        return {"recipe": spec, **values}

    @classmethod
    def from_json(cls, text: str) -> "Header":
        """The inverse of `to_json`; raises ValueError, KeyError or TypeError on anything else."""
        return cls.of_plain(json.loads(text))

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> "Header":
        """The inverse of `plain`; raises ValueError, KeyError or TypeError on anything else."""
        values = dict(plain)
        header = cls(spec=EmbeddingSpec(**values.pop("recipe")), **values)
        if header.fingerprint != header.spec.fingerprint:
            raise ValueError(f"the fingerprint of '{header.spec.model}' is not that of its spec")
        return header

    @property
    def shape(self) -> tuple[int, int]:
        """The array's shape: pairs, dimension."""
        return self.spec.n_pairs, self.dimension


def slug_of(kind: str, settings: Mapping[str, Any], precision: int | str) -> str:
    """A readable name for the choices that a user sweeps, and for the precision.

    Of an encoder: the feature rule, and the layer if one is chosen. Of an LLM: layer, pooling and template.

    settings: the model's plain settings. No file is read, unlike for an `EmbeddingSpec`, which hashes local weights.
    """
    if kind == "encoder":
        parts = [str(settings.get("feature", "paper"))]
        if settings.get("layer") is not None:
            parts.append(f"layer{settings['layer']}")
    else:
        parts = [f"layer{settings.get('layer', -2)}", str(settings.get("pooling", "last"))]
        template = str(settings.get("template", "{caption}"))
        if template != "{caption}":
            parts.append("template" + hashlib.sha256(template.encode()).hexdigest()[:6])
    if str(precision) != "32-true":
        parts.append(str(precision))
    return "_".join(parts)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a model's yaml that decides its embeddings, and likewise for the model's parts."""
    settings = {
        key: _settled(key, value)
        for key, value in config.items()
        if key not in _ABOUT and not (key in _LATER and value is None)
    }
    if "parts" in config:
        settings["parts"] = [_settings(part) for part in config["parts"]]
    return settings


def _settled(key: str, value: Any) -> Any:
    """The value of a yaml's key, with each file or folder replaced by what it holds, so that moving it changes nothing.

    It may also be a name, such as that of a repository.
    """
    if isinstance(value, Mapping):
        return {name: _settled(name, item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_settled(key, item) for item in value]
    if isinstance(value, str) and key not in _TEXTS and (key in _PLACES or "/" in value or value[:1] in (".", "~")):
        path = Path(os.path.expanduser(value))
        if path.is_file():
            return _stamp(path)
        if path.is_dir():
            return {str(file.relative_to(path)): _stamp(file) for file in sorted(path.rglob("*")) if file.is_file()}
    return value


def _stamp(path: Path) -> dict[str, Any]:
    """What identifies a file's content: its SHA-256, which a new checkout keeps; for a large file, size and time."""
    status = path.stat()
    if status.st_size <= HASHED_BYTES:
        return {"sha256": sha256_of_file(path)}
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns}
