"""Running a function in a process of its own, with limits of time and memory."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from exo2micro.custom.function import CustomFunction
from exo2micro.errors import IsolationError, ValidationError

REQUEST, ANSWER = "request.json", "answer.json"
_ARRAY: Final = "array"
_GIB: Final = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What a function in a process of its own may use.

    Attributes
    ----------
    time_s : float
        Wall time, and processor time for each core.
    memory_bytes : int
        Memory beyond what Python and NumPy take; enforced where the platform can (Linux).
    """

    time_s: float = 60.0
    memory_bytes: int = 2 * _GIB


def run_in_process(
    function: CustomFunction,
    *args: Any,  # noqa: ANN401
    limits: Limits | None = None,
    **keywords: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401 - what the function takes and returns
    """Call a function in a process of its own.

    It still has the rights of the user who starts it: this keeps crashes, endless loops and
    exhausted memory away, not an attacker.

    Parameters
    ----------
    function : CustomFunction
        The function; diagnostics are not possible, since figures are not sent.
    *args, **keywords
        Arrays, numbers, texts, and lists, tuples and dictionaries of these.
    limits : Limits, optional
        Limits of time and memory.

    Raises
    ------
    IsolationError
        If it exceeds a limit, crashes, raises an error or returns something else than the above.
    """
    return _ask("call", function, {"args": args, "keywords": keywords}, limits or Limits())


def try_isolated(function: CustomFunction, limits: Limits | None = None) -> list[str]:
    """Run the trial of a function in a process of its own and return its warnings.

    Raises
    ------
    ValidationError
        If the trial fails or exceeds a limit.
    """
    try:
        remarks: list[str] = _ask("try", function, {}, limits or Limits())
    except IsolationError as error:
        line = function.line_number
        raise ValidationError(str(error), line, _first_line(function)) from error
    return remarks


def isolated(function: CustomFunction, limits: Limits | None = None) -> Callable[..., Any]:
    """Return a callable that runs a function in a new process with each call."""
    return partial(run_in_process, function, limits=limits)


def _first_line(function: CustomFunction) -> str:
    return function.code.splitlines()[function.line_number - 1].strip()


def _ask(task: str, function: CustomFunction, content: Mapping[str, Any], limits: Limits) -> Any:  # noqa: ANN401
    with tempfile.TemporaryDirectory(prefix="exo2micro-") as name:
        folder = Path(name)
        request = {
            "task": task,
            "name": function.name,
            "code": function.code,
            "limits": asdict(limits),
            "content": pack(content, folder, "in"),
        }
        (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
        report = _run(function, folder, limits)
        answer_file = folder / ANSWER
        if not answer_file.exists():
            msg = f"{function.name!r} ended its process ({report}); see limits.memory_bytes"
            raise IsolationError(msg)
        answer = json.loads(answer_file.read_text(encoding="utf-8"))
        if "error" in answer:
            if task == "try" and answer["line"]:
                raise ValidationError(answer["error"], answer["line"], answer["snippet"])
            raise IsolationError(answer["error"])
        return unpack(answer["result"], folder)


def _run(function: CustomFunction, folder: Path, limits: Limits) -> str:
    """Run the child process to its end and return how it ended."""
    command = [sys.executable, "-P", "-m", "exo2micro.custom.isolated_child", str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        try:
            _, said = child.communicate(timeout=limits.time_s)
        except BaseException as error:
            _kill(child)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            msg = f"{function.name!r} was stopped after {limits.time_s:g} s"
            raise IsolationError(msg) from None
    lines = said.decode(errors="replace").strip().splitlines()
    return f"exit code {child.returncode}" + (f": {lines[-1]}" if lines else "")


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End a child process and what it started."""
    if os.name == "posix":
        import signal

        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


def pack(value: Any, folder: Path, prefix: str) -> Any:  # noqa: ANN401
    """Return a value as JSON can hold it; arrays are written to files, without pickle.

    Raises
    ------
    IsolationError
        For a value of another type.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "buifc":
        name = f"{prefix}-{len(list(folder.glob('*.npy')))}.npy"
        np.save(folder / name, value, allow_pickle=False)
        return {_ARRAY: name}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return {type(value).__name__: [pack(item, folder, prefix) for item in value]}
    if isinstance(value, Mapping):
        return {"items": [[str(k), pack(v, folder, prefix)] for k, v in value.items()]}
    if isinstance(value, Path):
        return str(value)
    msg = (
        f"a {type(value).__name__} cannot be sent to or from a process; use arrays, numbers, "
        "texts, and lists, tuples and dictionaries of these"
    )
    raise IsolationError(msg)


def unpack(value: Any, folder: Path) -> Any:  # noqa: ANN401
    """Return what `pack` was given."""
    if not isinstance(value, dict):
        return value
    ((form, content),) = value.items()
    if form == _ARRAY:
        return np.load(folder / Path(content).name, allow_pickle=False)
    if form == "float":
        return float(content)
    if form == "items":
        return {key: unpack(item, folder) for key, item in content}
    items = [unpack(item, folder) for item in content]
    return tuple(items) if form == "tuple" else items
