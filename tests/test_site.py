"""The built site as a reader's browser sees it, with no network but this machine's own."""

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import frames
import pandas as pd
import pytest
import yaml
from browser import CHROMIUM, Browser

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_docs"
NUMBERED = [f"{path.stem.partition('_')[2]}.html" for path in sorted((ROOT / "nbs").glob("[0-9][0-9]*_*.ipynb"))]
PAGES = ["index.html", *NUMBERED]
PICTURES = 40  # chapters with a picture, at least
MARGIN = 100  # px of a table of pandas that may be out of sight on a screen
LEAST_SCALE = 0.47  # of a picture on a phone: ten points are then 6.5 px of the screen


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


# What sticks out: tables wider than the room they have, but for pandas' own, which may scroll; and code.
WIDE = """[...document.querySelectorAll("main .cell-output-markdown table, main table:not(.dataframe)")].filter(t =>
    t.offsetParent && (t.getBoundingClientRect().right > document.querySelector("main").getBoundingClientRect().right + 1
    || t.closest(".sd-table")?.scrollWidth > t.closest(".sd-table")?.clientWidth + 1)).map(t => t.textContent.slice(0, 80))"""
MEANINGS = """[...document.querySelectorAll("main .cell-output-markdown td:last-child")].filter(d => d.textContent &&
    (d.getBoundingClientRect().width < 150 || d.getBoundingClientRect().right > innerWidth)).map(d => d.textContent)"""
SCROLLS = """[...document.querySelectorAll("main pre")].filter(p => p.scrollWidth > p.clientWidth + 1)
    .map(p => p.textContent.slice(0, 200))"""
MUTE = "[...document.querySelectorAll('main img')].filter(i => i.alt.trim().length < 15).map(i => i.outerHTML.slice(-120))"
OPEN = "[...document.querySelectorAll('main details')].filter(d => d.open && d.textContent.startsWith('\\nExported source'))"
# What cannot be read: words that are broken to fit a cell, tables of pandas that are cut, text in pictures that are made too small.
BROKEN = """[...document.querySelectorAll("main table:not(.dataframe) td")].filter(d => d.offsetParent && !d.querySelector("code, .math")
    && d.scrollWidth > d.clientWidth + 1).map(d => d.textContent)"""
CUT = """[...document.querySelectorAll("main table.dataframe")].filter(t => { let box = t.parentElement;
    while (!["auto", "scroll"].includes(getComputedStyle(box).overflowX) && box.tagName != "MAIN") box = box.parentElement;
    return t.offsetParent && t.getBoundingClientRect().width > box.clientWidth + 1 && (box.tagName == "MAIN"
    || parseFloat(getComputedStyle(t).fontSize) < 12) }).map(t => t.textContent.slice(0, 80))"""
FAR = """[...document.querySelectorAll("main .cell-output-display")].filter(b => b.querySelector("table.dataframe")
    && b.scrollWidth > b.clientWidth + %d).map(b => b.textContent.slice(0, 80))""" % MARGIN
SMALL = """[...document.querySelectorAll("main .cell-output img")].filter(i => i.offsetParent
    && i.getBoundingClientRect().width < %f * i.naturalWidth).map(i => i.alt)""" % LEAST_SCALE
# What a reader who listens would miss: a level of headings that is left out.
SKIPPED = """(headings => headings.filter((h, n) => n && +h.tagName[1] > +headings[n - 1].tagName[1] + 1).map(h => h.textContent))(
    [...document.querySelectorAll("main :is(h1, h2, h3, h4, h5)")])"""


@pytest.mark.parametrize("page", ALL)
def test_nothing_is_out_of_sight(browser, site, page):
    browser.resize(1400, 900)
    browser.open(f"{site}/{page}")
    assert not browser.run(f"{OPEN}.length")
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run(WIDE) == []
    assert browser.run(MEANINGS) == []
    assert browser.run(SCROLLS) == []
    assert browser.run(CUT) == []
    assert browser.run(FAR) == [], "a table is too wide: fewer columns, or shorter names of them"
    assert browser.run(SKIPPED) == [], "a heading of the level above is missing"
    assert browser.run(MUTE) == [], "say what the picture shows: `#| fig-alt: ...` on top of its cell"
    browser.resize(390, 800)
    assert browser.run(WIDE) == []
    assert browser.run(MEANINGS) == []
    assert browser.run(BROKEN) == []
    assert browser.run(CUT) == []
    assert browser.run(SMALL) == []


