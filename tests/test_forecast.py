"""Forecasts go on where the data end: nothing changes at the seam, nothing leaks across it, and scores are what they say."""

from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from precision.answers import flattened
from precision.controls import events, fourier, local_level, trend_knots
from precision.data import Controls, prepare
from precision.draws import groups_of, labelled
from precision.forecast import (
    continued, crps, forecast_of, from_variables, inputs_of, naive_draws, next_periods, read_future, split, to_variables)
from precision.errors import PrecisionError, PrecisionWarning
from precision.hierarchy import build_hierarchy
from precision.model import MMM, Fit
from precision.saturation import SATURATIONS
from precision.saving import data_groups
from precision.summaries import Decomposition

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
TREE = {"x": {"p": ["a", "b"]}, "y": ["c", "d"]}
H = build_hierarchy(TREE)
QUICK = dict(chains=2, warmup=100, draws=60, progress=False)


def tables(periods=60, seed=0, freq="W-MON"):
    rng = np.random.default_rng(seed)
    time = pd.date_range("2024-01-01", periods=periods, freq=freq)
    U = pd.DataFrame(rng.gamma(1.0, [30, 60, 20, 90], (periods, 4)), time, list("abcd"))
    Z = pd.DataFrame({"price": rng.normal(5, 1, periods), "promo": rng.binomial(1, 0.3, periods)}, time)
    y = 500 + U @ [0.4, 0.2, 0.9, 0.1] - 8 * Z.price + 25 * Z.promo + rng.normal(0, 10, periods)
    return y, U, Z


def values(saturation="michaelis_menten", draws=7, seed=1, controls=2):
    rng = np.random.default_rng(seed)
    drawn = {"decay": rng.beta(3, 3, (draws, 4)), "effect_tactical": rng.lognormal(-0.5, 0.5, (draws, 4)),
             "intercept": rng.normal(600, 20, draws), "control_effect": rng.normal(0, 10, (draws, controls)),
             "sigma": rng.uniform(8, 12, draws), "nu": rng.uniform(3, 9, draws), "phi": rng.uniform(-0.5, 0.9, draws)}
    shapes = {"saturation_level": rng.beta(2, 2, (draws, 4)), "hill_slope": rng.lognormal(0.2, 0.3, (draws, 4)),
              "logistic_rate": rng.lognormal(0, 0.3, (draws, 4))}
    return drawn | {name: shapes[name] for name in SATURATIONS[saturation].parameters}


CURVES = {"none": lambda a, v, s: a, "michaelis_menten": lambda a, v, s: a / (1 - v["saturation_level"][s] + v["saturation_level"][s] * a),
          "hill": lambda a, v, s: a ** v["hill_slope"][s] / (1 - v["saturation_level"][s] + v["saturation_level"][s] * a ** v["hill_slope"][s]),
          "logistic": lambda a, v, s: np.tanh(v["logistic_rate"][s] * a / 2) / np.tanh(v["logistic_rate"][s] / 2)}


@pytest.mark.parametrize("residual", ["iid", "ar1"])
@pytest.mark.parametrize("history", [0, 5])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("saturation", list(CURVES))
def test_forecast_is_the_mean_written_out_over_the_joined_series(saturation, normalize, history, residual):
    y, U, Z = tables(65)
    past, T = U.to_numpy()[:history], 40
    y, U, Z = (table.iloc[history:] for table in (y, U, Z))
    data = prepare(H, y[:T], U[:T], Z[:T], U[:T] * 2, past if history else None)
    mmm, v = MMM(H, saturation=saturation, normalize_adstock=normalize, residual=residual), values(saturation)
    forecast = forecast_of(mmm.components(data, v), mmm.noise, read_future(data, U[T:], Z[T:]))

    before = U[:T].to_numpy()  # the model's page, in plain words, with numbers of the first 40 periods only
    channel = np.array([0, 0, 1, 1])
    share = before.mean(axis=0) / np.array([before.mean(axis=0)[channel == c].sum() for c in (0, 1)])[channel]
    mean = np.empty((7, len(y)))
    for s in range(7):
        x = np.concatenate([past, U.to_numpy()]) / before.mean(axis=0)
        gain = 1 - v["decay"][s] if normalize else np.ones(4)
        a = np.column_stack([signal.lfilter([gain[i]], [1, -v["decay"][s, i]], x[:, i]) for i in range(4)])[history:]
        media = y[:T].std(ddof=0) * (v["effect_tactical"][s] * share * CURVES[saturation](a, v, s)).sum(axis=1)
        mean[s] = v["intercept"][s] + media + (Z - Z[:T].mean()).to_numpy() @ v["control_effect"][s]
    ahead = np.arange(1, len(y) - T + 1)
    left = v["phi"][:, None] ** ahead * (y.iloc[T - 1] - mean[:, [T - 1]]) if residual == "ar1" else 0
    np.testing.assert_allclose(continued(mmm.components(data, v), read_future(data, U[T:], Z[T:])).fitted(), mean[:, T:], rtol=1e-9)
    np.testing.assert_allclose(forecast.mean, (mean[:, T:] + left).mean(axis=0), rtol=1e-9)


