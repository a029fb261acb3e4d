"""From data to answers: components that add up, units that do not matter, and files that come back."""

import os

import numpy as np
import pandas as pd
import pytest

from precision.controls import fourier
from precision.draws import diagnostics, groups_of
from precision.errors import PrecisionError, PrecisionWarning
from precision.examples import load_example
from precision.hierarchy import build_hierarchy, rows_of_nodes
from precision.model import MMM, Fit, former_default

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
QUICK = dict(chains=2, warmup=150, draws=100, progress=False)
TREES = [
    (["a", "b", "c", "d"], ["tactical"]),
    ({"x": ["a", "b"], "y": ["c", "d"]}, ["tactical", "channel"]),
    ({"x": {"p": ["a", "b"]}, "y": ["c", "d"]}, ["tactical", "platform", "channel"]),
    ({"g": {"x": {"p": ["a", "b"]}}, "h": {"y": {"q": ["c"], "r": ["d"]}}}, ["tactical", "platform", "channel", "group"]),
]


def data(periods=60, seed=0):
    rng = np.random.default_rng(seed)
    weeks = pd.date_range("2024-01-01", periods=periods, freq="W-MON")
    U = pd.DataFrame(rng.gamma(2.0, [30, 60, 20, 90], (periods, 4)), weeks, list("abcd"))
    Z = pd.DataFrame({"price": rng.normal(5, 1, periods), "promo": rng.binomial(1, 0.3, periods)}, weeks)
    y = 500 + U @ [0.4, 0.2, 0.9, 0.1] - 8 * Z.price + 25 * Z.promo + rng.normal(0, 10, periods)
    return y, U, Z


@pytest.fixture(scope="module")
def fit():
    y, U, Z = data()
    return MMM(build_hierarchy(*TREES[2])).fit(y, U, Z, U * 2, **QUICK)


@pytest.mark.parametrize("tree, levels, options", [
    (*TREES[0], {}), (*TREES[1], {"effect": "real", "saturation": "none"}), (*TREES[2], {"normalize_adstock": False}),
    (*TREES[3], {"effect": "real"})])
def test_terms_sum_to_the_fitted_mean_at_every_level(tree, levels, options):
    y, U, Z = data()
    fit = MMM(build_hierarchy(tree, levels), **options).fit(y, U, Z, **(QUICK | {"warmup": 60, "draws": 30}))
    totals = [fit.decomposition(level, draws=True).sum("node").values for level in levels]
    for total in totals:
        np.testing.assert_allclose(total, totals[0], rtol=1e-6)
    np.testing.assert_allclose(fit.fitted()["mean"], totals[0].mean(axis=(0, 1)), rtol=1e-9)
    assert {f"effect_{level}" for level in levels} <= set(fit.posterior)


def test_names_and_groups(fit):
    assert set(groups_of(fit.idata)) == {"posterior", "sample_stats", "log_likelihood", "posterior_predictive",
                                         "observed_data", "constant_data"}
    p = fit.posterior
    assert p.decay.dims == ("chain", "draw", "tactical") and p.effect_platform.dims[-1] == "platform"
    assert p.intercept.dims == p.sigma.dims == ("chain", "draw") and list(p.control.values) == ["price", "promo"]
    assert list(groups_of(fit.idata)["log_likelihood"].y.time.values) == list(fit.data.time.values)
    assert set(fit.timing) == {"prepare", "compile", "warmup", "sample", "report"}
    assert fit.contributions("platform").columns.tolist() == ["time", "node", "mean", "lower", "upper"]


def test_a_pass_through_repeats_its_parent(fit):
    p = fit.posterior
    np.testing.assert_allclose(p.effect_platform.sel(platform="y (pass-through)"), p.effect_channel.sel(channel="y"))


def test_units_and_order_do_not_matter(fit):
    y, U, Z = data()
    scaled = fit.mmm.fit(y * 1000, (U * [1000, 1, 1, 1])[list("dcba")], Z[["promo", "price"]], U * 2000, **QUICK)
    np.testing.assert_allclose(scaled.posterior.decay.mean(("chain", "draw")), fit.posterior.decay.mean(("chain", "draw")), atol=0.15)
    np.testing.assert_allclose(scaled.shares("channel").share, fit.shares("channel").share, atol=0.03)
    same_order = fit.mmm.fit(y * 1024, U * 2, Z, U * 4, **QUICK)  # powers of two: the very same draws
    np.testing.assert_allclose(same_order.posterior.decay, fit.posterior.decay, rtol=1e-6)
    np.testing.assert_allclose(same_order.posterior.sigma, fit.posterior.sigma * 1024, rtol=1e-6)


def test_a_tactical_without_exposure_stays_in_the_tables():
    y, U, Z = data()
    fit = MMM(build_hierarchy(*TREES[2])).fit(y, U.assign(c=0.0, d=0.0), Z, **QUICK)
    assert fit.notes[0] == "no exposure at all, so no estimate: c, d"
    assert former_default(build_hierarchy(*TREES[2])).fit(y, U.assign(c=0.0, d=0.0), Z, **QUICK).notes == [
        fit.notes[0], "media are taken never to have run before the data begin; give U_history, or choose past='steady'"]
    rates, shares = fit.decay_rates(), fit.shares("tactical")
    assert rates.loc[["c", "d"]].isna().all(axis=None) and rates.loc[["a", "b"]].notna().all(axis=None)
    assert (shares.loc[["c", "d"], "contribution"] == 0).all()
    assert fit.posterior.effect_channel.sel(channel="y").isnull().all()
    assert not any("nan" in sentence.lower() for sentence in fit.diagnosis)
    assert len(fit.summary()) > 0


