"""Write README.md from the home page, nbs/index.ipynb; with --check, fail when it is out of date."""

import base64
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "nbs" / "index.ipynb"
README = ROOT / "README.md"
PICTURES = HOME.parent / "images"
RELATIVE_LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)")


def fence(text, language=""):
    "A fenced block; a table's first line keeps its leading blanks."
    return f"```{language}\n{text.strip(chr(10)).rstrip()}\n```"


def seen_by(cell):
    "What a picture says to those who do not see it."
    said = re.search(r"^#\s*\|\s*fig-alt:\s*(.+?)\s*$", "".join(cell["source"]), re.M)
    return said[1] if said else ""


def output_blocks(cell, pictures):
    "A code cell's outputs as Markdown; its pictures are added to `pictures` by their file."
    for output in cell["outputs"]:
        data = output.get("data", {})
        if output.get("name") == "stdout":
            yield fence("".join(output["text"]))
        elif "image/png" in data:
            file = PICTURES / f"index-{cell['id']}.png"
            pictures[file] = base64.b64decode("".join(data["image/png"]))
            yield f"![{seen_by(cell)}](images/{file.name})"
        elif "text/markdown" in data:
            yield "".join(data["text/markdown"])
        elif "text/plain" in data:  # rather than HTML, whose style sheets a README shows as text
            yield fence("".join(data["text/plain"]))


def blocks(notebook, pictures):
    "The home page as blocks of Markdown, without hidden cells."
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        marks = set(re.findall(r"^#\s*\|\s*(.+?)\s*$", source, re.M))
        if cell["cell_type"] == "markdown":
            yield source.strip()
        elif cell["cell_type"] == "code" and "hide" not in marks:
            code = re.sub(r"^#\s*\|.*\n?", "", source, flags=re.M).strip()
            if code and "echo: false" not in marks:
                yield fence(code, "python")
            yield from output_blocks(cell, pictures)


def main():
    pictures = {}
    text = "\n\n".join(blocks(json.loads(HOME.read_text()), pictures)) + "\n"
    files = {README: RELATIVE_LINK.sub(r"\1nbs/", text).encode(), **pictures}
    old = set(PICTURES.glob("index-*.png")) - set(files)
    if "--check" in sys.argv:
        stale = [file for file, content in files.items() if not file.exists() or file.read_bytes() != content]
        for file in [*stale, *old]:
            print(f"{file.relative_to(ROOT)} does not follow from {HOME.relative_to(ROOT)}: run python .ci/readme.py")
        return 1 if stale or old else 0
    PICTURES.mkdir(exist_ok=True)
    for file, content in files.items():
        file.write_bytes(content)
    for file in old:
        file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
