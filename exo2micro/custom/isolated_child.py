"""The process that runs one custom function and ends: ``python -m ... FOLDER``."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from exo2micro.custom.declaration import read_source
from exo2micro.custom.function import CustomFunction
from exo2micro.custom.isolation import ANSWER, REQUEST, pack, unpack
from exo2micro.custom.memory import memory_type_of
from exo2micro.custom.trial import try_function
from exo2micro.errors import MemoryTypeError, ValidationError


def main(folder: Path) -> None:
    """Do what the folder's request asks for and write the answer into the folder."""
    request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    _limit(**request["limits"])
    try:
        function = read_source(request["code"]).decorated[request["name"]].as_function()
        answer = {"result": _result(function, request, folder)}
    except ValidationError as error:
        answer = {
            "error": error.message,
            "line": error.line_number,
            "snippet": error.code_snippet,
        }
    except BaseException as error:  # noqa: BLE001 - the other process raises it
        answer = {"error": f"{type(error).__name__}: {error}", "line": 0}
    temporary = folder / f"{ANSWER}.part"
    temporary.write_text(json.dumps(answer), encoding="utf-8")
    temporary.replace(folder / ANSWER)


def _result(function: CustomFunction, request: dict[str, Any], folder: Path) -> Any:  # noqa: ANN401
    if request["task"] == "try":
        return pack(try_function(function), folder, "out")
    content = unpack(request["content"], folder)
    loaded = function.load()
    try:
        result = loaded(*content["args"], **content["keywords"])
    except Exception as error:
        line = function.line_of(error)
        msg = f"{function.name!r} fails in line {line}: {type(error).__name__}: {error}"
        raise RuntimeError(msg) from error
    if function.memory_type:
        image, *metadata = result if isinstance(result, tuple) else (result,)
        result = (_on_host(image), *metadata) if metadata else _on_host(image)
    return pack(result, folder, "out")


def _on_host(image: Any) -> Any:  # noqa: ANN401
    try:
        return memory_type_of(image).to_host(image)
    except MemoryTypeError:
        return image


def _limit(time_s: float, memory_bytes: int) -> None:
    """Limit processor time and address space where the platform can."""
    try:
        import resource
    except ImportError:  # Windows: the time limit of the other process remains
        return
    seconds = (int(time_s) + 1) * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # no /proc: a limit of the address space would not mean memory in use
        return
    limit = pages * resource.getpagesize() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
