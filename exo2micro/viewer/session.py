"""Looking at a finished pair: a server that lives as long as somebody looks."""

import os
import sys
import threading
import webbrowser
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from exo2micro.viewer.server import LoopbackServer
from exo2micro.viewer.slide import Slide

if TYPE_CHECKING:
    from exo2micro.pipeline import SampleDye

_LOOK_UP_SECONDS: Final = 0.5
"""How often a waiting program looks up: on Windows, Ctrl-C does not end an endless wait."""


class Viewer:
    """A page that shows a slide, until it is closed; use it as a context manager.

    Parameters
    ----------
    slide : Slide
        What it shows.

    Attributes
    ----------
    slide : Slide
        What it shows.
    url : str
        Address of the page on this machine. Its random part is the key: keep it to yourself.
    """

    def __init__(self, slide: Slide) -> None:
        self.slide = slide
        self._server = LoopbackServer(slide)
        self.url = self._server.url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open_browser(self) -> bool:
        """Open the page in the browser; tell whether there is one with a screen."""
        has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
        if sys.platform in ("win32", "darwin") or has_screen:
            return webbrowser.open(self.url)
        return False

    def stop(self) -> None:
        """End `wait`; may be called from a signal handler or another thread."""
        self._stop.set()

    def wait(self) -> None:
        """Wait until `stop` is called."""
        while not self._stop.wait(_LOOK_UP_SECONDS):
            pass

    def close(self) -> None:
        """Stop serving; closing again does nothing."""
        self.stop()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def view(run: "SampleDye", *, open_browser: bool = True) -> Viewer:
    """Show the images of a finished pair in a browser, at any magnification.

    Parameters
    ----------
    run : SampleDye
        A pair that has been run with the parameters that it has now.
    open_browser : bool, optional
        Open the page; its address is in any case the viewer's `url`.

    Returns
    -------
    Viewer
        It serves the page until it is closed or the program ends; a context manager.

    Raises
    ------
    CheckpointError
        If a stage is not valid: the message says what to run.
    """
    viewer = Viewer(Slide.of(run))
    if open_browser:
        viewer.open_browser()
    return viewer
