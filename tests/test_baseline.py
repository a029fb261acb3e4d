"""The baseline that moves by itself: parts that add up, nothing twice, integers without a season, and what goes on after the data."""

import numpy as np
import pandas as pd
import pytest

from precision.adstock import adstock_geometric_np
from precision.controls import fourier, local_level
from precision.data import Controls, prepare
from precision.hierarchy import build_hierarchy
from precision.model import MMM, Fit, former_default

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
H = build_hierarchy({"x": {"p": ["a", "b"]}, "y": ["c", "d"]})
QUICK = dict(chains=2, warmup=100, draws=60, progress=False)
WEEKS = pd.date_range("2023-01-02", periods=120, freq="W-MON")


def tables(index=WEEKS):
    rng, n = np.random.default_rng(0), len(index)
    U = pd.DataFrame(rng.gamma(1.0, [30, 60, 20, 90], (n, 4)), index, list("abcd"))
    Z = pd.DataFrame({"price": rng.normal(5, 1, n)}, index)
    drift = np.cumsum(rng.normal(0, 3, n)) + 40 * np.sin(2 * np.pi * np.arange(n) / 52.18)
    return 500 + U @ [0.4, 0.2, 0.9, 0.1] - 8 * Z.price + drift + rng.normal(0, 10, n), U, Z


Y, U, Z = tables()
FITS = {}


def fitted(**options):
    key = tuple(options.items())
    if key not in FITS:
        FITS[key] = MMM(H, **options).fit(Y[:100], U[:100], Z[:100], U[:100] * 2, **QUICK)
    return FITS[key]


HEAVY = {"likelihood": "student_t", "residual": "ar1"}


@pytest.mark.parametrize("options", [{}, HEAVY], ids=str)
def test_the_parts_add_up_to_the_fitted_mean(options):
    fit = fitted(**options)
    for level in H.levels:
        parts = fit.decomposition(level, draws=True)
        assert list(parts.node.values[:4]) == ["intercept", "season", "level", "price"]
        np.testing.assert_allclose(parts.sum("node").values.reshape(120, -1), fit.components.fitted(), rtol=1e-12)
    np.testing.assert_allclose(parts.sel(node=["season", "level", "price"]).mean("time"), 0, atol=1e-9)
    assert "the baseline has a season (year) and a level that moves by small steps" in " ".join(fit.notes)


@pytest.mark.parametrize("options", [{}, HEAVY], ids=str)
def test_what_is_expected_is_the_sum_of_its_parts(options):
    fit = fitted(**options)
    new = U[100:], Z[100:]
    parts, forecast = fit.predict_decomposition(*new, draws=True, seed=4), fit.predict(*new, seed=4)["mean"]
    total = parts.sum("node").mean(("chain", "draw"))
    if not options:
        np.testing.assert_allclose(total, forecast, rtol=1e-12)
    else:  # what the last residual still does is no part of the mean
        left = fit.data.y[-1] - fit.components.fitted()[:, -1]
        memory = (fit.components.values["phi"][:, None] ** np.arange(1, 21) * left[:, None]).mean(axis=0)
        np.testing.assert_allclose(total + memory, forecast, rtol=1e-9)


def test_nothing_is_put_in_twice():
    names = lambda Z, index=WEEKS, **options: [name for name, _ in MMM(H, **options).prepared(prepare(H, *tables(index)[:2], Z)).moving]
    assert names(None) == ["season", "level"] and names(Z) == ["season", "level"]
    assert names(fourier(WEEKS, pairs=2)) == ["level"] and names(fourier(WEEKS, pairs=1).frame) == ["level"]
    assert names(fourier(WEEKS) + local_level(WEEKS)) == []
    assert names(Z, baseline="none") == []
    noise = pd.DataFrame(np.random.default_rng(1).normal(size=(120, 40)), WEEKS).rename(columns="noise_{}".format)
    assert names(noise) == ["season", "level"]
    unheard = fourier(WEEKS, pairs=2).frame  # waves that may have no effect are no season
    assert names(Controls.of(unheard, sd={name: 0.0 for name in unheard})) == ["season", "level"]


def test_a_level_that_was_brought_is_no_season():
    data = prepare(H, *tables()[:2], local_level(WEEKS))
    assert [name for name, _ in MMM(H).prepared(data).moving] == ["season"]


@pytest.mark.parametrize("index", [pd.RangeIndex(120), pd.RangeIndex(10, 250, 2)], ids=str)
def test_integers_have_a_level_and_no_season(index):
    y, U, _ = tables(index)
    fit = MMM(H).fit(y, U, **QUICK | {"warmup": 60, "draws": 20})
    assert list(fit.decomposition().node.unique()) == ["intercept", "level", "x", "y"]
    assert any("on the assumption that 52 periods are a year" in note for note in fit.notes)


