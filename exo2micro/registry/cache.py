"""Remembers between processes which modules of a package hold plugins.

A cache is only a shortcut: it is used while the recorded files are what they were, and whatever
is wrong with it leads to a new discovery, never to a wrong or incomplete registry.
"""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from exo2micro.registry.exceptions import CacheError

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SECONDS_PER_DAY = 24 * 3600
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MODULE_SUFFIXES = tuple(importlib.machinery.all_suffixes())


@dataclass(frozen=True)
class CacheConfig:
    """When a cache is too old to be used.

    Parameters
    ----------
    max_age_days : float
        Age limit in days.
    check_mtimes : bool
        Refuse the cache if a recorded file was changed or removed, or if a module file or a
        folder came to or went from a folder that holds recorded files.
    cache_version : str
        Version of the format; a cache of another version is refused.
    """

    max_age_days: float = 7
    check_mtimes: bool = False
    cache_version: str = "1.0"


class RegistryCacheManager(Generic[T]):
    """Keeps the items of one registry in a JSON file.

    Parameters
    ----------
    cache_name : str
        Name of the file, without suffix. It must differ between registries: put the package in.
    version_getter : callable
        Returns the version of what is cached; a cache of another version is refused.
    serializer, deserializer : callable
        Turn an item into what JSON can hold, and back. One item that fails makes the whole cache
        unusable, because a part of it would hide plugins.
    config : CacheConfig, optional
        When a cache is refused.
    """

    def __init__(
        self,
        cache_name: str,
        version_getter: Callable[[], str],
        serializer: Callable[[T], dict[str, Any]],
        deserializer: Callable[[dict[str, Any]], T],
        config: CacheConfig | None = None,
    ) -> None:
        self.cache_name = cache_name
        self.version_getter = version_getter
        self.serializer = serializer
        self.deserializer = deserializer
        self.config = config or CacheConfig()
        self._cache_path = get_cache_file_path(f"{cache_name}.json")

    def load_cache(self) -> dict[str, T] | None:
        """Return the cached items; None if there is no cache or it must not be used.

        A corrupt file is removed and a log record at level WARNING says so.
        """
        version = self.version_getter()
        try:
            content = json.loads(self._cache_path.read_bytes())
            reason = self._refusal(content, version)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("registry cache %s cannot be read: %s", self._cache_path, error)
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning(
                "registry cache %s is corrupt and is built anew: %s", self._cache_path, error
            )
            self._remove_corrupt()
            return None
        if reason:
            logger.debug("registry cache %s is not used: %s", self._cache_path, reason)
            return None
        try:
            return {key: self.deserializer(item) for key, item in content["items"].items()}
        except Exception as error:  # noqa: BLE001 - the deserializer is the caller's
            logger.warning("registry cache %s is not used: %s", self._cache_path, error)
            return None

    def _remove_corrupt(self) -> None:
        try:
            self._cache_path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("registry cache %s cannot be removed: %s", self._cache_path, error)

    def _refusal(self, content: dict[str, Any], version: str) -> str:
        """Return why the cache must not be used, empty if it may; malformed content raises."""
        if content["cache_version"] != self.config.cache_version:
            return f"format {content['cache_version']}, needed {self.config.cache_version}"
        if content["version"] != version:
            return f"made for version {content['version']}, now {version}"
        age_days = (time.time() - content["timestamp"]) / _SECONDS_PER_DAY
        if not 0 <= age_days <= self.config.max_age_days:
            return f"{age_days:.1f} days old, the limit is {self.config.max_age_days}"
        content["items"].items()
        if self.config.check_mtimes:
            if _mtimes(content["file_mtimes"]) != content["file_mtimes"]:
                return "a file was changed or removed"
            if _listings(content["file_mtimes"]) != content["listings"]:
                return "a file was added or removed"
        return ""

    def save_cache(
        self, items: Mapping[str, T], file_mtimes: Mapping[str, float] | None = None
    ) -> None:
        """Write the items; readers see the old file or the new one, never a part.

        A failure is logged at level WARNING and leaves the old file as it is: without a cache
        everything still works.

        Parameters
        ----------
        items : mapping
            What to keep.
        file_mtimes : mapping of str to float, optional
            Modification times that the items depend on, see `get_package_file_mtimes`.
        """
        mtimes = dict(file_mtimes or {})
        try:
            content = {
                "cache_version": self.config.cache_version,
                "version": self.version_getter(),
                "timestamp": time.time(),
                "file_mtimes": mtimes,
                "listings": _listings(mtimes),
                "items": {key: self.serializer(item) for key, item in items.items()},
            }
            self._write(content)
        except Exception as error:  # noqa: BLE001 - the serializer is the caller's
            logger.warning("registry cache %s is not written: %s", self._cache_path, error)

    def _write(self, content: dict[str, Any]) -> None:
        self._cache_path.parent.mkdir(parents=True, exist_ok=True)
        unique = f"{os.getpid()}-{threading.get_ident()}"
        temporary = self._cache_path.with_name(f".{self._cache_path.name}.{unique}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._cache_path)
        finally:
            temporary.unlink(missing_ok=True)

    def clear_cache(self) -> None:
        """Remove the file, if there is one.

        Raises
        ------
        CacheError
            If it cannot be removed.
        """
        try:
            self._cache_path.unlink(missing_ok=True)
        except OSError as error:
            msg = f"cannot remove the registry cache {self._cache_path}: {error}; remove it by hand"
            raise CacheError(msg) from error


def get_cache_file_path(name: str) -> Path:
    """Return the path of a registry cache file and try to make its folder.

    Parameters
    ----------
    name : str
        File name of letters, digits, ``.``, ``_`` and ``-``; ``.json`` is added if it is missing.

    Returns
    -------
    pathlib.Path
        ``exo2micro/registry/<name>.json`` in ``$XDG_CACHE_HOME``, or in ``~/.cache`` where that
        is not set to an absolute path.

    Raises
    ------
    CacheError
        If the name could lead out of the folder, or there is no home folder.

    References
    ----------
    XDG Base Directory Specification, version 0.8.
    """
    if not _NAME.fullmatch(name):
        msg = (
            f"the name of a registry cache must consist of letters, digits, '.', '_' and '-' and "
            f"not begin with '.' or '-', got {name!r}; choose another registry name"
        )
        raise CacheError(msg)
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        root = configured if configured.is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        msg = f"there is no home folder for the registry cache ({error}); set XDG_CACHE_HOME"
        raise CacheError(msg) from error
    folder = root / "exo2micro" / "registry"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.debug("no registry cache: %s", error)
    return folder / (name if name.endswith(".json") else f"{name}.json")


def serialize_plugin_class(plugin_class: type) -> dict[str, Any]:
    """Return module, name and qualified name of a class, from which it can be found again."""
    return {
        "module": plugin_class.__module__,
        "class_name": plugin_class.__name__,
        "qualname": plugin_class.__qualname__,
    }


def deserialize_plugin_class(data: dict[str, Any]) -> type:
    """Import the module of a class and return the class.

    Parameters
    ----------
    data : dict
        What `serialize_plugin_class` returned.

    Raises
    ------
    ImportError
        If the module cannot be imported.
    CacheError
        If it holds no class of that name.
    """
    module = importlib.import_module(data["module"])
    path = data["qualname"]
    found: Any = module
    for part in [data["class_name"]] if "<locals>" in path else path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or found.__qualname__ != path:
        msg = f"module {data['module']} holds no class {path}; clear the registry cache"
        raise CacheError(msg)
    return found


def get_package_file_mtimes(package_path: str) -> dict[str, float]:
    """Return the modification times of all module files of a package, subpackages included.

    Parameters
    ----------
    package_path : str
        Dotted name of a package or module. Only its parents are imported.

    Returns
    -------
    dict of str to float
        Absolute path to seconds since the epoch; empty if there is no such package on disk.
    """
    return {path: stat.st_mtime for path, stat in package_files(package_path).items()}


def package_files(package_path: str) -> dict[str, os.stat_result]:
    """Return all module files of a package with what the file system says about them."""
    try:
        spec = importlib.util.find_spec(package_path)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return {}
    folders = [Path(folder).absolute() for folder in spec.submodule_search_locations or ()]
    paths = [path for folder in folders for path in _module_files(folder)]
    if not folders and spec.has_location and spec.origin:
        paths = [Path(spec.origin)]
    return {str(path): path.stat() for path in sorted(paths) if path.is_file()}


def _module_files(folder: Path) -> Iterator[Path]:
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if name.isidentifier() and _is_seen(name)]
        yield from (Path(parent, name) for name in names if name.endswith(_MODULE_SUFFIXES))


