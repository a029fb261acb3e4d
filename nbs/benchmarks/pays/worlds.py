"""Worlds with known truth, and what a plan truly brings in them: by the true carry-over, curves, carry-in and tail.

The simulators are those of the pages on weak media and on wrong models; nothing here knows of any fit.
"""
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("weak", "wrong")]
from markets import make_market
from truths import HISTORY, TRUTHS, WEEKS, delayed, geometric

from precision.saturation import SATURATIONS
from precision.simulate import simulate

PERIODS, YEAR, TAIL = 26, 52, 104    # weeks of the plan; weeks that say what a unit costs and what follows; weeks counted after it
KNOTS = np.linspace(0, 2, 201)       # of today's money: where the true response of every line is tabulated
STEPS = (0.2, 0.5, 1.0)              # every line within so much of today's plan; the money of all together stays
MAIN = 0.5                           # the one that the page is about


@dataclass(frozen=True)
class World:
    "Data to fit, and what exposure after the data truly brings."
    group: str               # strong, weak or wrong
    name: str                # kind of truth
    seed: int
    hierarchy: object
    y: pd.Series             # [time]
    U: pd.DataFrame          # [time, tactical] exposure
    Z: pd.DataFrame | None   # [time, control]
    spend: pd.DataFrame      # [time, tactical]
    U_history: object        # exposure of the weeks before, or None
    acts: Callable           # exposure after the data [F, tactical] -> contributions [F, tactical], units of y
    share: float             # of the outcome that media bring in the data
    whole: Callable = None   # exposure of history and data [H + T, tactical] -> contributions, where a remedy asks for it

    @property
    def today(self) -> np.ndarray:
        "Today's plan [PERIODS, tactical] in currency: the same weeks of a year ago."
        return self.spend.to_numpy()[-YEAR:][:PERIODS]


def values(world, factors) -> np.ndarray:
    "What each line of today's plan, multiplied by its factor, truly brings: in the plan and after it [tactical], units of y."
    spend, U = world.spend.to_numpy()[-YEAR:], world.U.to_numpy()[-YEAR:]
    price = spend.sum(axis=0) / np.maximum(U.sum(axis=0), 1e-300)
    bought = world.today / np.where(price > 0, price, 1)
    after = np.repeat(U.mean(axis=0)[None], TAIL, axis=0)
    brought = [world.acts(np.concatenate([plan, after])).sum(axis=0) for plan in (bought * factors, 0 * bought)]
    return brought[0] - brought[1]


def true_table(world) -> np.ndarray:
    "True values [knot, tactical]."
    return np.stack([values(world, knot) for knot in KNOTS])


def _mixed(table, knots, money, lower, upper, whole=False):
    "Mixtures of knots that bring most, as a linear programme; or one knot for each line. (Factors [N], value)"
    lines, inside = len(money), (knots[:, None] >= lower - 1e-9) & (knots[:, None] <= upper + 1e-9)
    each = sparse.kron(sparse.eye(lines), np.ones((1, len(knots))))
    rows = [LinearConstraint(np.outer(money, knots).reshape(1, -1) / money.sum(), ub=1.0), LinearConstraint(each, 1.0, 1.0)]
    found = milp(-table.T.ravel() / _scale(table), constraints=rows, bounds=Bounds(0, 1.0 * inside.T.ravel()),
                 integrality=np.full(table.size, int(whole)), options={"time_limit": 20.0, "mip_rel_gap": 1e-4})
    return found.x.reshape(lines, -1) @ knots, -found.fun * _scale(table)


def _scale(table):
    return np.abs(table).max()


def read(table, knots, factors) -> float:
    "Value of a plan by a table."
    return sum(np.interp(factor, knots, column) for factor, column in zip(factors, table.T))