@pytest.mark.parametrize("history", [0, 5])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("saturation", list(SATURATIONS))
def test_a_model_cannot_tell_where_a_series_was_cut(saturation, normalize, history):
    y, U, Z = (table.to_numpy() for table in tables(45))
    past, mixed = (U[:history] if history else None), np.random.default_rng(3).permutation(40)
    y, U, Z = y[-40:], U[-40:], Z[-40:]
    twice = lambda table: np.concatenate([table, table[mixed]])  # the joined series has the scale of its first half
    mmm = MMM(H, saturation=saturation, normalize_adstock=normalize)
    joined, alone = prepare(H, twice(y), twice(U), twice(Z), None, past), prepare(H, y, U, Z, None, past)
    v = values(saturation)
    there, whole = continued(mmm.components(alone, v), read_future(alone, U[mixed], Z[mixed])), mmm.components(joined, v)
    np.testing.assert_allclose(there.fitted(), whole.fitted()[:, 40:], rtol=1e-10)
    for level in H.levels:
        for (name, part), (_, of_all) in zip(there.media(level), whole.media(level)):
            np.testing.assert_allclose(part, of_all[:, 40:], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("residual", ["iid", "ar1"])
@pytest.mark.parametrize("likelihood", ["normal", "student_t"])
def test_log_densities_are_those_of_the_joined_residuals(likelihood, residual):
    y, U, Z = tables()
    data, v, mmm = prepare(H, y[:40], U[:40], Z[:40]), values(), MMM(H, likelihood=likelihood, residual=residual)
    future = replace(read_future(data, U[40:], Z[40:]), y=y[40:].to_numpy())
    components = mmm.components(data, v)
    residuals = y.to_numpy() - np.concatenate([components.fitted(), continued(components, future).fitted()], axis=1)
    forecast = forecast_of(components, mmm.noise, future)
    np.testing.assert_allclose(forecast.log_density, mmm.noise.pointwise(residuals, v)[:, 40:], rtol=1e-10)
    total = forecast.log_density.sum(axis=1)
    assert forecast.scores().elpd == pytest.approx(np.log(np.exp(total - total.max()).mean()) + total.max())


@pytest.mark.parametrize("residual", ["iid", "ar1"])
def test_predictive_draws_have_the_law_of_the_noise(residual):
    y, U, Z = tables()
    one = {name: np.repeat(v[:1], 40_000, axis=0) for name, v in values().items()} | {"phi": np.full(40_000, 0.7)}
    mmm, data = MMM(H, residual=residual), prepare(H, y[:40], U[:40], Z[:40])
    single = mmm.components(data, {name: v[:1] for name, v in one.items()})
    future = read_future(data, U[40:43], Z[40:43])
    components = Fixed(mmm.components(data, one), single)
    forecast, sigma, phi = forecast_of(components, mmm.noise, future), one["sigma"][0], 0.7 * (residual == "ar1")
    ahead = np.arange(1, 4)
    sd = sigma * np.sqrt(np.cumsum(phi ** (2.0 * (ahead - 1))))
    centre = continued(single, future).fitted()[0] + phi ** ahead * (data.y[-1] - single.fitted()[0, -1])
    np.testing.assert_allclose(forecast.draws.mean(axis=0), centre, atol=5 * sd.max() / 200)
    np.testing.assert_allclose(forecast.draws.std(axis=0), sd, rtol=0.02)
    np.testing.assert_allclose(forecast.mean, centre, rtol=1e-9)
    table = forecast.table(0.8)
    np.testing.assert_allclose(table.upper - table.lower, 2 * stats.norm.ppf(0.9) * sd, rtol=0.03)


def Fixed(components, single):
    "Many equal draws without computing each."
    class Repeated(Decomposition):
        def fitted(self):
            return np.repeat(replace(single, x=self.x, Z=self.Z).fitted(), self.size, axis=0)
    return Repeated(components.data, components.curve, components.normalize, components.values)


def test_scale_stays_that_of_the_training_data():
    y, U, Z = tables()
    whole = prepare(H, y, U, Z, U * 3)
    grown = prepare(H, pd.concat([y[:40], 50 * y[40:]]), pd.concat([U[:40], 1000 * U[40:]]), pd.concat([Z[:40], 7 + Z[40:]]), U * 3)
    for part in (split(whole, 20)[0], split(grown, 20)[0]):
        np.testing.assert_allclose(part.exposure_mean, U[:40].mean() * 3, rtol=1e-12)
        np.testing.assert_allclose(part.x, U[:40] / U[:40].mean(), rtol=1e-12)
        np.testing.assert_allclose(part.y_scaled, (y[:40] - y[:40].mean()) / y[:40].std(ddof=0), rtol=1e-9)
        np.testing.assert_array_equal(part.Z, Z[:40])
        assert len(part.spend) == 40 and part.time.equals(whole.time[:40])


@pytest.mark.parametrize("index", [
    pd.date_range("2024-01-01", periods=30, freq="D"), pd.date_range("2024-01-31", periods=30, freq="ME"),
    pd.date_range("2020-01-15", periods=30, freq="MS") + pd.Timedelta(days=14), pd.date_range("2020-01-01", periods=30, freq="QS"),
    pd.period_range("2024-01", periods=30, freq="M"), pd.RangeIndex(5, 65, 2), pd.date_range("2024-03-30", periods=30, freq="h")])
def test_every_calendar_goes_on(index):
    y, U, Z = (table.iloc[:30].set_axis(index) for table in tables())
    data = prepare(H, y[:20], U[:20], Z[:20])
    expected = index.to_timestamp()[20:] if isinstance(index, pd.PeriodIndex) else index[20:]
    assert list(next_periods(data.time, 10)) == list(expected)
    assert list(read_future(data, U[20:], Z[20:]).time) == list(expected)
    assert list(read_future(data, U[20:].to_numpy(), Z[20:]).time) == list(expected)
    for start, stop in ((19, 25), (21, 25), (0, 5)):
        with pytest.raises(PrecisionError, match="must go on where the data end"):
            read_future(data, U[start:stop], Z[20:20 + stop - start])


def test_one_period_ahead():
    y, U, Z = tables()
    data, mmm = prepare(H, y[:40], U[:40], Z[:40]), MMM(H, residual="ar1")
    forecast = forecast_of(mmm.components(data, values()), mmm.noise, read_future(data, U[40:41], Z[40:41]))
    assert forecast.table().shape == (1, 4) and forecast.draws.shape == (7, 1)
    forecast.plot()


Y, U, Z = tables()
NEW = U[40:50], Z[40:50]


@pytest.mark.parametrize("new, message", [
    ((NEW[0].rename(columns={"a": "aa"}), NEW[1]), "'aa' is not known. Did you mean 'a'"),
    ((NEW[0].drop(columns="b"), NEW[1]), "Missing: 'b'"),
    ((NEW[0].assign(e=1.0), NEW[1]), "'e' is not known"),
    ((pd.concat([NEW[0], NEW[0]["a"]], axis=1), NEW[1]), "two columns named 'a'"),
    ((NEW[0], None), "Z_new is missing: the fit has the controls 'price', 'promo'"),
    ((NEW[0], NEW[1].drop(columns="promo")), "Missing: 'promo'"),
    ((NEW[0], NEW[1].rename(columns={"price": "prise"})), "Did you mean 'price'"),
    ((NEW[0], NEW[1].assign(more=1)), "'more' is not known"),
    ((NEW[0], NEW[1][:5]), "Z_new has 5 rows and U_new has 10"),
    ((NEW[0], NEW[1].shift(1, freq="7D")), "Z_new must go on where the data end, at 2024-09-30.*row 0 is 2024-10-14, where 2024-10-07"),
    ((NEW[0].shift(1, freq="7D"), NEW[1]), "U_new must go on where the data end, at 2024-09-30"),
    ((NEW[0].shift(-1, freq="7D"), NEW[1]), "row 0 is 2024-09-30, where 2024-10-07 was expected"),
    ((NEW[0].set_axis(pd.date_range("2024-10-07", periods=10)), NEW[1]), "row 1 is 2024-10-08, where 2024-10-14"),
    ((NEW[0].iloc[[0, 1, 1, *range(3, 10)]], NEW[1]), "2024-10-14 twice"),
    ((NEW[0].drop(NEW[0].index[4]), NEW[1].drop(NEW[1].index[4])), "2024-10-28 is followed by 2024-11-11, 14 days later.*2024-11-04; add it"),
    ((NEW[0][::-1], NEW[1]), "ascending"),
    ((NEW[0].reset_index(drop=True), NEW[1]), "row 0 is 0, where 2024-10-07 was expected"),
    ((NEW[0].set_axis(NEW[0].index.strftime("%d.%m.%Y")), NEW[1]), "the text .*turn it into dates"),
    ((NEW[0].assign(a=np.nan), NEW[1]), "missing value"),
    ((NEW[0].assign(a=-1.0), NEW[1]), "exposure of 'a' is -1"),
    ((NEW[0].assign(a="much"), NEW[1]), "'much'"),
    ((NEW[0], NEW[1].assign(price=np.inf)), "infinite"),
    ((NEW[0][:0], NEW[1][:0]), "U_new has no rows"),
    ((NEW[0].to_numpy()[:, :3], NEW[1]), r"shape \[periods, 4\]"),
    ((5.0, NEW[1]), r"U_new must be a table with a row a period, .* got 5.0"),
    ((NEW[0], 5.0), r"Z_new must be a table with a row a period, .* got 5.0"),
])
def test_what_does_not_fit_the_data_is_named(new, message):
    with pytest.raises(PrecisionError, match=message):
        read_future(prepare(H, Y[:40], U[:40], Z[:40]), *new)


def test_columns_are_matched_by_name_and_arrays_by_position():
    data = prepare(H, Y[:40], U[:40], Z[:40])
    plain = read_future(data, *NEW)
    for new in ((NEW[0][list("dbca")], NEW[1][["promo", "price"]]), (NEW[0].to_numpy(), NEW[1].to_numpy()), (NEW[0], Controls.of(NEW[1]))):
        other = read_future(data, *new)
        assert np.array_equal(plain.U, other.U) and np.array_equal(plain.Z, other.Z) and plain.time.equals(other.time)
    one = prepare(H, Y[:40], U[:40], Z.price[:40])
    assert read_future(one, NEW[0], Z.price[40:50]).Z.shape == (10, 1)
    assert read_future(prepare(H, Y[:40], U[:40], Z.price[:40].to_numpy()), NEW[0], Z.price[40:50].to_numpy()).Z.shape == (10, 1)
    with pytest.raises(PrecisionError, match="no controls; leave Z_new out"):
        read_future(prepare(H, Y[:40], U[:40]), *NEW)


def test_a_channel_without_exposure_in_the_fit_has_no_future():
    data = prepare(H, Y[:40], U[:40].assign(c=0.0, d=0.0), Z[:40])
    with pytest.raises(PrecisionError, match="'c' has exposure at 2024-10-07, and neither it nor another line of 'y' had any in the 40 periods"):
        read_future(data, *NEW)
    with pytest.raises(PrecisionError, match="'d' has exposure at 2024-10-28, and neither it nor another line of 'y'"):
        read_future(data, NEW[0].assign(c=0.0, d=[0.0] * 3 + [5.0] * 7), NEW[1])
    quiet = read_future(data, NEW[0].assign(c=0.0, d=0.0), NEW[1])
    assert quiet.newcomers == ()
    v = values()
    v["decay"][:, 2:] = np.nan
    assert np.isfinite(continued(Decomposition(data, SATURATIONS["none"], True, v), quiet).fitted()).all()


def test_a_line_without_exposure_in_the_fit_is_a_newcomer_where_its_channel_ran():
    data = prepare(H, Y[:40], U[:40].assign(c=0.0), Z[:40])
    assert read_future(data, *NEW).newcomers == ("c",)
    quiet = read_future(data, NEW[0].assign(c=0.0), NEW[1])
    assert quiet.newcomers == ()
    v = values()
    v["decay"][:, 2] = np.nan
    assert np.isfinite(continued(Decomposition(data, SATURATIONS["none"], True, v), quiet).fitted()).all()


@pytest.mark.parametrize("holdout", [0, -1, True, False, 1.5, "13", np.nan, 10.0])
def test_a_holdout_is_a_whole_number(holdout):
    with pytest.raises(PrecisionError, match="holdout must be a whole number of at least 1"):
        split(prepare(H, Y, U, Z), holdout)


@pytest.mark.parametrize("holdout, left", [(53, 7), (60, 0), (1000, 0)])
def test_a_holdout_leaves_enough(holdout, left):
    with pytest.raises(PrecisionError, match=f"leaves {left} of 60 periods to fit; at least 8"):
        split(prepare(H, Y, U, Z), holdout)


def test_what_is_left_is_checked_like_any_data():
    flat = Y.where(Y.index >= Y.index[40], 500.0)
    with pytest.raises(PrecisionError, match="in the 40 periods before the holdout, which begins at 2024-10-07: the outcome y is constant"):
        split(prepare(H, flat, U, Z), 20)
    with pytest.raises(PrecisionError, match="the control 'promo' does not move in the 40 periods"):
        split(prepare(H, Y, U, Z.assign(promo=(Y.index >= Y.index[45]) * 1.0)), 20)
    with pytest.raises(PrecisionError, match="'c' has exposure at 2024-10-07, and neither it nor another line of 'y' had any"):
        split(prepare(H, Y, pd.concat([U[:40].assign(c=0.0, d=0.0), U[40:]]), Z), 20)
    assert split(prepare(H, Y, pd.concat([U[:40].assign(c=0.0), U[40:]]), Z), 20)[1].newcomers == ("c",)
    with pytest.raises(PrecisionError, match="which begins at .*'d' has spend but no exposure"):
        split(prepare(H, Y, pd.concat([U[:40].assign(d=0.0), U[40:]]), Z, U), 20)


def test_slices_of_data_are_what_came():
    data = prepare(H, Y[5:], U[5:], Z[5:], U[5:] * 2, U[:5])
    again = prepare(H, **inputs_of(data, 10, 40))
    assert again.time.equals(data.time[10:40]) and np.array_equal(again.U, data.U[10:40]) and np.array_equal(again.Z, data.Z[10:40])
    np.testing.assert_array_equal(again.history, U[:15])
    assert inputs_of(prepare(H, Y, U), 0, 20)["Z"] is None and inputs_of(prepare(H, Y, U), 0, 20)["U_history"] is None


def test_controls_that_have_not_moved_are_drawn_from_their_prior():
    Z = local_level(Y.index, every=5, sd=1.0) + Controls.of((Y.index >= Y.index[50]).astype(float) * pd.Series(3.0, Y.index, name="shop"), sd=0.7)
    data = prepare(H, Y, U, Z)
    kept, held = split(data, 20)
    assert kept.controls == data.controls[:7] and held.unseen.shape == (20, 5)
    v = values(controls=7, draws=20_000)
    v["control_effect"][:] = 0
    mmm = MMM(H)
    with_walk = forecast_of(mmm.components(kept, v), mmm.noise, held)
    without = forecast_of(mmm.components(kept, v), mmm.noise, replace(held, unseen=None))
    steps = np.r_[[1] * 5, [2] * 5, [3] * 5, [4] * 5]
    shop = 3.0 * (np.arange(40, 60) >= 50) * data.control_unit_sd["shop"]
    expected = (steps * data.control_unit_sd["level_2024-02-05"] ** 2 + shop ** 2) * kept.y.std() ** 2
    np.testing.assert_allclose(with_walk.draws.var(axis=0) - without.draws.var(axis=0), expected, rtol=0.15)
    assert np.abs(with_walk.mean - without.mean).max() < 2  # on average it stays


def test_a_control_that_stood_still_somewhere_counts_its_changes_from_there():
    Z = Controls.of(pd.DataFrame({"season": np.sin(np.arange(60)), "level": np.r_[np.full(45, 7.0), np.full(15, 9.0)]}, Y.index))
    _, held = split(prepare(H, Y, U, Z), 20)
    np.testing.assert_array_equal(held.unseen[:, 0], np.r_[np.zeros(5), np.full(15, 2.0)])


def test_what_was_held_out_comes_back():
    kept, held = split(prepare(H, Y, pd.concat([U[:40].assign(c=0.0), U[40:]]), local_level(Y.index, every=5)), 20)
    groups = data_groups(kept)
    groups["constant_data"] = groups["constant_data"].merge(to_variables(held, "tactical"))
    back = from_variables(groups_of(labelled(groups, kept))["constant_data"])
    assert all(np.array_equal(getattr(held, name), getattr(back, name)) for name in ("time", "U", "Z", "y", "unseen", "unseen_sd"))
    assert held.newcomers == back.newcomers == ("c",)
    assert from_variables(groups_of(to_fit().idata)["constant_data"]) is None


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_crps_is_the_energy_form_over_all_pairs(size, seed):
    rng = np.random.default_rng(seed)
    draws, y = rng.normal(size=(size, 3)).round(1), rng.normal(size=3)
    pairs = np.abs(draws[:, None] - draws[None]).sum(axis=(0, 1)) / (size * (size - 1))
    np.testing.assert_allclose(crps(draws, y), np.abs(draws - y).mean(axis=0) - pairs / 2, atol=1e-12)


@pytest.mark.parametrize("mu, sigma", [(0.0, 1.0), (1e6, 2e4), (-3.0, 0.01)])
def test_crps_agrees_with_the_closed_form_for_a_normal(mu, sigma):
    y = mu + sigma * np.linspace(-3, 3, 9)
    z = (y - mu) / sigma
    exact = sigma * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    draws = mu + sigma * stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)  # without chance
    np.testing.assert_allclose(crps(draws[:, None], y), exact, rtol=1e-3)


