"""Run the shell blocks of the README and the documentation as a new user would.

Each page's ``sh`` blocks run in order in one new shell, in an empty folder, with the clone made
from this checkout. Blocks of another language (``text``, ``console``) are not run. Pages whose
commands need data run in the folder of the demonstration.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLONE = "git clone REPOSITORY exo2micro"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

README_TESTS = "tests/test_layering.py"
"""The tests that the README's test command runs here; the whole suite runs as CI's last step."""


def shell_blocks(page: Path) -> Iterator[str]:
    """Yield the shell blocks of a page."""
    yield from BLOCK.findall(page.read_text(encoding="utf-8"))


def run_page(page: Path, folder: Path, environment: dict[str, str]) -> None:
    """Run the blocks of one page in one shell; the first failing command ends it."""
    script = "\n".join(shell_blocks(page))
    if not script.strip():
        return
    print(f"-- {page.relative_to(ROOT)}", flush=True)
    script = script.replace(CLONE, f"git clone --quiet {shlex.quote(str(ROOT))} exo2micro")
    subprocess.run(
        ["bash", "-eu", "-x", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        check=True,
    )


def main() -> int:
    # The clone's owner may be another user than the one who runs this.
    environment = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PYTEST_ADDOPTS": README_TESTS,
    }
    environment.pop("VIRTUAL_ENV", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment["EXO2MICRO_CONFIG_DIR"] = str(folder / "user")
        try:
            run_page(ROOT / "README.md", folder, environment)
            clone = folder / "exo2micro"
            environment["PATH"] = f"{clone / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
            for page in sorted((ROOT / "docs").glob("*.md")):
                run_page(page, clone / "demo", environment)
        except subprocess.CalledProcessError as error:
            print(f"a documented command failed with exit code {error.returncode}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
