"""Build the documentation site in _docs from the notebooks in nbs, without the Quarto binary.

nbdev stages the notebooks in _proc and adds the API cells; smalldocs renders the stage as the site that
_quarto.yml describes. What the two disagree on is mended in between. Any warning or broken link is an error.
"""

import html.parser
import itertools
import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import smalldocs.layout
import smalldocs.site
from api import find_symbol, line_number, public_name, reference
from nbdev.config import get_config
from nbdev.serve import proc_nbs

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "_proc"
SITE = ROOT / "_docs"
NUMBERED = re.compile(r"\b\d\d[a-z]?_(\w+\.ipynb)")
HEADING = re.compile(r"^(#+ +)(.*?)\s*$", re.M)
BARE_NAME = re.compile(r"(?<![\[`])`(\w+\.\w+)(\(\))?`(?![\]`])")
SHOW_DOC = re.compile(r"^show_doc\(([\w.]+)", re.M)


def documented(cell):
    "The name whose reference a cell shows, or None."
    match = SHOW_DOC.search("".join(cell["source"])) if cell["cell_type"] == "code" else None
    return match and public_name(match[1])


def position(cell):
    "Where in its module the code stands that a cell documents or shows; None for a cell that does neither."
    source = "".join(cell["source"])
    if documented(cell):
        names = [documented(cell)]
    elif "Exported source" in source:
        names = re.findall(r"^(?:def|class) (\w+)", source, re.M)
    else:
        return None
    lines = [line_number(found[0]) for found in map(find_symbol, names) if found]
    return max(lines, default=0) + (0 if documented(cell) else 0.5)


def in_reading_order(cells):
    "Undo the order in which nbdev documents what one cell exports: the last name first, the source in between."
    ordered = []
    for moves, run in itertools.groupby(cells, lambda cell: position(cell) is not None):
        ordered += sorted(run, key=position) if moves else run
    return ordered


def write_references(notebook):
    "Replace what nbdev wrote for each `show_doc` by our own reference; returns the anchors that these define."
    names = {documented(cell) for cell in notebook["cells"]} - {None}
    anchors = set()
    for cell in notebook["cells"]:
        text = reference(documented(cell), names) if documented(cell) else None
        if text:
            output = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": text}}
            cell["outputs"] = [output]
            anchors |= {documented(cell).lower(), *re.findall(r'<span id="([^"]+)">', text)}
    return anchors


def texts(notebook):
    "Each piece of Markdown in a notebook, as the dictionary and the key that hold it, and whether it is an output."
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            yield cell, "source", False
        for output in cell.get("outputs", []):
            if "text/markdown" in output.get("data", {}):
                yield output["data"], "text/markdown", True


def linker(anchors):
    "A function that turns nbdev's links into links from the site's root, and links the methods nbdev does not know."
    config = get_config()
    address = f"{config.doc_host}{config.doc_baseurl}/"
    published = re.compile(rf"\]\({re.escape(address)}([^)#]*)#?([^)]*)\)")
    home = {anchor: page for page in anchors for anchor in anchors[page]}

    def from_root(link):
        page, symbol = link.groups()
        while symbol and symbol not in anchors.get(page, ()):
            symbol = symbol.rpartition(".")[0]  # a method without an anchor is found with its class
        return f"](/{page}" + (f"#{symbol})" if symbol else ")")

    def link_method(name):
        anchor = name[1].lower()
        return f"[{name[0]}](/{home[anchor]}#{anchor})" if anchor in home else name[0]

    def mend(text):
        prose_and_fences = re.split(r"(^```.*?^```)", published.sub(from_root, text), flags=re.M | re.S)
        return "".join(part if part.startswith("```") else BARE_NAME.sub(link_method, part) for part in prose_and_fences)

    return mend


def free_anchors(text, anchors):
    "Give a heading that is named like a symbol an anchor of its own, so that the symbol keeps its."

    def mend(heading):
        name = heading[2].strip("`").lower()
        return f"{heading[0].rstrip()} {{#about-{name}}}" if name in anchors else heading[0]

    return HEADING.sub(mend, text)


def stage():
    "Process the notebooks with nbdev into _proc, then mend them for smalldocs."
    shutil.rmtree(STAGE, ignore_errors=True)
    proc_nbs()
    # by `output-file` nbdev drops the number from a page's address, which smalldocs does not read
    for numbered in list(STAGE.glob("[0-9][0-9]*_*.ipynb")):
        numbered.rename(STAGE / NUMBERED.sub(r"\1", numbered.name))
    config = STAGE / "_quarto.yml"
    config.write_text(NUMBERED.sub(r"\1", config.read_text()))

    notebooks = {path: json.loads(path.read_text()) for path in STAGE.rglob("*.ipynb")}
    address = {path: path.relative_to(STAGE).with_suffix(".html").as_posix() for path in notebooks}
    for notebook in notebooks.values():
        notebook["cells"] = in_reading_order(notebook["cells"])
    anchors = {address[path]: write_references(notebook) for path, notebook in notebooks.items()}
    link = linker(anchors)
    for path, notebook in notebooks.items():
        front = notebook["cells"][0]
        front["source"] = [line for line in front["source"] if not line.startswith("output-file:")]
        for holder, key, is_output in texts(notebook):
            text = link(NUMBERED.sub(r"\1", "".join(holder[key])))
            holder[key] = text if is_output else free_anchors(text, anchors[address[path]])
        path.write_text(json.dumps(notebook))


def host_katex():
    "Point every page to the site's own KaTeX: nothing is fetched from elsewhere when the site is read."
    for page in SITE.rglob("*.html"):
        up = "../" * (len(page.relative_to(SITE).parts) - 1)
        page.write_text(page.read_text().replace(smalldocs.layout.KATEX, f"{up}site/vendor/katex"))


class Links(html.parser.HTMLParser):
    "The anchors, links and loaded files of a page."

    def __init__(self, page):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag == "link" and attributes.get("rel") in ("stylesheet", "icon"):
            self.loads.append(attributes["href"])
        if attributes.get("src"):
            self.loads.append(attributes["src"])


def broken_links():
    "What leads nowhere, and what a page would load from another host."
    pages = {page.resolve(): Links(page) for page in SITE.rglob("*.html")}
    for page, found in pages.items():
        where = page.relative_to(SITE)
        for link in found.links + found.loads:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                if link in found.loads and url.scheme != "data":
                    yield f"{where}: loads {link} from another host"
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{where}: {link} leads nowhere"
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids:
                yield f"{where}: {link} has no such anchor"


def main():
    stage()
    site = smalldocs.site.build(STAGE, quiet=True)
    host_katex()
    warnings = [warning for warning in site.warnings if "broken link" not in warning]  # found below, once a page
    problems = warnings + sorted(set(broken_links()))
    print(*problems, f"{len(site.pages)} pages in {SITE.name}, {len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":  # proc_nbs starts workers, which import this file again
    sys.exit(main())
