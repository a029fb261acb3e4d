"""Every option finds its own truth: worlds are drawn from a model's prior, fitted by the same model, and intervals are counted."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from precision.draws import diagnostics, groups_of
from precision.hierarchy import build_hierarchy
from precision.answers import flattened
from precision.model import MMM
from precision.simulate import simulate

WORLDS, WEEKS = 4, 104
TREE = {"tv": {"linear": ["a", "b"], "streaming": ["c", "d"]}, "web": {"search": ["e", "f", "g"], "social": ["h"]}}
TREES = {  # levels: (tree, names of the levels)
    "one level": (list("abcdefgh"), ["tactical"]),
    "two levels": ({"tv": list("abcd"), "web": list("efgh")}, ["tactical", "channel"]),
    "four levels": ({"eu": {"tv": {"linear": ["a", "b"], "streaming": ["c"]}, "web": {"search": ["d", "e"]}},
                     "us": {"radio": {"local": ["f", "g"], "national": ["h"]}}}, ["tactical", "platform", "channel", "region"]),
    "five levels": ({"brand": {"eu": {"tv": {"linear": ["a", "b"], "streaming": ["c"]}, "web": {"search": ["d", "e"]}}},
                     "label": {"us": {"radio": {"local": ["f", "g"], "national": ["h"]}}}},
                    ["tactical", "platform", "channel", "region", "house"]),
    "ragged": ({"tv": {"linear": ["a", "b", "c"], "streaming": ["d", "e"]}, "posters": ["f", "g"], "radio": ["h"]},
               ["tactical", "platform", "channel"]),
}


def signal(prior, media):
    "Share of the outcome's variance that the mean explains, and of the mean's that media explain, for every draw."
    mean, y = prior.components.fitted(), groups_of(prior.idata)["prior_predictive"]["y"].values[0]
    return mean.var(axis=1) / y.var(axis=1), media.var(axis=1) / mean.var(axis=1), y


def drawn_worlds(model, seed):
    "(data, truth) of worlds from the model's own prior, those with a fair signal."
    sim = simulate(model.hierarchy, periods=WEEKS, seed=seed, controls=["price", "season"])
    prior = model.sample_prior(sim.y, sim.U, sim.Z, sim.spend, draws=400, seed=seed)
    top = model.hierarchy.levels[-1]
    explained, by_media, y = signal(prior, sum(draws for _, draws in prior.components.media(top)))
    grown = y.std(axis=1) / sim.y.std()  # the refit measures the prior in the new world's standard deviations
    fair = (0.6 < explained) & (explained < 0.95) & (0.2 < by_media) & (by_media < 0.95) & (0.5 < grown) & (grown < 3)
    assert fair.sum() >= WORLDS
    return [((pd.Series(y[draw], sim.y.index), sim.U, sim.Z, sim.spend), quantities(prior, slice(draw, draw + 1)))
            for draw in np.flatnonzero(fair)[:WORLDS]]


def quantities(drawn, rows=slice(None)):
    "{name: [S, n]} in the outcome's units: what worlds and fits have in common."
    components = replace(drawn.components, values={k: v[rows] for k, v in flattened(drawn.variables).items()})
    sizes = np.stack([components.size_of(i) for i in range(components.data.hierarchy.num_tacticals)], axis=1)
    totals = np.stack([draws.sum(axis=1) for _, draws in components.media(components.data.hierarchy.levels[-1])], axis=1)
    others = {name: components.values[name].reshape(len(sizes), -1) for name in ("control_effect", "sigma", "nu", "phi")
              if name in components.values}
    return {name: components.values[name] for name in ("decay", *components.curve.parameters)} | {"effect": sizes, "total": totals} | others


def count(model, seed):
    "A row a quantity of every world: is it inside its 90% interval, and how far off is it in posterior sds?"
    rows, divergences = [], 0
    for world, (data, truth) in enumerate(drawn_worlds(model, seed)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = model.fit(*data, chains=2, warmup=300, draws=300, seed=world, progress=False)
        divergences += diagnostics(fit.idata)["divergences"]
        for name, draws in quantities(fit).items():
            low, high = np.quantile(draws, [0.05, 0.95], axis=0)
            rows += [{"world": world, "name": name, "inside": l <= t <= h, "truth": t, "mean": m, "width": h - l}
                     for l, h, t, m in zip(low, high, truth[name][0], draws.mean(axis=0))]
    return pd.DataFrame(rows), divergences


def check(hierarchy, seed=1, **options):
    found, divergences = count(MMM(hierarchy, **options), seed)
    by_name = found.groupby("name").inside.agg(["mean", "size"]).round(2)
    assert 0.75 <= found.inside.mean(), f"{found.inside.mean():.2f} of the truths lie in their 90% intervals\n{by_name}"
    effects = found[found.name == "effect"]  # intervals that hold everything would pass the count: they must also know something
    assert stats.spearmanr(effects.truth, effects["mean"])[0] > 0.4 and effects.width.mean() < 3 * effects.truth.std()
    assert divergences <= 0.005 * WORLDS * 600, f"{divergences} divergences"


@pytest.mark.parametrize("options", [
    {}, {"effect": "real"}, {"pooling": "channel"}, {"pooling": "none"}, {"pooling": "sparse"}, {"decay": "beta"},
    {"decay": "half_life"}, {"saturation": "none"}, {"saturation": "hill"}, {"saturation": "logistic"},
    {"likelihood": "student_t"}, {"residual": "ar1"}, {"normalize_adstock": False},
    {"likelihood": "student_t", "residual": "ar1", "decay": "beta"},
    {"effect": "real", "pooling": "sparse", "saturation": "logistic", "decay": "half_life"},
    {"effect": "real", "pooling": "none", "saturation": "hill", "residual": "ar1"},
], ids=lambda options: ", ".join(f"{k}={v}" for k, v in options.items()) or "default")
def test_a_model_recovers_worlds_of_its_own(options):
    still = {"baseline": "none"} if options else {}  # an option is judged by what it changes, the default as it is
    check(build_hierarchy(TREE), **still | options)


@pytest.mark.parametrize("tree", TREES)
def test_a_hierarchy_of_any_shape_recovers_worlds_of_its_own(tree):
    check(build_hierarchy(*TREES[tree]))
