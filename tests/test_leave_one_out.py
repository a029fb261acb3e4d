"""A period is left out of the likelihood and of nothing else, and exact densities stand where PSIS fails."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import stats

from precision.blocks import baseline_design
from precision.data import prepare
from precision.draws import elpd_of
from precision.hierarchy import build_hierarchy
from precision.leave_one_out import without
from precision.model import MMM
from precision.posterior import build_posterior, evaluate, make_target_log_prob_fn
from precision.priors import Priors

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
T, LOST = 30, 11
TIME = pd.date_range("2024-01-01", periods=T, freq="W-MON")
H = build_hierarchy({"x": ["a", "b"], "y": ["c"]}, ["tactical", "channel"])


def tables(seed=0, shock=0.0):
    rng = np.random.default_rng(seed)
    U = pd.DataFrame(rng.gamma(1.0, [30, 60, 20], (T, 3)), TIME, list("abc"))
    Z = pd.DataFrame({"price": rng.normal(5, 1, T)}, TIME)
    y = 500 + U @ [0.4, 0.2, 0.9] - 8 * Z.price + rng.normal(0, 10, T)
    y.iloc[LOST] += shock
    return y, U, Z


@pytest.mark.parametrize("saturation", ["none", "michaelis_menten"])
def test_a_period_that_is_left_out_has_no_say_whatever_its_outcome(saturation):
    data = prepare(H, *tables())
    data = replace(data, scale=(data.y_mean, data.y_sd, data.level))
    posteriors = [build_posterior(d, saturation=saturation) for d in (data, replace(data, y=np.where(np.arange(T) == LOST, 9e3, data.y)))]
    points = np.random.default_rng(1).normal(0, 0.4, size=(5, posteriors[0].dimension))
    whole = [make_target_log_prob_fn(posterior)(points) for posterior in posteriors]
    blind = [make_target_log_prob_fn(without(posterior, LOST))(points) for posterior in posteriors]
    np.testing.assert_allclose(*blind, rtol=1e-12)
    assert not np.isclose(*whole).any()


def test_the_marginal_density_without_a_period_is_that_of_the_others():
    y, U, Z = tables()
    data = prepare(H, y, U, Z)
    noise = without(build_posterior(data), LOST).blocks[3]
    others, sigma = np.arange(T) != LOST, 0.4
    media = np.random.default_rng(2).normal(0, 0.3, T)
    inputs = noise.inputs(replace(data, left_out=(LOST,)), Priors())
    state = {"media": media[None], "sigma": np.array([sigma])}
    W = np.column_stack([np.ones(T), data.Z_scaled]) * baseline_design(data, Priors())[3]
    expected = stats.multivariate_normal(cov=(W @ W.T + sigma**2 * np.eye(T))[np.ix_(others, others)]).logpdf((data.y_scaled - media)[others])
    assert np.isclose(noise.log_likelihood(inputs, state)[0], expected)


@pytest.mark.parametrize("options", [{"likelihood": "student_t"}, {"residual": "ar1"}, {"likelihood": "student_t", "residual": "ar1"}], ids=str)
@pytest.mark.parametrize("lost", [0, LOST])
def test_sampled_noise_without_a_period_lacks_exactly_its_factor(options, lost):
    data = prepare(H, *tables())
    posterior = build_posterior(data, **options)
    blind, noise = without(posterior, lost), posterior.blocks[3]
    x = np.random.default_rng(3).normal(0, 0.3, size=(4, posterior.dimension))
    missing = make_target_log_prob_fn(posterior)(x) - make_target_log_prob_fn(blind)(x)
    inputs = {k: tf.constant(v) for k, v in posterior.inputs.items()}
    state, _ = evaluate(posterior.blocks, tf.constant(x), inputs)
    posterior.blocks[2].log_likelihood(inputs, state)  # adds the media
    u, _ = noise.place((inputs["y"] - state["media"]) @ tf.transpose(inputs["Q"]), tf.sqrt(inputs["d2"]), noise.precision(inputs, state), state["baseline"])
    r = (inputs["y"] - state["media"] - (u * tf.sqrt(inputs["d2"])) @ inputs["Q"]).numpy()
    values = {name: state[name].numpy() for name in ("sigma", "nu", "phi") if name in state}
    np.testing.assert_allclose(missing, noise.pointwise(r, values)[:, lost], rtol=1e-9)


def test_exact_densities_replace_those_that_psis_cannot_give_and_no_others():
    y, U, Z = tables(shock=300.0)
    fit = MMM(H).fit(y, U, Z, chains=2, warmup=200, draws=200, progress=False)
    psis, exact = elpd_of(fit.loo()), elpd_of(fit.loo(exact=True))
    high = psis["pareto_k"] > 0.7
    assert high[LOST] and (exact["pareto_k"][high] == 0).all() and (exact["pareto_k"][~high] == psis["pareto_k"][~high]).all()
    np.testing.assert_array_equal(exact["pointwise"][~high], psis["pointwise"][~high])
    assert exact["pointwise"][LOST] < psis["pointwise"][LOST] - 5  # nobody foresees a shock, and PSIS has seen it
    assert exact["elpd"] == pytest.approx(exact["pointwise"].sum()) and fit.loo(exact=True) is fit.loo(exact=True)
    assert elpd_of(fit.loo())["elpd"] == psis["elpd"]  # the estimate itself is left alone
