"""Configuration files: where they lie and what they say."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from exo2micro.config.layer import Layer
from exo2micro.config.lines import key_lines, line_of
from exo2micro.config.options import (
    OPTIONS,
    option_section,
    refuse_other_stage,
    row_of,
    unknown_name,
)
from exo2micro.config.pairs import PAIR_KEYS, PairLayer, layers_of_pair
from exo2micro.config.snapshot import Snapshot, resolve_layers
from exo2micro.config.source import Setting, Source
from exo2micro.defaults import PARAMETER_REGISTRY
from exo2micro.errors import ConfigError, ParameterError
from exo2micro.parameter import Value

FOLDER_VARIABLE = "EXO2MICRO_CONFIG_DIR"
"""Environment variable that names another folder for the user file."""

USER_FILE = "config.toml"
PROJECT_FILE = "exo2micro.toml"

_STAGE = "stage"
_STAGES = "stages"
_OVERRIDES = "overrides"


@dataclass(frozen=True)
class ExtraStage:
    """A stage of the user's own as a file describes it; what it means is not decided here.

    Attributes
    ----------
    values : mapping
        An item of ``[[stages]]``, or ``[stage.NAME]`` with its name under ``name``.
    source : Source
        Where it stands.
    """

    values: Mapping[str, Any]
    source: Source


@dataclass(frozen=True)
class ConfigFile:
    """What one configuration file says.

    Attributes
    ----------
    path : Path
        The file.
    layers : tuple of Layer
        Its settings: what holds for the whole file, then its stage tables, which hide the former.
    extra_stages : tuple of ExtraStage
        Stages of the user's own.
    pair_layers : tuple of PairLayer
        Settings that hold for some pairs only; they hide those of the whole file.
    """

    path: Path
    layers: tuple[Layer, ...] = ()
    extra_stages: tuple[ExtraStage, ...] = ()
    pair_layers: tuple[PairLayer, ...] = ()


def user_file() -> Path:
    """Return where the user's file lies, whether or not there is one."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        return Path(folder) / USER_FILE
    import platformdirs

    return platformdirs.user_config_path("exo2micro", appauthor=False) / USER_FILE


def project_file(raw_dir: str | os.PathLike[str] = "raw") -> Path:
    """Return where the file of a project lies: beside its folder of raw files."""
    raw = Path(raw_dir)
    if raw.name in ("", ".."):
        raw = Path(os.path.abspath(raw))  # noqa: PTH100 - a link to the scans is not followed
    return raw.parent / PROJECT_FILE


