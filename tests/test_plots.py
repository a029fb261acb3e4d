"""`fit.plot`: each picture under one name, the names of before, the words on the axes, one style."""

import inspect
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from precision import MMM, Fit
from precision.answers import Answers, Results
from precision.data import prepare
from precision.draws import groups_of
from precision.ensemble import EnsembleResult
from precision.errors import PrecisionWarning
from precision.hierarchy import build_hierarchy
from precision.model import Prior
from precision.pictures import Plots
from precision.plots import STYLE, Thousands, per_period, plot_fit
from precision.saving import dataset_of
from precision.simulate import simulate

matplotlib.use("Agg")
OF_ALL = ["baseline", "contributions", "decay", "fit", "response", "roi", "roi_over_time", "totals", "waterfall"]
OF_FIT, OF_ENSEMBLE = sorted([*OF_ALL, "priors"]), sorted([*OF_ALL, "weights"])
TREE = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c"]}})
SIM = simulate(TREE, periods=60, seed=1, controls=["price"])


@pytest.fixture(scope="module")
def prior():
    return MMM(TREE).sample_prior(SIM.y, SIM.U, SIM.Z, SIM.spend, draws=100)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(picture):
    "All that a picture says and shows: texts, lines, and where its bars and bands lie."
    found = []
    for ax in np.ravel(picture):
        found += [ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), *(tick.get_text() for tick in ax.get_yticklabels())]
        found += [line.get_xydata().tolist() for line in ax.lines]
        found += [patch.get_bbox().bounds for patch in ax.patches if hasattr(patch, "get_bbox")]
        found += [path.vertices.tolist() for collection in ax.collections for path in collection.get_paths()]
    return repr(found)


@pytest.mark.parametrize("name", OF_ALL)
def test_a_name_of_before_draws_the_same_and_says_the_new_one(prior, name):
    with pytest.warns(PrecisionWarning, match=rf"fit\.plot\.{name}\(\.\.\.\)") as notes:
        before = getattr(prior, f"plot_{name}")()
    assert notes[0].filename == __file__ and len(notes) == 1  # the line of the user
    with warnings.catch_warnings():
        warnings.simplefilter("error", PrecisionWarning)
        now = getattr(prior.plot, name)()
    assert drawn(before) == drawn(now)


@pytest.mark.parametrize("name", OF_ALL)
def test_a_name_of_before_takes_what_it_took(name):
    assert inspect.signature(getattr(Results, f"plot_{name}")) == inspect.signature(getattr(Plots, name))


@pytest.mark.parametrize(("kind", "names"), [(Prior, OF_ALL), (Fit, OF_FIT), (EnsembleResult, OF_ENSEMBLE)])
def test_each_kind_has_its_pictures(kind, names):
    pictures = kind.plot.fget
    assert [name for name in dir(pictures) if not name.startswith("_")] == names
    assert {name.removeprefix("plot_") for name in dir(kind) if name.startswith("plot_")} == set(names)
    assert issubclass(pictures, Plots) and kind.plot.__doc__ and issubclass(kind, Results) and Answers is Results
    for name in names:  # each argument is one that a page explains
        assert "# " in inspect.getsource(getattr(pictures, name))


def test_the_pictures_are_listed(prior):
    assert [name for name in dir(prior.plot) if not name.startswith("_")] == OF_ALL
    text = repr(prior.plot)
    assert text.startswith("Pictures of a Prior") and text.count("\n") == len(OF_ALL)
    assert all(inspect.getdoc(getattr(Plots, name)) in text for name in OF_ALL)
    with pytest.raises(AttributeError, match="rio"):
        prior.plot.rio()


def test_called_it_draws_the_main_picture(prior):
    axes = prior.plot()
    assert [ax.get_xlabel() for ax in axes] == ["share of the outcome, prior", "ROI, prior"]
    assert drawn(Plots(prior)()) == drawn(prior.plot.fit())


def test_the_outcome_has_its_name(prior):
    data, by_hand = prior.data, [SIM.y.tolist(), SIM.U, SIM.Z, SIM.spend]
    assert data.outcome == "sales" and prepare(TREE, *by_hand).outcome == ""
    assert prepare(TREE, SIM.y.to_frame("visits"), SIM.U).outcome == "visits"
    assert prepare(TREE, SIM.y.rename(7), SIM.U).outcome == ""
    assert prior.plot.fit().get_ylabel() == "sales per week" and prior.plot.totals().get_xlabel() == "total contribution, sales"
    assert prior.plot.roi().get_xlabel() == "sales per unit of currency" and prior.plot.roi(currency="€").get_xlabel() == "sales per €"
    assert prior.plot.response().flat[0].get_ylabel() == "sales" and prior.plot.contributions().flat[0].get_ylabel() == "sales per week"
    unnamed = MMM(TREE).sample_prior(*by_hand, draws=20)
    assert unnamed.plot.fit().get_ylabel() == "units of y" and unnamed.plot.roi().get_xlabel() == "units of y per unit of currency"


def test_the_name_is_kept_in_a_file(prior):
    groups = groups_of(prior.idata)
    assert dataset_of(groups, TREE).outcome == "sales"
    del groups["observed_data"]["y"].attrs["long_name"]  # as it was before November 2026
    assert dataset_of(groups, TREE).outcome == ""


@pytest.mark.parametrize(("time", "said"), [
    (pd.date_range("2024-01-01", periods=20, freq="D"), "orders per day"), (pd.date_range("2024-01-01", periods=20, freq="MS"), "orders per month"),
    (pd.date_range("2024-01-01", periods=20, freq="QS"), "orders per quarter"), (pd.date_range("2024-01-01", periods=9, freq="YS"), "orders per year"),
    (pd.date_range("2024-01-01", periods=20, freq="10D"), "orders per period"), (pd.RangeIndex(20), "orders per period"),
    (pd.date_range("2024-01-01", periods=1), "orders per period")])
def test_the_period_has_a_name(time, said):
    assert per_period("orders", time) == said and per_period("", time) == "units of y"


@pytest.mark.parametrize(("values", "texts"), [
    ([0, 250_000, 500_000], ["0", "250,000", "500,000"]), ([5_274_000], ["5,274,000"]), ([0, 2e7], ["0", "20 M"]), ([0, 1.25e9], ["0", "1,250 M"]),
    ([0.1 + 0.2, 0.5], ["0.3", "0.5"]), ([-1000.0], ["\N{MINUS SIGN}1,000"]), ([], [])])
def test_thousands_are_apart(values, texts):
    assert Thousands().format_ticks(values) == texts


def test_one_style_and_the_session_keeps_its_own(prior):
    table = prior.fitted()
    with plt.rc_context({"axes.spines.top": True, "legend.frameon": True, "font.size": 5, "axes.labelsize": 4}):
        ax = plot_fit(table)
        assert plt.rcParams["axes.spines.top"] and plt.rcParams["font.size"] == 5
    assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible() and not ax.get_legend().get_frame_on()
    texts = [ax.yaxis.label, *ax.get_legend().get_texts()]
    assert min(text.get_fontsize() for text in texts) >= 9 and STYLE["font.size"] >= 9
    mine = plt.subplots()[1]
    assert plot_fit(table, mine) is mine and mine.spines["top"].get_visible()  # axes of one's own keep their look
