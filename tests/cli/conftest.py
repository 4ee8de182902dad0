"""Calling the command line as a shell does, within the process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from exo2micro.cli import main


@dataclass(frozen=True)
class Call:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Call]:
    """Return a function that runs a command and returns its exit code and output."""

    def run(*arguments: object) -> Call:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Call(int(code), captured.out, captured.err)

    return run
