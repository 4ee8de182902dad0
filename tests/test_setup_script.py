"""The install script on machines that lack something; stand-ins for Python, pip and apt-get."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "setup.sh"
TOOLS = ("cksum", "dirname", "env", "sed", "sh", "tr", "uname", "mkdir", "cp", "cat", "touch", "rm")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell script")


class Machine:
    """A project folder and a PATH that holds nothing but a few tools and stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "a project"
        self.bin = folder / "bin"
        self.log = folder / "log"
        (self.project / "scripts").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(SCRIPT, self.project / "scripts")
        (self.project / "pyproject.toml").write_text("one")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def add(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\necho {name} \"$@\" >>'{self.log}'\n{script}\n")
        path.chmod(0o755)

    def add_python(self, name: str, *, new: bool = True, ready: str = "true") -> None:
        """Add a stand-in for Python; `ready` is a shell test for its venv module."""
        self.add(
            name,
            f"""
case "$*" in
    *version_info*-venv*) echo python3.12-venv ;;
    *version_info*) exit {int(not new)} ;;
    *ensurepip,*) {ready} ;;
    --version) echo Python 3.12.0 ;;
    *"-m venv"*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
esac""",
        )

    def setup(self, *extras: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", str(self.project / "scripts" / "setup.sh"), *extras],
            env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self, word: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if word in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    done = machine.setup()
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr or "brew install python" in done.stderr


def test_an_old_python_is_refused(machine: Machine) -> None:
    machine.add_python("python3", new=False)
    done = machine.setup()
    assert done.returncode == 1
    assert "found Python 3.12.0" in done.stderr
    assert not (machine.project / ".venv").exists()


def test_the_newest_python_that_is_ready_is_taken(machine: Machine) -> None:
    machine.add_python("python3.13", ready="false")
    machine.add_python("python3.12")
    machine.add_python("python3")
    assert machine.setup().returncode == 0
    assert len(machine.calls("python3.12 -m venv")) == 1
    assert machine.calls("python3.13 -m venv") == []


def test_installing_twice_does_nothing_the_second_time(machine: Machine) -> None:
    machine.add_python("python3")
    assert machine.setup("test").returncode == 0
    installs = machine.calls("pip install")
    assert len(installs) == 1
    assert f"{machine.project}[test]" in installs[0]
    assert machine.setup("test").returncode == 0
    assert machine.setup().returncode == 0
    assert machine.calls("pip install") == installs


def test_new_extras_are_added_and_a_changed_project_is_installed_anew(machine: Machine) -> None:
    machine.add_python("python3")
    assert machine.setup("test").returncode == 0
    assert machine.setup("docs").returncode == 0
    assert f"{machine.project}[test,docs]" in machine.calls("pip install")[-1]
    (machine.project / "pyproject.toml").write_text("two")
    assert machine.setup("test").returncode == 0
    assert len(machine.calls("pip install")) == 3


def test_a_failed_install_is_an_error_and_is_tried_again(machine: Machine) -> None:
    machine.add_python("python3")
    python = machine.bin / "python3"
    working = python.read_text()
    python.write_text(working.replace("esac", '*"pip install"*) exit 1 ;; esac'))
    done = machine.setup()
    assert done.returncode == 1
    assert "pip could not install exo2micro" in done.stderr
    (machine.project / ".venv" / "bin" / "python").write_text(working)
    assert machine.setup().returncode == 0


def test_debian_without_venv_gets_the_package_as_root(machine: Machine) -> None:
    flag = machine.project / "installed"
    machine.add_python("python3", ready=f"[ -e '{flag}' ]")
    machine.add("id", "echo 0")
    machine.add("apt-get", f"case \"$*\" in *install*) touch '{flag}' ;; esac")
    done = machine.setup()
    assert done.returncode == 0, done.stderr
    assert "apt-get install -y python3.12-venv" in machine.calls("apt-get install")[0]


def test_debian_without_venv_names_the_command_where_it_may_not_run_it(machine: Machine) -> None:
    machine.add_python("python3", ready="false")
    machine.add("id", "echo 1000")
    machine.add("apt-get", "")
    done = machine.setup()
    assert done.returncode == 1
    assert "as root, run: apt-get install -y python3.12-venv" in done.stderr
    assert machine.calls("apt-get") == []
