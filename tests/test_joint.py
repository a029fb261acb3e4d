"""The joint distribution on one page is the oracle of the sampler's density, for combinations of all options."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from test_posterior import total_world

from precision.blocks import baseline_design
from precision.experiments import CostTarget, LiftTest, members
from precision.joint import observed, statement
from precision.natural import plain
from precision.posterior import OPTIONS, build_posterior, evaluate, make_target_log_prob_fn
from precision.priors import Priors

DEFAULT = dict(effect="positive", pooling="nested", weights="learnt", decay="nested", saturation="michaelis_menten", likelihood="normal",
               residual="iid", measure="total", past="learnt")


def natural_of(posterior, x):
    "{name: natural parameters [S, size]} for which flat vectors [S, dimension] stand."
    inputs = {name: tf.constant(value) for name, value in posterior.inputs.items()}
    state, _ = evaluate(posterior.blocks, x, inputs)
    free = dict(zip(posterior.sizes, tf.split(x, list(posterior.sizes.values()), axis=-1)))
    found = {name: state[name] for name in ("size_exponent", "past", "hill_slope", "sigma", "nu", "phi") if name in state}
    if "decay_logit" in free:
        found |= {"decay": state["rate"], "half_life": -np.log(2) / tf.math.log(state["rate"])}
    for block in posterior.blocks:
        if not hasattr(block, "part"):
            continue
        name, tree = block.part.name, block.part.tree
        steps, pooled, widths = state[name].steps, state[name].pooled, np.split(posterior.inputs[f"{name}_prior"][1], np.cumsum(tree.sizes)[:-1])
        for k, level in enumerate(plain(tree.levels)):
            of_law = [place.index for place in block.part.laws if place.level == k]
            real = (widths[k] > 0) & ~np.isin(np.arange(len(widths[k])), of_law)
            if real.any():
                found[f"{name}_{level}"] = tf.boolean_mask(steps.means[k] + steps.spreads[k] * pooled.deviations[k], real, axis=1)
        for j, place in enumerate(block.part.laws):
            z = pooled.deviations[place.level][..., place.index]
            found[f"{place.field}_{j}"] = place.stated.place(z, inputs[f"{name}_law_{j}"][1:])[0]
        found |= {f"{name}_spread": tf.abs(free[f"{name}_spread"])} if tree.parents else {}
        found |= {f"{name}_{of}": tf.exp(free[f"{name}_{of}"]) for of in ("local", "global") if f"{name}_{of}" in free}
    if "baseline" in free:
        noise = posterior.blocks[3]
        for block in posterior.blocks:
            block.log_likelihood(inputs, state)
        _, d, V, sds = baseline_design(posterior.data, posterior.priors)
        left = tf.einsum("...t,kt->...k", inputs["y"] - state["media"], inputs["Q"])
        u, _ = noise.place(left, d, noise.precision(inputs, state), free["baseline"])
        found |= coefficients(posterior.data, sds * tf.linalg.matvec(V, u))
    return found


def coefficients(data, values):
    ends = np.cumsum([0, 1, len(data.controls), len(values) - 1 - len(data.controls)])
    names = ("intercept", "control_effect", "baseline_effect")
    return {name: values[..., a:b] for name, a, b in zip(names, ends, ends[1:]) if b > a}


def of_the_conditional(posterior, mean_media, sigma, rng):
    "Coefficients of the baseline, and their log density given everything else: the baseline is integrated out of the sampler's density."
    data = posterior.data
    Q, d, V, sds = baseline_design(data, posterior.priors)
    X = (Q * d) @ V.T / sds
    precision = X.T @ X / sigma ** 2 + np.diag(sds ** -2.0)
    law = stats.multivariate_normal(np.linalg.solve(precision, X.T @ (data.y_scaled - mean_media)) / sigma ** 2, np.linalg.inv(precision))
    values = law.rvs(random_state=rng)
    return coefficients(data, values), law.logpdf(values)


def agree(data, priors=Priors(), experiments=(), points=2, **options):
    chosen = DEFAULT | {"past": data.past} | options  # and normalize_adstock
    posterior = build_posterior(data, priors, experiments, **chosen)
    joint = statement(posterior, chosen, experiments).distribution()
    names, rng = joint.dtype._fields, np.random.default_rng(0)
    for point in rng.normal(0, 0.5, size=(points, posterior.dimension)):
        apart = 1e-5 * np.eye(posterior.dimension)
        around = {name: value.numpy() for name, value in natural_of(posterior, tf.constant(np.concatenate([[point], point + apart, point - apart]))).items() if name in names}
        flat = np.concatenate([value.reshape(len(value), -1) for value in around.values()], axis=1)
        ahead, behind = np.split(flat[1:], 2)
        jacobian = (ahead - behind).T / 2e-5
        used = np.abs(jacobian).sum(axis=0) > 0  # a pass-through node has a coordinate and no parameter
        expected = np.linalg.slogdet(jacobian[:, used])[1] + stats.norm.logpdf(point[~used]).sum()
        natural = {name: value[0] for name, value in around.items()}
        expected -= np.log(2) * sum(len(value) for name, value in natural.items() if name.endswith("_spread"))  # folded
        values = natural | observed(data, experiments)
        if "intercept" not in natural:
            inputs = {name: tf.constant(value) for name, value in posterior.inputs.items()}
            state, _ = evaluate(posterior.blocks, tf.constant(point), inputs)
            for block in posterior.blocks:
                block.log_likelihood(inputs, state)
            found, log_density = of_the_conditional(posterior, state["media"].numpy(), state["sigma"].numpy(), rng)
            values, expected = values | found, expected - log_density
        assert set(values) == set(names)
        units = len(data.y) * np.log(data.y_sd) + sum(
            np.log(data.y_sd) if isinstance(one, LiftTest) else np.log(data.spend[:, members(one.node, data.hierarchy)].sum() / data.y_sd)
            for one in experiments)
        # on the page outcome, lifts and costs are in the user's units
        expected += joint.log_prob(**values).numpy() + units
        np.testing.assert_allclose(make_target_log_prob_fn(posterior)(point), expected, rtol=3e-6, atol=1e-5)


COMBINATIONS = [dict(zip(OPTIONS, names)) for names in itertools.product(*OPTIONS.values())]
NEAR = [DEFAULT | {option: name} for option, names in OPTIONS.items() for name in names if name != DEFAULT[option]]
SOME = [DEFAULT, *NEAR, *COMBINATIONS[::127]]


@pytest.mark.parametrize("options", SOME, ids=lambda options: "-".join(options.values()))
def test_it_is_the_density_of_the_sampler(options):
    agree(total_world(3, spend=True, moving=options["likelihood"] == "normal", past=options["past"]), **options)


@pytest.mark.parametrize("depth", [1, 2, 4, 5])
def test_any_depth(depth):
    agree(total_world(depth))
    agree(total_world(depth), measure="efficiency", likelihood="student_t", saturation="none")


LIFT, OTHER = LiftTest("x", 8, 14, change=-0.5, lift=-6.0, se=2.0, until=18), LiftTest("d", 20, 24, added=2.0, lift=3.0, se=1.0)
COST = CostTarget("q", cost=4.0, se=1.5)


@pytest.mark.parametrize("measure", ["total", "efficiency"])
@pytest.mark.parametrize("options", [{}, {"saturation": "hill", "likelihood": "student_t", "residual": "ar1"}, {"saturation": "none", "past": "steady"}],
                         ids=["default", "rough", "linear"])
def test_with_experiments(measure, options):
    agree(total_world(3, spend=True, past=options.get("past", "learnt")), experiments=(LIFT, COST, OTHER), measure=measure, **options)


@pytest.mark.parametrize("effect", ["positive", "real"])
@pytest.mark.parametrize("pooling", ["nested", "none"])
def test_with_stated_nodes_lines_that_never_ran_and_a_history(effect, pooling):
    priors = Priors(roi={"x": (0.5, 2.0)}, share={"d": 0.02}, media_share=(0.1, 0.4), decay_spread=0.3, half_life={"y": (1.0, 4.0)}, control_sd=0.5)
    agree(total_world(3, spend=True, history=9, idle=("b",), moving=True), priors, effect=effect, pooling=pooling)


def test_without_normalised_weights_and_of_an_outcome_with_two_signs():
    agree(total_world(3, signed=True, moving=True), normalize_adstock=False, effect="real")
