"""The log density, written out with SciPy's distributions and none of the package's cleverness."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import stats

from precision.adstock import adstock_geometric_np
from precision.baseline import moving_baseline
from precision.data import prepare
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
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
    posterior = build_posterior(data, normalize_adstock=normalize, measure="efficiency", **{"weights": "exposure"} | options)
    points = np.random.default_rng(0).normal(0, 0.7, size=(3, posterior.dimension))
    by_hand = [log_density_by_hand(x, posterior, normalize, **options) for x in points]
    np.testing.assert_allclose(make_target_log_prob_fn(posterior)(points), by_hand, rtol=2e-6)


@pytest.mark.parametrize("depth", TREES)
@pytest.mark.parametrize("effect, saturation, normalize",
                         list(itertools.product(["positive", "real"], ["none", "michaelis_menten"], [True, False])))
def test_log_density_equals_scipy(depth, effect, saturation, normalize):
    agrees_with_scipy(example(depth), normalize, effect=effect, saturation=saturation)


COMBINATIONS = [dict(zip(OPTIONS, names)) for names in itertools.product(*OPTIONS.values()) if names[-1] != "steady"]  # the data's "nothing" is alike
EFFICIENCIES, TOTALS = ([{name: value for name, value in options.items() if name != "measure"} for options in COMBINATIONS if options["measure"] == measure and (measure == "total" or options["past"] == "nothing")]
                        for measure in ("efficiency", "total"))


@pytest.mark.parametrize("options", EFFICIENCIES[::19] + EFFICIENCIES[3::89], ids=lambda options: "-".join(options.values()))
def test_log_density_of_any_combination_equals_scipy(options):
    agrees_with_scipy(example(3 if options["decay"] != "beta" else 5), **options)

# The same for measure="total": the formulas of the chapter on totals in loops over nodes, with names instead of matrices.

def total_world(depth, periods=40, *, spend=False, history=None, past="learnt", moving=False, idle=(), signed=False, seed=0):
    "Data of a default model: curves pass through one at the exposure of the average euro. With spend, the last channel stays organic."
    tree, levels = TREES[depth]
    h, rng = build_hierarchy(tree, levels), np.random.default_rng([depth, seed])
    U = rng.gamma(2.0, 3.0, size=(periods, h.num_tacticals)) * rng.uniform(0.3, 3.0, h.num_tacticals)
    U[:, [h.names["tactical"].index(name) for name in idle]] = 0.0
    before = None if history is None else rng.gamma(2.0, 3.0, size=(history, h.num_tacticals))
    top = h.parent_index(levels[0], levels[-1])
    paid = U * rng.uniform(0.5, 5.0, h.num_tacticals) * rng.uniform(0.9, 1.1, U.shape) * ((top < top.max()) | (top.max() == 0)) if spend else None
    y = (0.3 if signed else 100) + rng.normal(size=periods) + U.sum(axis=1) / 9 - (U.mean(axis=0).sum() / 9 if signed else 0)
    Z = rng.normal(size=(periods, 2))
    if moving:
        dates = pd.date_range("2022-01-03", periods=periods, freq="7D")
        y, Z = pd.Series(y, dates), pd.DataFrame(Z, dates, ["price", "promo"])
    data = replace(prepare(h, y, U, Z, paid, before), past=past, ordinary="paid")
    return replace(data, moving=moving_baseline(data)) if moving else data


def exposure_by_hand(data, delta, normalize, ran=1.0):
    "Adstocked exposure in ordinary periods: what ran before the first period, `ran` of the steady state, is written out, period by period."
    unit = np.array([np.inf if u.sum() == 0 else (u ** 2).sum() / u.sum() for u in data.U.T])
    rows = data.U if data.history is None else np.concatenate([data.history, data.U])
    rows, first = rows / unit, min(13, max(1, len(rows) // 4))
    if data.past != "nothing":
        rows = np.concatenate([np.tile(ran * rows[:first].mean(axis=0), (4000, 1)), rows])
    return adstock_geometric_np(rows, delta, normalize)[-len(data.y):]


def alpha_by_hand(free, weights):
    if weights == "learnt":
        return 1 / (1 + np.exp(-free["size_exponent"][0])), stats.logistic.logpdf(free["size_exponent"][0])
    return {"exposure": 1.0, "equal": 0.0}[weights], 0.0


def statement_by_hand(data, lines, field, value, effect):
    "(centre, sd) of a stated total, as a share of the level of y; on the logarithm where effects are positive."
    level = np.abs(data.y).mean()
    share = {"roi": lambda v: v * data.spend[:, lines].sum() / len(data.y) / level, "share": lambda v: v * data.y.mean() / level}[field]
    scale = np.log if effect == "positive" else lambda v: v
    if isinstance(value, tuple):
        low, high = scale(share(value[0])), scale(share(value[1]))
        return (low + high) / 2, (high - low) / 2 / stats.norm.ppf(0.95)
    return scale(share(value)), 0.7 if effect == "positive" else 0.2


def totals_by_hand(data, free, effect, pooling, weights, stated, media_share):
    "Mean contribution of every line, in sd of y, and the log prior that is not standard normal."
    h, active = data.hierarchy, data.U.sum(axis=0) > 0
    bottom, top = h.levels[0], h.levels[-1]
    alpha, log_prior = alpha_by_hand(free, weights)
    money = data.U.mean(axis=0) * (np.ones(len(active)) if data.spend is None else
                                   np.where(data.spend.sum(axis=0) > 0, data.spend.sum(axis=0) / np.maximum(data.U.sum(axis=0), 1e-9), 1.0))
    channel = h.parent_index(bottom, top)
    paid = lambda c: data.spend is not None and data.spend[:, channel == c].sum() > 0
    unit = {i: "currency" if paid(channel[i]) else f"that of {channel[i]}" for i in range(len(active))}
    leaves = lambda level, node: [h.names[bottom].index(name) for name in h.descendants(node, level)] if level != bottom else [h.names[bottom].index(node)]

    level_of_stated = {node: next(level for level in h.levels if node in h.names[level]) for node in stated}
    deep = any(level != top for level in level_of_stated.values())
    levels = {"nested": h.levels, "sparse": h.levels, "channel": h.levels if deep else (top,), "none": (bottom,)}[pooling]
    scale, usual = (0.8, (0.06, 0.5)) if effect == "positive" else (0.2, (-0.3, 0.6))
    low, high = (np.log(v) if effect == "positive" else v for v in media_share or usual)
    root = (low + high) / 2, (high - low) / 2 / stats.norm.ppf(0.95)

    # every node: its step, its parent
    stretch = {}
    if pooling == "sparse":
        t = np.tan(0.1 * np.pi / 2) / np.sqrt(3) * np.exp(free["effect_global"] + free["effect_local"])
        stretch = dict(zip(h.names[bottom], t / np.sqrt(1 + t**2)))
        log_prior += stats.hypsecant.logpdf(np.concatenate([free["effect_global"], free["effect_local"]])).sum()
    tops = free["effect_all media"]
    T, Pi, below = {"all media": root[0] + root[1] * tops[0]}, {"all media": 1.0}, {"all media": list(range(len(active)))}
    flat_above = {}
    if pooling == "none":
        higher = [node for node in stated if level_of_stated[node] != bottom]
        for number, node in enumerate(higher, start=1):
            middle, sd = statement_by_hand(data, leaves(level_of_stated[node], node), *stated[node], effect)
            T[node, "above"], Pi[node, "above"], below[node, "above"] = middle + sd * tops[number], 1.0, leaves(level_of_stated[node], node)
            flat_above |= {h.names[bottom][i]: (node, "above") for i in below[node, "above"]}

    def pi(children, one):
        "Expected share of one among all children of a parent, stated ones included."
        with_exposure = [c for c in children if active[below[c]].any()]
        if one not in with_exposure:
            return 0.0
        weight = lambda c: money[below[c]].sum() ** alpha
        kin = [c for c in with_exposure if unit[below[c][0]] == unit[below[one][0]]]
        channels = lambda group: len({channel[i] for c in group for i in below[c]})
        return weight(one) / sum(map(weight, kin)) * channels(kin) / channels(with_exposure)

    for k in reversed(range(len(levels))):
        level, above = levels[k], levels[k + 1] if k + 1 < len(levels) else "all media"
        families = {}
        for j, name in enumerate(h.names[level]):
            node, z = (name, level), free[f"effect_{level}"][j]
            below[node] = leaves(level, name)
            parent = flat_above.get(name, "all media") if above == "all media" else (h.names[above][h.parent_index(level, above)[j]], above)
            tau = scale * np.abs(free["effect_spread"][k]) * (not h.pass_through[level][j]) * (stretch.get(name, 1.0) if level == bottom else 1.0)
            if pooling == "channel" and level != top:
                tau = 0.0
            families.setdefault(parent, []).append((node, name, tau * z, z))
        for parent, family in families.items():
            # siblings in the plain tree: for "none" all lines below the parent, those of a stated node included
            children = [(name, level) for name in h.names[level] if set(leaves(level, name)) <= set(below[parent])]
            below |= {(name, level): leaves(level, name) for name in h.names[level]}
            own = {node: pi(children, node) for node, name, _, _ in family if not (name in stated and level_of_stated[name] == level)}
            left = sum(own.values())
            for node, name, d, z in family:
                if node not in own:
                    middle, sd = statement_by_hand(data, below[node], *stated[name], effect)
                    T[node], Pi[node] = middle + sd * z, 1.0
            for node, name, d, z in family:
                if node in own and own[node] > 0:
                    steps = {other: step for other, _, step, _ in family if other in own}
                    made = (np.log(sum(own[o] * np.exp(steps[o]) for o in own) / left) if effect == "positive" else
                            sum(own[o] * steps[o] for o in own) / left)
                    T[node], Pi[node] = T[parent] - made + d, Pi[parent] * own[node]
                elif node in own:
                    T[node], Pi[node] = 0.0, 0.0

    link = np.exp if effect == "positive" else lambda v: v
    total = np.zeros(len(active))
    for i in np.flatnonzero(active):
        if levels[0] == bottom:
            node, part = (h.names[bottom][i], bottom), 1.0
        else:
            node, share = (h.names[top][channel[i]], top), money ** alpha * active
            part = share[i] / share[channel == channel[i]].sum()
        total[i] = Pi[node] * link(T[node]) * part
    return total * np.abs(data.y).mean() / data.y.std(), log_prior


def total_density_by_hand(x, posterior, normalize=True, stated=None, media_share=None, **options):
    chosen, data, h = DEFAULT | {"weights": "learnt"} | options, posterior.data, posterior.data.hierarchy
    free = dict(zip(posterior.sizes, np.split(x, np.cumsum(list(posterior.sizes.values()))[:-1])))
    log_prior = sum(stats.norm.logpdf(v).sum() for name, v in free.items() if name not in NOT_NORMAL)
    delta, of_decay = decay_by_hand(h, free, chosen["decay"])
    total, of_total = totals_by_hand(data, free, chosen["effect"], chosen["pooling"], chosen["weights"], stated or {}, media_share)
    ran = 1 / (1 + np.exp(-3 * free["past"][0])) if data.past == "learnt" else 1.0
    response = curve_by_hand(h, free, chosen["saturation"], exposure_by_hand(data, delta, normalize, ran))
    media = np.zeros(len(data.y))
    for i in np.flatnonzero(data.U.sum(axis=0) > 0):
        media += total[i] * (response[:, i] / response[:, i].mean() - 1)
    y = (data.y - data.y.mean()) / data.y.std()
    moving = [(made.frame[name] - made.frame[name].mean()).to_numpy() * made.unit_sd[name] for _, made in data.moving for name in made.frame]
    W = np.column_stack([2.0 * np.ones(len(data.y)), (data.Z - data.Z.mean(axis=0)) / data.Z.std(axis=0), *moving])
    likelihood, of_noise = noise_by_hand(free, chosen["likelihood"], chosen["residual"], y - media, W)
    return log_prior + of_decay + of_total + of_noise + likelihood


def total_agrees_with_scipy(data, normalize=True, stated=None, media_share=None, **options):
    fields = {}
    for node, (field, value) in (stated or {}).items():
        fields.setdefault(field, {})[node] = value
    posterior = build_posterior(data, Priors(**fields, media_share=media_share), normalize_adstock=normalize, measure="total", **{"past": data.past} | options)
    points = np.random.default_rng(0).normal(0, 0.7, size=(3, posterior.dimension))
    by_hand = [total_density_by_hand(x, posterior, normalize, stated, media_share, **options) for x in points]
    np.testing.assert_allclose(make_target_log_prob_fn(posterior)(points), by_hand, rtol=2e-6)


@pytest.mark.parametrize("depth", TREES)
@pytest.mark.parametrize("effect, saturation, normalize", [("positive", "none", True), ("real", "none", False), ("positive", "michaelis_menten", False),
                                                           ("real", "michaelis_menten", True)])
def test_log_density_of_totals_equals_scipy(depth, effect, saturation, normalize):
    total_agrees_with_scipy(total_world(depth), normalize, effect=effect, saturation=saturation)


@pytest.mark.parametrize("options", TOTALS[::43] + TOTALS[5::97], ids=lambda options: "-".join(options.values()))
def test_log_density_of_totals_of_any_combination_equals_scipy(options):
    total_agrees_with_scipy(total_world(3 if options["decay"] != "beta" else 5, spend=options["weights"] != "equal", past=options["past"]), **options)


WORLDS = {"organic": {"spend": True}, "history": {"history": 20}, "history, cold": {"history": 20, "past": "nothing"}, "cold": {"past": "nothing"}, "steady": {"past": "steady"},
          "moving": {"moving": True, "periods": 60}, "two signs": {"signed": True}, "all of it": {"spend": True, "history": 9, "moving": True, "periods": 60}}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("effect, saturation, noise", [("positive", "none", {}), ("real", "hill", {}), ("positive", "logistic", {"likelihood": "student_t", "residual": "ar1"})], ids=str)
def test_log_density_of_totals_in_other_worlds_equals_scipy(world, effect, saturation, noise):
    total_agrees_with_scipy(total_world(3, **WORLDS[world]), effect=effect, saturation=saturation, **noise)


STATED = {  # depth 3: x has the platforms p (a, b) and q (c); y has d and e, and is organic
    "a channel": {"x": ("roi", (0.5, 2.0))},
    "a platform": {"p": ("roi", 1.5)},
    "a line": {"a": ("share", (0.01, 0.1))},
    "the only line of a platform": {"c": ("share", 0.02)},
    "a line of a ragged channel": {"d": ("share", (0.02, 0.05))},
    "a platform and a line": {"p": ("roi", (0.2, 3.0)), "e": ("share", 0.04)},
    "every channel": {"x": ("roi", 1.0), "y": ("share", (0.1, 0.2))},
    "all lines of a platform": {"a": ("roi", 1.0), "b": ("roi", (0.5, 1.5))},
}


LAWS = [("positive", "learnt"), ("real", "exposure"), ("positive", "equal"), ("real", "learnt")]


@pytest.mark.parametrize("stated, pooling, effect, weights", [
    (stated, pooling, *LAWS[(k + shift) % 4]) for k, stated in enumerate(STATED) for shift, pooling in enumerate(["nested", "channel", "none", "sparse"])], ids=str)
def test_log_density_with_statements_equals_scipy(stated, pooling, effect, weights):
    total_agrees_with_scipy(total_world(3, spend=True), stated=STATED[stated], pooling=pooling, effect=effect, weights=weights)


@pytest.mark.parametrize("depth, idle, stated", [(3, ["b"], {}), (3, ["c"], {"a": ("share", 0.03)}), (3, ["d", "e"], {}), (5, ["c"], {"g": ("roi", 2.0)}),
                                                 (1, ["a"], {}), (4, ["d"], {"p": ("share", (0.05, 0.2))}), (5, [], {"x": ("roi", (1, 2)), "i": ("share", 0.1)})], ids=str)
@pytest.mark.parametrize("pooling", ["nested", "channel", "none", "sparse"])
def test_log_density_of_totals_with_lines_that_never_ran_equals_scipy(depth, idle, stated, pooling):
    total_agrees_with_scipy(total_world(depth, spend=True, idle=idle), stated=stated, pooling=pooling)


@pytest.mark.parametrize("effect, media_share", [("positive", (0.1, 0.3)), ("real", (-0.1, 0.4))])
def test_log_density_with_a_share_of_all_media_equals_scipy(effect, media_share):
    total_agrees_with_scipy(total_world(3), media_share=media_share, effect=effect)


def test_every_pair_of_options_is_a_finite_density_with_a_finite_gradient():
    data, some = example(3), COMBINATIONS[::67]
    pairs_of = lambda combinations: {pair for options in combinations for pair in itertools.combinations(options.items(), 2)}
    assert len(COMBINATIONS) == 2 * 4 * 3 * 3 * 4 * 2 * 2 * 2 * 2 and pairs_of(some) == pairs_of(COMBINATIONS)
    for options in some:
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
    former = dict(measure="efficiency", weights="exposure")
    posterior = build_posterior(example(3, history=20), **former)
    points = np.random.default_rng(0).normal(0, 0.7, size=(3, posterior.dimension))
    by_hand = [log_density_by_hand(x, posterior) for x in points]
    np.testing.assert_allclose(make_target_log_prob_fn(posterior)(points), by_hand, rtol=1e-6)
    cold = make_target_log_prob_fn(build_posterior(example(3), **former))(points)
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
        posterior = build_posterior(data, Priors(effect_spread=0.3), measure="efficiency", weights="exposure")
        x = np.random.default_rng(2).normal(size=(60_000, posterior.dimension))
        state, _ = evaluate(posterior.blocks[:2], x[:, :sum(n for b in posterior.blocks[:2] for n in b.sizes().values())],
                            posterior.inputs)
        means.append((state["efficiency"].numpy() @ data.share).mean())
    assert np.isclose(*means, rtol=0.03)


def test_a_range_of_the_saturation_point_belongs_to_all_tacticals():
    with pytest.raises(PrecisionError, match="Priors.saturation_point. gives a node a range"):
        build_posterior(example(3), Priors(saturation_point={"x": (1, 4)})).inputs
