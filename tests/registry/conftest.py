"""Real packages in a temporary folder on sys.path, and a cache folder that nobody else uses."""

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BASE = """
from exo2micro.registry import AutoRegisterMeta, PRIMARY_KEY, SecondaryRegistry

HELPERS = {{}}

class Plugin(metaclass=AutoRegisterMeta):
    __registry_key__ = "name"
    __secondary_registries__ = [SecondaryRegistry(HELPERS, PRIMARY_KEY, "helper")]
    {extra}
    name = None
    helper = None

PLUGINS = Plugin.__registry__
"""

_numbers = itertools.count()


class Package:
    """A package on disk: write and remove modules, import them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.name = name

    def write(self, module: str, text: str) -> Path:
        path = self.folder / f"{module}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def write_base(self, *lines: str) -> None:
        self.write("__init__", "")
        self.write("base", BASE.format(extra="\n    ".join(lines)))

    def write_plugin(self, key: str, module: str | None = None, body: str = "") -> Path:
        return self.write(
            module or key,
            f"from {self.name}.base import Plugin\n"
            f"class {key.title()}Helper: pass\n"
            f"class {key.title()}(Plugin):\n"
            f"    name = {key!r}\n"
            f"    helper = {key.title()}Helper\n" + body,
        )

    def load(self, module: str = "base"):
        name = f"{self.name}.{module}"
        __import__(name)
        return sys.modules[name]

    @property
    def imported(self) -> set[str]:
        """The modules of the package that are imported now, without the package's name."""
        prefix = f"{self.name}."
        return {n.removeprefix(prefix) for n in sys.modules if n.startswith(prefix)}

    def unload(self) -> None:
        """Forget all imports, as a new process would."""
        for name in [n for n in sys.modules if n == self.name or n.startswith(f"{self.name}.")]:
            del sys.modules[name]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "exo2micro" / "registry"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return folder


@pytest.fixture
def make_package(site: Path) -> Iterator[Callable[..., Package]]:
    made: list[Package] = []

    def make(
        *base_lines: str,
        plugins: tuple[str, ...] = (),
        folder: Path = site,
        name: str | None = None,
    ) -> Package:
        package = Package(folder, name or f"e2m_plugins_{next(_numbers)}")
        package.write_base(*base_lines)
        for key in plugins:
            package.write_plugin(key)
        made.append(package)
        return package

    yield make
    for package in made:
        package.unload()