def test_crps_is_proper():
    rng = np.random.default_rng(0)
    y, z = rng.normal(size=20_000), rng.normal(size=(200, 1))
    scores = {(mu, sd): crps(mu + sd * z, y).mean() for mu in (-0.5, 0, 0.5) for sd in (0.5, 1.0, 2.0)}
    assert min(scores, key=scores.get) == (0, 1.0)


def test_the_naive_forecast():
    past = np.arange(20.0)
    assert np.array_equal(naive_draws(past, 3), np.repeat(past[:, None], 3, axis=1))
    seasonal = naive_draws(past, 6, season=4)
    np.testing.assert_array_equal(seasonal, np.tile([20.0, 21, 22, 23, 20, 21], (16, 1)))
    with pytest.raises(PrecisionError, match="season=19 needs at least 21 periods before the forecast.*there are 20"):
        naive_draws(past, 3, season=19)
    with pytest.raises(PrecisionError, match="season must be a whole number"):
        naive_draws(past, 3, season=True)


FITS = {}


def to_fit(**options):
    key = tuple(options.items())
    if key not in FITS:
        FITS[key] = MMM(H).fit(Y, U, Z, U * 2, **QUICK, **options)
    return FITS[key]


def test_held_out_periods_are_predicted_as_new_ones():
    fit = to_fit(holdout=13)
    assert len(fit.data.y) == 47 and fit.fitted().shape[0] == 47
    table = fit.holdout.table()
    assert list(table.columns) == ["time", "observed", "mean", "lower", "upper"] and list(table.time) == list(Y.index[47:])
    np.testing.assert_array_equal(table.observed, Y[47:])
    pd.testing.assert_frame_equal(fit.predict(U[47:], Z[47:]), table.drop(columns="observed"), check_freq=False)
    scores = fit.holdout.scores(0.5)
    assert set(scores.index) == {"crps", "crps_naive", "skill", "coverage", "elpd"} and scores.skill == 1 - scores.crps / scores.crps_naive
    half = fit.holdout.table(0.5)
    assert scores.coverage == half.observed.between(half.lower, half.upper).mean()
    assert len(fit.holdout.plot().lines) >= 3
    with pytest.raises(PrecisionError, match="this fit saw all its data"):
        to_fit().holdout