def test_history_feeds_the_carry_over_only():
    y, U, Z = data()
    mmm = MMM(build_hierarchy(*TREES[1]))
    fit = mmm.fit(y[10:], U[10:], Z[10:], U_history=U[:10], **QUICK)
    assert len(fit.contributions().time.unique()) == 50
    assert not np.allclose(fit.contributions()["mean"], mmm.fit(y[10:], U[10:], Z[10:], **QUICK).contributions()["mean"])


def test_saved_and_loaded(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    loaded = Fit.load(tmp_path / "fit.nc")
    assert loaded.mmm == fit.mmm and loaded.notes == fit.notes and loaded.timing == fit.timing
    for table in ("contributions", "decomposition", "decay_rates", "shares", "fitted"):
        pd.testing.assert_frame_equal(getattr(loaded, table)(), getattr(fit, table)(), check_freq=False)
    loaded.save(tmp_path / "fit.nc")
    assert os.listdir(tmp_path) == ["fit.nc"]


@pytest.mark.parametrize("content", [b"", b"not a netCDF file"])
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "x.nc").write_bytes(content)
    with pytest.raises(PrecisionError, match="x.nc"):
        Fit.load(tmp_path / "x.nc")
    with pytest.raises(PrecisionError, match="no file"):
        Fit.load(tmp_path / "y.nc")


def test_a_cut_file_is_refused(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    whole = (tmp_path / "fit.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PrecisionError, match="cut short"):
        Fit.load(tmp_path / "cut.nc")


def test_wrong_questions(fit):
    with pytest.raises(PrecisionError, match="Did you mean 'channel'"):
        fit.contributions("chanel")
    with pytest.raises(PrecisionError, match="probability between 0 and 1"):
        fit.shares(interval=90)
    with pytest.raises(PrecisionError, match="build_hierarchy"):
        MMM({"tv": ["a"]})
    with pytest.raises(PrecisionError, match="folder does not exist"):
        fit.save("/nowhere/at/all/fit.nc")


def test_a_fit_that_is_not_to_be_trusted_says_so():
    y, U, Z = data()
    with pytest.warns(PrecisionWarning):
        fit = MMM(build_hierarchy(*TREES[1])).fit(y, U, Z, chains=2, warmup=10, draws=10, progress=False)
    assert fit.diagnosis and "Not to be trusted yet" in repr(fit)


def test_twelve_tacticals_with_a_known_truth():
    e = load_example("tacticals_12")
    truth, h = e.truth.contributions.sum(), e.hierarchy
    Z = e.Z.join(fourier(e.y.index, pairs=2).frame)
    fit = MMM(h).fit(e.y, e.U, Z, e.spend, progress=False)
    inside = lambda table, total: int(((table.lower <= total) & (total <= table.upper)).sum())
    assert fit.diagnosis == []
    assert inside(rows_of_nodes(fit.shares("tactical")), truth) >= 10
    assert inside(rows_of_nodes(fit.shares("channel")), truth.to_numpy() @ h.matrix("tactical", "channel")) == 4


def test_without_controls(fit):
    y, U, _ = data()
    plain = fit.mmm.fit(y, U, **QUICK)
    assert list(plain.decomposition().node.unique()) == ["intercept", "season", "level", "x", "y"]
    assert plain.posterior.control_effect.sizes["control"] == 0
    still = former_default(fit.mmm.hierarchy).fit(y, U, **QUICK)
    assert list(still.decomposition().node.unique()) == ["intercept", "x", "y"]
    assert still.posterior.control_effect.sizes["control"] == 0


# Enough is enough

def test_sampling_stops_when_it_is_enough():
    y, U, Z = data()
    mmm, settings = MMM(build_hierarchy(*TREES[2])), dict(chains=2, warmup=150, seed=3, progress=False)
    fit = mmm.fit(y, U, Z, target_ess=60, **settings)
    draws = fit.sample_shape[1]
    assert diagnostics(fit.idata)["ess_bulk"][0] >= 60 and draws % 50 == 0
    longer = mmm.fit(y, U, Z, draws=draws + 50, **settings)
    assert np.array_equal(longer.posterior["decay"][:, :draws], fit.posterior["decay"])


def test_a_target_that_is_out_of_reach_ends_all_the_same_and_says_so():
    y, U, Z = data()
    fit = MMM(build_hierarchy(*TREES[2])).fit(y, U, Z, target_ess=10_000, max_draws=170, chains=2, warmup=100, progress=False)
    assert fit.sample_shape == (2, 170) and any("target_ess=10000 was not reached" in note for note in fit.notes)


@pytest.mark.parametrize("wrong, what", [({"target_ess": 0}, "target_ess"), ({"target_ess": "all"}, "target_ess"),
                                         ({"target_ess": 100, "max_draws": 50}, "max_draws")])
def test_a_target_that_makes_no_sense_is_named(wrong, what):
    y, U, Z = data()
    with pytest.raises(PrecisionError, match=what):
        MMM(build_hierarchy(*TREES[2])).fit(y, U, Z, progress=False, **wrong)


def test_a_fit_that_is_remembered_is_the_same_fit(tmp_path):
    y, U, Z = data()
    mmm = MMM(build_hierarchy(*TREES[2]))
    fits = [mmm.fit(y, U, Z, seed=2, checkpoint=tmp_path, **QUICK) for _ in range(2)]
    assert fits[0].posterior.equals(fits[1].posterior)
    with pytest.raises(PrecisionError, match="another seed"):
        mmm.fit(y, U, Z, seed=3, checkpoint=tmp_path, **QUICK)