def read_config_file(path: str | os.PathLike[str], layer: str = "project file") -> ConfigFile:
    """Return what a configuration file says; an absent file says nothing.

    Parameters
    ----------
    path : path
        The file.
    layer : str
        The layer that it belongs to.

    Raises
    ------
    ConfigError
        For a file that cannot be read, an unknown name, a wrong type or a value out of range,
        with file, line and the nearest valid name.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile(path)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a configuration: {error}"
        raise ConfigError(msg) from error
    return parse_config(text, path, layer)


def parse_config(text: str, path: Path, layer: str) -> ConfigFile:
    """Return what the text of a configuration file says; see `read_config_file`."""
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{path} is not valid TOML: {error}"
        raise ConfigError(msg) from None
    return _Reading(path, layer, content, key_lines(text)).result()


def read_config_files(raw_dir: str | os.PathLike[str] = "raw") -> tuple[ConfigFile, ConfigFile]:
    """Return what the user file and the project file say.

    Raises
    ------
    ConfigError
        If one of them says what is not allowed.
    """
    user = read_config_file(user_file(), "user file")
    return user, read_config_file(project_file(raw_dir), "project file")


def resolve_config(
    raw_dir: str | os.PathLike[str] = "raw", *layers: Layer, pair: tuple[str, str] | None = None
) -> Snapshot:
    """Return the effective settings of a project: its files, and further layers on top.

    Parameters
    ----------
    raw_dir : path
        Folder of raw files; the project file lies beside it.
    *layers : Layer
        Further layers.
    pair : tuple of str, optional
        Sample and dye, for which a file may have settings of their own.

    Raises
    ------
    ConfigError
        If a file says what is not allowed.
    """
    files = read_config_files(raw_dir)
    general = [layer for file in files for layer in file.layers]
    own = [layer for file in files for layer in layers_of_pair(file.pair_layers, *pair or ("", ""))]
    return resolve_layers((*general, *own, *layers))


@dataclass(frozen=True)
class _Reading:
    """One file being read."""

    path: Path
    layer: str
    content: Mapping[str, Any]
    lines: dict[tuple[str, ...], int]

    def result(self) -> ConfigFile:
        general: dict[str, Setting] = {}
        for key, value in self.content.items():
            if key in (_STAGE, _STAGES, _OVERRIDES):
                continue
            if key in OPTIONS:
                general |= self._section(key, value)
            else:
                general |= {key: self._parameter((key,), value)}
        by_stage: dict[str, Setting] = {}
        extra = list(self._listed_stages())
        for name, table in self._table((_STAGE,)).items():
            if name.isdecimal():
                by_stage |= self._stage(name)
            else:
                values = {"name": name} | dict(self._table((_STAGE, name)) if table else {})
                extra.append(ExtraStage(values, self._source((_STAGE, name))))
        layers = (Layer(self.layer, found) for found in (general, by_stage) if found)
        return ConfigFile(self.path, tuple(layers), tuple(extra), tuple(self._pair_layers()))

    def _section(self, section: str, table: object) -> dict[str, Setting]:
        if not isinstance(table, Mapping):
            self._refuse((section,), f"{section} is a table: write [{section}]")
        found = {}
        for name, value in table.items():
            path = (section, name)
            if name not in OPTIONS[section]:
                self._refuse(path, _misplaced(name, section))
            found[name] = Setting(self._value(path, name, value), self._source(path))
        return found

    def _stage(self, number: str) -> dict[str, Setting]:
        found = {}
        for name, value in self._table((_STAGE, number)).items():
            path = (_STAGE, number, name)
            try:
                refuse_other_stage(name, int(number))
            except ParameterError as error:
                self._refuse(path, str(error))
            found[name] = self._parameter(path, value)
        return found

    def _listed_stages(self) -> Iterator[ExtraStage]:
        for path, item in self._items(_STAGES):
            yield ExtraStage(item, self._source(path))

    def _pair_layers(self) -> Iterator[PairLayer]:
        for path, item in self._items(_OVERRIDES):
            if not any(item.get(key) for key in PAIR_KEYS):
                self._refuse(path, "overrides need a sample, a dye, or both: sample = 'NAME'")
            for key in PAIR_KEYS:
                if not isinstance(item.get(key, ""), str):
                    self._refuse((*path, key), f"{key} must be a name, got {item[key]!r}")
            names = [name for name in item if name not in PAIR_KEYS]
            settings = {name: self._parameter((*path, name), item[name]) for name in names}
            sample, dye = (item.get(key) or None for key in PAIR_KEYS)
            layer = Layer(self.layer, settings)
            yield PairLayer(sample, dye, layer, self._source(path))

    def _items(self, key: str) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
        """Yield path and content of each table of a list."""
        items = self.content.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            self._refuse((key,), f"{key} is a list of tables: write [[{key}]]")
        for number, item in enumerate(items):
            yield (key, str(number)), item

    def _parameter(self, path: tuple[str, ...], value: object) -> Setting:
        name = path[-1]
        if name not in PARAMETER_REGISTRY:
            self._refuse(path, _misplaced(name, ""))
        return Setting(self._value(path, name, value), self._source(path))

    def _value(self, path: tuple[str, ...], name: str, value: object) -> Value:
        row = row_of(name)
        if row.nullable and isinstance(value, str) and value.lower() in ("off", "none"):
            return None
        try:
            return row.validated(value, name)
        except ParameterError as error:
            self._refuse(path, str(error).replace("None (off)", '"off"'))

    def _table(self, path: tuple[str, ...]) -> Mapping[str, Any]:
        table: Any = self.content
        for part in path:
            table = table.get(part, {})
        if not isinstance(table, Mapping):
            self._refuse(path, f"{'.'.join(path)} is a table: write [{'.'.join(path)}]")
        return table

    def _source(self, path: tuple[str, ...]) -> Source:
        return Source(self.layer, str(self.path), line_of(self.lines, path))

    def _refuse(self, path: tuple[str, ...], text: str) -> NoReturn:
        line = line_of(self.lines, path)
        msg = f"{self.path}, line {line}: {text}"
        raise ConfigError(msg)


def _misplaced(name: str, section: str) -> str:
    """Return what to say of a name that does not stand where it should."""
    right = option_section(name)
    if right is not None:
        return f"{name} belongs into the table [{right}]"
    if section and name in PARAMETER_REGISTRY:
        return f"{name} is a parameter: it belongs above all tables, or into a table [stage.N]"
    known = [*PARAMETER_REGISTRY, *OPTIONS, *(n for rows in OPTIONS.values() for n in rows)]
    return unknown_name(name, [*known, _STAGE, _STAGES, _OVERRIDES])
