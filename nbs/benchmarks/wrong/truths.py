"Truths that the default model does not have: each changes one thing about a simulated world that it would otherwise match."
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import signal

from precision.adstock import adstock_geometric_np
from precision.simulate import simulate

HISTORY, WEEKS = 13, 13 + 156  # the first weeks are known by their exposure alone


def wander(rng, memory, periods=WEEKS):
    "A series with memory, mean zero and sd one."
    series = signal.lfilter([1.0], [1.0, -memory], rng.normal(size=periods + 50))[50:]
    return (series - series.mean()) / series.std()


def geometric(sim, x):
    return adstock_geometric_np(x, sim.truth.decay.to_numpy())


def delayed(sim, x):
    "The effect comes two weeks late: weights decay ** (lag - 2) ** 2 over twelve weeks, as in delayed adstock."
    weights = sim.truth.decay.to_numpy() ** (np.arange(13)[:, None] - 2.0) ** 2
    padded = np.concatenate([np.zeros((12, x.shape[1])), x])
    return sum(w * padded[12 - lag:len(padded) - lag] for lag, w in enumerate(weights / weights.sum(axis=0)))


def response(sim, x, carry):
    "Of exposure in ordinary weeks: carried over and saturated, 1 at an adstocked level of 1."
    a, level = carry(sim, x), sim.truth.saturation.saturation_level.to_numpy()
    return a / (1 - level + level * a)


def respond(sim, U, carry=geometric):
    "The same world under another plan or another carry-over; what media bring in all stays the same."
    x, was = (table.to_numpy() / sim.U.to_numpy().mean(axis=0) for table in (U, sim.U))
    contributions = sim.truth.contributions * 0 + response(sim, x, carry) * (sim.truth.contributions / response(sim, was, geometric)).mean().to_numpy()
    contributions *= sim.truth.contributions.to_numpy().sum() / contributions.to_numpy().sum()
    y = sim.y - sim.truth.contributions.sum(axis=1) + contributions.sum(axis=1)
    spend = U * (sim.spend.sum() / sim.U.sum())
    return replace(sim, y=y, U=U, spend=spend, truth=replace(sim.truth, contributions=contributions))


def add(sim, baseline):
    "Something in the baseline that no control knows, units of y."
    return replace(sim, y=sim.y + baseline)


def demand_driven(sim, rng):
    "Demand that nobody measures moves sales by 6% of their mean, and budgets follow it in the same week."
    demand = wander(rng, 0.8)
    steered = respond(sim, sim.U.mul(np.exp(0.5 * demand), axis=0))
    return add(steered, 0.06 * sim.y.mean() * demand)


def correlated(sim, rng):
    "All lines follow one plan: nine tenths of the variance of their logs is common."
    common = wander(rng, 0.3)[:, None]
    own = np.stack([wander(rng, 0.3) for _ in range(sim.U.shape[1])], axis=1)
    x = np.exp(0.6 * (np.sqrt(0.9) * common + np.sqrt(0.1) * own))
    return respond(sim, pd.DataFrame(x * (sim.U.mean().to_numpy() / x.mean(axis=0)), sim.U.index, sim.U.columns))


def drifting(sim, rng):
    "A random walk in the baseline that no control knows, 8% of mean sales in sd."
    walk = rng.normal(size=WEEKS).cumsum()
    return add(sim, 0.08 * sim.y.mean() * (walk - walk.mean()) / walk.std())


TRUTHS = {  # name: function of a seed
    "as assumed": lambda seed: simulate(periods=WEEKS, seed=seed),
    "untold past": lambda seed: simulate(periods=WEEKS, seed=seed),  # the study keeps the history to itself
    "delayed carry-over": lambda seed: (lambda sim: respond(sim, sim.U, delayed))(simulate(periods=WEEKS, seed=seed)),
    "logistic saturation": lambda seed: simulate(periods=WEEKS, seed=seed, saturation="logistic"),
    "demand-driven spend": lambda seed: demand_driven(simulate(periods=WEEKS, seed=seed), np.random.default_rng([seed, 1])),
    "correlated channels": lambda seed: correlated(simulate(periods=WEEKS, seed=seed), np.random.default_rng([seed, 2])),
    "heavy tails": lambda seed: simulate(periods=WEEKS, seed=seed, nu=2.5),
    "drifting baseline": lambda seed: drifting(simulate(periods=WEEKS, seed=seed), np.random.default_rng([seed, 3])),
}
