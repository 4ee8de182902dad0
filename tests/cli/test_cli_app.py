"""Usage, help, errors and exit codes that no command changes."""

import logging
import os
import signal
import subprocess
import sys
import time

import click
import pytest

from exo2micro import __version__
from exo2micro.cli import app as app_module
from exo2micro.cli.app import COMMANDS
from exo2micro.cli.exits import ExitCode, exit_code_of, exit_code_of_batch
from exo2micro.errors import InsufficientMemoryError, ParameterError


def test_version(call):
    result = call("--version")
    assert (result.code, result.out.strip()) == (0, f"exo2micro, version {__version__}")


def test_help_names_every_command_and_exit_code(call):
    text = call("--help").out
    for command in COMMANDS:
        assert f"\n  {command} " in text
    for code in ExitCode:
        assert f" {int(code)} " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_explains_every_option_and_has_an_example(call, command):
    result = call(command, "--help")
    assert result.code == 0
    assert f"exo2micro {command}" in result.out.split("Examples:")[1]
    parameters = click.Context(app_module.app).command.get_command(None, command).params
    undocumented = [p.name for p in parameters if isinstance(p, click.Option) and not p.help]
    assert undocumented == []


def leaves() -> list[tuple[str, ...]]:
    """Return every command and, in place of a group, every command in it."""
    paths = []
    for name in COMMANDS:
        command = app_module.app.get_command(click.Context(app_module.app), name)
        inner = command.commands if isinstance(command, click.Group) else ()
        paths += [(name, child) for child in inner] or [(name,)]
    return paths


@pytest.mark.parametrize("command", leaves(), ids=" ".join)
def test_every_command_speaks_json_and_takes_verbosity(call, command):
    text = call(*command, "--help").out
    assert "--json" in text
    assert "--verbose" in text
    assert "--quiet" in text


def test_no_command_shows_the_help(call):
    result = call()
    assert result.code == 2
    assert "Usage: exo2micro" in result.err


def test_unknown_command_is_answered_with_the_nearest(call):
    result = call("surwey")
    assert result.code == 2
    assert "did you mean 'survey'?" in result.err
    assert result.out == ""


def test_unknown_option_is_a_usage_error(call):
    result = call("params", "--stages", "2")
    assert result.code == 2
    assert "error: No such option" in result.err
    assert "--stage" in result.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InsufficientMemoryError("12 GB needed, 4 GB free"), 1),
        (ParameterError("pad must be a whole number, got 'x'"), 2),
        (PermissionError(13, "Permission denied", "processed"), 1),
    ],
)
def test_an_error_is_one_line_on_stderr(call, monkeypatch, error, code):
    def broken() -> None:
        raise error

    monkeypatch.setattr(app_module.app, "get_command", lambda *_: click.Command("run", {}, broken))
    result = call("run")
    assert result.code == code
    assert result.err == f"error: {error}\n"
    result = call("-vv", "run")
    assert "Traceback" in result.err
    assert result.err.endswith(f"error: {error}\n")


def test_an_error_is_a_json_document_where_json_was_asked_for(call, tmp_path):
    result = call("run", "a", "b", "--raw-dir", tmp_path / "none", "--json")
    assert result.code == 1
    assert result.document["error"]["type"] == "RawFileNotFoundError"
    assert str(tmp_path / "none") in result.document["error"]["message"]


def test_a_bug_is_not_hidden(call, monkeypatch):
    def broken() -> None:
        raise KeyError("x")

    monkeypatch.setattr(app_module.app, "get_command", lambda *_: click.Command("run", {}, broken))
    with pytest.raises(KeyError):
        call("run")


def test_logging_is_as_before_after_a_command(call):
    logger = logging.getLogger("exo2micro")
    before = (logger.level, list(logger.handlers), logger.propagate)
    call("params", "-vv")
    assert (logger.level, list(logger.handlers), logger.propagate) == before


def result_of(status="complete", verdict="PASS"):
    return {"status": status, "verdict": verdict}


def test_exit_code_of_a_result():
    assert exit_code_of(result_of()) == 0
    assert exit_code_of(result_of("complete, check: dim", "CHECK")) == 3
    assert exit_code_of(result_of("failed: unrelated images", "FAIL")) == 4
    assert exit_code_of(result_of("error: no such file", None)) == 1


def test_a_batch_exits_with_the_gravest_code():
    check, fail = result_of("complete, check: x", "CHECK"), result_of("failed: x", "FAIL")
    error = result_of("error: x", None)
    assert exit_code_of_batch([]) == 0
    assert exit_code_of_batch([result_of(), check]) == 3
    assert exit_code_of_batch([fail, check, result_of()]) == 4
    assert exit_code_of_batch([fail, error, check]) == 1


# A shell lets jobs in the background ignore SIGINT, and the tests may be one.
LISTENING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from exo2micro.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_interrupt_exits_130_and_says_so(project):
    command = [sys.executable, "-c", LISTENING, "demo", "--dir", str(project.root / "demo")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    marker = project.root / "demo" / "raw"
    while not marker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error: interrupted; what was finished is kept" in err
