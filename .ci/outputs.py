"""Run the notebooks anew, and compare what they print with the outputs saved in them, or save the new ones.

    python .ci/outputs.py --check               # every notebook; fails when a saved output is no longer true
    python .ci/outputs.py --update nbs/index.ipynb
    python .ci/outputs.py --update --slow nbs/47_checkup.ipynb   # the cells that are marked slow, too

A check is a run of `nbdev_test` that keeps what the cells show; an update runs a notebook in Jupyter, as a reader would.
Cells marked `#| eval: false`, or with a flag that settings.ini keeps from the tests, are not run and keep their
outputs. References (`show_doc`) are written when the site is built, so none is saved.
"""

import argparse
import base64
import difflib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib
import nbdev.test
import nbformat
import numpy as np
import pandas as pd
from execnb.shell import CaptureShell
from fastcore.xtras import obj2dict
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbdev.clean import nbdev_clean
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbformat.v4.rwbase import rejoin_lines
from PIL import Image

# From the first cell that draws from a posterior on, numbers may differ a little between processors.
SAMPLES = re.compile(r"\b(run_nuts|ensemble|main)\(|\.fit\(|^!", re.M)
SAMPLED_RTOL, EXACT_RTOL = 0.25, 1e-3
SAMPLED_SHADE, EXACT_SHADE = 0.06, 0.02  # mean difference of two pictures, of 1
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d*)?(?:[eE][-+]?\d+)?")
PASSING = re.compile(r"0x[0-9a-f]{6,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SKIPPED_FLAGS = get_config().tst_flags.split()
RICHEST_FIRST = ("image/png", "text/html", "text/markdown", "text/latex", "text/plain")


def directives(source):
    "The `#|` lines at the top of a cell, as {name: argument}."
    lines = re.match(r"(?:\s*#\s*\|.*\n?)*", source)[0].splitlines()
    pairs = (re.sub(r"^\s*#\s*\|", "", line).replace(":", " ").split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs if pair}


def is_reference(cell):
    return cell.cell_type == "code" and re.search(r"^show_doc\(", cell.source, re.M) is not None


def is_skipped(cell):
    "Whether a code cell is left alone, as `nbdev_test` leaves it."
    marks = directives(cell.source)
    return (
        marks.get("eval", "").lower() == "false"
        or any(flag in marks for flag in SKIPPED_FLAGS)
        or "nbdev_export(" in cell.source
        or is_reference(cell)
    )


def instruct_xla():
    "As a fit does before XLA is used; TensorFlow is loaded only where notebooks are run."
    from precision import program

    program.instruct_xla()


class Recorder(CaptureShell):
    "Runs a notebook for `nbdev_test`, and keeps what its cells show in the folder that the environment names."

    def __init__(self, path):
        super().__init__(path, mpl_format="png")  # pictures as large as Jupyter's
        self.path = Path(path)
        instruct_xla()  # one process runs many notebooks, and XLA reads its flags once

    def system(self, command):
        both = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # as in Jupyter
        print(subprocess.run(command, shell=True, text=True, **both).stdout, end="")

    def run_all(self, notebook, preproc, **options):
        pd.reset_option("^display")  # nor are the settings of one notebook those of the next
        matplotlib.rcdefaults()
        cells = [cell for cell in notebook.cells if not preproc(cell)]
        for cell in cells:
            cell.outputs = []
        start = time.perf_counter()
        super().run_all(notebook, preproc=preproc, **options)
        shown = {cell.id: obj2dict(cell.outputs) for cell in cells}
        kept = kept_at(os.environ["PRECISION_OUTPUTS"], self.path)
        kept.write_text(json.dumps({"cells": shown, "seconds": time.perf_counter() - start}))


def kept_at(folder, path):
    "Where what the cells of a notebook show is kept."
    return Path(folder) / str(Path(path).resolve().with_suffix(".json")).strip("/").replace("/", "-")


class Client(NotebookClient):
    "Runs a notebook in Jupyter but for the cells that are skipped."

    async def async_execute_cell(self, cell, cell_index, **options):
        if cell.cell_type == "code" and is_skipped(cell):
            return cell
        return await super().async_execute_cell(cell, cell_index, **options)


def is_never_run(notebook):
    return any(cell.cell_type == "raw" and "skip_exec: true" in cell.source for cell in notebook.cells)


def quiet(output):
    "An output without what HiGHS writes past Python, which only Jupyter sees."
    if output.output_type == "stream":
        lines = output.text.splitlines(keepends=True)
        output.text = "".join(line for line in lines if not line.startswith("HighsMipSolverData::"))
    return output


def run(path):
    "A notebook as it is after running it in a fresh kernel, in its own folder."
    notebook = nbformat.read(path, as_version=4)
    if is_never_run(notebook):
        return notebook
    resources = {"metadata": {"path": str(Path(path).parent)}}
    Client(
        notebook,
        kernel_name="python3",
        coalesce_streams=True,
        resources=resources,
        extra_arguments=["--log-level=ERROR"],
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            kept = [] if is_reference(cell) else cell.outputs
            quieted = (quiet(output) for output in kept if output.get("name") != "stderr")
            cell.outputs = [output for output in quieted if output.get("text") != ""]
    return notebook


def shown(outputs):
    "What a reader sees of a cell's outputs: [(kind, content)], the richest form of each, printed text joined."
    result = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if result and result[-1][0] == "printed":
                result[-1] = ("printed", result[-1][1] + output.text)
            else:
                result.append(("printed", output.text))
        elif output.output_type == "error":
            result.append(("error", f"{output.ename}: {output.evalue}"))
        else:
            kind = next((kind for kind in RICHEST_FIRST if kind in output.data), None)
            if kind:
                result.append((kind, output.data[kind]))
    return sorted(result, key=lambda part: (part[0] != "printed", part[0] == "image/png"))  # what came first, the shell decides


def skeleton(text):
    "A text without its numbers, without what differs in every run, and without alignment."
    text = NUMBER.sub("#", PASSING.sub("@", text))
    return [re.sub(r"\s+", " ", re.sub(r"[-=]{3,}", "---", line)).strip() for line in text.splitlines()]


def last_digit(number):
    "What one unit of a printed number's last digit is worth."
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def numbers_agree(saved, fresh, rtol):
    a, b = (float(number.replace(",", "")) for number in (saved, fresh))
    unit = max(last_digit(saved.replace(",", "")), last_digit(fresh.replace(",", "")))
    if rtol == EXACT_RTOL and "." not in saved + fresh:
        unit = 0  # a count that no sampler touched is exact
    return abs(a - b) <= max(rtol * max(abs(a), abs(b)), 1.001 * unit)


def text_difference(saved, fresh, rtol):
    "How two texts differ beyond the tolerance, or None."
    if skeleton(saved) != skeleton(fresh):
        lines = difflib.unified_diff(saved.splitlines(), fresh.splitlines(), "saved", "fresh", lineterm="", n=0)
        return "\n".join(list(lines)[2:14])
    numbers = [NUMBER.findall(PASSING.sub("@", text)) for text in (saved, fresh)]
    apart = [f"{a} is now {b}" for a, b in zip(*numbers) if not numbers_agree(a, b, rtol)]
    return "numbers: " + ", ".join(apart[:8]) if apart else None


def picture_difference(saved, fresh, shade):
    "How two pictures, base64-encoded, differ beyond the tolerance, or None."
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in (saved, fresh)]
    (w, h), (w2, h2) = (picture.size for picture in pictures)
    if abs(w - w2) > 0.05 * w or abs(h - h2) > 0.05 * h:
        return f"the picture was {w}×{h} and is now {w2}×{h2}"
    thumbnails = [np.asarray(flat(picture).resize((48, 48)), float) / 255 for picture in pictures]
    distance, ink = np.abs(thumbnails[0] - thumbnails[1]).mean(), [(1 - thumbnail).mean() for thumbnail in thumbnails]
    if min(ink) < 0.6 * max(ink):
        return f"one picture has {min(ink) / max(ink):.0%} of the other's ink"
    return f"the pictures differ by {distance:.3f}" if distance > shade else None


def flat(picture):
    "A picture on white, without transparency."
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def difference(saved, fresh, sampled=False):
    "How the outputs of a cell differ beyond the tolerance, or None where they agree."
    saved, fresh = shown(saved), shown(fresh)
    if [kind for kind, _ in saved] != [kind for kind, _ in fresh]:
        kinds = [", ".join(kind for kind, _ in side) or "nothing" for side in (saved, fresh)]
        return f"showed {kinds[0]} and now shows {kinds[1]}"
    for (kind, old), (_, new) in zip(saved, fresh):
        if kind == "image/png":
            found = picture_difference(old, new, SAMPLED_SHADE if sampled else EXACT_SHADE)
        else:
            found = text_difference(old, new, SAMPLED_RTOL if sampled else EXACT_RTOL)
        if found:
            return found
    return None


def differences(path, fresh):
    "Where a notebook's saved outputs are no longer true: [(cell id, how)]."
    found, sampled = [], False
    for old, new in zip(nbformat.read(path, as_version=4).cells, fresh.cells):
        if old.cell_type != "code":
            continue
        sampled = sampled or SAMPLES.search(old.source) is not None
        how = difference(old.outputs, new.outputs, sampled)
        how = "a reference is saved, which the site writes anew" if how and is_reference(old) else how
        if how:
            found.append((old.id, how))
    return found


def check(paths, jobs):
    "Run notebooks as `nbdev_test` does; messages about those that fail, and about saved outputs that are no longer true."
    nbdev.test.CaptureShell = Recorder
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PRECISION_OUTPUTS"] = folder
        passed = nbdev.test.parallel(nbdev.test.test_nb, [Path(path).resolve() for path in paths], n_workers=jobs,
                                     skip_flags=SKIPPED_FLAGS, basepath=get_config().config_path)
        kept = [kept_at(folder, path) for path in paths]
        print_the_slowest(paths, kept)
        return [problem for path, (fine, _), file in zip(paths, passed, kept) for problem in judged(path, fine, file)]


def print_the_slowest(paths, kept, most=20):
    "Which notebooks a run of all waits for: what to make faster when the gate gets slow."
    seconds = {path: json.loads(file.read_text())["seconds"] for path, file in zip(paths, kept) if file.exists()}
    for path in sorted(seconds, key=seconds.get, reverse=True)[:most]:
        print(f"{seconds[path]:6.1f} s  {path}")


def judged(path, fine, kept):
    if not fine:
        return [f"{path} does not run, see above"]
    fresh = nbformat.read(path, as_version=4)
    if is_never_run(fresh):
        return []
    if not kept.exists():
        return [f"{path} was run, but what its cells show was not kept: its process must be forked from this one"]
    shown = json.loads(kept.read_text())["cells"]
    for cell in fresh.cells:
        if cell.cell_type == "code" and is_reference(cell):
            cell.outputs = []
        elif cell.cell_type == "code" and not is_skipped(cell):
            cell.outputs = nbformat.from_dict(shown[cell.id])
    return [f"{path} cell {cell}:\n{how}" for cell, how in differences(path, rejoin_lines(fresh))]


def update(paths, jobs):
    "Save the fresh outputs of notebooks, as clean as `nbdev_clean` leaves them; messages about those that do not run."
    with ThreadPoolExecutor(jobs) as pool:
        return [problem for found in pool.map(updated, paths) for problem in found]


def updated(path):
    try:
        notebook = run(path)
    except CellExecutionError as error:
        return [f"{path} does not run:\n{str(error)[-3000:]}"]
    nbformat.write(notebook, path)
    nbdev_clean(str(path))
    return []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--check", action="store_const", dest="task", const=check)
    task.add_argument("--update", action="store_const", dest="task", const=update)
    parser.add_argument("notebooks", nargs="*", help="by default every notebook")
    parser.add_argument("--jobs", type=int, default=2, help="notebooks run at a time")
    parser.add_argument("--slow", action="store_true", help="run cells that are marked slow, too")
    options = parser.parse_args()
    if options.slow:
        SKIPPED_FLAGS.clear()

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    paths = options.notebooks or sorted(str(path) for path in nbglob())
    problems = options.task(paths, options.jobs)
    print(*problems, f"{len(paths)} notebooks run, {len(problems)} problems", sep="\n")
    if problems and options.task is check:
        print("Where the new outputs are right: python .ci/outputs.py --update NOTEBOOK")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