def test_a_baseline_is_saved_and_loaded(tmp_path):
    for options in ({}, HEAVY):
        fit = fitted(**options)
        fit.save(tmp_path / "fit.nc")
        loaded = Fit.load(tmp_path / "fit.nc")
        assert loaded.mmm == fit.mmm and loaded.notes == fit.notes
        pd.testing.assert_frame_equal(loaded.decomposition(), fit.decomposition(), check_freq=False)
        new = U[100:], Z[100:]
        one, other = (each.predict(*new).drop(columns="time").to_numpy() for each in (fit, loaded))
        np.testing.assert_allclose(other, one, rtol=1e-12)
        one, other = (each.predict_decomposition(*new, draws=True) for each in (fit, loaded))
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12 * np.abs(one).max())
        for (part, made), (name, again) in zip(fit.data.moving, loaded.data.moving):
            assert part == name and made.unit_sd == again.unit_sd and np.array_equal(made.frame, again.frame)


def test_the_level_walks_on_and_the_season_goes_round():
    fit = fitted()
    far = pd.date_range(WEEKS[100], periods=60, freq="W-MON")
    new = pd.DataFrame(0.0, far, list("abcd")), pd.DataFrame({"price": 5.0}, far)
    table = fit.predict(*new)
    width = (table.upper - table.lower).to_numpy()
    assert width[-8:].mean() > 1.5 * width[:8].mean()
    level = fit.predict_decomposition(*new, draws=True).sel(node="level").stack(s=("chain", "draw")).values
    (_, made), last = fit.data.moving[1], fit.decomposition(draws=True).sel(node="level").isel(time=-1).values.ravel()
    steps, every = (level - last).var(axis=1), 4  # periods, at the least
    taken = np.arange(100, 160) // every - 99 // every
    expected = taken * (fit.data.y_sd * list(made.unit_sd.values())[0]) ** 2
    assert (steps[taken == 0] == 0).all()
    np.testing.assert_allclose(steps[taken > 0], expected[taken > 0], rtol=0.5)  # 120 draws
    still = former_default(H).fit(Y[:100], U[:100], Z[:100], **QUICK).predict(*new)
    band = (still.upper - still.lower).to_numpy()
    assert band[-8:].mean() < 1.2 * band[:8].mean()


# What ran before the data

def test_a_history_and_nothing_before_it_is_the_recursion_from_zero():
    data = lambda past, history: MMM(H, past=past).prepared(prepare(H, Y[20:], U[20:], U_history=history))
    decay, own = np.array([0.1, 0.5, 0.8, 0.97]), lambda d: adstock_geometric_np(d.x, decay, before=d.before)[-100:]
    unit = (U[20:] ** 2).sum().to_numpy() / U[20:].sum().to_numpy()
    with_history, whole = own(data("nothing", U[:20])), adstock_geometric_np(U.to_numpy() / unit, decay)[20:]
    np.testing.assert_allclose(with_history, whole, rtol=1e-13)
    zeros = pd.DataFrame(np.zeros((500, 4)), columns=list("abcd"))
    np.testing.assert_allclose(own(data("nothing", None)), own(data("nothing", zeros)), rtol=1e-13)
    steady = data("steady", None)
    first = steady.x[:13].mean(axis=0)
    np.testing.assert_allclose(steady.before, first, rtol=1e-13)
    np.testing.assert_allclose(own(steady), adstock_geometric_np(np.concatenate([np.tile(first, (3000, 1)), steady.x]), decay)[3000:], rtol=1e-12)
    given = data("steady", U[:20])
    np.testing.assert_allclose(given.before, U[:13].mean().to_numpy() / unit, rtol=1e-13)


@pytest.mark.parametrize("past", ["learnt", "steady", "nothing"])
def test_the_seam_of_a_holdout_is_exact(past):
    "Contributions after the data are those of the same draws over the joined series, in the units of the first part."
    fit = MMM(H, past=past).fit(Y[:100], U[:100], Z[:100], holdout=10, **QUICK | {"warmup": 60, "draws": 10})
    ahead = fit.predict_contributions(U[90:120], "tactical", draws=True)
    p, unit = fit.posterior, (U[:90] ** 2).sum().to_numpy() / U[:90].sum().to_numpy()
    x = U.to_numpy() / unit
    before = x[:13].mean(axis=0) if past != "nothing" else np.zeros(4)
    ran = p["past"].values.ravel() if past == "learnt" else 1.0
    for i, name in enumerate("abcd"):
        decay, s = (p[v].sel(tactical=name).values.ravel() for v in ("decay", "saturation_level"))
        a = adstock_geometric_np(x[:, i, None], decay, before=before[i] * ran)
        f = a / (1 - s + s * a)
        scale = fit.contributions("tactical", draws=True).sel(node=name).values.reshape(20, -1)[:, 0] / f[0]
        np.testing.assert_allclose(ahead.sel(node=name).values.reshape(20, -1), (scale * f[90:]).T, rtol=1e-9)
    held = fit.holdout.table()
    pd.testing.assert_frame_equal(fit.predict(U[90:100], Z[90:100]), held.drop(columns="observed"), check_freq=False)
