"""Comparisons: ArviZ's numbers, laid side by side, of fits that speak of the same outcome."""

import warnings
from dataclasses import replace

import arviz as az
import matplotlib
import numpy as np
import pandas as pd
import pytest

from precision.comparison import compare, loo_table, plot_comparison, unreliable
from precision.draws import OLD_ARVIZ, groups_of, to_idata
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.model import MMM

matplotlib.use("Agg")

H = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c"]}})
RNG = np.random.default_rng(0)
WEEKS = pd.date_range("2024-01-01", periods=40, freq="7D")
U = pd.DataFrame(RNG.gamma(2.0, 50.0, size=(40, 3)), WEEKS, list("abc"))
Y = pd.Series(1000 + U["a"] + RNG.normal(0, 50, 40), WEEKS)


def fit_of(y=Y, U=U, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MMM(H, saturation="none").fit(y, U, chains=2, warmup=60, draws=50, progress=False, **options)


@pytest.fixture(scope="module")
def fits():
    "The exposure itself; a shuffled one, which foretells nothing; and the first again with other draws."
    shuffled = pd.DataFrame(RNG.permutation(U.to_numpy()), WEEKS, U.columns)
    return {"shuffled": fit_of(U=shuffled), "seen": fit_of(), "again": fit_of(seed=1)}


def shifted(fit, by):
    "A fit whose log densities are `by` higher in every period."
    groups = groups_of(fit.idata)
    return replace(fit, drawn=to_idata(groups | {"log_likelihood": groups["log_likelihood"] + by}, {}))


@pytest.mark.parametrize("method", ["stacking", "pseudo-BMA"])
def test_the_table_has_the_numbers_of_arviz(fits, method):
    table = compare(fits, method)
    options = {} if OLD_ARVIZ else {"round_to": "none"}
    theirs = az.compare({name: fit.loo() for name, fit in fits.items()}, method=method, **options).loc[table.index]
    elpd = "elpd_loo" if OLD_ARVIZ else "elpd"
    for ours, name in (("elpd", elpd), ("se", "se"), ("elpd_diff", "elpd_diff"), ("diff_se", "dse"), ("weight", "weight")):
        np.testing.assert_allclose(table[ours], theirs[name].astype(float).abs() if "elpd_diff" == name else theirs[name].astype(float), atol=1e-6, err_msg=ours)
    assert list(table.index)[-1] == "shuffled" and table.index.name == "model"
    assert table.elpd_diff.iloc[0] == table.diff_se.iloc[0] == 0 and (table.elpd_diff >= 0).all()


def test_a_gain_in_every_period_is_a_difference_without_error(fits):
    table = compare({"a": fits["seen"], "b": shifted(fits["seen"], 0.5)})
    assert list(table.index) == ["b", "a"]
    assert table.elpd_diff["a"] == pytest.approx(0.5 * len(Y)) and table.diff_se["a"] == pytest.approx(0, abs=1e-9)
    assert table.weight["b"] == pytest.approx(1, abs=1e-6)


def test_pareto_k_is_counted_above_its_limit(fits):
    fit = fits["seen"]
    groups = groups_of(fit.idata)
    wild = groups["log_likelihood"].copy(deep=True)
    shape = wild.y[..., :2].shape
    wild.y[..., :2] = -np.abs(np.random.default_rng(1).standard_cauchy(shape)) * 20  # two periods that no draw foretells alike
    table = compare({"sound": fit, "wild": replace(fit, drawn=to_idata(groups | {"log_likelihood": wild}, {}))})
    assert table.high_k["wild"] >= 2 and not table.worst_k["wild"] <= 0.7  # ArviZ 1.x has no number for the wildest
    assert table.high_k["sound"] == (np.asarray(fit.loo().pareto_k) > 0.7).sum() and table.high_k.dtype == int


def test_weights_may_come_from_elsewhere(fits):
    loos = {name: fit.loo() for name, fit in fits.items()}
    table = loo_table(loos, {"seen": 0.2, "again": 0.3, "shuffled": 0.5}, "metric")
    assert table.weight.to_dict() == {"seen": 0.2, "again": 0.3, "shuffled": 0.5} and table.index.name == "metric"


def test_fits_of_different_outcomes_are_refused_and_the_difference_is_named(fits):
    moved = Y.copy()
    moved.iloc[[3, 7]] += 100
    other = fit_of(y=moved)
    with pytest.raises(PrecisionError, match="'seen' and 'other'.*2 of 40 periods, first in 2024-01-22: .* against"):
        compare({"seen": fits["seen"], "again": fits["again"], "other": other})
    with pytest.raises(PrecisionError, match="in 40 of 40 periods"):
        compare({"seen": fits["seen"], "other": fit_of(y=Y / 1000)})


def test_fits_of_different_periods_are_refused(fits):
    with pytest.raises(PrecisionError, match="40 periods from 2024-01-01 to 2024-09-30 against 38 periods from 2024-01-15"):
        compare({"seen": fits["seen"], "later": fit_of(y=Y.iloc[2:], U=U.iloc[2:])})
    data = fits["seen"].data
    apart = replace(fits["seen"], data=replace(data, time=data.time[:-1].append(pd.DatetimeIndex(["2025-01-01"]))))
    with pytest.raises(PrecisionError, match="only one of them has 2024-09-30"):
        compare({"seen": fits["seen"], "apart": apart})
    numbered = replace(fits["seen"], data=replace(data, time=pd.RangeIndex(40)))
    with pytest.raises(PrecisionError, match="from 2024-01-01 to 2024-09-30 against 40 periods from 0 to 39"):
        compare({"seen": fits["seen"], "numbered": numbered})


@pytest.mark.parametrize("names, said", [
    (["seen"], "at least two fits; got 1"), ([], "at least two fits; got 0"), (["seen", 3], "must be strings; got 3")])
def test_at_least_two_fits_with_names(fits, names, said):
    with pytest.raises(PrecisionError, match=said):
        compare({name: fits["seen"] for name in names})


def test_only_fits_can_be_compared(fits):
    with pytest.raises(PrecisionError, match="'b' must be a Fit, made by MMM.fit; got dict"):
        compare({"a": fits["seen"], "b": {}})
    with pytest.raises(PrecisionError, match="dictionary .* got list"):
        compare(list(fits.values()))
    with pytest.raises(PrecisionError, match="Did you mean 'stacking'"):
        compare(fits, method="stackin")


def test_the_picture_shows_every_difference(fits):
    table = compare(fits)
    ax = plot_comparison(table)
    (points,) = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points.get_xdata(), -table.elpd_diff)
    assert [t.get_text() for t in ax.get_yticklabels()] == list(table.index)
    assert [t.get_text() for t in ax.texts] == [f"weight {w:.2f}" for w in table.weight]
    assert plot_comparison(table, ax) is ax


def test_a_pareto_k_without_estimate_counts_as_too_high():
    assert unreliable([0.1, 0.7, 0.71, np.nan, np.inf]).tolist() == [False, False, True, True, True]
