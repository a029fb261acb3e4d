"""The log density, written out with SciPy's distributions and none of the package's cleverness."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from precision.adstock import adstock_geometric_np
from precision.data import prepare
from precision.hierarchy import PrecisionError, build_hierarchy
from precision.posterior import OPTIONS, build_posterior, evaluate, make_target_log_prob_fn
from precision.priors import Priors

TREES = {
    1: (["a", "b", "c"], ["tactical"]),
    2: ({"x": ["a", "b"], "y": ["c"]}, ["tactical", "channel"]),
    3: ({"x": {"p": ["a", "b"], "q": ["c"]}, "y": ["d", "e"]}, ["tactical", "platform", "channel"]),  # y is ragged
    5: ({"e": {"g": {"x": {"p": ["a", "b"]}, "y": ["c"]}}, "f": {"h": {"z": {"r": ["d", "i"]}}}},
        ["tactical", "platform", "channel", "group", "country"]),
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


def pooled_by_hand(h, free, name, centre, sd, scale, stretch=1.0):
    values = centre + sd * free[f"{name}_{h.levels[-1]}"]
    for k in range(len(h.levels) - 2, -1, -1):
        real = 1 - np.asarray(h.pass_through[h.levels[k]], float)
        tau = scale * np.abs(free[f"{name}_spread"][k]) * (stretch if k == 0 else 1.0)
        values = values[h.parent_index(h.levels[k], h.levels[k + 1])] + tau * real * free[f"{name}_{h.levels[k]}"]
    return values


def decay_by_hand(h, free, option):
    """Decays, and the log prior that is not standard normal."""
    if option == "nested":
        return 0.99 / (1 + np.exp(-pooled_by_hand(h, free, "decay", -0.85, 1.0, 0.5))), 0.0
    delta = 0.99 / (1 + np.exp(-free["decay_logit"]))
    jacobian = np.log(delta * (1 - delta / 0.99)).sum()
    if option == "beta":
        return delta, (stats.beta(2, 5).logpdf(delta) - stats.beta(2, 5).logcdf(0.99)).sum() + jacobian
    life, law = np.log(2) / -np.log(delta), stats.lognorm(0.7, scale=2.0)
    to_decay = np.log(np.log(2) / (delta * np.log(delta) ** 2)).sum()  # |d half-life / d decay|
    return delta, (law.logpdf(life) - law.logcdf(np.log(2) / -np.log(0.99))).sum() + to_decay + jacobian


def ratio_by_hand(h, free, option, share):
    """omega / w, where the weights of a channel, proportional to w^alpha, add up to one."""
    alpha = {"exposure": lambda: 1.0, "equal": lambda: 0.0, "learnt": lambda: 1 / (1 + np.exp(-free["size_exponent"][0]))}[option]()
    M = h.matrix(h.levels[0], h.levels[-1])
    return share**alpha / (M @ (M.T @ share**alpha)) / share, stats.logistic.logpdf(free["size_exponent"][0]) if option == "learnt" else 0.0


def effect_by_hand(h, free, option, pooling):
    centre, scale = (np.log(0.8), 0.8) if option == "positive" else (0.0, 0.5)
    top, bottom, log_prior, stretch = h.levels[-1], h.levels[0], 0.0, 1.0
    if pooling == "channel":
        e = (centre + free[f"effect_{top}"])[h.parent_index(bottom, top)]
    elif pooling == "none":
        e = centre + free[f"effect_{bottom}"]
    else:
        if pooling == "sparse":
            t = np.tan(0.1 * np.pi / 2) / np.sqrt(3) * np.exp(free["effect_global"] + free["effect_local"])
            stretch = t / np.sqrt(1 + t**2)
            log_prior = stats.hypsecant.logpdf(np.concatenate([free["effect_global"], free["effect_local"]])).sum()
        e = pooled_by_hand(h, free, "effect", centre, 1.0, scale, stretch)
    return (np.exp(e) if option == "positive" else e), log_prior


def curve_by_hand(h, free, option, a):
    bottom = h.levels[0]
    if option == "none":
        return a
    centre = 0.0 if option == "logistic" else -0.5
    pooled = centre + free["saturation_centre"] + 0.5 * np.abs(free["saturation_spread"][0]) * free[f"saturation_{bottom}"]
    if option == "logistic":
        g = lambda v: (1 - np.exp(-np.exp(pooled) * v)) / (1 + np.exp(-np.exp(pooled) * v))
        return g(a) / g(1.0)
    power = a ** np.exp(np.log(1.2) + 0.3 * free["hill_slope"]) if option == "hill" else a
    s = 1 / (1 + np.exp(-pooled))
    return power / (1 - s + s * power)


def noise_by_hand(free, likelihood, residual, r, W):
    """Log likelihood, and the log prior that is not standard normal; W holds intercept and controls times their prior sds."""
    sigma, periods = np.exp(free["log_sigma"][0]), len(r)
    log_prior = stats.halfnorm.logpdf(sigma) + np.log(sigma)
    if (likelihood, residual) == ("normal", "iid"):
        return stats.multivariate_normal.logpdf(r, cov=W @ W.T + sigma**2 * np.eye(periods)), log_prior
    Q, d, _ = np.linalg.svd(W, full_matrices=False)
    precision = np.ones(len(d)) / sigma**2
    phi = np.tanh(0.5 * free["phi"][0]) if residual == "ar1" else 0.0
    precision *= 1 + phi**2 * (1 - Q[0] ** 2 - Q[-1] ** 2) - 2 * phi * (Q[1:] * Q[:-1]).sum(axis=0)
    law = stats.norm
    if likelihood == "student_t":
        nu = 10 * np.exp(free["log_nu"][0])
        law, precision = stats.t(nu), precision * (nu + 1) / (nu + 3)
        log_prior += stats.gamma(2, scale=10).logpdf(nu) + np.log(nu)
    q = 1 + d**2 * precision
    u = d * precision * (Q.T @ r) / q + free["baseline"] / np.sqrt(q)
    rest = (r - Q @ (d * u)) / sigma
    first = np.sqrt(1 - phi**2)
    density = law.logpdf(first * rest[0]) + np.log(first) + law.logpdf(rest[1:] - phi * rest[:-1]).sum() - periods * np.log(sigma)
    return density + stats.norm.logpdf(u).sum() - 0.5 * np.log(q).sum(), log_prior


NOT_NORMAL = ("log_sigma", "decay_logit", "effect_local", "effect_global", "log_nu", "baseline", "size_exponent")
DEFAULT = dict(effect="positive", pooling="nested", weights="exposure", decay="nested", saturation="michaelis_menten", likelihood="normal", residual="iid")


def log_density_by_hand(x, posterior, normalize=True, **options):
    chosen, data, h = DEFAULT | options, posterior.data, posterior.data.hierarchy
    free = dict(zip(posterior.sizes, np.split(x, np.cumsum(list(posterior.sizes.values()))[:-1])))
    log_prior = sum(stats.norm.logpdf(v).sum() for name, v in free.items() if name not in NOT_NORMAL)
    delta, of_decay = decay_by_hand(h, free, chosen["decay"])
    e, of_effect = effect_by_hand(h, free, chosen["effect"], chosen["pooling"])
    ratio, of_weights = ratio_by_hand(h, free, chosen["weights"], data.share)
    a = curve_by_hand(h, free, chosen["saturation"], adstock_geometric_np(data.x, delta, normalize)[-len(data.y):])
    W = np.column_stack([2.0 * np.ones(len(data.y)), data.Z_scaled])
    likelihood, of_noise = noise_by_hand(free, chosen["likelihood"], chosen["residual"], data.y_scaled - a @ (e * ratio * data.share), W)
    return log_prior + of_decay + of_effect + of_weights + of_noise + likelihood


def agrees_with_scipy(data, normalize=True, **options):
    posterior = build_posterior(data, normalize_adstock=normalize, **options)
    points = np.random.default_rng(0).normal(0, 0.7, size=(3, posterior.dimension))
    by_hand = [log_density_by_hand(x, posterior, normalize, **options) for x in points]
    np.testing.assert_allclose(make_target_log_prob_fn(posterior)(points), by_hand, rtol=2e-6)


@pytest.mark.parametrize("depth", TREES)
@pytest.mark.parametrize("effect, saturation, normalize",
                         list(itertools.product(["positive", "real"], ["none", "michaelis_menten"], [True, False])))
def test_log_density_equals_scipy(depth, effect, saturation, normalize):
    agrees_with_scipy(example(depth), normalize, effect=effect, saturation=saturation)


COMBINATIONS = [dict(zip(OPTIONS, names)) for names in itertools.product(*OPTIONS.values())]


@pytest.mark.parametrize("options", COMBINATIONS[::19] + COMBINATIONS[3::89], ids=lambda options: "-".join(options.values()))
def test_log_density_of_any_combination_equals_scipy(options):
    agrees_with_scipy(example(3 if options["decay"] != "beta" else 5), **options)


def test_every_combination_of_options_is_a_finite_density_with_a_finite_gradient():
    data = example(3)
    assert len(COMBINATIONS) == 2 * 4 * 3 * 3 * 4 * 2 * 2
    for options in COMBINATIONS[::11]:
        posterior = build_posterior(data, **options)
        target, x = make_target_log_prob_fn(posterior), tf.constant(np.random.default_rng(1).normal(0, 0.3, posterior.dimension))
        with tf.GradientTape() as tape:
            tape.watch(x)
            density = target(x)
        assert np.isfinite(density) and np.isfinite(tape.gradient(density, x)).all(), options


@pytest.mark.parametrize("depth", TREES)
@pytest.mark.parametrize("options", [{}, {"pooling": "sparse", "decay": "half_life", "weights": "learnt"}, {"likelihood": "student_t", "residual": "ar1"}], ids=str)
def test_draws_from_the_prior_follow_its_density(depth, options):
    """Were a draw's law not the density's, the mean of the density's ratio to a normal fitted to the draws would not be one."""
    posterior = build_posterior(example(depth), **options)
    rng = np.random.default_rng(0)
    for block in posterior.blocks:
        draws = block.draw(rng, 20_000, posterior.inputs)
        assert set(draws) == set(block.sizes()) and all(draws[name].shape == (20_000, n) for name, n in block.sizes().items())
    free = {name: v for block in posterior.blocks for name, v in block.draw(rng, 20_000, posterior.inputs).items()}
    for name in set(free) & {"log_sigma", "decay_logit", "effect_local", "log_nu", "size_exponent"}:
        column = free[name][:, 0]
        grid = np.linspace(*np.quantile(column, [0.0005, 0.9995]), 400)
        x = np.zeros((400, posterior.dimension))
        start = dict(zip(posterior.sizes, np.cumsum([0, *posterior.sizes.values()])))[name]
        x[:, start] = grid
        _, log_prior = evaluate(posterior.blocks, tf.constant(x), {k: tf.constant(v) for k, v in posterior.inputs.items()})
        density = np.exp(log_prior - log_prior.numpy().max())
        cumulative = np.cumsum(density) / density.sum()
        assert np.abs(np.interp(np.sort(column), grid, cumulative) - np.linspace(0, 1, len(column))).max() < 0.02, name


def test_history_feeds_the_carry_over():
    posterior = build_posterior(example(3, history=20))
    points = np.random.default_rng(0).normal(0, 0.7, size=(3, posterior.dimension))
    by_hand = [log_density_by_hand(x, posterior) for x in points]
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


def test_a_range_of_the_saturation_point_belongs_to_all_tacticals():
    with pytest.raises(PrecisionError, match="Priors.saturation_point. gives a node a range"):
        build_posterior(example(3), Priors(saturation_point={"x": (1, 4)})).inputs
