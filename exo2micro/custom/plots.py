"""A function of the store as a diagnostic."""

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

from exo2micro.custom.function import CustomFunction
from exo2micro.plotting.base import Diagnostic, PairView
from exo2micro.plotting.user import drawn_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class StoredDiagnostic(Diagnostic, ABC):
    """A diagnostic whose code lies in the store; it is loaded when it is drawn.

    Attributes
    ----------
    function : CustomFunction
        The function, of the kind ``diagnostic``.
    full_resolution : bool
        Whether it gets the images as they are, not overviews.
    """

    function: ClassVar[CustomFunction]
    full_resolution: ClassVar[bool] = False

    def draw(self, view: PairView) -> "Figure":
        """Return what the function draws."""
        return drawn_by(
            self.function.load(), self.function.name, view, full_resolution=self.full_resolution
        )
