"""Build the documentation site in _docs from the notebooks in nbs, without the Quarto binary.

nbdev stages the notebooks in _proc and adds the API cells; smalldocs renders the stage as the site that
_quarto.yml describes. What the two disagree on is mended in between. Any warning or broken link is an error.
"""

import base64
import functools
import hashlib
import html
import html.parser
import itertools
import json
import re
import shutil
import struct
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbdev.processors
import smalldocs.layout
import smalldocs.site
from api import HERE, code_of, defined_names, find_symbol, is_former, line_number, public_name, reference, shown_name
from frames import label_cells, mend_frames
from nbdev.config import get_config
from nbdev.serve import proc_nbs

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "_proc"
SITE = ROOT / "_docs"
NUMBERED = re.compile(r"\b\d\d[a-z]?_(\w+\.ipynb)")
HEADING = re.compile(r"^(#+ +)(.*?)\s*$", re.M)
BARE_NAME = re.compile(r"(?<![\[`])`(\w+(?:\.\w+)+)(\(\))?`(?![\]`])")
METHOD = re.compile(r"\[([^\]]+)\]\(@([\w.]+)\)")
SHOW_DOC = re.compile(r"^show_doc\(([\w.]+)", re.M)
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9`*])")
DRAWS = re.compile(r"(?:\b|\.)(plot_\w+|plot\.\w+)\(")
LABELS = re.compile(r"""\b(title|xlabel|ylabel|label)(?:=|\()\s*f?(["'])(.*?)\2""")
LEAST_SAID = 25  # characters of a text that describes a picture
REFERENCE = "reference/"  # pages that a name in prose is linked to, rather than to its chapter
RESULTS = "benchmarks/"  # pages that are read for what was found: their code is folded
CLOSED = {"How it works"}  # sections of the sidebar that open only on their own pages
PICTURE = re.compile(r'src="data:image/png;base64,([^"]+)"')
MOVED = {  # {address that a page had: the address that it has}; tests/files/addresses.txt lists all that there ever were
    "netcdf.html": "saving.html",
}


line_of = functools.cache(line_number)  # every chapter asks for each of its symbols several times


def without_running(processors):
    "nbdev's processors but the one that runs cells for references, since ours are written from the package."
    return lambda self: [one for one in processors(self) if one is not nbdev.processors.exec_show_docs]


nbdev.processors.FilterDefaults.base_procs = without_running(nbdev.processors.FilterDefaults.base_procs)


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
        names = defined_names(source)
    else:
        return None
    lines = [line_of(found[0]) for found in map(find_symbol, names) if found]
    return max(lines, default=0) + (0 if documented(cell) else 0.5)


def in_reading_order(cells):
    "Undo the order in which nbdev documents what one cell exports: the last name first, the source in between."
    ordered = []
    for moves, run in itertools.groupby(cells, lambda cell: position(cell) is not None):
        ordered += sorted(run, key=position) if moves else run
    return ordered


def without_doubles(cells):
    "The cells without the references that nbdev adds where a chapter has its own: the last of a name stays."
    last = {documented(cell): n for n, cell in enumerate(cells) if documented(cell)}
    return [cell for n, cell in enumerate(cells) if last.get(documented(cell), n) == n]


def of_no_interest(cell):
    "Whether a cell documents what a reader does not call: a method with underscores, or one that only keeps a former name."
    name = documented(cell)
    found = find_symbol(name) if name else None
    return found is not None and (name.rpartition(".")[2].startswith("__") or is_former(code_of(found[0])))


def write_references(notebook):
    "Replace what nbdev wrote for each `show_doc` by our own reference; returns {anchor that this defines: the code behind it}."
    names = {documented(cell) for cell in notebook["cells"]} - {None}
    anchors, in_section = {}, False
    for cell in notebook["cells"]:
        in_section |= cell["cell_type"] == "markdown" and bool(re.search(r"^## ", "".join(cell["source"]), re.M))
        text = reference(documented(cell), names) if documented(cell) else None
        if text:
            if not in_section:  # no level of headings is left out below the title
                text = text.replace("\n### ", "\n## ", 1)
            output = {"output_type": "display_data", "metadata": {}, "data": {"text/markdown": text}}
            cell["outputs"] = [output]
            symbol = code_of(find_symbol(documented(cell))[0])
            anchors |= dict.fromkeys(re.findall(r'<span id="([^"]+)">', text))
            anchors[shown_name(documented(cell)).lower()] = symbol.__qualname__
    return anchors


def directive(cell, line):
    "Put a `#|` line on top of a cell."
    cell["source"] = [f"#| {line}\n", *"".join(cell["source"]).splitlines(keepends=True)]


def plain_text(markdown):
    "A line of Markdown as it is read aloud."
    text = re.sub(r"!?\[([^\]]*)\](\([^)]*\)|\{[^}]*\})", r"\1", markdown)
    return " ".join(re.sub(r"[`*$\\]|<[^>]+>", "", text).split())


