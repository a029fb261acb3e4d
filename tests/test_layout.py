"""The house rules: the order of the floors, what may be imported where, and what every notebook starts with."""

import ast
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyflakes.api
import pyflakes.reporter
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT / "nbs"


def module_of(path):
    "The module that a numbered notebook exports."
    return path.stem.partition("_")[2]


NUMBERED = sorted(NBS.glob("[0-9][0-9]*_*.ipynb"))  # 16, 16a, 17: a letter stands between two numbers
NOTEBOOKS = sorted(path for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
FLOOR = {module_of(path): floor for floor, path in enumerate(NUMBERED)}
TOP_LEVEL = {
    *("nbs", "precision", "tests", "_quarto.yml", "settings.ini", "setup.py"),
    *("README.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", ".gitignore", ".ci"),
}
DEVELOPMENT_ONLY = {"nbdev", "fastcore", "execnb", "IPython", "pytest", "hypothesis", "nbclient", "nbformat"}
HEAVY = {"tensorflow", "tensorflow_probability", "tf_keras", "arviz", "xarray", "matplotlib"}


WIDEST = 100  # characters of a line of code: what fits the site's column
LONGEST_CELL, MEAN_CELL = 30, 15  # lines of exported code
LEAST_CHECKS = 2  # visible ones to an exported cell, over all
LONGEST_MODULE = 400  # lines
CHECKED = r"^\s*assert\b|\braises\(|complaint_of\(|expect_error|shows_error"
EXCEPTIONS = {}  # {chapter: (cells above, why)}: may only shrink, and holds at most five


def name_of(path):
    return path.relative_to(NBS).as_posix() if NBS in path.parents else path.name


def cells(path):
    "The cells of a notebook as (type, source)."
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(path.read_text())["cells"]]


def exported_cells(path):
    "The exported cells of a notebook that are more than imports."
    for kind, source in cells(path):
        if kind == "code" and re.search(r"^#\s*\|\s*export(s|i)?\b", source, re.M):
            if not all(isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr)) for node in ast.parse(source).body):
                yield source


def lines_of(source):
    "How many lines of code a cell has, without blank lines and directives."
    return sum(bool(line.strip()) and not line.startswith("#|") for line in source.splitlines())


def python_cells(path):
    "The code cells that Python runs, without shell and magic lines."
    code = [source for kind, source in cells(path) if kind == "code" and "eval: false" not in source]
    return [re.sub(r"^\s*[!%].*$", "", source, flags=re.M) for source in code]


def imported_modules(code):
    "The full names of the modules that a piece of code imports from, at any depth."
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, ["precision" if node.level else "", node.module]))
            if module == "precision":
                yield from (f"precision.{alias.name}" for alias in node.names)
            else:
                yield module


def floors_above(code, floor):
    "The imports of a piece of code that do not come from a lower floor than its own."
    for module in imported_modules(code):
        package, _, name = module.partition(".")
        if package == "precision" and FLOOR.get(name.split(".")[0], len(FLOOR)) >= floor:
            yield module


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_notebook_imports_only_from_smaller_numbers(path):
    floor, own = FLOOR[module_of(path)], f"precision.{module_of(path)}"
    notebook = {module for code in python_cells(path) for module in floors_above(code, floor)} - {own}
    exported = set(floors_above((ROOT / "precision" / f"{module_of(path)}.py").read_text(), floor))
    assert not notebook | exported, "import from a lower-numbered module by its name"


def test_the_import_rule_sees_every_form_of_import():
    top = len(FLOOR) - 1
    module = module_of(NUMBERED[-1])
    for code in (
        f"from precision.{module} import x",
        f"from .{module} import x",
        f"from . import {module}",
        f"def f():\n    import precision.{module}",
        "from precision import anything",
    ):
        assert list(floors_above(code, top)), code
    assert not list(floors_above(f"from .{module_of(NUMBERED[0])} import x", 1))


@pytest.mark.parametrize("path", sorted((ROOT / "precision").glob("*.py")), ids=name_of)
def test_package_imports_no_development_package(path):
    assert not {module.split(".")[0] for module in imported_modules(path.read_text())} & DEVELOPMENT_ONLY


