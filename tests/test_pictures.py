"""Names are text in every picture: whatever a node, a control, a metric or a model is called, it is drawn as it is written."""

import ast
import importlib
import inspect
import io
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import RendererAgg

from precision import MMM, LiftTest, Priors
from precision import Fit, Hierarchy
from precision.answers import Results
from precision.calibration import Ranks, calibrate
from precision.comparison import compare, plot_comparison
from precision.ensemble import EnsembleResult, ensemble
from precision.hierarchy import as_text, build_hierarchy
from precision.model import Prior
from precision.money import plot_response, plot_roi
from precision.plots import plot_fit
from precision.validation import cross_validate, leave_future_out

matplotlib.use("Agg")
pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")]

LONG = "begin of a name " * 3 + "that has eighty characters, the end"
SHOWN = {r"$\frac": r"$\frac", "$a$ b": "$a$ b", "_hidden": "_hidden", "two\nlines": "two lines", "a\tb": "a b", "電視 📺": "□□ □", r"\$5^2_i$": r"\$5^2_i$"}
TACTICALS, CHANNELS, CONTROLS = [*SHOWN, LONG], [r"$\int$", "_tv", "{$}"], ["_price", "$x^2$"]
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def world():
    "One of everything that draws, all of whose names are odd."
    a, b, c, d, e, f, g, h = TACTICALS
    tree = build_hierarchy({CHANNELS[0]: {"p_$1$": [a, b, c], "_p": [d]}, CHANNELS[1]: {"$": [e, f]}, CHANNELS[2]: [g, h]})
    rng, weeks = np.random.default_rng(0), pd.date_range("2022-01-03", periods=60, freq="7D")
    U = pd.DataFrame(rng.gamma(2.0, 3.0, size=(60, 8)), weeks, TACTICALS)
    Z = pd.DataFrame(rng.normal(size=(60, 2)), weeks, CONTROLS)
    y = (100 + U.sum(axis=1) + 3 * Z.sum(axis=1) + rng.normal(size=60)).rename("_$ales$")
    short = dict(chains=2, warmup=30, draws=20, progress=False)
    mmm = MMM(tree, priors=Priors(share={CHANNELS[0]: (0.05, 0.2)}, half_life=(1, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = mmm.fit(y, U, Z, U, experiments=[LiftTest(CHANNELS[0], weeks[20], weeks[23], lift=10.0, se=50.0, change=-0.5)], holdout=4, **short)
        return SimpleNamespace(
            tree=tree, fit=fit, prior=mmm.sample_prior(y, U, Z, U, draws=50), checkup=fit.check(),
            mixture=ensemble(tree, y, {r"$\pi$": U, "_clicks": U + 1}, Z, spend=U, metric_lags=None, **short),
            folds=cross_validate(mmm, y, U, Z, U, horizon=4, folds=2, **short), lfo=leave_future_out(mmm, y, U, Z, U, first=58, **short),
            ranks=calibrate(mmm, y, U, Z, U, sets=2, ranked_among=9, chains=1, warmup=30, draws=10, progress=False),
            compared=compare({"$m$ 1": fit, "_m": mmm.fit(y[:-4], U[:-4], Z[:-4], U[:-4], **short)}))


OF_RESULTS = {  # the pictures that all results have, how they are drawn, and the names that must be in them
    "fit": (lambda plot: plot.fit(), ["_$ales$ per week"]),
    "contributions": (lambda plot: plot.contributions("tactical"), [*TACTICALS, "_$ales$ per week"]),
    "baseline": (lambda plot: plot.baseline(), [*CONTROLS, "_$ales$ per week"]),
    "totals": (lambda plot: plot.totals("tactical"), [*TACTICALS, "total contribution,  _$ales$"]),
    "decay": (lambda plot: plot.decay(), TACTICALS),
    "waterfall": (lambda plot: plot.waterfall("tactical"), [*TACTICALS, "contribution over all periods,  _$ales$"]),
    "roi": (lambda plot: plot.roi("tactical", break_even=1, currency="$"), [*TACTICALS, "_$ales$ per $"]),
    "roi_over_time": (lambda plot: plot.roi_over_time("tactical"), TACTICALS),
    "response": (lambda plot: plot.response("tactical", currency="$"), [*TACTICALS, "_$ales$", "spend, $"]),
}


PICTURES = {
    **{f"{kind}.plot.{name}": lambda w, kind=kind, draw=draw, names=names: (lambda: draw(getattr(w, kind).plot), names)
       for kind in ("fit", "prior", "mixture") for name, (draw, names) in OF_RESULTS.items()},
    "fit.plot": lambda w: (w.fit.plot, ["_$ales$ per week"]),
    "fit.plot.priors": lambda w: (w.fit.plot.priors, []),
    "prior.plot": lambda w: (w.prior.plot, CHANNELS),
    "mixture.plot": lambda w: (w.mixture.plot, ["_$ales$ per week"]),
    "mixture.plot.weights": lambda w: (w.mixture.plot.weights, list(w.mixture.fits)),
    "Checkup.plot": lambda w: (w.checkup.plot, []),
    "Forecast.plot": lambda w: (w.fit.holdout.plot, []),
    "CrossValidation.plot": lambda w: (w.folds.plot, []),
    "LeaveFutureOut.plot": lambda w: (w.lfo.plot, []),
    "Ranks.plot": lambda w: (w.ranks.plot, []),
    "plot_comparison": lambda w: (lambda: plot_comparison(w.compared), ["$m$ 1", "_m"]),
    "Hierarchy.draw": lambda w: (w.tree.draw, [*TACTICALS, *CHANNELS]),
    "Evaluation.plot": lambda w: (w.fit.evaluate(w.fit.plan(4)).plot, CHANNELS),
    "Optimum.plot": lambda w: (w.fit.optimize(w.fit.plan(4)).plot, []),
    "CrossChecked.plot": lambda w: (w.fit.optimize(w.fit.plan(4)).cross_checked().plot, []),
    "Regret.plot": lambda w: (w.fit.optimize(w.fit.plan(4)).regret().plot, []),
    "Frontier.plot": lambda w: (w.fit.frontier(w.fit.plan(4)).plot, []),
    "RiskFrontier.plot": lambda w: (w.fit.risk_frontier(w.fit.plan(4)).plot, []),
    "NextExperiments.plot": lambda w: (w.fit.next_experiment(w.fit.plan(4)).plot, []),
    "Disagreement.plot": lambda w: (w.mixture.disagreement(w.mixture.optimize(w.mixture.plan(4))).plot, []),
}


@pytest.fixture
def drawn(monkeypatch):
    "What matplotlib is drawing: (text, whether it is mathematics)."
    texts, draw_text = [], RendererAgg.draw_text

    def draw(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        texts.append((s.strip(), bool(ismath)))
        return draw_text(self, gc, x, y, s, prop, angle, ismath, mtext)

    monkeypatch.setattr(RendererAgg, "draw_text", draw)
    return texts


def save(picture):
    np.ravel(picture)[0].get_figure().savefig(io.BytesIO(), format="png") if not hasattr(picture, "savefig") else picture.savefig(io.BytesIO(), format="png")
    plt.close("all")


def is_there(name, texts):
    "Whether a name was drawn: as it is written, or without its middle where it is too long."
    if len(name) > 40:
        return any(t[:9] == name[:9] and t[-9:] == name[-9:] and "…" in t for t in texts)
    return SHOWN.get(name, name) in texts


@pytest.mark.parametrize("picture", PICTURES)
def test_names_are_drawn_as_they_are_written(world, drawn, picture):
    draw, names = PICTURES[picture](world)
    save(draw())
    texts = {text for text, _ in drawn}
    assert texts and not [text for text, is_mathematics in drawn if is_mathematics]
    assert not [name for name in names if not is_there(name, texts)]


def test_labels_of_the_priors_picture_and_of_the_checkup_hold_the_names(world, drawn):
    save(world.fit.plot.priors())
    texts = [text for text, _ in drawn]
    assert rf"share of {CHANNELS[0]}" in texts and r"decay of $\frac" in texts and "decay of _hidden" in texts
    drawn.clear()
    save(world.checkup.plot())
    texts = {text for text, _ in drawn}
    assert all(is_there(name, texts) for name in TACTICALS)


def test_units_are_text_too(world, drawn):
    save(plot_roi(world.fit.roi(), unit="$ per $")), save(plot_response(world.fit.response(), unit="$ or $", currency="$_1$"))
    save(plot_fit(world.fit.fitted(), unit="$ and $"))
    assert {"$ per $", "$ or $", "spend, $_1$", "$ and $"} <= {text for text, _ in drawn} and not any(m for _, m in drawn)


@pytest.mark.parametrize("text", ["a", "$", "$$", r"\$", r"\\$$\$", "a$b$c$", "_", "__a", " _a", "100% €"])
def test_as_text_is_the_text(drawn, text):
    fig, ax = plt.subplots()
    ax.plot([0, 1], label=as_text(text))
    ax.set_title(as_text(text))
    ax.legend()
    save(ax)
    assert [t for t, _ in drawn].count(text.strip()) == 2 and not any(m for _, m in drawn)


def test_a_font_that_knows_a_character_draws_it(drawn):
    assert as_text("ᴀ") == "ᴀ" and as_text("電") == "□"
    with plt.rc_context({"font.family": ["cmr10", "DejaVu Sans"]}):
        assert as_text("ё") == "ё"  # the second family has it
    with plt.rc_context({"font.family": ["cmr10"]}):
        assert as_text("ё") != "ё"


def test_no_picture_is_missing_here():
    "Whoever adds a picture adds it to the list above."
    for kind, drawn in {"fit": Fit, "prior": Prior, "mixture": EnsembleResult}.items():
        methods = {name for name in dir(drawn.plot.fget) if not name.startswith("_")}
        assert {f"{kind}.plot", *(f"{kind}.plot.{name}" for name in methods)} <= set(PICTURES)
        former = {name.removeprefix("plot_") for name in dir(drawn) if name.startswith("plot_")}
        assert former == methods  # of which tests/test_plots.py knows
    known = {(Results, Fit, Prior, EnsembleResult), (Hierarchy, Ranks)}
    for path in (ROOT / "precision").glob("[a-z]*.py"):
        module = importlib.import_module(f"precision.{path.stem}")
        for name, member in inspect.getmembers(module, inspect.isclass):
            if member.__module__ == module.__name__ and member not in {c for some in known for c in some} and callable(getattr(member, "plot", None)):
                assert f"{name}.plot" in PICTURES


BEHIND = {  # functions that make axes: public methods of the list above end in them
    "plot_fit", "plot_contributions", "plot_totals", "plot_decay", "plot_waterfall", "plot_prior", "plot_against_prior", "plot_roi",
    "panels", "plot_forecast", "plot_folds", "plot_checkup", "plot_comparison", "weights", "plot", "_plot_differences", "draw_tree",
    "plot_uplift", "plot_moves", "plot_ranges", "plot_worst", "plot_weeks"}


def test_whoever_makes_axes_is_known():
    for path in (ROOT / "precision").glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any(
                    isinstance(node, ast.Attribute) and node.attr.startswith(("subplot", "figure", "add_axes")) and isinstance(node.value, ast.Name)
                    and node.value.id == "plt" for node in ast.walk(function)):
                assert function.name in BEHIND, f"{path.name}: {function.name} draws; put its picture into PICTURES"
