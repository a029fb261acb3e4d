"""Simulated worlds have the model's form, repeat themselves, and refuse options that make no sense."""

import numpy as np
import pandas as pd
import pytest

from precision.adstock import adstock_geometric_np
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.simulate import CONTROLS, MEAN_OUTCOME, MEDIA_BUDGET, draw_along_tree, simulate

RAGGED = build_hierarchy({"tv": {"linear": ["brand", "offers"]}, "posters": ["stations", "roadside"]})
TREES = [
    None,
    RAGGED,
    build_hierarchy(["tv", "radio"], ["channel"]),
    build_hierarchy({"fr": {"tv": {"tf1": ["a"]}}, "de": {"radio": ["b", "c"]}}, ["line", "platform", "channel", "country"]),
]


def curve_by_hand(a, parameters):
    known = {name: column.to_numpy() for name, column in parameters.items()}
    if "logistic_rate" in known:
        g = lambda v: (1 - np.exp(-known["logistic_rate"] * v)) / (1 + np.exp(-known["logistic_rate"] * v))
        return g(a) / g(1)
    s, power = known.get("saturation_level", 0.0), a ** known.get("hill_slope", 1.0)
    return power / (1 - s + s * power)


def rebuilt_mean(sim):
    "The noise-free outcome, written from MODEL.md: exposures in currency, shares of the channel, efficiencies."
    h, truth = sim.hierarchy, sim.truth
    U = sim.U * sim.spend.sum() / sim.U.sum()
    M = h.matrix(h.levels[0], h.levels[-1])
    w = U.mean().to_numpy() / (M @ (M.T @ U.mean().to_numpy()))
    a = adstock_geometric_np((U / U.mean()).to_numpy(), truth.decay.to_numpy())
    media = sim.y.std(ddof=0) * truth.effect.to_numpy() * w * curve_by_hand(a, truth.saturation)
    return truth.intercept + media.sum(axis=1) + (sim.Z - sim.Z.mean()).to_numpy() @ truth.control_effect.to_numpy()


@pytest.mark.parametrize("hierarchy", TREES, ids=["default", "ragged", "one level", "four levels"])
@pytest.mark.parametrize("saturation", ["michaelis_menten", "none", "hill", "logistic"])
def test_the_truth_has_the_models_form(hierarchy, saturation):
    sim = simulate(hierarchy, periods=80, seed=4, saturation=saturation)
    np.testing.assert_allclose(rebuilt_mean(sim), sim.truth.mean, rtol=1e-10)
    assert sim.truth.saturation.empty == (saturation == "none")
    assert sim.truth.decay.between(0, 0.99).all() and (sim.truth.effect > 0).all()


@pytest.mark.parametrize("hierarchy", TREES, ids=["default", "ragged", "one level", "four levels"])
def test_shapes_names_and_ranges(hierarchy):
    sim = simulate(hierarchy, periods=60, seed=2, controls=["price", "weather"])
    h = sim.hierarchy
    leaves = h.names[h.levels[0]]
    for frame in (sim.U, sim.spend, sim.truth.contributions, *sim.metrics.values()):
        assert list(frame.columns) == leaves and frame.index.equals(sim.y.index)
        assert frame.shape == (60, h.num_tacticals) and (frame >= 0).all(axis=None) and np.isfinite(frame).all(axis=None)
    for series in (sim.truth.decay, sim.truth.effect, sim.truth.saturation.saturation_level, sim.truth.roi):
        assert list(series.index) == leaves
    assert list(sim.Z.columns) == list(sim.truth.control_effect.index) == ["price", "weather"]
    assert (sim.spend.sum() > 0).all() and (sim.U[sim.spend == 0].fillna(0) == 0).all(axis=None)
    assert (sim.y.index.to_series().diff().dropna() == pd.Timedelta(days=7)).all() and (sim.y > 0).all()


def test_sizes_are_as_asked():
    sim = simulate(periods=200, media_share=0.25, signal_to_noise=2.0)
    truth = sim.truth
    assert truth.mean.mean() == pytest.approx(MEAN_OUTCOME)
    assert truth.contributions.sum(axis=1).mean() == pytest.approx(0.25 * MEAN_OUTCOME)
    assert truth.sigma == pytest.approx(truth.mean.std(ddof=0) / 2)
    assert (sim.y - truth.mean).std() == pytest.approx(truth.sigma, rel=0.2)
    assert sim.spend.sum(axis=1).mean() == pytest.approx(MEDIA_BUDGET, rel=1e-4)
    np.testing.assert_allclose(truth.roi, truth.contributions.sum() / sim.spend.sum())
    assert (simulate(signal_to_noise=float("inf")).y == simulate().truth.mean).all()