def test_a_holdout_is_a_fit_of_what_is_left():
    fit, alone = to_fit(holdout=13), MMM(H).fit(Y[:47], U[:47], Z[:47], U[:47] * 2, **QUICK)
    np.testing.assert_array_equal(fit.posterior.decay, alone.posterior.decay)
    np.testing.assert_array_equal(fit.posterior.sigma, alone.posterior.sigma)


def test_a_holdout_is_saved_and_loaded(tmp_path):
    fit = to_fit(holdout=13)
    fit.save(tmp_path / "fit.nc")
    loaded = Fit.load(tmp_path / "fit.nc")
    pd.testing.assert_frame_equal(loaded.holdout.table(), fit.holdout.table(), check_freq=False, check_dtype=False)
    pd.testing.assert_series_equal(loaded.holdout.scores(), fit.holdout.scores())
    pd.testing.assert_frame_equal(loaded.predict(U[47:], Z[47:]), fit.predict(U[47:], Z[47:]), check_freq=False)


def test_predictive_draws_have_the_shape_of_the_posterior():
    fit = to_fit()
    new = U[:6].to_numpy(), Z[:6].to_numpy()
    draws = fit.predict(*new, draws=True)
    assert draws.dims == ("chain", "draw", "time") and draws.shape == (2, 60, 6)
    assert list(draws.time.values) == list(next_periods(fit.data.time, 6).to_numpy())
    table = fit.predict(*new, interval=0.5)
    np.testing.assert_allclose(table.lower, np.quantile(draws, 0.25, axis=(0, 1)))
    pd.testing.assert_frame_equal(table, fit.predict(*new, interval=0.5))
    assert not table.lower.equals(fit.predict(*new, interval=0.5, seed=1).lower)