def _is_seen(name: str) -> bool:
    return name != "__pycache__" and not name.startswith(".")


def _mtimes(paths: Mapping[str, float]) -> dict[str, float]:
    return {path: Path(path).stat().st_mtime for path in paths if Path(path).exists()}


def _listings(paths: Mapping[str, float]) -> dict[str, list[str]]:
    """Return the module files and folders beside the given files, by folder."""
    return {
        str(folder): sorted(
            entry.name
            for entry in os.scandir(folder)
            if _is_seen(entry.name) and (entry.is_dir() or entry.name.endswith(_MODULE_SUFFIXES))
        )
        for folder in sorted({Path(path).parent for path in paths})
        if folder.is_dir()
    }


def environment_fingerprint(package_path: str) -> str:
    """Return a digest that changes when plugins of a package may have come, gone or changed.

    It tells the interpreter, the package's version, all its module files with size and time, and
    the time of the folders that other distributions are installed into: a plugin module may
    define its classes only where some library is there.
    """
    root = sys.modules.get(package_path.partition(".")[0])
    files = [
        f"{path}:{stat.st_mtime_ns}:{stat.st_size}"
        for path, stat in package_files(package_path).items()
    ]
    installed = [
        f"{folder}:{Path(folder).stat().st_mtime_ns}"
        for folder in sys.path
        if folder.endswith(("site-packages", "dist-packages")) and Path(folder).is_dir()
    ]
    version = getattr(root, "__version__", "")
    text = "\n".join([sys.version, str(version), *installed, *files])
    return hashlib.sha256(text.encode()).hexdigest()
