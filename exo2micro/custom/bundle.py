"""One file that carries custom functions to another machine."""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from exo2micro._version import __version__
from exo2micro.custom.function import CustomFunction, hash_of
from exo2micro.custom.names import check_form
from exo2micro.custom.validation import MAX_LENGTH
from exo2micro.errors import CustomFunctionError
from exo2micro.raster.atomic import write_atomically

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""Of every entry: the same functions give the same bytes."""


def write_bundle(path: Path, functions: Iterable[CustomFunction]) -> None:
    """Write functions to one zip file: a manifest with their hashes, and a file for each."""
    chosen = sorted(functions, key=lambda f: f.name)
    manifest = {
        "format": FORMAT,
        "exo2micro": __version__,
        "functions": [{"name": f.name, "kind": f.kind, "sha256": f.sha256} for f in chosen],
    }
    entries = {_MANIFEST: json.dumps(manifest, indent=1)} | {f"{f.name}.py": f.code for f in chosen}

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in entries.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), text, zipfile.ZIP_DEFLATED)

    write_atomically(path.absolute(), write)


def read_bundle(path: Path) -> dict[str, str]:
    """Return the sources of a bundle by name; nothing is written or executed.

    Raises
    ------
    CustomFunctionError
        If the file is no bundle, is damaged, or holds something else than it says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(_text(archive, _MANIFEST))
            if manifest["format"] != FORMAT:
                msg = f"{path} has the bundle format {manifest['format']}; update exo2micro"
                raise CustomFunctionError(msg)
            return {row["name"]: _checked(archive, row) for row in manifest["functions"]}
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        if isinstance(error, CustomFunctionError):
            raise
        msg = f"{path} is no bundle of custom functions, or damaged: {error}; export it again"
        raise CustomFunctionError(msg) from error


def _checked(archive: zipfile.ZipFile, row: dict[str, str]) -> str:
    check_form(row["name"])
    code = _text(archive, f"{row['name']}.py")
    if hash_of(code) != row["sha256"]:
        msg = f"the source of {row['name']!r} does not have the hash that the bundle says"
        raise CustomFunctionError(msg)
    return code


def _text(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > MAX_LENGTH * 4:
        msg = f"{name} is too large for a source"
        raise CustomFunctionError(msg)
    return archive.read(name).decode()
