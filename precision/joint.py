import re
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from precision.adstock import MAX_DECAY, half_life
from precision.blocks import baseline_design
from precision.data import Dataset
from precision.experiments import CostTarget, LiftTest, changed, members, window
from precision.hierarchy import PrecisionError, choose, nearest
from precision.media import PAST_SD
from precision.pooling import Pooled, Steps, of_parent
from precision.posterior import Posterior, build_posterior
from precision.priors import Priors
from precision.totals import divide, expected_products, expected_shares

tfd, tfb = tfp.distributions, tfp.bijectors
Root = tfd.JointDistributionCoroutine.Root


def given(name: str, law):
    "A vector of independent values, by its last axis, under this name."
    return tfd.Independent(law, 1, name=name)


def known(name: str, law):
    "The same, where the law depends on no other parameter."
    return Root(given(name, law))

def deviations(
    name: str,     # of what is pooled
    tree,          # its `Tree`
    prior,         # [2, all nodes]: means and widths, level by level, bottom up
    sparsity=None, # of the last step; None: it is as the others
):                 # [..., size] of each level, bottom up
    "How far every node lies from its parent; at the top, and where it stands alone, from nothing."
    means, widths = (np.split(row, np.cumsum(tree.sizes)[:-1]) for row in np.asarray(prior))
    names = [f"{name}_{level}" for level in plain(tree.levels)]
    found = [(yield known(names[-1], tfd.Normal(means[-1], widths[-1])))]
    spread = (yield known(f"{name}_spread", tfd.HalfNormal(np.ones(len(tree.parents))))) if tree.parents else None
    for k in reversed(range(len(tree.parents))):
        tau = spread[..., k, None]
        if sparsity is not None and k == 0:
            tau = tau * (yield from horseshoe(name, tree.sizes[0], sparsity))
        width = tf.where(np.array(tree.parents[k]) >= 0, tau * widths[k], tf.ones_like(tau) * widths[k])
        found.append((yield from real_nodes(names[k], means[k], width, widths[k] > 0)))
    return tuple(found[::-1])


def plain(levels) -> list:
    "Names of levels, of letters that TensorFlow takes; where that makes two alike, their numbers."
    names = [re.sub(r"[^A-Za-z0-9_]", "_", level) for level in levels]
    return names if len(set(names)) == len(names) else [f"level{k}" for k in range(len(names))]


def real_nodes(name, mean, width, real):
    "Deviations of the nodes that have one, [size]; of the others what is expected."
    if not real.any():
        return tf.zeros_like(width) + mean
    at = np.flatnonzero(real)
    d = yield given(name, tfd.Normal(mean[at], tf.gather(width, at, axis=-1)))
    return tf.where(real, tf.gather(d, np.maximum(np.cumsum(real) - 1, 0), axis=-1), mean)


def horseshoe(name, size, sparsity):
    "How much of its spread each node takes, in (0, 1)."
    overall = yield known(f"{name}_global", tfd.HalfCauchy(np.zeros(1), 1.0))
    t = sparsity * overall * (yield known(f"{name}_local", tfd.HalfCauchy(np.zeros(size), 1.0)))
    return t / tf.sqrt(1 + t ** 2)


def pooled(tree, steps):
    "Values of every level from deviations, bottom up: the parent's, plus the node's own."
    values = [steps[-1]]
    for k in reversed(range(len(tree.parents))):
        values.append(of_parent(tree, k, values[-1]) + steps[k])
    return tuple(values[::-1])

class Quantile(tfb.Bijector):
    "From a chance to the value of a law."

    def __init__(self, law):
        super().__init__(forward_min_event_ndims=0, dtype=law.dtype, name="quantile")
        self.law = law

    def _forward(self, chance):
        return self.law.quantile(chance)

    def _inverse(self, value):
        return self.law.cdf(value)

    def _inverse_log_det_jacobian(self, value):
        return self.law.log_prob(value)


def below(
    limit: float,
    law,  # a distribution of numbers with quantiles
):
    "The law, cut off at a limit."
    chance = law.cdf(tf.constant(limit, law.dtype))
    return tfd.TransformedDistribution(tfd.Uniform(tf.zeros_like(chance), chance), Quantile(law))

