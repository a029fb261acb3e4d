"""The built site as a reader's browser sees it, with no network but this machine's own."""

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_docs"
NUMBERED = [f"{path.stem.partition('_')[2]}.html" for path in sorted((ROOT / "nbs").glob("[0-9][0-9]*_*.ipynb"))]
PAGES = ["index.html", *NUMBERED]
PICTURES = 40  # chapters with a picture, at least
ROOM = 100  # characters of a line of code that fit the column at 1400 px


def listed(entries):
    "The notebooks of a part of the sidebar, in its order."
    for entry in entries:
        yield from [entry] if isinstance(entry, str) else [entry["href"]] if "href" in entry else listed(entry["contents"])


def address(notebook):
    "Where a notebook's page is, without the number."
    path = Path(notebook)
    return (path.parent / f"{path.stem.partition('_')[2] if path.name[0].isdigit() else path.stem}.html").as_posix()


SIDEBAR = yaml.safe_load((ROOT / "_quarto.yml").read_text())["website"]["sidebar"]["contents"]
ALL = [address(notebook) for notebook in listed(SIDEBAR)]

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


@pytest.mark.parametrize("page", ALL)
def test_page(browser, site, page):
    browser.open(f"{site}/{page}")
    assert browser.run("document.querySelector('h1.title').textContent")
    assert browser.run("document.fonts.check('16px Inter')")
    assert browser.run("!document.querySelector('main code') || document.fonts.check('16px \"JetBrains Mono\"')")
    # mathematics: every formula became KaTeX, none is in error
    assert browser.run("[...document.querySelectorAll('main .math')].every(m => m.querySelector('.katex'))")
    assert browser.run("document.querySelectorAll('.katex-error').length") == 0
    # pictures: all have loaded
    assert browser.run("[...document.querySelectorAll('main img')].every(i => i.complete && i.naturalWidth > 0)")
    # on a phone nothing sticks out at the side
    browser.resize(390, 800)
    assert browser.wait("document.documentElement.scrollWidth <= 390")


# What sticks out: tables wider than the room they have, and lines of code that have room and do not fit in it.
WIDE = """[...document.querySelectorAll("main .cell-output-markdown table, main table:not(.dataframe)")].filter(t =>
    t.offsetParent && (t.getBoundingClientRect().right > document.querySelector("main").getBoundingClientRect().right + 1
    || t.closest(".sd-table")?.scrollWidth > t.closest(".sd-table")?.clientWidth + 1)).map(t => t.textContent.slice(0, 80))"""
MEANINGS = """[...document.querySelectorAll("main .cell-output-markdown td:last-child")].filter(d => d.textContent &&
    (d.getBoundingClientRect().width < 150 || d.getBoundingClientRect().right > innerWidth)).map(d => d.textContent)"""
SCROLLS = """[...document.querySelectorAll("main pre.sourceCode")].filter(p => p.scrollWidth > p.clientWidth + 1
    && Math.max(...p.textContent.split("\\n").map(l => l.length)) <= %d).map(p => p.textContent.slice(0, 200))""" % ROOM
MUTE = "[...document.querySelectorAll('main img')].filter(i => i.alt.trim().length < 15).map(i => i.outerHTML.slice(-120))"
OPEN = "[...document.querySelectorAll('main details')].filter(d => d.open && d.textContent.startsWith('\\nExported source'))"


@pytest.mark.parametrize("page", ALL)
def test_nothing_is_out_of_sight(browser, site, page):
    browser.resize(1400, 900)
    browser.open(f"{site}/{page}")
    assert not browser.run(f"{OPEN}.length")
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run(WIDE) == []
    assert browser.run(MEANINGS) == []
    assert browser.run(SCROLLS) == []
    assert browser.run(MUTE) == [], "say what the picture shows: `#| fig-alt: ...` on top of its cell"
    browser.resize(390, 800)
    assert browser.run(WIDE) == []
    assert browser.run(MEANINGS) == []


def test_chapters_have_pictures(browser, site):
    pictures = [page for page in NUMBERED if "<img" in (SITE / page).read_text()]
    assert len(pictures) >= PICTURES


@pytest.mark.parametrize("page", NUMBERED)
def test_page_shows_signatures_with_parameters(browser, site, page):
    browser.open(f"{site}/{page}")
    assert browser.run("document.querySelectorAll('main .cell-output-markdown h3 + div .sourceCode').length") > 0
    parameters = "[...document.querySelectorAll('main th')].filter(h => h.textContent == 'Parameter').length"
    assert browser.run(parameters) > 0, "comment the parameters, one a line, so that the page can list them"


def test_mathematics_somewhere(browser, site):
    formulas = 0
    for page in PAGES:
        browser.open(f"{site}/{page}")
        formulas += browser.run("document.querySelectorAll('main .math .katex').length")
    assert formulas


def test_search_finds_a_function_and_goes_there(browser, site):
    browser.open(f"{site}/index.html")
    browser.type("#quarto-search input", "build_hierarchy")
    assert browser.wait("document.querySelectorAll('.search-result').length")
    assert "hierarchy.html" in browser.run("document.querySelector('.search-result').href")
    browser.click(".search-result")
    browser.wait("location.pathname == '/reference/hierarchy.html' && document.readyState == 'complete'")


@pytest.mark.parametrize("name, page", [("MMM.fit", "reference/mmm.html"), ("Fit.roi", "reference/fit.html"),
                                        ("EnsembleResult.by_metric", "reference/ensemble.html")])
def test_search_finds_a_method_by_its_name(browser, site, name, page):
    browser.open(f"{site}/index.html")
    browser.type("#quarto-search input", name)
    assert browser.wait("document.querySelectorAll('.search-result').length")
    assert browser.run("document.querySelector('.search-result').href") == f"{site}/{page}#{name.lower()}"


def test_every_section_of_the_reference_is_indexed(site):
    found = {entry["section"] for entry in json.loads((SITE / "search.json").read_text()) if entry["href"].startswith("reference/")}
    assert {"MMM.fit", "MMM.sample_prior", "Fit.roi", "Fit.predict", "Fit.loo", "Priors", "LiftTest", "Checkup.plot"} <= found


def test_the_book_is_closed_until_it_is_read(browser, site):
    shown = "[...document.querySelectorAll('#quarto-sidebar a')].filter(a => a.offsetParent && a.getAttribute('href')?.endsWith('%s')).length"
    browser.open(f"{site}/index.html")
    assert not browser.run(shown % "adstock.html") and browser.run(shown % "reference/mmm.html")
    browser.open(f"{site}/adstock.html")
    assert browser.run(shown % "saturation.html") and not browser.run(shown % "nuts.html")
    here = "document.querySelector('#quarto-sidebar .sidebar-link.active').getBoundingClientRect()"
    assert 0 < browser.run(f"{here}.top") < 900, "the sidebar is scrolled to where the reader is"


def test_programs_are_told_of_every_page(site):
    lines = (SITE / "llms.txt").read_text().splitlines()
    told = [line for line in lines if line.startswith("- ")]
    base = yaml.safe_load((ROOT / "_quarto.yml").read_text())["website"]["site-url"]
    assert [line.split("](")[1].split(")")[0] for line in told] == [f"{base}/{page}" for page in ALL]
    assert all(len(line.split("): ")[1]) > 15 for line in told)


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
