"""The built site as a reader's browser sees it, with no network but this machine's own."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_docs"
NUMBERED = [f"{path.stem.partition('_')[2]}.html" for path in sorted((ROOT / "nbs").glob("[0-9][0-9]*_*.ipynb"))]
PAGES = ["index.html", *NUMBERED]

pytestmark = pytest.mark.skipif(not CHROMIUM and "CI" not in os.environ, reason="no Chromium on this machine")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site():
    "The address of the site, built anew where a notebook is newer."
    home = SITE / "index.html"
    sources = [*(ROOT / "nbs").rglob("*.ipynb"), *(ROOT / "nbs").rglob("*.css"), ROOT / "_quarto.yml"]
    if not home.exists() or home.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        subprocess.run([sys.executable, ".ci/build_site.py"], cwd=ROOT, check=True)
    handler = functools.partial(QuietHandler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium, site):
    "The browser; afterwards no page may have complained or asked another host for anything."
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.resize(1280, 900)
    yield chromium
    assert not chromium.complaints
    assert not {url for url in chromium.requests if not url.startswith((site, "data:", "about:"))}


@pytest.mark.parametrize("page", PAGES)
def test_page(browser, site, page):
    browser.open(f"{site}/{page}")
    assert browser.run("document.querySelector('h1.title').textContent")
    assert browser.run("document.fonts.check('16px Inter') && document.fonts.check('16px \"JetBrains Mono\"')")
    # mathematics: every formula became KaTeX, none is in error
    assert browser.run("[...document.querySelectorAll('main .math')].every(m => m.querySelector('.katex'))")
    assert browser.run("document.querySelectorAll('.katex-error').length") == 0
    # pictures: all have loaded
    assert browser.run("[...document.querySelectorAll('main img')].every(i => i.complete && i.naturalWidth > 0)")
    # on a phone nothing sticks out at the side
    browser.resize(390, 800)
    assert browser.wait("document.documentElement.scrollWidth <= 390")


@pytest.mark.parametrize("page", PAGES)
def test_page_has_a_picture(browser, site, page):
    browser.open(f"{site}/{page}")
    assert browser.run("document.querySelectorAll('main img').length") > 0


@pytest.mark.parametrize("page", NUMBERED)
def test_page_shows_signatures_with_types(browser, site, page):
    browser.open(f"{site}/{page}")
    assert browser.run("document.querySelectorAll('main .cell-output-markdown h3 + div .sourceCode').length") > 0
    types = "[...document.querySelectorAll('main th')].filter(h => h.textContent == 'Type').length"
    assert browser.run(types) > 0, "comment the parameters, one a line, so that the page can list them"


def test_mathematics_somewhere(browser, site):
    formulas = 0
    for page in PAGES:
        browser.open(f"{site}/{page}")
        formulas += browser.run("document.querySelectorAll('main .math .katex').length")
    assert formulas


def test_search_finds_a_chapter(browser, site):
    browser.open(f"{site}/index.html")
    browser.type("#quarto-search input", "build_hierarchy")
    assert browser.wait("document.querySelectorAll('.search-result').length")
    assert "hierarchy.html" in browser.run("document.querySelector('.search-result').href")
    browser.click(".search-result")
    browser.wait("location.pathname == '/hierarchy.html' && document.readyState == 'complete'")


def test_dark_mode_stays(browser, site):
    lightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, c) => a + +c, 0)"
    browser.open(f"{site}/index.html")
    before = browser.run(lightness)
    browser.click(".quarto-color-scheme-toggle")
    after = browser.wait(f"document.documentElement.classList.contains('quarto-dark') && {lightness}")
    assert before > 600 > 200 > after
    browser.open(f"{site}/{NUMBERED[0]}")
    assert browser.run(lightness) == after
    browser.click(".quarto-color-scheme-toggle")
    browser.wait(f"{lightness} == {before}")
