"""Origins roll and nothing of the future is known before its time; leave-future-out agrees with what can be computed exactly."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from precision.controls import local_level
from precision.data import Controls
from precision.draws import elpd_of
from precision.forecast import crps, naive_draws
from precision.errors import PrecisionError, PrecisionWarning
from precision.hierarchy import build_hierarchy
from precision.model import MMM
from precision.validation import cross_validate, fold_slices, leave_future_out, psis_lfo

matplotlib.use("Agg")
pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
MODEL = MMM(build_hierarchy({"x": ["a", "b"]}, levels=["tactical", "channel"]), saturation="none")
QUICK = dict(chains=2, warmup=100, draws=60, progress=False)


def tables(periods=60, seed=0):
    rng = np.random.default_rng(seed)
    time = pd.date_range("2024-01-01", periods=periods, freq="W-MON")
    U = pd.DataFrame(rng.gamma(1.0, [30, 60], (periods, 2)), time, list("ab"))
    Z = pd.DataFrame({"price": rng.normal(5, 1, periods)}, time)
    return 500 + U @ [0.9, 0.4] - 8 * Z.price + rng.normal(0, 10, periods), U, Z


Y, U, Z = tables()


@pytest.fixture(scope="module")
def cv():
    return cross_validate(MODEL, Y, U, Z, U * 2, horizon=5, folds=3, window=40, season=4, interval=0.8, **QUICK)


@pytest.mark.parametrize("window", [None, 20])
def test_folds_cover_the_end_without_gap_or_overlap(window):
    slices = fold_slices(60, 7, 5, window)
    assert [end for *_, end in slices][:-1] == [origin for _, origin, _ in slices][1:] and slices[-1][2] == 60
    assert all(end - origin == 7 and (first == 0 if window is None else origin - first == window) for first, origin, end in slices)


@pytest.mark.parametrize("wrong, message", [
    (dict(folds=5, horizon=12), "5 folds of 12 periods leave 0 of 60 to the first fit, and it needs 8"),
    (dict(folds=4, horizon=13, window=9), "leave 8 of 60 to the first fit, and it needs 9"),
    (dict(folds=0), "folds must be a whole number"), (dict(horizon=True), "horizon must be a whole number"),
    (dict(horizon=2.5), "horizon must be"), (dict(window=5), "window must be a whole number of at least 8"),
    (dict(season=0), "fold 0: season must be"), (dict(season=38), "fold 0: season=38 needs at least 40"), (dict(interval=90), "interval"),
    (dict(Z=Z.assign(price=[3.0] * 44 + [5.0] * 16)), "fold 0: the control 'price' does not move in the 39"),
    (dict(U=U.rename(columns={"a": "aa"})), "'aa' is not known"),
])
def test_errors_come_before_any_sampling(wrong, message):
    with pytest.raises(PrecisionError, match=message):
        cross_validate(MODEL, **dict(y=Y, U=U, Z=Z, horizon=7, folds=3, **QUICK) | wrong)


LATE = U.assign(b=[0.0] * 50 + [5.0] * 10)


def test_a_channel_that_begins_to_run_is_refused_before_any_sampling():
    apart = MMM(build_hierarchy({"x": ["a"], "y": ["b"]}, levels=["tactical", "channel"]), saturation="none")
    for ask in (cross_validate, leave_future_out):
        with pytest.raises(PrecisionError, match="'b' has exposure at 2024-12-16, and neither it nor another line of 'y' had any in the 4[0-9] periods"):
            ask(apart, Y, LATE, Z, horizon=7, folds=3, **QUICK) if ask is cross_validate else ask(apart, Y, LATE, Z, first=46, **QUICK)


def test_a_line_that_begins_to_run_is_forecast_from_its_siblings():
    found = cross_validate(MODEL, Y, LATE, Z, horizon=7, folds=2, **QUICK)
    assert len(found.scores) == 2 and np.isfinite(found.scores.crps).all() and np.isfinite(found.predictions.filter(["mean", "lower", "upper"])).all(axis=None)


def test_every_fold_is_a_fit_of_its_own_past(cv):
    for fit, (first, origin, end) in zip(cv.fits, fold_slices(60, 5, 3, 40)):
        alone = MODEL.fit(Y[first:origin], U[first:origin], Z[first:origin], U[first:origin] * 2, U_history=U[:first] if first else None, **QUICK)
        np.testing.assert_array_equal(fit.posterior.decay, alone.posterior.decay)
        np.testing.assert_array_equal(fit.posterior.sigma, alone.posterior.sigma)
        table = alone.predict(U[origin:end], Z[origin:end], interval=0.8)
        mine = cv.predictions[lambda t: t.time.isin(Y.index[origin:end])]
        np.testing.assert_allclose(mine[["mean", "lower", "upper"]], table[["mean", "lower", "upper"]], rtol=1e-12)
        np.testing.assert_array_equal(mine.observed, Y[origin:end])


def test_windows_share_one_program(cv):
    assert [fit.timing["compile"] for fit in cv.fits[1:]] == [0.0, 0.0]


def test_scores_are_those_of_the_predictions(cv):
    scores, predictions = cv.scores, cv.predictions
    assert list(predictions.columns) == ["fold", "time", "observed", "mean", "lower", "upper"] and len(predictions) == 15
    assert list(scores.origin) == list(Y.index[[44, 49, 54]]) and (scores.periods == 40).all()
    inside = predictions.observed.between(predictions.lower, predictions.upper)
    np.testing.assert_allclose(scores.coverage, inside.groupby(predictions.fold).mean())
    assert cv.total.coverage == pytest.approx(inside.mean()) and cv.total.elpd == pytest.approx(scores.elpd.sum())
    assert scores.crps[1] == pytest.approx(crps(cv.fits[1].holdout.draws, Y[50:55]).mean())
    assert scores.crps_naive[1] == pytest.approx(crps(naive_draws(Y[10:50], 5, 4), Y[50:55]).mean())
    assert cv.total.skill == pytest.approx(1 - scores.crps.mean() / scores.crps_naive.mean())
    assert "3 folds of 5 periods" in repr(cv)


def test_the_picture_has_every_fold(cv):
    ax = cv.plot()
    assert len(ax.collections) == 3 and [text.get_text() for text in ax.get_legend().get_texts()] == [
        "observed", "predictive interval", "forecast"]


def test_unsound_folds_are_named():
    with pytest.warns(PrecisionWarning, match="fold 0: There is only one chain"):
        found = cross_validate(MODEL, Y, U, Z, horizon=5, folds=1, chains=1, warmup=80, draws=40, progress=False)
    assert not found.scores.sound.any() and "Not to be trusted yet: fold 0" in repr(found)


def test_one_period_at_a_time_and_columns_in_any_order():
    options = dict(horizon=1, folds=2, window=50, **QUICK)
    one, other = (cross_validate(MODEL, y, U[cols], Z, **options) for y, cols in ((Y, list("ab")), (Y, list("ba"))))
    assert len(one.predictions) == 2 and one.scores.equals(other.scores)
    one.plot()


def test_controls_that_move_only_later_have_their_priors():
    steps = local_level(Y.index, every=10) + Controls.of(pd.Series([0.0] * 52 + [1.0] * 8, Y.index, name="shop"))
    found = cross_validate(MODEL, Y, U, steps, horizon=10, folds=2, **QUICK)
    assert [len(fit.data.controls) for fit in found.fits] == [3, 4]
    assert [fit.holdout.draws.shape[1] for fit in found.fits] == [10, 10]


RNG = np.random.default_rng(2)
OUTCOMES = RNG.normal(1.0, 1.0, 60) + np.r_[np.zeros(30), np.full(30, 4.0)]  # a break, so that refits are needed


def posterior(t):
    return OUTCOMES[:t].sum() / (t + 0.25), 1 / (t + 0.25)


def densities(t):
    mean, variance = posterior(t)
    rng = np.random.default_rng(t)
    return stats.norm.logpdf(OUTCOMES[t:], rng.normal(mean, np.sqrt(variance), (20_000, 1)))


EXACT = np.array([stats.norm.logpdf(OUTCOMES[t], mean, np.sqrt(1 + variance)) for t in range(10, 60) for mean, variance in [posterior(t)]])


@pytest.mark.parametrize("refit_above, fits", [(-np.inf, range(50, 51)), (0.7, range(2, 25))])
def test_leave_future_out_agrees_with_the_exact_one(refit_above, fits):
    table = psis_lfo(densities, 10, 60, refit_above)
    assert len(table) == 50 and table.refit.sum() in fits and table.refit[0]
    assert table.pareto_k.isna().equals(table.refit) and not (table.pareto_k > refit_above).any()
    np.testing.assert_allclose(table.elpd, EXACT, atol=0.1)
    assert table.elpd.sum() == pytest.approx(EXACT.sum(), abs=0.3)


def test_reweighting_that_went_on_too_long_would_show():
    never = psis_lfo(densities, 10, 60, refit_above=np.inf)
    assert never.refit.sum() == 1 and np.abs(never.elpd - EXACT).max() > 0.3


def test_blocks_add_up_to_single_steps():
    total = sum(np.log(np.exp(densities(t)[:, :10].sum(axis=1)).mean()) for t in (10, 20))  # before the break
    assert total == pytest.approx(EXACT[:20].sum(), abs=0.1)


def test_leave_future_out_of_a_model_beside_leave_one_out():
    lfo = leave_future_out(MODEL, Y, U, Z, first=54, refit_above=2.0, **QUICK)
    assert list(lfo.table.time) == list(Y.index[54:]) and lfo.table.refit.tolist()[0]
    first = MODEL.fit(Y, U, Z, holdout=6, **QUICK).holdout
    assert lfo.table.elpd[0] == pytest.approx(np.log(np.exp(first.log_density[:, 0]).mean()))
    whole = MODEL.fit(Y, U, Z, **QUICK)
    table = lfo.beside(whole)
    assert table.loc["leave future out", "elpd"] == pytest.approx(lfo.elpd)
    assert table.loc["leave one out", "elpd"] > elpd_of(whole.loo())["elpd"]  # of 6 periods, not of 60
    lfo.plot()
    with pytest.raises(PrecisionError, match="does not cover"):
        lfo.beside(MODEL.fit(Y, U, Z, holdout=6, **QUICK))


@pytest.mark.parametrize("wrong, message", [
    (dict(first=60), "from 8 to 59"), (dict(first=5), "first must be a whole number of at least 8"), (dict(first=True), "first must be"),
    (dict(refit_above="high"), "refit_above must be a number"), (dict(refit_above=np.nan), "refit_above must be")])
def test_leave_future_out_refuses_what_makes_no_sense(wrong, message):
    with pytest.raises(PrecisionError, match=message):
        leave_future_out(MODEL, Y, U, Z, **QUICK, **wrong)