def last_said(text):
    "The last sentence of a text, or as many as it takes to say something."
    sentences = SENTENCE.split(text)
    return next(said for k in range(len(sentences) - 1, -1, -1) if len(said := " ".join(sentences[k:])) >= LEAST_SAID)


def drawn(source):
    "What the package's functions that a cell calls say that they draw, and how the cell labels what it draws itself."
    for name in dict.fromkeys(DRAWS.findall(source)):
        places = [name.replace("plot.", "Plots."), f"Fit.{name}", f"EnsembleResult.{name}"]
        found = next(filter(None, map(find_symbol, places)), None)
        if found and found[0].__doc__:
            yield found[0].__doc__.split("; returns")[0].splitlines()[0].rstrip(".") + "."
    labels = dict.fromkeys(text.strip() for _, _, text in LABELS.findall(source) if "{" not in text and text.strip())
    if labels:
        yield "Labelled: " + ", ".join(labels) + "."


def describe_pictures(notebook):
    """Give every picture without an `#| fig-alt:` a text: the sentence before it, then what is drawn.

    Where cells follow each other it is the last sentence that was written."""
    said = ""
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            prose = re.sub(r"^```.*?^```|^\$\$.*?^\$\$|^:::.*?$|^\|.*?$|^---$", "", source, flags=re.M | re.S)
            blocks = [plain_text(block.lstrip("#>-* ")) for block in prose.split("\n\n") if block.strip()]
            said = next((last_said(block) for block in reversed(blocks) if len(block) >= LEAST_SAID), said)
        elif any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {})):
            if not re.search(r"^#\|\s*fig-alt:", source, re.M):
                text = " ".join([said.rstrip(":.") + ".", *drawn(source)])
                directive(cell, f"fig-alt: {json.dumps(plain_text(text), ensure_ascii=False)}")


def fold_source(notebook):
    "Close every block of exported source."
    for cell in notebook["cells"]:
        cell["source"] = [line.replace("#| code-fold: show", "#| code-fold: true") for line in cell["source"]]


def fold_code(notebook):
    "Close all code; cells that show nothing are joined with the next one, so that there is one fold a result."
    cells = []
    for cell in notebook["cells"]:
        last = cells[-1] if cells else {}
        if cell["cell_type"] == last.get("cell_type") == "code" and not last["outputs"]:
            cells.pop()
            lines = ["".join(one["source"]).splitlines(keepends=True) for one in (last, cell)]
            options = [line for one in lines for line in one if line.startswith("#|")]
            code = ["".join(line for line in one if not line.startswith("#|")).strip("\n") for one in lines]
            cell["source"] = [*options, *"\n\n\n".join(code).splitlines(keepends=True)]
        cells.append(cell)
    for cell in cells:
        if cell["cell_type"] == "code" and "#| code-fold" not in "".join(cell["source"]):
            directive(cell, "code-fold: true")
    notebook["cells"] = cells


def mend_outputs(notebook):
    "Mend what pandas wrote as HTML."
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output["data"]["text/html"] = mend_frames("".join(output["data"]["text/html"]))


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
    pages = sorted(anchors, key=lambda page: page.startswith(REFERENCE))  # the last one counts
    home = {anchor: page for page in pages for anchor in anchors[page]}
    of_code = {code: f"/{page}#{anchor}" for page in pages for anchor, code in anchors[page].items() if code}

    def from_root(link):
        page, symbol = link.groups()
        if home.get(symbol, "").startswith(REFERENCE):
            return f"](/{home[symbol]}#{symbol})"
        while symbol and symbol not in anchors.get(page, ()):
            symbol = symbol.rpartition(".")[0]  # a method without an anchor is found with its class
        return f"](/{page}" + (f"#{symbol})" if symbol else ")")

    def link_method(name):
        anchor = name[1].lower()
        return f"[{name[0]}](/{home[anchor]}#{anchor})" if anchor in home else name[0]

    def from_table(link):
        return f"[{link[1]}]({of_code[link[2]]})" if link[2] in of_code else link[1]

    def mend(text):
        text = METHOD.sub(from_table, text)
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
    anchors = {}
    for path, notebook in notebooks.items():
        HERE["module"] = f"{get_config().lib_path.name}.{path.stem}"
        notebook["cells"] = [cell for cell in without_doubles(notebook["cells"]) if not of_no_interest(cell)]
        if not address[path].startswith(REFERENCE):
            notebook["cells"] = in_reading_order(notebook["cells"])
        if address[path].startswith(RESULTS):
            fold_code(notebook)
        describe_pictures(notebook)
        fold_source(notebook)
        mend_outputs(notebook)
        anchors[address[path]] = write_references(notebook)
    HERE["module"] = None
    link = linker(anchors)
    for path, notebook in notebooks.items():
        front = notebook["cells"][0]
        front["source"] = [line for line in front["source"] if not line.startswith("output-file:")]
        for holder, key, is_output in texts(notebook):
            text = link(NUMBERED.sub(r"\1", "".join(holder[key])))
            holder[key] = text if is_output else free_anchors(text, anchors[address[path]])
        path.write_text(json.dumps(notebook))


