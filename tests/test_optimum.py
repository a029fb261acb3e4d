"""Optima against known answers, against cvxpy, and against ten thousand plans; and whatever users of other tools complained of."""

import numpy as np
import pandas as pd
import pytest
from plan_worlds import data_of, dates, diminishing, table, world_of
from scipy.optimize import brentq

from precision import Limits, Plan, PrecisionError
from precision.hierarchy import build_hierarchy
from precision.limits import Window

FREE = dict(seen=False)


def money(optimum):
    return optimum.plan.spend.to_numpy()


def near(found, known, rel=1e-4):
    assert np.allclose(found, known, rtol=rel, atol=rel), (found, known)


# Known answers: responses 100 s / (10 + s) and 100 s / (40 + s), one period


@pytest.fixture(scope="module")
def two():
    return diminishing([10, 40])


@pytest.mark.parametrize("total, limits, spend, response, prices", [
    (100, {}, (40, 60), 140, {"total": 0.4}),
    (100, {"nodes": {"line_0": (None, 30)}}, (30, 70), 138.636, {"total": 4000 / 110**2, "line_0": 0.625 - 4000 / 110**2}),
    (200, {}, (220 / 3, 380 / 3), 164, {"total": 0.144}),
    (200, {"nodes": {"line_0": (25, 25)}}, (25, 175), 152.824, {"total": 4000 / 215**2}),
    (200, {"nodes": {"line_0_platform": 25}}, (25, 175), 152.824, {"line_0_platform": 1000 / 35**2 - 4000 / 215**2}),
    (90, {"nodes": {"line_0_channel": (50, None)}}, (50, 40), 5000 / 60 + 50, {"line_0_channel": 1000 / 60**2 - 4000 / 80**2}),
])
def test_known_answers(two, total, limits, spend, response, prices):
    for start in ([50, 50], [99, 1]):
        best = two.optimize(two.plan(spend=table(two, start)), Limits(total=total, **limits, **FREE))
        near(money(best)[0], spend), near(best.evaluation.value.mean(), response)
        assert 0 <= best.gap < 1e-6
        near([best.prices().price[name] for name in prices], list(prices.values()))


def test_a_lock_is_the_plan_as_it_is(two):
    best = two.optimize(two.plan(spend=table(two, [25, 75])), Limits(total=200, fixed=["line_0"], **FREE))
    near(money(best)[0], (25, 175)), near(best.evaluation.value, 152.824)
    assert money(best)[0, 0] == 25


def test_what_was_carried_in_is_used_and_not_credited():
    world = diminishing([10, 40], decay=np.array([[1e-7, 0]]), last=[3e8, 1])
    best = world.optimize(world.plan(spend=table(world, [50, 50]), after="nothing"), Limits(**FREE))
    near(money(best)[0], (20, 80)), near(best.evaluation.value, 150 - 75)


def test_two_draws():
    world = diminishing([[1, 50], [99, 50]])
    even = world.plan(spend=table(world, [50, 50]))
    best = world.optimize(even, Limits(**FREE))
    first = brentq(lambda s: sum(50 * h / (h + s) ** 2 for h in (1, 99)) - 100 * 50 / (150 - s) ** 2, 1, 99)
    near(money(best)[0], (first, 100 - first)), near(money(best)[0], (30.17, 69.83), 3e-4)
    near(best.evaluation.value.mean(), 118.35), near(world.evaluate(even).value.mean(), 115.80)
    assert best.uplift.shape == (2,) and np.isclose(best.uplift.mean(), best.evaluation.value.mean() - world.evaluate(even).value.mean())


def test_hill_brings_what_it_should():
    world = diminishing([100, 100], curve="hill", hill_slope=np.array([[3.0, 3.0]]))
    for spend, response in (((0, 100), 50), ((50, 50), 200 / 9), ((100, 0), 50)):
        near(world.evaluate(world.plan(spend=table(world, spend))).value, response)


