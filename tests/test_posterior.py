"""The log density, written out with SciPy's distributions and none of the package's cleverness."""

import itertools

import numpy as np
import pytest
from scipy import stats

from precision.adstock import adstock_geometric_np
from precision.data import prepare
from precision.hierarchy import PrecisionError, build_hierarchy
from precision.blocks import Priors
from precision.posterior import build_posterior, evaluate, make_target_log_prob_fn

TREES = {
    1: (["a", "b", "c"], ["tactical"]),
    2: ({"x": ["a", "b"], "y": ["c"]}, ["tactical", "channel"]),
    3: ({"x": {"p": ["a", "b"], "q": ["c"]}, "y": ["d", "e"]}, ["tactical", "platform", "channel"]),  # y is ragged
    4: ({"g": {"x": {"p": ["a", "b"]}, "y": {"q": ["c"]}}, "h": {"z": {"r": ["d"]}}},
        ["tactical", "platform", "channel", "group"]),
}


def example(depth, periods=40, history=None):
    tree, levels = TREES[depth]
    h = build_hierarchy(tree, levels)
    rng = np.random.default_rng(depth)
    U = rng.gamma(2.0, 3.0, size=(periods, h.num_tacticals))
    Z = rng.normal(size=(periods, 2))
    before = None if history is None else rng.gamma(2.0, 3.0, size=(history, h.num_tacticals))
    return prepare(h, 100 + rng.normal(size=periods) + U.sum(axis=1) / 9, U, Z, U_history=before)


def pooled_by_hand(h, free, name, centre, sd, scale):
    values = centre + sd * free[f"{name}_{h.levels[-1]}"]
    for k in range(len(h.levels) - 2, -1, -1):
        real = 1 - np.asarray(h.pass_through[h.levels[k]], float)
        tau = scale * np.abs(free[f"{name}_spread"][k])
        values = values[h.parent_index(h.levels[k], h.levels[k + 1])] + tau * real * free[f"{name}_{h.levels[k]}"]
    return values


def log_density_by_hand(x, posterior, effect, saturation, normalize):
    data, h = posterior.data, posterior.data.hierarchy
    free = dict(zip(posterior.sizes, np.split(x, np.cumsum(list(posterior.sizes.values()))[:-1])))
    log_prior = sum(stats.norm.logpdf(v).sum() for name, v in free.items() if name != "log_sigma")
    sigma = np.exp(free["log_sigma"][0])
    log_prior += stats.halfnorm.logpdf(sigma) + np.log(sigma)

    delta = 0.99 / (1 + np.exp(-pooled_by_hand(h, free, "decay", -0.85, 1.0, 0.5)))
    if effect == "positive":
        e = np.exp(pooled_by_hand(h, free, "effect", np.log(0.8), 1.0, 0.8))
    else:
        e = pooled_by_hand(h, free, "effect", 0.0, 1.0, 0.5)
    a = adstock_geometric_np(data.x, delta, normalize)[-len(data.y):]
    if saturation == "michaelis_menten":
        tau = 0.5 * np.abs(free["saturation_spread"][0])
        logit = -0.5 + free["saturation_centre"] + tau * free[f"saturation_{h.levels[0]}"]
        s = 1 / (1 + np.exp(-logit))
        a = a / (1 - s + s * a)
    W = np.column_stack([2.0 * np.ones(len(data.y)), data.Z_scaled])
    covariance = W @ W.T + sigma**2 * np.eye(len(data.y))
    return log_prior + stats.multivariate_normal.logpdf(data.y_scaled - a @ (e * data.share), cov=covariance)


@pytest.mark.parametrize("depth", TREES)
@pytest.mark.parametrize("effect, saturation, normalize",
                         list(itertools.product(["positive", "real"], ["none", "michaelis_menten"], [True, False])))
def test_log_density_equals_scipy(depth, effect, saturation, normalize):
    posterior = build_posterior(example(depth), effect=effect, saturation=saturation, normalize_adstock=normalize)
    points = np.random.default_rng(0).normal(0, 0.7, size=(4, posterior.dimension))
    by_hand = [log_density_by_hand(x, posterior, effect, saturation, normalize) for x in points]
    np.testing.assert_allclose(make_target_log_prob_fn(posterior)(points), by_hand, rtol=1e-6)


def test_history_feeds_the_carry_over():
    posterior = build_posterior(example(3, history=20))
    points = np.random.default_rng(0).normal(0, 0.7, size=(3, posterior.dimension))
    by_hand = [log_density_by_hand(x, posterior, "positive", "michaelis_menten", True) for x in points]
    np.testing.assert_allclose(make_target_log_prob_fn(posterior)(points), by_hand, rtol=1e-6)
    cold = make_target_log_prob_fn(build_posterior(example(3)))(points)
    assert np.abs(cold - by_hand).max() > 0.1


def test_control_priors_go_by_name():
    data = example(2)
    tight = build_posterior(data, Priors(control_sd={"control_1": 1e-9}))
    x = np.zeros(tight.dimension)
    narrow = make_target_log_prob_fn(tight)(x)
    without = prepare(data.hierarchy, data.y, data.U, data.Z[:, :1])
    np.testing.assert_allclose(narrow, make_target_log_prob_fn(build_posterior(without))(x), rtol=1e-9)
    with pytest.raises(PrecisionError, match="Did you mean 'control_1'"):
        build_posterior(data, Priors(control_sd={"controll_1": 1.0})).inputs


@pytest.mark.parametrize("option", ["effect", "pooling", "decay", "saturation", "likelihood", "residual"])
def test_an_unknown_option_names_the_known_ones(option):
    with pytest.raises(PrecisionError, match=f"{option}='wrong' is not known.*Choose from"):
        build_posterior(example(2), **{option: "wrong"})


def test_splitting_a_tactical_leaves_the_channel_prior_alone():
    """The channel's total effect, the sum of e_i w_i, has the same prior mean however finely its exposure is split."""
    U, y = np.random.default_rng(0).gamma(2.0, 3.0, size=(30, 2)), np.random.default_rng(1).normal(size=30)
    halves = np.column_stack([U[:, 0] / 2, U[:, 0] / 2, U[:, 1]])
    means = []
    for names, exposure in ((["a", "b"], U), (["a1", "a2", "b"], halves)):
        data = prepare(build_hierarchy({"x": names}, ["tactical", "channel"]), y, exposure)
        posterior = build_posterior(data, Priors(effect_spread=0.3))
        x = np.random.default_rng(2).normal(size=(60_000, posterior.dimension))
        state, _ = evaluate(posterior.blocks[:2], x[:, :sum(n for b in posterior.blocks[:2] for n in b.sizes().values())],
                            posterior.inputs)
        means.append((state["efficiency"].numpy() @ data.share).mean())
    assert np.isclose(*means, rtol=0.03)
