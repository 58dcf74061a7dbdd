"""A headless Chromium for the tests of the report, and one page of it, watched."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aura_study.errors import StudyError
from aura_study.report import single

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's browser; without one the test is skipped, or fails where the environment asks for it."""
    try:
        program = single.browser()
    except StudyError as error:
        if os.environ.get("AURA_STUDY_REQUIRE_BROWSER") == "1":
            pytest.fail(f"AURA_STUDY_REQUIRE_BROWSER is set, but {error}")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """One page, opened; remembers what it asked for and what it complained about."""

    def __init__(self, browser: Any, url: str, size: str = "desktop", scheme: str = "light") -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.open(url)

    def open(self, url: str) -> None:
        """Go to ``url``."""
        self.page.goto(url)

    def unfold(self) -> None:
        """Open everything that is folded."""
        self.page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")

    def violations(self) -> list[tuple[str, str]]:
        """What axe-core finds, by day and by night: rule and element."""
        from axe_playwright_python.sync_playwright import Axe

        found = []
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            response = Axe().run(self.page).response["violations"]
            found += [(f"{entry['id']}, {scheme}", node["html"][:200]) for entry in response for node in entry["nodes"]]
        return found

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()