def best_factors(table, knots, money, step) -> tuple:
    """(factors [N] of the best plan, no plan brings more) when line i at knots[k] brings table[k, i] and costs money[i] * knots[k]:
    every line within `step`, the money of all at most today's. The linear programme bounds curves of any form from above. Where a curve
    bends upwards its answer lies between two knots; then a whole-numbered one chooses knots, and linear ones nearby improve on it."""
    lower, upper = np.full(len(money), 1 - step), np.full(len(money), 1 + step)
    best, bound = _mixed(table, knots, money, lower, upper)
    if read(table, knots, best) < bound - 1e-4 * (bound - read(table, knots, np.ones(len(money)))):
        for start in (best, _mixed(table, knots, money, lower, upper, whole=True)[0]):
            for radius in (0.1, 0.05, 0.02, 0.02):
                best = max((start, best), key=lambda factors: read(table, knots, factors))
                start, _ = _mixed(table, knots, money, np.maximum(lower, start - radius), np.minimum(upper, start + radius))
            best = max((start, best), key=lambda factors: read(table, knots, factors))
    return best, bound


def proportional(roi, money, step) -> np.ndarray:
    "Factors that follow the ROI, cut to the limits, with the same money in all."
    lo, hi = 1e-12, 2 / max(np.min(roi[roi > 0], initial=np.inf), 1e-12)
    cut = lambda c: np.clip(c * np.maximum(roi, 0), 1 - step, 1 + step)
    for _ in range(200):
        c = (lo * hi) ** 0.5
        lo, hi = (c, hi) if cut(c) @ money < money.sum() else (lo, c)
    return cut(lo)


def of_market(name, seed) -> World:
    market = make_market(name, seed)
    spend, lags = market.spend, round(365.25 / 7 / 4)
    acts = lambda x: market.acts(np.concatenate([spend.to_numpy()[1 - lags:], x]))
    share = market.truth.to_numpy().sum() / market.y.sum()
    return World("weak", name, seed, market.hierarchy, market.y, spend, market.Z, spend, None, acts, share)


def of_simulation(group, name, seed, periods=WEEKS) -> World:
    hill = name == "Hill saturation"
    if hill or name == "as assumed":
        sim = simulate(periods=periods, seed=seed, saturation="hill" if hill else "michaelis_menten")
    else:
        sim = TRUTHS[name](seed)
    ordinary = (sim if hill or name == "as assumed" else simulate(periods=WEEKS, seed=seed)).U.mean().to_numpy()  # before budgets were steered
    curve = SATURATIONS["hill" if hill else "logistic" if name == "logistic saturation" else "michaelis_menten"]
    if name == "logistic saturation":
        ordinary = sim.U.mean().to_numpy()
    shape = {key: sim.truth.saturation[key].to_numpy() for key in curve.parameters}
    carry = delayed if name == "delayed carry-over" else geometric
    response = lambda U: curve.curve(carry(sim, U / ordinary), shape)
    past, true = sim.U.to_numpy(), sim.truth.contributions.to_numpy()
    size = true.sum(axis=0) / response(past).sum(axis=0)
    assert np.allclose(size * response(past), true, rtol=1e-6, atol=1e-6 * true.max()), "the same world"
    acts = lambda x: (size * response(np.concatenate([past, x])))[len(past):]
    now = slice(HISTORY, None)
    return World(group, name, seed, sim.hierarchy, sim.y[now], sim.U[now], sim.Z[now], sim.spend[now], sim.U[:HISTORY], acts,
                 true[now].sum() / sim.y[now].sum(), lambda U: size * response(U))


WEAK = ("drift", "still", "steps", "trend", "demand", "dominant", "flights", "twins", "bare")
WRONG = ("delayed carry-over", "logistic saturation", "Hill saturation", "demand-driven spend", "correlated channels", "drifting baseline")
GROUPS = {  # name: (kinds, first seed, number of worlds, function of kind and seed); none of these seeds was ever fitted before
    "strong": (("as assumed",), 600, 36, lambda name, seed: of_simulation("strong", name, seed)),
    "weak": (WEAK, 60, 36, of_market),
    "wrong": (WRONG, 700, 36, lambda name, seed: of_simulation("wrong", name, seed)),
}


def worlds(group) -> list:
    "(kind, seed) of a group: one of every kind, then the next. A seed makes one simulation, but another market for every kind of weak ones."
    kinds, first, count, _ = GROUPS[group]
    return [(kinds[i % len(kinds)], first + (i // len(kinds) if group == "weak" else i)) for i in range(count)]


def make_world(group, kind, seed) -> World:
    return GROUPS[group][-1](kind, seed)
