"""The No-U-Turn Sampler: known distributions come back, TensorFlow Probability's draws are matched, odd places are survived."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from precision.nuts import CHUNK, MAX_DEPTH, STATS, Place, energy, fresh_adaptation, leapfrog, run_chunk


def chain(log_density, size, chunks, step=0.1, warm=10, seed=0, scale=None, start=None, target=0.85, dtype=tf.float32):
    "(draws [S, size], stats {name: [S]}) of one chain; the step size is adapted in the first `warm` chunks."
    def density_and_gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            density = log_density(x)
        return density, tape.gradient(density, x)

    real = lambda value: tf.constant(value, dtype)
    program = tf.function(lambda *arguments: run_chunk(density_and_gradient, *arguments), jit_compile=True, autograph=False)
    rng, x = np.random.default_rng(seed), np.zeros(size) if start is None else np.asarray(start, float)
    adaptation, rows = real(fresh_adaptation(step)), []
    for number in range(warm + chunks):
        adaptation, told = program(real(np.tile(x, (CHUNK, 1))), tf.constant(CHUNK), tf.constant(False),
                                   real(np.ones(size) if scale is None else scale), adaptation, tf.constant(number < warm), real(target),
                                   real(rng.normal(size=(CHUNK, size))), real(rng.random((CHUNK, MAX_DEPTH, 3), dtype=np.float32)))
        if number == warm - 1:
            adaptation = tf.concat([adaptation[:4], adaptation[1:2]], axis=0)
        x = told[-1, :size].numpy()
        rows.append(told.numpy())
    rows = np.concatenate(rows[warm:])
    return rows[:, :size], dict(zip(STATS, rows[:, 2 * size:].T))


def correlated(size):
    covariance = 0.9 ** np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    precision = tf.constant(np.linalg.inv(covariance), tf.float32)
    return covariance, lambda x: -0.5 * tf.tensordot(x, tf.linalg.matvec(precision, x), 1)


def thinned(draws):
    return draws[::10]


def test_a_correlated_normal_comes_back():
    covariance, log_density = correlated(10)
    draws, told = chain(log_density, 10, 120)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.12)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), thinned(draws).T)
    assert all(stats.kstest(one, "norm").pvalue > 1e-3 for one in whitened)
    assert not told["diverging"].any() and not told["reached_max_treedepth"].any()
    assert 0.75 < told["acceptance_rate"].mean() < 0.95


def test_heavy_tails_and_bounded_sides_come_back():
    "A Student-t, the log of a gamma, and the log of a half-normal, which one step size has to serve."
    def log_density(x):
        return (-3 * tf.math.log1p(tf.square(x[0]) / 5) + 3 * x[1] - tf.exp(x[1]) + x[2] - 0.5 * tf.exp(2 * x[2]))

    draws, _ = chain(log_density, 3, 200, target=0.9)
    few = thinned(draws)
    assert stats.kstest(few[:, 0], stats.t(5).cdf).pvalue > 1e-3
    assert stats.kstest(np.exp(few[:, 1]), stats.gamma(3).cdf).pvalue > 1e-3
    assert stats.kstest(np.exp(few[:, 2]), stats.halfnorm.cdf).pvalue > 1e-3


def test_two_peaks_get_their_shares():
    "Within reach of one trajectory, peaks of weight 0.3 and 0.7."
    def log_density(x):
        return tf.reduce_logsumexp(tf.stack([np.log(0.3) - 2 * tf.square(x[0] + 1), np.log(0.7) - 2 * tf.square(x[0] - 1)]))

    draws, _ = chain(log_density, 1, 200)
    assert (draws[:, 0] > 0).mean() == pytest.approx(0.3 * stats.norm.sf(2) + 0.7 * stats.norm.cdf(2), abs=0.04)
    cdf = lambda v: 0.3 * stats.norm.cdf(v, -1, 0.5) + 0.7 * stats.norm.cdf(v, 1, 0.5)
    assert stats.kstest(thinned(draws)[:, 0], cdf).pvalue > 1e-3


def test_it_draws_what_tensorflow_probability_draws():
    "The same skewed density, the same step size: the two samplers agree, and their trajectories are about as long."
    def log_density(x):
        return -0.5 * (tf.square(x[..., 0]) + tf.square((x[..., 1] - tf.square(x[..., 0])) / 0.7)) - 0.5 * tf.square(x[..., 2] / 3)

    draws, told = chain(log_density, 3, 160, step=0.25, warm=0)

    @tf.function(jit_compile=True)
    def theirs():
        kernel = tfp.mcmc.NoUTurnSampler(log_density, 0.25)
        return tfp.mcmc.sample_chain(8000, tf.zeros(3), kernel=kernel, seed=(1, 2), num_burnin_steps=50,
                                     trace_fn=lambda _, results: results.leapfrogs_taken)

    their_draws, leapfrogs = (part.numpy() for part in theirs())
    for ours, other in zip(thinned(draws).T, thinned(their_draws).T):
        assert stats.ks_2samp(ours, other).pvalue > 1e-3
    assert told["n_steps"].mean() == pytest.approx(leapfrogs.mean(), rel=0.15)


def test_the_scale_changes_the_path_and_not_the_distribution():
    log_density = lambda x: -0.5 * tf.square(x[0] / 100) - 0.5 * tf.square(x[1] / 0.01)
    draws, told = chain(log_density, 2, 100, scale=np.array([100, 0.01]))
    assert stats.kstest(thinned(draws)[:, 0] / 100, "norm").pvalue > 1e-3
    assert stats.kstest(thinned(draws)[:, 1] / 0.01, "norm").pvalue > 1e-3
    assert told["n_steps"].mean() < 10


def test_a_wall_is_a_divergence_and_never_crossed():
    log_density = lambda x: tf.where(x[0] > 0, -x[0], np.nan)
    draws, told = chain(log_density, 1, 60, start=[1.0], step=0.3, warm=0)
    assert draws.min() > 0 and told["diverging"].mean() > 0.05 and np.isfinite(draws).all()
    assert stats.kstest(thinned(draws)[:, 0], "expon").pvalue > 1e-3


def test_a_tiny_step_stops_at_the_greatest_depth():
    draws, told = chain(lambda x: -0.5 * tf.reduce_sum(tf.square(x)), 2, 1, step=1e-4, warm=0)
    assert (told["n_steps"] == 2 ** MAX_DEPTH - 1).all() and told["reached_max_treedepth"].all()


def test_evaluation_gives_density_and_gradient_even_after_a_point_without():
    log_density = lambda x: (tf.math.log(x[0]) - tf.square(x[1]), tf.stack([1 / x[0], -2 * x[1]]))
    points = np.zeros((CHUNK, 2), np.float32)
    points[:3] = [[1.0, 2.0], [-1.0, 0.0], [0.5, -1.0]]
    told = run_chunk(log_density, tf.constant(points), tf.constant(3), tf.constant(True), tf.constant([2.0, 0.5]),
                     tf.constant(fresh_adaptation(0.1), tf.float32), tf.constant(False), tf.constant(0.8),
                     tf.zeros([CHUNK, 2]), tf.zeros([CHUNK, MAX_DEPTH, 3]))[1].numpy()[:3]
    np.testing.assert_allclose(told[:, :2], points[:3])
    np.testing.assert_allclose(told[[0, 2], 2:4], [[1.0, -4.0], [2.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(told[:, 4 + STATS.index("lp")], [-4.0, -np.inf, np.log(0.5) - 1], rtol=1e-6)


def test_a_leapfrog_can_be_undone_and_keeps_volume():
    log_density = lambda x: (-0.25 * tf.reduce_sum(x ** 4), -x ** 3)

    def step(flat, size=0.2):
        x, momentum = flat[:2], flat[2:]
        place = leapfrog(Place(x, log_density(x)[1], log_density(x)[0], momentum), size, log_density)
        return tf.concat([place.x, place.momentum], axis=0)

    start = tf.constant([0.3, -0.8, 1.1, 0.4], tf.float64)
    np.testing.assert_allclose(step(step(start), -0.2), start, rtol=1e-12)
    with tf.GradientTape() as tape:
        tape.watch(start)
        end = step(start)
    assert abs(np.linalg.det(tape.jacobian(end, start))) == pytest.approx(1.0)


def test_energy_is_kinetic_less_log_density():
    place = Place(tf.zeros(3), tf.zeros(3), tf.constant(-2.0), tf.constant([1.0, 2.0, 2.0]))
    assert float(energy(place)) == pytest.approx(4.5 + 2.0)
