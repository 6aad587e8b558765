"""The base class of encoders that read their weights from one file in a package."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from vlmatch.encoders.base import EncoderOptions
from vlmatch.encoders.maps import FeatureMapEncoder
from vlmatch.encoders.weights import local_path
from vlmatch.errors import VlmatchError
from vlmatch.files import joint_sha256, sha256_of_file
from vlmatch.packages.availability import Availability, in_packages
from vlmatch.packages.package import Package, package_folder
from vlmatch.packages.unpacked import refuse_changed


class PackagedOptions(EncoderOptions, total=False):
    """The options of a packaged encoder: those of every encoder, and where its weights are.

    package: name, version and sha256 of the package (see `Package`). file: the weight file inside it.
    checkpoint: the path of a local weight file, which is used instead of the package.
    """

    package: Mapping[str, str] | None
    file: str | None
    checkpoint: str | None


class PackagedEncoder(FeatureMapEncoder):
    """An encoder with the weights of one file in a package, or of a local file, and preprocessing from its yaml.

    The constructor finds the weights, compares them with what the package held when it was unpacked, and sets
    `weight_path` and `weights_sha256`. A subclass then builds its model from `weight_path`.
    Raises NotHereError if the weights are not available, VlmatchError if they have changed or are not named.
    """

    def __init__(
        self,
        name: str,
        preprocessing: Mapping[str, Any],
        *,
        package: Mapping[str, str] | None = None,
        file: str | None = None,
        checkpoint: str | None = None,
        **options: Unpack[EncoderOptions],
    ) -> None:
        super().__init__(name, preprocessing, **options)
        if checkpoint is not None:
            self.weight_path = local_path(name, checkpoint)
        elif package is not None and file is not None:
            self.weight_path = _member(name, Package.of(package), file)
        else:
            raise VlmatchError(
                f"encoder '{name}': no weights named; give encoder.checkpoint, or encoder.package and encoder.file"
            )
        digests = {path: sha256_of_file(path) for path in self.weight_files()}
        if checkpoint is None and package is not None:
            refuse_changed(Package.of(package).folder, digests)
        self.weights_sha256 = joint_sha256(list(digests.values()))

    @classmethod
    def availability(cls, settings: Mapping[str, Any]) -> Availability:
        """Whether the weights are at the local `checkpoint`, if one is named; else whether the package is here."""
        package = settings.get("package")
        return super().availability(settings) if settings.get("checkpoint") or not package else in_packages([package])

    def weight_files(self) -> list[Path]:
        """All files that the weights are read from."""
        return [self.weight_path]


def _member(name: str, package: Package, file: str) -> Path:
    """The path of a file in a package, which is downloaded if need be."""
    path = package_folder(package) / file
    if not path.is_file():
        raise VlmatchError(
            f"encoder '{name}': file='{file}' is not in package '{package.name}'; name a file of this package"
        )
    return path