def keep_picture(found, up):
    "Write a picture to a file of its own; returns where it is and how large, which a browser wants to know before it is there."
    data = base64.b64decode(found[1])
    width, height = struct.unpack(">II", data[16:24])
    name = f"pictures/{hashlib.sha256(data).hexdigest()[:16]}.png"
    (SITE / "pictures").mkdir(exist_ok=True)
    (SITE / name).write_bytes(data)
    return f'src="{up}{name}" width="{width}" height="{height}" style="--width: {width}px"'


def finish_pages():
    """Mend every page: nothing is fetched from elsewhere when the site is read, pictures are files,
    a keyboard opens the sections of the sidebar and skips it, and cells of tables know their columns."""
    for page in SITE.rglob("*.html"):
        up = "../" * (len(page.relative_to(SITE).parts) - 1)
        text = page.read_text().replace(smalldocs.layout.KATEX, f"{up}site/vendor/katex")
        text = PICTURE.sub(lambda found: keep_picture(found, up), text)
        text = text.replace('role="navigation" aria-expanded', 'role="button" tabindex="0" aria-expanded')
        text = re.sub(r'role="button" tabindex="0"( aria-expanded="\w+" aria-label="Toggle section")', r'role="button" tabindex="-1"\1', text)
        text = re.sub(r"<body[^>]*>", r'\g<0><a class="skip-link" href="#quarto-document-content">Skip to the text</a>', text, count=1)
        page.write_text(label_cells(text))


def close_sections():
    "Let the sections of the sidebar that are CLOSED open only on their own pages, and leave out those that hold nothing."
    side_item = smalldocs.layout.Layout.side_item

    def item(self, it, depth):
        shown = self.sidebar
        if it.section and not it.children:
            return ""
        if it.section and it.text in CLOSED:
            self.sidebar = {**shown, "collapse-level": 0}
        made = side_item(self, it, depth)
        self.sidebar = shown
        return made

    smalldocs.layout.Layout.side_item = item


def in_sidebar(items):
    "The entries of the sidebar one after the other, sections before what they hold: [(depth, entry)]."
    for item in items:
        yield item
        yield from in_sidebar(item.children)


def write_llms_txt(site):
    "The pages in the sidebar's order, with their summaries, for readers that are programs."
    web = site.project.website
    lines = [f"# {web['title']}", "", f"> {web['description']}"]
    for item in in_sidebar(smalldocs.layout.SiteNav(site).sidebars[0]["items"]):
        if item.section:
            lines += ["", f"## {item.text}", ""] if item.children else []
        else:
            summary = plain_text(str(item.page.meta.get("description", "")))
            lines.append(f"- [{html.unescape(plain_text(item.text))}]({web['site-url']}/{item.href}): {summary}")
    (SITE / "llms.txt").write_text("\n".join(lines) + "\n")


def search_references_first():
    "A name that has a section on a page of the reference is found there, and not a second time in its chapter."
    index = SITE / "search.json"
    entries = json.loads(index.read_text())
    in_reference = {True: [], False: []}
    for entry in entries:
        in_reference[entry["href"].startswith(REFERENCE)].append(entry)
    shown = {entry["section"] for entry in in_reference[True]}
    others = [entry for entry in in_reference[False] if entry["section"] not in shown
              or not entry["text"].startswith(tuple(f"{kind}{entry['section']}{end}" for kind in ("class ", "") for end in "(:"))]
    index.write_text(json.dumps(in_reference[True] + others, ensure_ascii=False))


def write_redirects(moved):
    "A stub at every address that a page has left."
    for old, new in moved.items():
        stub, up = SITE / old, "../" * old.count("/")
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(f'<!doctype html><meta charset="utf-8"><title>Moved</title><link rel="canonical" href="{up}{new}">'
                        f'<meta http-equiv="refresh" content="0; url={up}{new}"><a href="{up}{new}">This page has moved.</a>\n')


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
    close_sections()
    site = smalldocs.site.build(STAGE, quiet=True)
    finish_pages()
    write_llms_txt(site)
    search_references_first()
    write_redirects(MOVED)
    warnings = [warning for warning in site.warnings if "broken link" not in warning]  # found below, once a page
    problems = warnings + sorted(set(broken_links()))
    print(*problems, f"{len(site.pages)} pages in {SITE.name}, {len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":  # proc_nbs starts workers, which import this file again
    sys.exit(main())