def test_contributions_of_the_future_add_up_to_its_mean():
    fit = to_fit()
    new = U[:6].to_numpy(), Z[:6].to_numpy()
    media = fit.predict_contributions(new[0], "tactical", draws=True).sum("node")
    p, centred = fit.posterior, xr.DataArray(Z[:6] - Z.mean(), dims=("time", "control"))
    parts = fit.predict_decomposition(*new, draws=True)
    baseline = p.intercept + p.control_effect @ centred.drop_vars("time") + parts.sel(node=["season", "level"]).sum("node").drop_vars("time")
    np.testing.assert_allclose((media.drop_vars("time") + baseline).mean(("chain", "draw")), fit.predict(*new)["mean"], rtol=1e-6)
    assert list(parts.node.values) == ["intercept", "season", "level", "price", "promo", "x", "y"]
    np.testing.assert_allclose(parts.sum("node").mean(("chain", "draw")), fit.predict(*new)["mean"], rtol=1e-9)
    channels = fit.predict_contributions(new[0])
    assert list(channels.columns) == ["time", "node", "mean", "lower", "upper"] and set(channels.node) == {"x", "y"}
    assert (fit.predict_contributions(0 * new[0])["mean"] > 0).all()  # carry-over of the data


def test_daily_data_with_a_weekly_season():
    y, U, _ = tables(120, freq="D")
    Z = fourier(y.index, "week", pairs=2)
    fit = MMM(H).fit(y[:113], U[:113], Z.at(y.index[:113]), holdout=7, **QUICK)
    assert len(fit.holdout.table()) == 7
    later = y.index[106:120]
    assert len(fit.predict(U.loc[later], Z.at(later))) == 14