def nested_decay(m):
    tree = m.block("decay").tree
    steps = yield from deviations("decay", tree, m.inputs["decay_prior"])
    return MAX_DECAY * tf.sigmoid(pooled(tree, steps)[0])


def beta_decay(m):
    alpha, beta, _ = m.inputs["decay_prior"]
    return (yield known("decay", below(MAX_DECAY, tfd.Beta(alpha, beta))))


def half_life_decay(m):
    centre, sd, _ = m.inputs["decay_prior"]
    life = yield known("half_life", below(float(half_life(MAX_DECAY)), tfd.LogNormal(centre, sd)))
    return 2 ** (-1 / life)


DECAY = {"nested": nested_decay, "beta": beta_decay, "half_life": half_life_decay}

def always(value):
    "A line of the model that holds no parameter."
    def line(m):
        yield from ()
        return np.float64(value)
    return line


def learnt_past(m):
    return (yield Root(tfd.LogitNormal(np.float64(0), PAST_SD, name="past")))


PAST = {"learnt": learnt_past, "steady": always(1), "nothing": always(0)}


def adstock(
    x,      # exposure [H + T, N], the periods of the history first
    decay,  # [..., N]
    before, # [..., N]: exposure of every period before
):          # [..., H + T, N]
    "Geometric carry-over by its recursion; weights add up to one."
    carried = before + tf.zeros_like(decay)
    a = tf.scan(lambda carried, exposure: decay * carried + (1 - decay) * exposure, tf.convert_to_tensor(x), carried)
    return tf.experimental.numpy.moveaxis(a, 0, -2)

def straight(m):
    yield from ()
    return {}


def level_of_curve(m):
    media = m.block("media")
    steps = yield from deviations("saturation", media.part.tree, m.inputs["saturation_prior"])
    return {media.pooled: media.link(pooled(media.part.tree, steps)[0])}


def level_and_slope(m):
    centre, sd = m.inputs["slope_prior"]
    slope = yield known("hill_slope", tfd.LogNormal(centre, sd))
    return {"hill_slope": slope} | (yield from level_of_curve(m))


CURVE = {"none": straight, "michaelis_menten": level_of_curve, "hill": level_and_slope, "logistic": level_of_curve}

def learnt_exponent(m):
    return (yield Root(tfd.Uniform(np.float64(0), 1, name="size_exponent")))


EXPONENT = {"learnt": learnt_exponent, "exposure": always(1), "equal": always(0)}


def totals(m, exponent):
    "{total: what every line brings in an average period [..., N]}, in sd of y."
    block, inputs, state = m.block("effect"), m.inputs, {"size_exponent": exponent}
    d = yield from deviations("effect", block.part.tree, inputs["effect_prior"], inputs.get("sparsity"))
    shares = expected_shares(block, inputs, state)
    T = divide(block, shares, inputs, (Pooled(d, d, 0.0), Steps(None, (1.0,) * len(d))))
    T, log_product = block.to_lines(T, expected_products(block, shares)[0], inputs, state)
    return {"total": inputs["outcome_level"] * inputs["active"] * tf.exp(log_product) * block.link(T)}


def efficiencies(m, exponent):
    "{size: what an ordinary period of every line brings [..., N]}, in sd of y."
    block, inputs = m.block("effect"), m.inputs
    d = yield from deviations("effect", block.part.tree, inputs["effect_prior"], inputs.get("sparsity"))
    value = block.to_tacticals(block.link(pooled(block.part.tree, d)[0]))
    return {"size": value * tf.exp(block.weights.log_ratio(inputs, {"size_exponent": exponent})) * inputs["share"]}


EFFECT = {"total": totals, "efficiency": efficiencies}

def response(m, x, made):
    "f(a) of every line in the periods of the data, [..., T, N], under exposures x [H + T, N]."
    decay, media = made["decay"], m.block("media")
    a = adstock(x, decay, made["past"][..., None] * m.data.before)[..., -len(m.data.y):, :]
    a = a if media.normalize else a / (1 - decay[..., None, :])
    a = tf.maximum(a, 1e-6) if "hill_slope" in made else a  # a power has no slope at zero
    return media.curve.curve(a, {name: made[name][..., None, :] for name in media.curve.parameters}, tf.math)


