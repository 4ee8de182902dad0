"""The order of the layers: an import goes one way only, wherever in a file it stands."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import exo2micro

PACKAGE = Path(exo2micro.__file__).parent

LAYERS = (
    ("errors", "_typing", "_version", "verdict", "tables"),
    ("registry",),
    ("parameter",),
    ("defaults",),
    ("suffix",),
    ("config",),
    ("raster",),
    ("synthetic",),
    ("raw",),
    ("alignment",),
    ("subtraction",),
    ("detection",),
    ("stages",),
    ("plotting",),
    ("custom",),
    ("execution",),
    ("pipeline",),
    ("batch",),
    ("census",),
    ("report",),
    ("viewer",),
    ("cli",),
    ("utils",),
)
"""From the ground up: a module may import those of earlier rows and of its own name."""

RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}

HANDS_ON = {"defaults": ("exo2micro.suffix",)}
"""Higher layers that a module hands on when asked, since scripts seek their names there."""

KNOWS_ARRAYS_ONLY = ("alignment", "subtraction", "detection")
"""Layers that know arrays and rasters, not files, parameters or figures."""

FILES_AND_PARAMETERS = (
    "exo2micro.defaults",
    "exo2micro.suffix",
    "exo2micro.raster.atomic",
    "exo2micro.raster.checkpoint",
    "exo2micro.raster.fits",
    "exo2micro.raster.paths",
    "exo2micro.raster.record",
    "exo2micro.raster.tiff",
    "exo2micro.raw",
    "matplotlib",
    "tifffile",
    "astropy.io",
)

HEAVY = ("numpy", "scipy", "cv2", "skimage", "astropy", "matplotlib", "tifffile", "joblib", "rich")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    """Return the first part of a module's name below the package, '' for the package itself."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the absolute names of all modules that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                is_module = _is_module(f"{node.module}.{alias.name}")
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def _is_module(name: str) -> bool:
    relative = Path(*name.split(".")[1:])
    home = PACKAGE / relative
    return name.startswith("exo2micro.") and (
        home.with_suffix(".py").exists() or (home / "__init__.py").exists()
    )


def wrong_imports(path: Path) -> list[str]:
    """Return the imports of a module that go against the order."""
    own = layer_of(path)
    wrong = []
    for name in imported_modules(path):
        if name == "exo2micro":
            if own not in ("cli", "utils", "report"):
                wrong.append(name)
            continue
        if not name.startswith("exo2micro.") or name in HANDS_ON.get(own, ()):
            continue
        other = name.split(".")[1]
        if other != own and not (other in RANK and RANK[other] < RANK[own]):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_imports_from_lower_layers_only(path: Path) -> None:
    if layer_of(path) == "":
        return  # the package names everything, lazily: see test_import_is_light
    assert layer_of(path) in RANK, f"{path} has no place in the order of the layers: give it one"
    assert wrong_imports(path) == []


def test_an_upward_import_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raster.py").write_text("def f():\n    from exo2micro.pipeline import SampleDye\n")
    (tmp_path / "pipeline.py").write_text("import exo2micro.raster\n")
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    assert wrong_imports(tmp_path / "raster.py") == ["exo2micro.pipeline"]
    assert wrong_imports(tmp_path / "pipeline.py") == []


@pytest.mark.parametrize("layer", KNOWS_ARRAYS_ONLY)
def test_algorithms_know_arrays_only(layer: str) -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in modules()
        if layer_of(path) == layer
        for name in imported_modules(path)
        if any(name == taboo or name.startswith(f"{taboo}.") for taboo in FILES_AND_PARAMETERS)
    ]
    assert offenders == []


def test_figures_are_made_in_plotting_only_and_never_by_pyplot() -> None:
    for path in modules():
        names = [n for n in imported_modules(path) if n.split(".")[0] == "matplotlib"]
        assert not any(n.startswith("matplotlib.pyplot") for n in names), path
        if layer_of(path) != "plotting":
            assert not names or _is_for_types_only(path), path


def _is_for_types_only(path: Path) -> bool:
    """Tell whether matplotlib is named under TYPE_CHECKING alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    return all(
        id(node) in guarded
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("matplotlib")
    )


def test_the_library_never_prints() -> None:
    offenders = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert offenders == []


@pytest.mark.parametrize("statement", ["import exo2micro", "import exo2micro.cli"])
def test_import_is_light(statement: str) -> None:
    code = f"{statement}; import sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & set(HEAVY) == set()


def test_every_public_name_exists() -> None:
    missing = [name for name in exo2micro.__all__ if not hasattr(exo2micro, name)]
    assert missing == []


def test_cli_uses_public_names_only() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("exo2micro"):
                private = [a.name for a in node.names if a.name.startswith("_")]
                assert private in ([], ["__version__"]), f"{path}: {private}"