def test_the_seed_decides_and_options_change_only_their_part():
    sim, again, other = simulate(seed=1), simulate(seed=1), simulate(seed=2)
    pd.testing.assert_frame_equal(sim.to_frame(), again.to_frame(), check_exact=True)
    assert not sim.y.equals(other.y) and not sim.spend.equals(other.spend)
    noisier = simulate(seed=1, signal_to_noise=1.0, controls=["price"])
    pd.testing.assert_frame_equal(sim.truth.contributions, noisier.truth.contributions, check_exact=True)
    state = np.random.get_state()[1].copy()
    simulate(seed=3)
    assert (np.random.get_state()[1] == state).all(), "the global random state is the user's"


def test_the_funnel_narrows_and_offline_channels_have_impressions_only():
    sim = simulate()
    assert (sim.metrics["clicks"] <= sim.metrics["impressions"]).all(axis=None)
    assert (sim.metrics["conversions"] <= sim.metrics["clicks"]).all(axis=None)
    tv = sim.hierarchy.descendants("tv")
    assert sim.metrics["clicks"][tv].to_numpy().sum() == sim.metrics["conversions"][tv].to_numpy().sum() == 0
    assert (sim.metrics["conversions"].drop(columns=tv).sum() > 0).all()
    assert (simulate(offline=[]).metrics["clicks"].sum() > 0).all()
    pd.testing.assert_frame_equal(sim.U, sim.metrics["impressions"])


def test_contributions_add_up():
    sim = simulate(TREES[3], periods=50)
    total = sim.truth.contributions.sum(axis=1)
    for level in sim.hierarchy.levels:
        assert list(sim.contributions(level).columns) == sim.hierarchy.names[level]
        np.testing.assert_allclose(sim.contributions(level).sum(axis=1), total)


def test_values_drawn_along_the_tree():
    rng = np.random.default_rng(0)
    stations, roadside = draw_along_tree(RAGGED, rng, centre=1.0, spread=1.0, step=0.0)[2:]
    assert stations == roadside
    draws = np.array([draw_along_tree(RAGGED, rng, centre=1.0, spread=1.0, step=0.5) for _ in range(4000)])
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.08)
    np.testing.assert_allclose(draws.var(axis=0), [1.5, 1.5, 1.25, 1.25], rtol=0.1)  # a pass-through takes no step
    assert np.corrcoef(draws.T)[0, 1] > 0.7 and abs(np.corrcoef(draws.T)[0, 2]) < 0.1


def test_every_known_control_moves():
    sim = simulate(periods=12, controls=list(CONTROLS), seed=9)
    assert (sim.Z.std() > 0).all()
    assert (np.sign(sim.truth.control_effect) == [np.sign(effect) for _, effect in CONTROLS.values()]).all()
    assert simulate(controls=[]).Z.shape == (156, 0)


@pytest.mark.parametrize(("options", "parts"), [
    (dict(periods=3), ["periods", "12", "3"]),
    (dict(periods=52.0), ["periods", "whole number", "52.0"]),
    (dict(seed=-1), ["seed", "-1"]),
    (dict(media_share=35), ["media_share", "between 0 and 1", "0.35"]),
    (dict(signal_to_noise=0), ["signal_to_noise", "between 0"]),
    (dict(signal_to_noise="3"), ["signal_to_noise", "'3'"]),
    (dict(signal_to_noise=float("nan")), ["signal_to_noise", "nan"]),
    (dict(saturation="michaelis"), ["'michaelis'", "Did you mean 'michaelis_menten'?"]),
    (dict(controls="price"), ["controls=['price']"]),
    (dict(controls=["price", "price"]), ["'price'", "more than once"]),
    (dict(controls=["tv_brand"]), ["'tv_brand'", "control", "node", "Rename"]),
    (dict(offline=["tvv"]), ["'tvv'", "Did you mean 'tv'?"]),
    (dict(hierarchy={"tv": ["a"]}), ["hierarchy", "build_hierarchy"]),
])
def test_bad_options_are_refused_by_name(options, parts):
    with pytest.raises(PrecisionError) as caught:
        simulate(**options)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def test_noise_remembers_and_has_tails_when_asked():
    residual = lambda **options: (lambda sim: ((sim.y - sim.truth.mean) / sim.truth.sigma).to_numpy())(simulate(periods=2000, **options))
    plain, wandering, heavy = residual(), residual(phi=0.8), residual(nu=3.0)
    lag = lambda r: np.corrcoef(r[1:], r[:-1])[0, 1]
    assert abs(lag(plain)) < 0.07 and abs(lag(wandering) - 0.8) < 0.05 and abs(lag(heavy)) < 0.07
    assert np.abs(plain).max() < 4.5 < np.abs(heavy).max() and 0.95 < plain.std() < 1.05
    for wrong in ({"nu": 2.0}, {"phi": 1.0}):
        with pytest.raises(PrecisionError, match="nu must be None"):
            simulate(**wrong)