def contributions(m, made):
    "(size of every line [..., N], contributions [..., T, N], the media term of the mean [..., T]), in sd of y."
    f = response(m, m.data.x, made)
    size = made["size"] if "size" in made else made["total"] / tf.where(m.data.active, tf.reduce_mean(f, axis=-2), 1.0)
    c = size[..., None, :] * f
    media = tf.reduce_sum(c, axis=-1)
    return size, c, media if "size" in made else media - tf.reduce_sum(made["total"], axis=-1)[..., None]

def baseline(m):
    "Intercept, controls, season and level together, [..., T], and the coefficients by name."
    (_, _, _, sds), data = baseline_design(m.data, m.priors), m.data
    moving = [(made.frame - made.frame.mean()).to_numpy() for _, made in data.moving]
    columns = {"intercept": np.ones((len(data.y), 1)), "control_effect": data.Z_scaled, "baseline_effect": np.column_stack([data.y[:, None][:, :0], *moving])}
    term, coefficients, ends = 0.0, {}, np.cumsum([0, *(table.shape[1] for table in columns.values())])
    for (name, table), first, last in zip(columns.items(), ends, ends[1:]):
        width, taken = sds[first:last], sds[first:last] > 0
        if taken.any():
            coefficients[name] = yield known(name, tfd.Normal(np.zeros(taken.sum()), width[taken]))
            term += tf.linalg.matvec(table[:, taken], coefficients[name])
    return term, coefficients


class Remember(tfb.Bijector):
    "From innovations [..., T] to residuals: phi of each is still there one period later."

    def __init__(self, phi):
        super().__init__(forward_min_event_ndims=1, dtype=phi.dtype, name="remember")
        self.phi = phi

    def _forward(self, u):
        phi, u = self.phi[..., None], tf.concat([u[..., :1] / self._first(), u[..., 1:]], axis=-1)
        r = tf.scan(lambda last, new: phi[..., 0] * last + new, tf.experimental.numpy.moveaxis(u, -1, 0))
        return tf.experimental.numpy.moveaxis(r, 0, -1)

    def _inverse(self, r):
        return tf.concat([self._first() * r[..., :1], r[..., 1:] - self.phi[..., None] * r[..., :-1]], axis=-1)

    def _inverse_log_det_jacobian(self, r):
        return tf.math.log(self._first())[..., 0]

    def _first(self):
        return tf.sqrt(1 - self.phi ** 2)[..., None]


def normal_errors(m, sigma):
    yield from ()
    return {}, lambda mean: tfd.Normal(mean, sigma[..., None])


def student_errors(m, sigma):
    shape, rate = m.inputs["nu_prior"]
    nu = yield Root(tfd.Gamma(shape, rate, name="nu"))
    return {"nu": nu}, lambda mean: tfd.StudentT(nu[..., None], mean, sigma[..., None])


def forgetful(m, errors):
    yield from ()
    return {}, lambda mean: given("y", errors(mean))


def with_memory(m, errors):
    v = tfd.Normal(np.float64(0), m.inputs["phi_sd"])
    phi = yield Root(tfd.TransformedDistribution(v, tfb.Tanh(), name="phi"))
    around = lambda mean: tfb.Shift(mean)(Remember(phi))
    return {"phi": phi}, lambda mean: tfd.TransformedDistribution(given("innovations", errors(tf.zeros_like(mean))), around(mean), name="y")


ERRORS, RESIDUAL = {"normal": normal_errors, "student_t": student_errors}, {"iid": forgetful, "ar1": with_memory}

def outcome(m, mean):
    "Draws y [..., T] around its mean [..., T], which is in sd of y; returns the parameters of the noise."
    sigma = yield Root(tfd.HalfNormal(np.float64(m.inputs["noise_scale"]), name="sigma"))
    of_errors, errors = yield from m.lines["likelihood"](m, m.data.y_sd * sigma)
    of_residual, law = yield from m.lines["residual"](m, errors)
    yield law(m.data.y_mean + m.data.y_sd * mean)
    return {"sigma": sigma} | of_errors | of_residual