# The text of a page whose contrast with what is behind it is below WCAG's AA: 4.5, or 3 where letters are large.
FAINT = """(() => {
  const numbers = text => { const n = text.match(/[\\d.]+/g).map(Number), k = text.startsWith("color(") ? 255 : 1;
                            return [n[0] * k, n[1] * k, n[2] * k, n[3] ?? 1] };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat([1]);
  const light = c => [.2126, .7152, .0722].reduce((sum, w, i) => sum + w * (c[i] <= 10 ? c[i] / 3295 : ((c[i] / 255 + .055) / 1.055) ** 2.4), 0);
  const up = function* (e) { for (; e; e = e.parentElement) yield [e, getComputedStyle(e)] };
  const found = {}, walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, style = getComputedStyle(e);
    if (!walk.currentNode.textContent.trim() || !e.getClientRects().length || e.closest("script, style, .katex-mathml")) continue;
    if (e.closest("[style*=color]")) continue; // verdicts are made lighter by a filter
    const grounds = [...up(e)].map(([_, s]) => numbers(s.backgroundColor)).filter(c => c[3]);
    const ground = grounds.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    const ink = over(numbers(style.color), ground);
    const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b);
    const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && +style.fontWeight >= 700;
    if ((high + .05) / (low + .05) < (large ? 3 : 4.5)) found[`${e.tagName}.${e.className} ${style.color}`] = walk.currentNode.textContent.slice(0, 40);
  }
  return found })()"""
STILL = "document.head.insertAdjacentHTML('beforeend', '<style>* { transition: none !important }</style>')"


def in_mode(browser, mode):
    "Show the open page in a mode, \"light\" or \"dark\"."
    browser.run(STILL)
    if browser.run("document.documentElement.classList.contains('quarto-dark')") != (mode == "dark"):
        browser.click(".quarto-color-scheme-toggle")
    browser.wait(f"document.documentElement.classList.contains('quarto-dark') == {str(mode == 'dark').lower()}")


@pytest.mark.parametrize("page", ["index.html", "get_started/first_model.html", "reference/fit.html", "how_to/read_a_checkup.html",
                                  "benchmarks/does_it_pay.html", "stored_groups.html", "hierarchy.html", "checkup.html"])
def test_text_stands_out_in_both_modes(browser, site, page):
    browser.open(f"{site}/{page}")
    for mode in ("dark", "light"):
        in_mode(browser, mode)
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.run(FAINT) == {}


def test_pictures_are_turned_over_in_dark(browser, site):
    browser.open(f"{site}/hierarchy.html")
    in_mode(browser, "dark")
    assert browser.run("[...document.querySelectorAll('main .cell-output img')].every(i => getComputedStyle(i).filter.includes('invert'))")
    in_mode(browser, "light")


def press(browser, key, code):
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def test_a_keyboard_is_enough(browser, site):
    browser.open(f"{site}/index.html")
    press(browser, "Tab", 9)
    assert browser.run("document.activeElement.className") == "skip-link"
    assert browser.run("document.activeElement.getBoundingClientRect().top") >= 0
    book = "[...document.querySelectorAll('#quarto-sidebar .sidebar-item-text[tabindex]')].find(a => a.textContent == 'How it works')"
    browser.run(f"{book}.focus()")
    assert browser.run(f"getComputedStyle({book}).outlineStyle") == "solid"
    press(browser, "Enter", 13)
    assert browser.wait(f"{book}.getAttribute('aria-expanded') == 'true'")