@pytest.mark.parametrize("path", sorted((ROOT / "precision").glob("*.py")), ids=name_of)
def test_module_has_every_name_that_it_uses_and_no_import_that_it_does_not(path):
    # an import in an example cell serves the notebook and not the module, and no example would notice
    complaints = io.StringIO()
    pyflakes.api.check(path.read_text(), path.name, pyflakes.reporter.Reporter(complaints, complaints))
    assert not complaints.getvalue()


@pytest.mark.parametrize("module", ["precision", "precision.hierarchy"])
def test_light_import(module):
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not HEAVY & set(loaded.stdout.split())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_starts_with_title_and_summary(path):
    first = next(source for _, source in cells(path) if not source.startswith("#| default_exp"))
    # nbdev takes this cell as the page's front matter and drops whatever else it holds
    assert re.fullmatch(r"# \S.*\n+> \S.*\s*", first), "want a cell with `# Title`, `> one line` and nothing else"


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_no_cell_mixes_imports_with_other_code(path):
    # nbdev runs every cell with an import when it builds the site, and with it whatever else stands there
    for source in python_cells(path):
        if re.search(r"^#\s*\|\s*export", source, re.M) or "nbdev_export(" in source:
            continue
        nodes = list(ast.walk(ast.parse(source)))
        has_import = any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes)
        assert not (has_import and any(isinstance(node, (ast.Expr, ast.Assign)) for node in nodes)), source


def test_sidebar_lists_every_notebook_in_order():
    text = (ROOT / "_quarto.yml").read_text()
    listed = re.findall(r"^\s+(?:- )?(?:href: )?(\S+\.ipynb)$", text, re.M)
    assert sorted(listed) == sorted(name_of(path) for path in NOTEBOOKS)
    assert [name for name in listed if name[0].isdigit()] == [path.name for path in NUMBERED]
    assert (NBS / "_quarto.yml").is_symlink() and yaml.safe_load(text)["website"]["title"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_lines_of_code_fit_the_column(path):
    long = [line for kind, source in cells(path) if kind == "code" for line in source.splitlines() if len(line) > WIDEST]
    assert not long, "\n".join(long)


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_exported_cells_are_short(path):
    long = [source for source in exported_cells(path) if lines_of(source) > LONGEST_CELL]
    allowed, why = EXCEPTIONS.get(path.name, (0, ""))
    assert len(long) <= allowed, "\n\n".join(source[:200] for source in long)
    assert len(EXCEPTIONS) <= 5 and (why or not allowed)


def test_exported_cells_are_short_and_checked_over_all():
    lengths = [lines_of(source) for path in NUMBERED for source in exported_cells(path)]
    shown = [source for path in NUMBERED for kind, source in cells(path) if kind == "code" and "export" not in source.split("\n")[0]]
    checks = sum(len(re.findall(CHECKED, source, re.M)) for source in shown if "hide" not in source[:30])
    assert sum(lengths) / len(lengths) <= MEAN_CELL
    assert checks / len(lengths) >= LEAST_CHECKS


@pytest.mark.parametrize("path", NUMBERED, ids=name_of)
def test_modules_are_short(path):
    lines = (ROOT / "precision" / f"{module_of(path)}.py").read_text().count("\n")
    assert lines <= LONGEST_MODULE


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_links_to_other_pages_lead_somewhere(path):
    text = "\n".join(source for kind, source in cells(path) if kind == "markdown")
    assert not [link for link in re.findall(r"\]\(([^)#:\s]+\.ipynb)", text) if not (path.parent / link).is_file()]


def test_the_page_of_checks_names_every_check():
    code = "\n".join(source for path in NUMBERED for kind, source in cells(path) if re.search(r"^#\s*\|\s*export", source, re.M))
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding"]
    names = {call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)}
    page = [source for kind, source in cells(NBS / "reference" / "checks.ipynb") if kind == "markdown"]
    headings = [line[4:] for source in page for line in source.splitlines() if line.startswith("### ")]
    assert headings == sorted(headings) and names <= set(headings)
    assert not [name for name in headings if f'"{name}"' not in code]


def test_top_level_holds_only_what_belongs_there():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    assert {file.split("/")[0] for file in files.stdout.split("\n") if file} <= TOP_LEVEL


def test_readme_follows_from_the_home_page():
    result = subprocess.run([sys.executable, ".ci/readme.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
