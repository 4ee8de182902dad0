"""A function of the store as a diagnostic."""

from abc import ABC

from exo2micro.custom.function import CustomFunction
from exo2micro.plotting.user import FunctionDiagnostic


class StoredDiagnostic(FunctionDiagnostic, ABC):
    """A diagnostic whose code lies in the store; it is loaded when it is drawn.

    Parameters
    ----------
    function : CustomFunction
        A function of the kind ``diagnostic``.
    """

    def __init__(self, function: CustomFunction) -> None:
        super().__init__(
            lambda *images, **names: function.load()(*images, **names),
            function.name,
            function.caption,
            full_resolution=bool(function.options.get("full_resolution", False)),
            code_hash=function.sha256,
        )


def diagnostic_of(function: CustomFunction) -> StoredDiagnostic:
    """Return a function of the store as a diagnostic."""
    return StoredDiagnostic(function)