def measured(m, made, size, c):
    "Draws the lifts and the costs that were measured."
    if tests := [one for one in m.experiments if isinstance(one, LiftTest)]:
        lifts = tf.stack([lift(m, test, made, size, c) for test in tests], axis=-1)
        yield given("lift", tfd.Normal(lifts, np.array([test.se for test in tests], float)))
    if targets := [one for one in m.experiments if isinstance(one, CostTarget)]:
        costs = tf.stack([cost(m, target, c) for target in targets], axis=-1)
        yield given("cost", tfd.Normal(costs, np.array([target.se for target in targets], float)))


def lift(m, test, made, size, c):
    "What the model says of a lift test, [...], in units of y."
    first, _, until = window(test, m.data)
    own = np.isin(np.arange(len(m.data.active)), members(test.node, m.data.hierarchy))
    more = size[..., None, :] * response(m, changed(test, m.data), made) - c
    return m.data.y_sd * tf.reduce_sum(tf.boolean_mask(more[..., first:until + 1, :], own, axis=len(more.shape) - 1), axis=[-2, -1])


def cost(m, target, c):
    "Spend over contribution of a node, [...]; organic lines have no cost."
    own = members(target.node, m.data.hierarchy)
    paid = own[m.data.spend[:, own].sum(axis=0) > 0]
    return m.data.spend[:, own].sum() / (m.data.y_sd * tf.reduce_sum(tf.gather(c, paid, axis=-1), axis=[-2, -1]))

LINES = {"decay": DECAY, "past": PAST, "saturation": CURVE, "weights": EXPONENT, "measure": EFFECT, "likelihood": ERRORS, "residual": RESIDUAL}


@dataclass(frozen=True, eq=False)
class Statement:
    "The model of some data, line by line."
    posterior: Posterior  # whose data, priors and arrays it reads
    experiments: tuple    # of `LiftTest` and `CostTarget`
    lines: dict           # {name: generator function}

    @property
    def data(self) -> Dataset:
        return self.posterior.data

    @property
    def priors(self) -> Priors:
        return self.posterior.priors

    @property
    def inputs(self) -> dict:
        return self.posterior.inputs

    def block(self, name):
        "The block that knows the tree of a part, and how it is linked."
        return dict(zip(("decay", "effect", "media", "noise"), self.posterior.blocks))[name]

    def model(self):
        "The generator that TFP's coroutine runs."
        line = self.lines
        made = {"decay": (yield from line["decay"](self)), "past": (yield from line["past"](self))}
        made |= yield from line["saturation"](self)
        exponent = yield from line["weights"](self)
        made |= yield from line["measure"](self, exponent)
        size, c, media = contributions(self, made)
        term, coefficients = yield from line["baseline"](self)
        yield from line["experiments"](self, made, size, c)
        noise = yield from line["outcome"](self, term + media)
        return made | coefficients | noise | {"size_exponent": exponent, "contributions": c, "mean": term + media}

def joint_distribution(
    posterior: Posterior,  # from `build_posterior`, of the same options
    options: dict,         # of the model: {option: name}
    experiments=(),        # of `LiftTest` and `CostTarget`, as the posterior has them
    **swapped,             # {option, or "baseline", "experiments", "outcome": a generator function to take the line's place}
):                         # `tfd.JointDistributionCoroutine`
    "The whole model as one distribution of parameters and observations."
    lines = {option: known[options[option]] for option, known in LINES.items()} | {
        "baseline": baseline, "experiments": measured, "outcome": outcome}
    for name in swapped:
        choose("a line of the model", name, lines)
    return tfd.JointDistributionCoroutine(Statement(posterior, tuple(experiments), lines | swapped).model)


def observed(
    data: Dataset,
    experiments=(),  # of `LiftTest` and `CostTarget`
) -> dict:
    "{name: what was seen}, to pin a joint distribution at: the outcome and the results of experiments."
    of_kind = lambda kind, value: [getattr(one, value) for one in experiments if isinstance(one, kind)]
    found = {"lift": of_kind(LiftTest, "lift"), "cost": of_kind(CostTarget, "cost")}
    return {"y": data.y} | {name: np.array(values, float) for name, values in found.items() if values}