def test_a_level_made_for_the_years_to_come_walks_on_and_one_made_for_the_data_does_not():
    y, U, _ = tables(80)
    walk, later = local_level(y.index, 4, sd=1.0), y.index[60:]
    fit = MMM(H, baseline="none").fit(y[:60], U[:60], walk.at(y.index[:60]).varying(), **QUICK)
    stays = local_level(y.index[:60], 4, sd=1.0)
    assert list(stays.frame) == list(fit.data.controls)
    width = lambda Z: np.diff(fit.predict(U.loc[later], Z.at(later)).filter(["lower", "upper"]), axis=1)[:, 0]
    walking, staying = width(walk), width(stays)
    assert walking[-1] / staying[-1] > 1.2 and walking[0] < 1.3 * staying[0]
    knots = trend_knots(y.index, [y.index[30]])
    with pytest.raises(PrecisionError, match="'trend', which moves in the data too but is not among those of the fit"):
        fit.predict(U.loc[later], (walk + knots).at(later))
    alone = MMM(H, baseline="none").fit(y[:60], U[:60], **QUICK)
    launch = alone.predict(U.loc[later], events(y.index, {"launch": str(later[3].date())}).at(later))
    assert (launch.upper - launch.lower)[3] > 1.2 * (launch.upper - launch.lower).drop(3).max()