def test_four_weeks():
    world = diminishing([25])
    start = world.plan(spend=table(world, [[100], [0], [0], [0]]))
    best = world.optimize(start, Limits(**FREE), over="periods")
    near(money(best)[:, 0], 25), near(best.evaluation.value, 200), near(world.evaluate(start).value, 80)
    near(money(world.optimize(start, Limits(**FREE)))[:, 0], [100, 0, 0, 0])


def test_lower_limits_above_the_total_are_refused(two):
    with pytest.raises(PrecisionError, match="total at most 90.*line_0 at least 50.*line_1 at least 50.*10 apart"):
        two.optimize(two.plan(spend=table(two, [50, 40])), Limits(nodes={"line_0": (50, None), "line_1": (50, None)}, **FREE))


# 200 random trees, against cvxpy and Clarabel


def random_tree(rng):
    "Channels, platforms, tacticals, with names that are not in order."
    names = iter(rng.permutation([f"{a}{b}" for a in "qzmakxe" for b in "twobcr"]))
    return {str(next(names)): {str(next(names)): [str(next(names)) for _ in range(rng.integers(1, 4))] for _ in range(rng.integers(1, 3))}
            for _ in range(rng.integers(1, 4))}


class Random:
    "A random world of diminishing returns, a plan, limits that something meets, and the same problem by other words."

    def __init__(self, seed):
        rng = self.rng = np.random.default_rng(seed)
        h, draws, self.periods = build_hierarchy(random_tree(rng)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        n, normalize = h.num_tacticals, bool(rng.integers(2))
        self.over = "totals" if self.periods == 1 or rng.integers(2) else "periods"
        price = 10 ** rng.uniform(-2, 2, n)
        U = rng.gamma(2, 1, (30, n)) * 10 ** rng.uniform(2, 4, n) / price
        data = data_of(h, U, U * price)
        decay = rng.uniform(0, 0.3, (draws, n)) * rng.integers(0, 2, (draws, n))
        self.level = rng.uniform(0.02, 0.95, (draws, n))
        self.world = world_of(data, decay, rng.gamma(2, 50, (draws, n)), normalize=normalize, saturation_level=self.level)
        self.spend = (U * price).mean(axis=0) * rng.uniform(0.3, 1.7, (self.periods, n))
        self.plan = self.world.plan(spend=table(self.world, self.spend), after="nothing")
        self.make_limits(h)
        self.decay, self.data, self.price, self.normalize = decay, data, price, normalize

    def make_limits(self, h):
        rng, now, self.rows = self.rng, self.spend, []
        seen, keep = bool(rng.integers(2)), rng.integers(2)
        shape = self.spend.shape if self.over == "periods" else now.shape[1:]
        self.met = now * rng.uniform(0.6, 1.0 if seen else 1.4, shape)  # what meets all limits
        fixed = [str(rng.choice(h.leaves))] if keep and h.num_tacticals > 2 else []
        self.locked = np.isin(h.leaves, fixed)
        self.met[:, self.locked] = now[:, self.locked]
        total, nodes = float(self.met.sum() * (1 + rng.integers(2) * rng.uniform(0, 0.3))), {}
        self.row(np.ones(h.num_tacticals), 0, total)
        for level in h.levels:
            for node in h.names[level]:
                if rng.random() < 0.5:
                    below = h.members(node, level).astype(float)
                    amount = float(np.sum(self.met @ below))
                    ends = [float(amount * (1 + sign * rng.choice([0, 0.02, 0.3]))) for sign in (-1, 1)]
                    nodes[node] = tuple(None if rng.random() < 0.3 else end for end in ends)
                    self.row(below, nodes[node][0] or 0, np.inf if nodes[node][1] is None else nodes[node][1])
        change = None
        if rng.integers(2):
            change = 0.45
            for i in range(h.num_tacticals):
                own = now[:, i].sum()
                self.row(np.eye(h.num_tacticals)[i], own * 0.55, own * 1.45)
        periods = {}
        if self.over == "periods" and rng.integers(2):
            periods = {0: (None, float(self.met[0].sum()))}
            self.rows.append((np.eye(self.periods)[:1].T * np.ones(h.num_tacticals), 0, periods[0][1]))
        self.seen, self.limits = seen, Limits(total=total, nodes=nodes, change=change, fixed=fixed, periods=periods, seen=seen)

    def row(self, below, low, high):
        self.rows.append((np.ones((self.periods, 1)) * below, low, high))

    def adstock_of(self, i, decay):
        "([P + tail, P] adstock by unit of money in every period, [P + tail] what was carried in, highest of the data)."
        T, far, history = len(self.data.time), self.periods + 20, self.data.U[:, i] / self.data.unit[i]
        weights = np.r_[1.0, np.cumprod(np.full(T + far, decay))] * (1 - decay if self.normalize else 1)
        carried = np.array([weights[t + T - np.arange(T)] @ history for t in range(far)])
        matrix = np.array([[weights[t - s] if t >= s else 0.0 for s in range(self.periods)] for t in range(far)])
        past = max(weights[t - np.arange(t + 1)] @ history[:t + 1] for t in range(T))
        return matrix / (self.data.unit[i] * self.price[i]), carried, past

    def by_cvxpy(self, cp):
        "Value of the best plan, from another model of the same problem, by another solver."
        P, n, draws = self.periods, len(self.price), self.world.components.size
        spread = np.diag(self.met.ravel()) if self.over == "periods" else np.vstack([np.diag(row) for row in self.met])
        share = cp.Variable(spread.shape[1], nonneg=True)  # of money that meets all limits
        b = spread @ share  # period after period
        limits, maps, ground, levels, sizes = [], [], [], [], []
        for cells, low, high in self.rows:
            amount = (cells.ravel() @ spread) @ share / self.spend.sum()
            low, high = low / self.spend.sum(), high / self.spend.sum()
            limits += [amount == low] if low == high else [amount >= low] * int(low > 0) + [amount <= high] * int(np.isfinite(high))
        for i in range(n):
            if self.locked[i]:
                limits.append(b[i::n] / self.spend[:, i] == 1)
            if self.seen:
                matrix, carried, past = self.adstock_of(i, self.decay[:, i].mean())
                top = np.maximum(past, (matrix @ self.spend[:, i] + carried)[:P])
                limits.append((matrix[:P] @ b[i::n] + carried[:P]) / top <= 1)
            for d in range(draws):
                matrix, carried, _ = self.adstock_of(i, self.decay[d, i])
                maps.append(matrix @ spread[i::n]), ground.append(carried)
                levels.append(np.full(len(carried), self.level[d, i])), sizes.append(np.full(len(carried), self.world.components.size_of(i)[d] / draws))
        s, size, a0 = np.concatenate(levels), np.concatenate(sizes), np.concatenate(ground)
        curve = 1 / s - cp.multiply((1 - s) / s, cp.inv_pos(1 - s + cp.multiply(s, np.vstack(maps) @ share + a0)))
        own, before = size.sum(), size @ (a0 / (1 - s + s * a0))
        problem = cp.Problem(cp.Maximize((size / own) @ curve), limits)
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
        return problem.value * own - before


@pytest.mark.parametrize("block", range(10))
def test_random_trees_agree_with_cvxpy(block):
    cp = pytest.importorskip("cvxpy", reason="cvxpy and clarabel are not installed: pip install cvxpy clarabel")
    for seed in range(20 * block, 20 * block + 20):
        case = Random(seed)
        best = case.world.optimize(case.plan, case.limits, over=case.over)
        value = case.by_cvxpy(cp)
        own = best.evaluation.value.mean()
        assert abs(own - value) < 1e-6 * abs(value), (seed, own, value, best)
        assert -1e-9 < best.gap < 1e-6, (seed, best.gap)
        for cells, low, high in case.rows:
            used = (cells * money(best)).sum()
            assert low - 1e-6 * case.spend.sum() <= used <= high + 1e-6 * case.spend.sum(), (seed, low, used, high)
        assert np.array_equal(money(best)[:, case.locked], case.spend[:, case.locked])