def test_a_phone_has_all_that_a_screen_has(browser, site):
    browser.resize(390, 844)
    browser.open(f"{site}/adstock.html")
    browser.click(".navbar-toggler")
    assert browser.wait("document.querySelector('#quarto-search input').getBoundingClientRect().width > 200")
    browser.type("#quarto-search input", "saturation")
    assert browser.wait("document.querySelectorAll('.search-result').length")
    results = "document.querySelector('.smalldocs-search-results').getBoundingClientRect()"
    assert browser.run(f"{results}.left >= 0 && {results}.right <= 391 && {results}.width > 300")
    browser.click(".quarto-btn-toggle")
    here = "document.querySelector('#quarto-sidebar .sidebar-link.active').getBoundingClientRect()"
    assert browser.wait(f"{here}.top > 0 && {here}.top < 844 && {here}.left >= 0")
    assert browser.run("document.querySelector('#quarto-sidebar').getBoundingClientRect().bottom") <= 844, "so that it scrolls"


def test_paper_has_the_text_and_no_menus(browser, site):
    browser.open(f"{site}/adstock.html")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        for menu in ("#quarto-header", "#quarto-sidebar", "#quarto-margin-sidebar", ".page-navigation"):
            assert browser.run(f"getComputedStyle(document.querySelector('{menu}')).display") == "none"
        assert browser.run("document.querySelector('main').getBoundingClientRect().height") > 1000
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


EVER = (ROOT / "tests/files/addresses.txt").read_text().split()


def test_every_page_is_in_the_list_of_addresses():
    "Whoever adds a page adds its address to tests/files/addresses.txt, where it stays."
    assert set(ALL) <= set(EVER) and EVER == sorted(set(EVER))


def test_no_address_is_lost(site):
    "What a page was called once leads to the text: as it is, or sent on by MOVED of .ci/build_site.py."
    assert [page for page in EVER if not (SITE / page).exists()] == []


@pytest.mark.parametrize("page", sorted(set(EVER) - set(ALL)))
def test_old_addresses_are_sent_on(chromium, site, page):
    chromium.call("Page.navigate", url=f"{site}/{page}")
    arrived = chromium.wait(f"location.pathname != '/{page}' && document.readyState == 'complete' && document.querySelector('h1.title') && location.pathname")
    assert arrived.lstrip("/") in ALL


def test_pages_follow_each_other_as_in_the_sidebar(site):
    for page, following in zip(ALL, ALL[1:]):
        text = (SITE / page).read_text()
        link = re.search(r'<div class="nav-page nav-page-next">.*?href="([^"]+)"', text)
        assert link and ((SITE / page).parent / link[1]).resolve() == (SITE / following).resolve()


def test_chapters_have_pictures(browser, site):
    pictures = [page for page in NUMBERED if "<img" in (SITE / page).read_text()]
    assert len(pictures) >= PICTURES


@pytest.mark.parametrize("page", NUMBERED)
def test_page_shows_signatures_with_parameters(browser, site, page):
    browser.open(f"{site}/{page}")
    assert browser.run("document.querySelectorAll('main .cell-output-markdown :is(h2, h3) + div .sourceCode').length") > 0
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


def html_tables():
    "Every table of pandas that is saved in a notebook."
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                text = "".join(output.get("data", {}).get("text/html", ""))
                if 'class="dataframe' in text:
                    yield text


def read(text):
    "The texts of a table's cells, numbers as numbers."
    texts = [frames.text_of(cell[2]).replace(",", "") for row in frames.ROW.findall(text) for cell in frames.cells_of(row)]
    return Counter(float(text) if frames.PLAIN.fullmatch(text) else text for text in texts if text)


def test_no_cell_of_a_table_is_lost_on_the_page():
    tables = list(html_tables())
    assert len(tables) > 100 and all(read(frames.mend_frames(table)) == read(table) for table in tables)


def test_tables_of_pandas_are_mended():
    frame = pd.DataFrame({"spend_per_week": [5274000.0, 9.0], "about": ["a " * 20, "b"]}, index=pd.Index(["tv_brand", "x"], name="node"))
    text = frames.mend_frames(frame.to_html())
    assert "5,274,000</td>" in text and ">9</td>" in text and "spend_<wbr>per_<wbr>week" in text and 'class="text long"' in text
    assert text.count("<tr") == 3 and re.search(r"<thead>\s*<tr[^>]*><th[^>]*>node</th>", text)
    many = pd.DataFrame([[1.5, 2024]], columns=pd.MultiIndex.from_product([["a"], ["b", "c"]]))
    assert ">1.5<" in frames.mend_frames(many.to_html()) and ">2024<" in frames.mend_frames(many.to_html())
