"""The comparison of saved and fresh outputs passes what may differ, and fails what may not."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import outputs

ROOT = Path(__file__).resolve().parent.parent


def printed(text, name="stdout"):
    return [new_output("stream", name=name, text=text)]


def displayed(**data):
    return [new_output("display_data", data={kind.replace("_", "/"): content for kind, content in data.items()})]


def picture(values, size=(6, 3)):
    figure = Figure(figsize=size)
    figure.add_subplot().bar(range(len(values)), values)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    return displayed(image_png=base64.b64encode(file.getvalue()).decode())


@pytest.mark.parametrize(
    ("saved", "fresh"),
    [
        (printed("mean 0.61"), printed("mean 0.61")),
        (printed("mean 0.61"), printed("mean  0.62")),  # one unit of the last digit, another alignment
        (printed("decay") + printed("s\n"), printed("decays\n")),
        (printed("done"), printed("done") + printed("100%|███| 9/9", "stderr")),
        (displayed(text_html="<td>1,204.5</td>"), displayed(text_html="<td>1,204.6</td>")),
        (displayed(text_plain="<A at 0x7f0011223344>"), displayed(text_plain="<A at 0x7f9911223355>")),
        (picture([1, 2, 3]), picture([1, 2, 3.01])),
    ],
)
def test_what_may_differ(saved, fresh):
    assert outputs.difference(saved, fresh) is None


@pytest.mark.parametrize(
    ("saved", "fresh"),
    [
        (printed("mean 0.61"), printed("mean 0.64")),
        (printed("12 tacticals"), printed("13 tacticals")),
        (printed("no divergences"), printed("some divergences")),
        (printed("1 line"), printed("1 line\n2 lines")),
        (printed("1.5"), printed("nan")),
        (printed("done"), []),
        ([], picture([1, 2, 3])),
        (displayed(text_html="<td>tv</td>"), displayed(text_html="<td>search</td>")),
        (displayed(text_plain="x"), printed("x")),
        (picture([1, 2, 3]), picture([3, 2, 1])),
        (picture([1, 2, 3]), picture([1, 2, 3], size=(6, 4))),
        (picture([0.1, 0.2]), picture([0, 0])),  # a thin picture whose bars are gone
        (printed("fine"), [new_output("error", ename="ValueError", evalue="no", traceback=[])]),
    ],
)
def test_what_may_not_differ(saved, fresh):
    assert outputs.difference(saved, fresh)
    assert outputs.difference(fresh, saved)


def test_draws_may_differ_a_little():
    assert outputs.difference(printed("ess 1512, mean 0.61"), printed("ess 1390, mean 0.66"), sampled=True) is None
    assert outputs.difference(printed("mean 0.61"), printed("mean 0.91"), sampled=True)
    assert outputs.difference(printed("R-hat is fine"), printed("R-hat is bad"), sampled=True)


def write(path, *cells):
    nbformat.write(new_notebook(cells=list(cells)), path)
    return str(path)


def check(*paths):
    "What the command says of notebooks, in a process of its own."
    done = subprocess.run([sys.executable, ROOT / ".ci" / "outputs.py", "--check", *paths], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_check_runs_the_notebooks_and_finds_the_stale_cell(tmp_path):
    kept = new_code_cell("#| slow\nprint('never run')", outputs=printed("kept\n"))
    good = new_code_cell("show_doc = id\nprint(1 + 1)", outputs=printed("2\n"))
    shell = new_code_cell("!echo out of the shell", outputs=printed("out of the shell\n"))
    path = write(tmp_path / "a.ipynb", new_markdown_cell("# A"), good, kept, shell)
    code, said = check(path)
    assert code == 0 and "1 notebooks run, 0 problems" in said, said

    stale = new_code_cell("print(1 + 1)", outputs=printed("3\n"))
    silent = new_code_cell("1 + 1")
    reference = new_code_cell("show_doc(print)", outputs=printed("of yesterday"))
    broken = write(tmp_path / "c.ipynb", new_code_cell("raise ValueError('broken')"))
    code, said = check(write(tmp_path / "b.ipynb", good, stale, silent, reference, kept), broken)
    assert code == 1 and "2 notebooks run, 4 problems" in said, said
    assert stale.id in said and "3 is now 2" in said and silent.id in said and reference.id in said and kept.id not in said
    assert f"{broken} does not run" in said and "ValueError: broken" in said


def test_numbers_are_loose_only_after_a_cell_that_samples(tmp_path):
    path = write(tmp_path / "a.ipynb", *(new_code_cell(source, outputs=printed("1.00")) for source in ("a", "m.fit()", "b")))
    fresh = nbformat.read(path, as_version=4)
    for cell in fresh.cells:
        cell.outputs = printed("1.10")
    assert [cell for cell, _ in outputs.differences(path, fresh)] == [fresh.cells[0].id]


def test_update_saves_what_check_accepts(tmp_path, monkeypatch):
    monkeypatch.chdir(outputs.Path(__file__).parent)
    cell = new_code_cell("import sys\nprint('new')\nprint('noise', file=sys.stderr)", outputs=printed("old\n"))
    path = write(tmp_path / "a.ipynb", cell)
    assert outputs.update([path], jobs=1) == [] and check(path)[0] == 0
    (saved,) = nbformat.read(path, as_version=4).cells[0].outputs
    assert saved.text == "new\n"
