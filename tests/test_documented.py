"""Every public method of every noun has a reference on a page of its own section, in which each parameter has a meaning."""

import functools
import importlib
import inspect
import json
import re
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))

import build_site  # noqa: E402
from api import (  # noqa: E402
    code_of, comments, defined_names, find_symbol, is_former, parameters, public_methods, reference, shown_name, type_name,
)

import precision  # noqa: E402
from precision.errors import PrecisionWarning  # noqa: E402
from precision.patch import patch  # noqa: E402

NOUNS = [
    *("Hierarchy", "MMM", "Fit", "Prior", "Priors", "Controls", "Calendar", "LiftTest", "CostTarget"),
    *("Forecast", "CrossValidation", "LeaveFutureOut", "Ranks", "Checkup", "Finding", "EnsembleResult", "Report", "Record"),
    *("Dataset", "Example", "KnownTruth", "Simulation", "Truth", "ModelFile", "Options", "Sampling", "LimitsFile", "WindowKeys"),
    *("Plan", "Limits", "Window", "Evaluation", "Unseen", "Optimum", "Frontier", "RiskFrontier", "NextExperiments", "Test"),
    *("Regret", "CrossChecked", "Disagreement", "Cautious", "TargetROI", "TargetMarginalROI", "Reach"),
]
ASKED_BY_OPTIMIZE = {"best", "score"}  # methods of an aim, which a reader does not call
INSIDE = {  # what a documented name gives to those who build on it; the chapters explain these
    *("Decomposition", "Posterior", "Found", "PlanValues", "Tangents", "Results", "Task"),
}
PAGES = sorted((ROOT / "nbs" / "reference").glob("*.ipynb"))
SHOW_DOC = re.compile(r"^show_doc\(([\w.]+)\)", re.M)


@functools.cache
def documented():
    "The names that the pages of the reference show."
    sources = ["".join(cell["source"]) for page in PAGES for cell in json.loads(page.read_text())["cells"]]
    return [name for source in sources for name in SHOW_DOC.findall(source)]


@functools.cache
def shown_code():
    "The functions behind them, whichever class a page shows them with."
    return {code_of(find_symbol(name)[0]) for name in documented()}


def test_every_name_on_a_page_of_the_reference_exists_and_stands_there_once():
    assert not [name for name in documented() if find_symbol(name) is None]
    assert len(documented()) == len(set(documented()))


@pytest.mark.parametrize("noun", NOUNS)
def test_every_public_method_has_a_reference(noun):
    owner = find_symbol(noun)[0]
    assert owner in shown_code()
    missing = [name for name, method in public_methods(owner)
               if code_of(method) not in shown_code() and name not in ASKED_BY_OPTIMIZE]
    assert not missing, f"add show_doc({noun}.{(missing or [''])[0]}) to a page in nbs/reference"


def test_what_can_be_imported_by_its_first_name_has_a_reference():
    assert not set(precision.__all__) - set(documented())


def given_back(name):
    "The public classes of the package that a documented name gives, by its annotation."
    symbol = find_symbol(name)[0]
    if inspect.isclass(symbol):
        return set()
    function = code_of(symbol)
    annotation = type_name(getattr(function, "__annotations__", {}).get("return", inspect.Parameter.empty))
    words = set(re.findall(r"[A-Z]\w+", annotation)) - INSIDE
    return {word for word in words if (found := find_symbol(word)) and inspect.isclass(found[0])}


def test_what_a_documented_name_gives_back_is_documented_too():
    missing = {word: name for name in documented() for word in given_back(name) if find_symbol(word)[0] not in shown_code()}
    assert not missing, "a result needs a reference as well as the question that it answers"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_of_the_reference_has_examples_that_run(page):
    cells = [cell for cell in json.loads(page.read_text())["cells"] if cell["cell_type"] == "code"]
    shown = [cell for cell in cells if cell["outputs"] and not SHOW_DOC.search("".join(cell["source"]))]
    assert shown, "an example says more than a signature"


def test_a_new_method_without_a_reference_is_found():
    @patch
    def is_new(self: precision.Fit):
        "What nobody has written down."

    try:
        with pytest.raises(AssertionError, match="show_doc\\(Fit.is_new\\)"):
            test_every_public_method_has_a_reference("Fit")
    finally:
        del precision.Fit.is_new


def without_meaning(name):
    "The parameters of a symbol that have no comment."
    symbol = find_symbol(name)[0]
    meaning = comments(symbol)
    return [] if isinstance(symbol, property) else [p.name for p in parameters(symbol) if not meaning.get(p.name)]


