"""A real browser, headless, that notes what pages complain about and ask for."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Tab:
    """A page in the browser, with its complaints and the addresses that it asked for."""

    page: object
    home: str = "file:"
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> object:
        """Open a file and return Playwright's page."""
        self.page.goto(path.resolve().as_uri())
        return self.page

    def visit(self, url: str) -> object:
        """Open a page that a server on this machine gives, and nothing else from then on."""
        self.home = url
        self.page.goto(url)
        return self.page

    def assert_clean(self) -> None:
        """Check that nothing went wrong and nothing from elsewhere was asked for."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith((self.home, "data:"))] == []


@pytest.fixture(scope="module")
def browser():
    """Start Chromium; without it CI fails and other machines skip.

    Playwright's event loop runs as long as the browser: tests of other files may want their own.
    """
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        reason = "no Chromium here; scripts/browser.sh installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def tab(browser):
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    tab = Tab(page)
    page.on("console", lambda m: tab.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    page.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    page.close()


@pytest.fixture(scope="session")
def failed(pristine, tmp_path_factory):
    """A project whose post-stain image shows another rock, run to its end."""
    from small_pair import DYE, SAMPLE, SPEC, Project

    from exo2micro import SampleDye
    from exo2micro.synthetic import unrelated_pair, write_image

    root = tmp_path_factory.mktemp("failed")
    shutil.copytree(pristine.raw, root / "raw")
    post = next((root / "raw" / SAMPLE).glob("*PostStain*.tif"))
    write_image(unrelated_pair(SPEC)[0], post, SPEC)
    project = Project(root, SPEC)
    SampleDye(SAMPLE, DYE, **project.dirs()).run()
    return project