# Lines that begin to run

LATE = U.assign(d=np.where(np.arange(60) < 47, 0.0, U.d))
SMALL = dict(chains=2, warmup=100, draws=100, progress=False)


@pytest.mark.parametrize("pooling, measure, spend", [("nested", "total", True), ("none", "total", True), ("channel", "total", False), ("nested", "efficiency", False),
                                                     ("none", "efficiency", True), ("channel", "efficiency", True), ("nested", "total", False)])
def test_a_line_that_starts_late_is_drawn_from_its_siblings(pooling, measure, spend):
    mmm = MMM(H, pooling=pooling, measure=measure)
    fit = mmm.fit(Y, LATE, Z, LATE * 2 if spend else None, holdout=13, **SMALL)
    assert any(note == "no exposure in the data, so drawn from what the tree knows of its siblings, as wide as they differ: d" for note in fit.notes)
    assert np.isfinite(fit.holdout.table().drop(columns="time")).all(axis=None) and np.isfinite(fit.holdout.scores()).all()
    with pytest.warns(PrecisionWarning, match="drawn from what the tree knows of its siblings, as wide as they differ: d"):
        pd.testing.assert_frame_equal(fit.predict(LATE[47:], Z[47:]), fit.holdout.table().drop(columns="observed"), check_freq=False)
    tacticals = fit.predict_contributions(LATE[47:], "tactical", draws=True)
    channels = fit.predict_contributions(LATE[47:], "channel", draws=True)
    assert (tacticals.sel(node="d") > 0).any() and np.isfinite(tacticals).all()
    np.testing.assert_allclose(tacticals.sel(node=["c", "d"]).sum("node"), channels.sel(node="y"), rtol=1e-9)
    parts = fit.predict_decomposition(LATE[47:], Z[47:], "tactical", draws=True)
    np.testing.assert_allclose(parts.sum("node").mean(("chain", "draw")), fit.predict(LATE[47:], Z[47:])["mean"], rtol=1e-9)
    assert np.isnan(fit.posterior.decay.sel(tactical="d")).all()  # the data say nothing of it

    if pooling != "channel":
        new = np.log(flattened(groups_of(fit.drawn)["newcomers"])["effect_tactical"][:, 3])
        sibling = np.log(fit.posterior.effect_tactical.sel(tactical="c").values.ravel())
        assert new.std() > sibling.std()
        if pooling == "nested":  # without pooling nothing is known but the prior
            assert abs(np.median(new) - np.median(sibling)) < 1.0


def test_newcomers_are_saved_and_loaded(tmp_path):
    fit = MMM(H).fit(Y, LATE, Z, LATE * 2, holdout=13, **QUICK)
    fit.save(tmp_path / "fit.nc")
    loaded = Fit.load(tmp_path / "fit.nc")
    np.testing.assert_allclose(loaded.predict(LATE[47:], Z[47:])["mean"], fit.predict(LATE[47:], Z[47:])["mean"], rtol=1e-12)
    pd.testing.assert_frame_equal(loaded.holdout.table(), fit.holdout.table(), check_freq=False, check_dtype=False)