@pytest.mark.parametrize("name", documented())
def test_every_parameter_has_a_meaning(name):
    assert not without_meaning(name), f"comment the parameters of {name}, each on its own line"


def test_a_reference_shows_a_method_by_the_class_that_it_is_asked_of():
    text = reference("Fit.roi")
    assert "### Fit.roi\n" in text and "Fit.roi(\n" in text and "| *returns* |" in text


def test_defaults_are_short():
    assert "priors: Priors = Priors()," in reference("MMM") and "effect_sd" not in reference("MMM")


def test_plots_are_shown_where_a_reader_finds_them():
    assert shown_name("Plots.roi") == "Fit.plot.roi" and shown_name("Fit.roi") == "Fit.roi"


def test_former_names_have_no_reference():
    def now():
        "What it does."

    @functools.wraps(now)
    def before():
        pass

    before.__name__ = "before"
    assert is_former(before) and not is_former(now)


FORMER = {  # module: {former name of what it holds: today's}
    "forecast": {"foretell": "forecast_of", "onward": "continued", "walk_on": "level_steps"},
    "future": {"onward": "continued", "walk_on": "level_steps"},
    "posterior": {"learn_guides": "learn_centring"},
    "priors": {"check_heard": "check_used"},
    "summaries": {"Accounts": "Decomposition"},
}


@pytest.mark.parametrize("module, old, new", [(module, *pair) for module, names in FORMER.items() for pair in names.items()])
def test_a_former_name_of_a_module_answers_and_says_what_it_is_called(module, old, new):
    module = importlib.import_module(f"precision.{module}")
    with pytest.warns(PrecisionWarning, match=f"{old} is called {new} now"):
        assert getattr(module, old) is getattr(module, new)


@pytest.mark.parametrize("owner, old, new", [("Fit", "accounts", "components"), ("MMM", "accounts", "components"), ("Program", "look", "evaluate")])
def test_an_attribute_answers_to_its_former_name(owner, old, new):
    stub = SimpleNamespace(**{new: "what it holds"})
    with pytest.warns(PrecisionWarning, match=f"{old} is called {new} now"):
        assert inspect.getattr_static(find_symbol(owner)[0], old).fget(stub) == "what it holds"


OLD_PICTURES = ["fit", "contributions", "baseline", "totals", "decay", "waterfall", "roi", "roi_over_time", "response"]


@pytest.mark.parametrize("owner, name", [*product(["Fit", "Prior", "EnsembleResult"], OLD_PICTURES), ("Fit", "priors"), ("EnsembleResult", "weights")])
def test_a_picture_answers_to_its_former_name(owner, name):
    stub = SimpleNamespace(plot=SimpleNamespace(**{name: lambda *args, **options: (args, options)}))
    with pytest.warns(PrecisionWarning, match=rf"\.plot\.{name}\("):
        assert getattr(find_symbol(owner)[0], f"plot_{name}")(stub, "channel", interval=0.5) == (("channel",), {"interval": 0.5})


def test_patched_methods_are_named_with_their_class():
    code = "@patch\ndef roi(self: Fit, level=None): pass\n@patch\n@property\ndef size(self: 'Fit'): pass\nclass A: pass\ndef f(x): pass"
    assert list(defined_names(code)) == ["Fit.roi", "Fit.size", "A", "f"]


def picture(source):
    "A code cell that shows a picture."
    return {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": [{"data": {"image/png": ""}}]}


def text_of(*cells):
    "The text that the site gives the picture of the last of some cells."
    build_site.describe_pictures({"cells": cells})
    return next(line for line in cells[-1]["source"] if line.startswith("#| fig-alt:"))[12:].strip().strip('"')


def test_a_picture_is_described_by_what_stands_before_it_what_draws_it_and_its_labels():
    prose = {"cell_type": "markdown", "source": ["## Curves\n", "\n", "Short. The curves have the **same** area, whatever the `decay`:\n", "\n", "$$\n", "x\n", "$$"]}
    assert text_of(prose, picture("ax.plot(x)")) == "The curves have the same area, whatever the decay."
    assert text_of(prose, picture('ax.set(xlabel="week")')).endswith("decay. Labelled: week.")
    assert "marginal ROI" in text_of(prose, picture("fit.plot.roi()"))
    assert text_of(prose, picture("#| fig-alt: Two lines that cross\nax.plot(x)")) == "Two lines that cross"


def test_a_page_that_moved_sends_its_readers_on(tmp_path, monkeypatch):
    monkeypatch.setattr(build_site, "SITE", tmp_path)
    build_site.write_redirects({"tutorials/old.html": "how_to/new.html"})
    assert 'url=../how_to/new.html"' in (tmp_path / "tutorials" / "old.html").read_text()
