"""Optima against known answers, against cvxpy, and against ten thousand plans; and whatever users of other tools complained of."""

import re

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


# Random plans never beat the bound


@pytest.mark.parametrize("over", ["totals", "periods"])
@pytest.mark.parametrize("curve, shape", [("michaelis_menten", {"saturation_level": (0.2, 0.9)}), ("logistic", {"logistic_rate": (0.5, 5)}), ("none", {})])
def test_no_feasible_plan_beats_value_and_gap(curve, shape, over):
    rng = np.random.default_rng(7)
    tree = {"tv": {"zdf": ["spot", "sponsor"]}, "search": {"google": ["brand", "generic"]}}
    data = data_of(tree, rng.gamma(2, 1, (60, 4)) * 50, rng.gamma(2, 1, (60, 4)) * 100)
    draws = {name: rng.uniform(*ends, (20, 4)) for name, ends in shape.items()}
    world = world_of(data, rng.uniform(0, 0.8, (20, 4)), rng.gamma(2, 20, (20, 4)), curve, **draws)
    plan = world.plan(6)
    limits = Limits(total=plan.total, nodes={"tv": (0.3 * plan.total, 0.6 * plan.total), "brand": (None, 0.4 * plan.total)}, seen=False)
    best = world.optimize(plan, limits, over=over)
    top = best.evaluation.value.mean() * (1 + best.gap + 1e-9)
    assert best.gap < 1e-6
    shapes = plan.spend.to_numpy() / plan.spend.to_numpy().sum(axis=0)
    tried = beaten = 0
    while tried < 10_000:  # money of lines by halves, near the best and far from it
        share = rng.dirichlet(np.ones(4), 4000) if tried % 2 else rng.dirichlet(20 * money(best).sum(axis=0) / plan.total + 0.05, 4000)
        totals = plan.total * share[(share[:, :2].sum(axis=1) >= 0.3) & (share[:, :2].sum(axis=1) <= 0.6) & (share[:, 2] <= 0.4)]
        tried += len(totals)
        spread = totals[:, None] * (shapes if over == "totals" else rng.dirichlet(np.ones(6), (len(totals), 4)).transpose(0, 2, 1))
        beaten += int((mean_of(best, spread) > top).sum())
    assert not beaten


def mean_of(best, plans):
    "What many plans [K, P, N] bring on average [K], with one recursion over plans and draws."
    values = best.task.values
    assert np.isclose(brought(values, money(best)[None])[0], best.evaluation.value.mean(), rtol=1e-6)
    return brought(values, plans)


def brought(values, plans, tail=40):
    found = 0.0
    (lines, _), = values.parts
    for i, line in lines.items():
        usual = np.zeros(1) + line.after
        a, b, total = (np.tile(line.carried, (len(plans), 1)) for _ in range(3))
        total = 0 * total
        for t in range(plans.shape[1] + tail):
            inside = t < plans.shape[1]
            a, b = (line.decay * past + line.gain * (x if inside else usual) for past, x in ((a, plans[:, t, i, None] / line.cost[t] if inside else 0), (b, 0.0)))
            total = total + (line.value[t] if inside else line.later) * (line.curve.formula(np, a, *line.shape) - line.curve.formula(np, b, *line.shape))
        slope = line.derivatives.slope(line.settled, *line.shape)  # what is left of the tail
        found = found + line.size * (total + line.later * slope * (a - b) * line.decay / (1 - line.decay))
    return found.mean(axis=1)


# What users of other tools complained of


UNSORTED = {"web": {"search": ["zeta", "beta"], "social": ["yoga"]}, "audio": {"radio": ["alpha"]}}
HALVES = np.array([30.0, 10, 90, 60])


@pytest.fixture(scope="module")
def unsorted():
    return diminishing(np.array([HALVES, HALVES * [2, 1, 0.5, 1]]), names=["zeta", "beta", "yoga", "alpha"], tree=UNSORTED, decay=np.array([[0.3, 0, 0.6, 0.5]]))


def test_the_start_does_not_come_back_and_nothing_is_worse(unsorted):
    for start in ([25, 25, 25, 25], [97, 1, 1, 1], [0, 0, 0, 100]):
        plan = unsorted.plan(spend=table(unsorted, [start, start]))
        best = unsorted.optimize(plan, Limits(**FREE))
        assert best.uplift.mean() > 1e-3 * best.evaluation.value.mean() and not np.allclose(money(best), plan.spend)
        again = unsorted.optimize(best.plan, Limits(**FREE))
        assert -1e-9 <= again.uplift.mean() < 1e-6 * again.evaluation.value.mean()
        assert unsorted.evaluate(plan).gap(Limits(**FREE)) >= best.uplift.mean() / best.evaluation.value.mean() - 1e-9  # a gap is a bound


def test_the_start_changes_nothing(unsorted):
    found = [money(unsorted.optimize(unsorted.plan(spend=table(unsorted, [start, start])), Limits(**FREE), over="periods"))
             for start in ([25, 25, 25, 25], [97, 1, 1, 1], [0, 0, 0, 100])]
    assert np.allclose(found[0], found[1], atol=1e-3) and np.allclose(found[0], found[2], atol=1e-3)


def test_limits_bind_the_line_that_they_name(unsorted):
    plan = unsorted.plan(spend=table(unsorted, [[25, 25, 25, 25]]))
    for name, other in (("zeta", "beta"), ("alpha", "zeta"), ("radio", "search"), ("web", "audio")):
        best = unsorted.optimize(plan, Limits(nodes={name: 3.0, other: (20, None)}, **FREE))
        level = next(level for level in plan.hierarchy.levels if name in plan.hierarchy.names[level])
        now = best.plan.by_node(level).sum()
        assert np.isclose(now[name], 3, atol=1e-6) and now[other] >= 20 - 1e-6
        assert np.isclose(best.prices().used[name], 3, atol=1e-6) and np.isclose(best.table(level).spend[name], 3, atol=1e-6)


def test_locked_money_does_not_move_with_the_budget(unsorted):
    plan = unsorted.plan(spend=table(unsorted, [[5, 6, 7, 8], [9, 10, 11, 12]]))
    for over in ("totals", "periods"):
        for total in (60, 68, 500):
            best = unsorted.optimize(plan, Limits(total=total, fixed=["search", "alpha"], **FREE), over=over)
            assert np.array_equal(best.plan.spend[["zeta", "beta", "alpha"]], plan.spend[["zeta", "beta", "alpha"]])
            assert np.isclose(best.plan.total, total)


def test_on_top_moves_new_money_only(unsorted):
    plan = unsorted.plan(spend=table(unsorted, [[5, 6, 7, 8]]))
    best = unsorted.optimize(plan, Limits(total=60, change=(0, None), **FREE))
    assert (money(best) >= plan.spend.to_numpy() - 1e-6).all() and np.isclose(best.plan.total, 60) and best.uplift.min() > 0


def test_names_orders_and_currency_change_nothing():
    rng = np.random.default_rng(4)
    U, decay, size, level = rng.gamma(2, 1, (60, 4)), rng.uniform(0, 0.6, (3, 4)), rng.gamma(2, 10, (3, 4)), rng.uniform(0.3, 0.8, (3, 4))
    spend = U * [1, 20, 3, 0.1]

    def solved(order, names, unit):
        tree = {"one": {"p": [names[i] for i in order[:2]]}, "two": {"q": [names[i] for i in order[2:]]}}
        world = world_of(data_of(tree, U[:, order], spend[:, order] * unit), decay[:, order], size[:, order], saturation_level=level[:, order])
        start = world.plan(6).spend
        plan = world.plan(spend=start[start.columns[::-1]])  # columns in another order
        best = world.optimize(plan, Limits(nodes={names[3]: (None, 0.5 * unit), names[0]: (2 * unit, None)}, change={names[1]: 0.3}), over="periods")
        return best.plan.spend[[names[i] for i in range(4)]].to_numpy() / unit, best.evaluation.value.mean(), best.prices().price["total"] * unit

    first = solved([0, 1, 2, 3], ["a", "b", "c", "d"], 1.0)
    for order, names, unit in (([1, 0, 3, 2], ["a", "b", "c", "d"], 1.0), ([2, 3, 1, 0], ["zz", "m", "b", "a"], 1.0), ([0, 1, 2, 3], ["a", "b", "c", "d"], 100.0), ([0, 1, 2, 3], ["a", "b", "c", "d"], 1e-6)):
        other = solved(order, names, unit)
        assert np.allclose(other[0], first[0], rtol=1e-3, atol=1e-3 * first[0].mean())
        assert np.isclose(other[1], first[1], rtol=1e-9) and np.isclose(other[2], first[2], rtol=1e-4)


def test_money_that_limits_leave_over_is_said(unsorted):
    now = unsorted.plan(26)
    left = unsorted.optimize(now, Limits(periods="month", nodes={"zeta": (None, 0)}, seen=False))
    assert left._unspent == pytest.approx(now.total - left.plan.total) and left._unspent > 0.001 * now.total
    assert re.search(r"leaves [\d,]+ of the money unspent: other limits bind first \(.*periods 20.*over=\"periods\"", repr(left))
    weeks = unsorted.optimize(now, Limits(periods="month", nodes={"zeta": (None, 0)}, seen=False), over="periods")
    assert weeks._unspent == 0 and "unspent" not in repr(weeks)
    capped = unsorted.optimize(now, Limits(nodes={name: (None, 1) for name in UNSORTED}))
    assert capped._unspent == pytest.approx(now.total - 2) and "web" in repr(capped) and "audio" in repr(capped)
    assert unsorted.optimize(now, Limits(total=(None, None), nodes={"web": (None, 9), "audio": (None, 9)}))._unspent == 0  # no total, nothing left of it


def test_money_is_of_the_whole_plan(unsorted):
    "Per week or in total? A limit of a node is in total; of a period, of that period."
    plan = unsorted.plan(spend=table(unsorted, [[10, 10, 10, 10]] * 4))
    best = unsorted.optimize(plan, Limits(nodes={"zeta": (None, 12)}, periods={0: (None, 5)}, **FREE), over="periods")
    assert np.isclose(best.plan.spend.zeta.sum(), 12, atol=1e-5) and np.isclose(best.plan.spend.iloc[0].sum(), 5, atol=1e-5)
    assert np.isclose(best.plan.total, plan.total) and np.isclose(best.prices().most["zeta"], 12)


@pytest.mark.parametrize("level", ["tactical", "platform", "channel"])
def test_tables_have_a_total(unsorted, level):
    plan = unsorted.plan(spend=table(unsorted, [[10, 10, 10, 10]] * 3))
    best = unsorted.optimize(plan, Limits(**FREE))
    found = best.table(level)
    assert list(found.index) == [*plan.hierarchy.names[level], "total"]
    assert np.allclose(found.loc["total", ["before", "spend", "contribution"]].astype(float), found.iloc[:-1][["before", "spend", "contribution"]].sum())
    assert np.isclose(found.contribution["total"], best.evaluation.value.mean()) and np.isclose(found.before["total"], plan.total)


def test_future_dates_are_what_a_plan_is_of(unsorted):
    assert unsorted.plan(4).time[0] == unsorted.data.time[-1] + pd.Timedelta(weeks=1)


def test_how_sure_the_plan_is(unsorted):
    best = unsorted.optimize(unsorted.plan(spend=table(unsorted, [[10, 10, 10, 10]])), Limits(**FREE))
    assert best.uplift.shape == (2,) and best.better == (best.uplift > 0).mean()
    assert "better with probability" in repr(best) and "No plan under these limits is better by more than" in repr(best)


# Limits that clash, are degenerate, or are none


@pytest.fixture(scope="module")
def start(unsorted):
    return unsorted.plan(spend=table(unsorted, [[10, 20, 30, 40], [5, 5, 5, 5]]))


@pytest.mark.parametrize("limits, sentence", [
    (dict(total=50, nodes={"web": (60, None)}), "total at most 50; web at least 60.*10 apart"),
    (dict(nodes={"search": (None, 30), "zeta": (20, None), "beta": (20, None)}), "search at most 30; zeta at least 20; beta at least 20.*10 apart"),
    (dict(total=(1000, None), change=0.2), "total at least 1,000.*856 apart"),
    (dict(total=(1e9, None), seen=True), "within what the data have seen.*seen=False"),
    (dict(fixed=["web"], nodes={"web": (None, 10)}), "limit of web cannot be met: all of its money, 75, is locked, and it should be at most 10"),
    (dict(fixed=["web"], total=50), "total at most 50.*25 apart"),
    (dict(fixed=["web", "audio"]), "nothing may move"),
    (dict(nodes={"webb": (1, 2)}), "'webb', which is no node.*'web'"),
    (dict(fixed=["zetta"]), "fixed names 'zetta'.*'zeta'"),
    (dict(total=(5, None)), "nothing limits how much may be spent"),
    (dict(windows=[Window("web", 0, 9, None, 5)]), "window of web names 9"),
    (dict(windows=[Window("web", "2025-01-01", "2040-01-01", None, 5)]), "names '2040-01-01', and no period"),
    (dict(windows=[Window("web", 1, 0, None, 5)]), "begins at 1 and ends before that, at 0"),
    (dict(periods={"2031-03": (None, 5)}), "names '2031-03', and no period"), (dict(periods="monht"), "Did you mean 'month'"),
])
def test_impossible_limits_are_named(unsorted, start, limits, sentence):
    with pytest.raises(PrecisionError, match=f"(?s){sentence}"):
        unsorted.optimize(start, Limits(**({"seen": False} | limits)))


@pytest.mark.parametrize("wrong", [
    dict(nodes=["web"]), dict(nodes={"web": "5"}), dict(nodes={"web": (5, 2)}), dict(nodes={"web": (-5, 2)}), dict(nodes={"web": (np.nan, 2)}),
    dict(nodes={"web": (0, np.inf)}), dict(nodes={"web": None}), dict(nodes={"web": True}), dict(total="5"), dict(total=-5), dict(total=(1, 2, 3)),
    dict(fixed="web"), dict(fixed=None), dict(fixed=5), dict(change="30%"), dict(change=-0.3), dict(change=["web"]), dict(change=True), dict(periods=["month"]),
    dict(periods=5), dict(windows=Window("web", 0, 1)), dict(windows=[("web", 0)]), dict(windows="web"), dict(windows=None), dict(seen="no"), dict(minimum={"web": 0})])
def test_limits_of_wrong_types(wrong):
    with pytest.raises(PrecisionError):
        Limits(**wrong)


@pytest.mark.parametrize("ask", [
    lambda w, p: w.optimize(None), lambda w, p: w.optimize(p.spend), lambda w, p: w.optimize(p, {"total": 5}), lambda w, p: w.optimize(p, aim="meen"),
    lambda w, p: w.optimize(p, aim=5), lambda w, p: w.optimize(p, over="perods"), lambda w, p: w.optimize(p, over=None), lambda w, p: w.evaluate(None),
    lambda w, p: w.evaluate(p, against=p.spend), lambda w, p: w.evaluate(p, against=w.plan(3)), lambda w, p: w.evaluate(p).uplift,
    lambda w, p: w.evaluate(p).gap(Limits(total=50)), lambda w, p: w.evaluate(p).gap(over="perods"), lambda w, p: w.evaluate(diminishing([10, 40]).plan(2)),
    lambda w, p: w.evaluate(p.with_spend(2 * p.spend), against=p).gap(Limits(total=500, fixed=["web"], seen=False)), lambda w, p: w.evaluate(p).table("chanel")])
def test_wrong_questions(unsorted, start, ask):
    with pytest.raises(PrecisionError):
        ask(unsorted, start)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("over", ["totals", "periods"])
@pytest.mark.parametrize("limits, known", [
    (dict(total=90, nodes={"zeta": 10, "beta": 20, "yoga": 15, "alpha": 45, "web": 45, "search": 30, "radio": 45}), [10, 20, 15, 45]),
    (dict(total=90, nodes={"zeta": (10, None), "beta": (20, None), "yoga": (15, None), "alpha": (45, None)}), [10, 20, 15, 45]),
    (dict(total=90, nodes={"zeta": (0, 0), "beta": 0, "yoga": (0, 0)}), [0, 0, 0, 90]),
    (dict(nodes={"web": 0, "audio": (0, 0)}), [0, 0, 0, 0]), (dict(total=0), [0, 0, 0, 0]), (dict(change=0), [15, 25, 35, 45]),
    (dict(total=(90, 90), fixed=["zeta", "beta"], nodes={"yoga": 20}), [15, 25, 20, 30]),
])
def test_degenerate_limits(unsorted, start, limits, known, over):
    best = unsorted.optimize(start, Limits(**limits, **FREE), over=over)
    assert np.allclose(money(best).sum(axis=0), known, atol=1e-5) and -1e-9 <= best.gap < 1e-5
    assert np.isfinite(best.prices().to_numpy()[:, 2:].astype(float)).all()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("over", ["totals", "periods"])
def test_a_plan_without_money(unsorted, start, over):
    nothing = start.with_spend(0 * start.spend)
    assert unsorted.optimize(nothing, over=over).plan.total < 1e-6 and not unsorted.evaluate(nothing).value.any()
    some = unsorted.optimize(nothing, Limits(total=100, **FREE), over=over)
    assert np.isclose(some.plan.total, 100) and some.gap < 1e-6
    free = unsorted.optimize(nothing, Limits(total=(None, None)), over=over)  # as far as the data have seen
    assert free.plan.total > 0 and free.gap < 1e-6 and free.seen.money < 1e-6


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("decay", [0.0, 0.99])
@pytest.mark.parametrize("size", [0.0, [0.0, 1, 2, 3]])
def test_extreme_draws(unsorted, decay, size):
    world = world_of(unsorted.data, decay, size, saturation_level=0.5)
    best = world.optimize(world.plan(8), over="periods")
    assert best.gap < 1e-6 and np.isfinite(money(best)).all() and best.uplift.shape == (1,) and (best.uplift >= -1e-9).all()
    assert "Optimum over periods" in repr(best) and np.isfinite(best.table("tactical").spend).all()


def test_far_beyond_what_was_seen(unsorted, start):
    far = start.with_spend(start.spend * 1e4)
    best = unsorted.optimize(far)  # what the plan has may stay
    assert best.uplift.mean() >= -1e-6 and best.gap < 1e-6 and best.seen.money > 0.5 and "beyond the highest adstock" in repr(best)
    assert unsorted.optimize(start, Limits(total=1e6)).plan.total < 1e5  # the seen range stops it
    small = unsorted.optimize(far, Limits(total=50, **FREE))
    near(small.plan.total, 50), near(money(small).sum(axis=0), money(unsorted.optimize(start.with_spend(start.spend), Limits(total=50, **FREE))).sum(axis=0), 1e-3)


def test_months_mean_the_same_to_plans_and_limits():
    world = diminishing([10, 40], index=dates(104, "W-MON", "2023-01-02"))  # ends on 2024-12-23; the next week counts for January
    months = pd.DataFrame({"line_0": [90.0, 30.0], "line_1": [10.0, 70.0]}, pd.period_range("2025-01", periods=2, freq="M"))
    plan = world.plan(spend=months)
    assert str(plan.time[0]) == "2024-12-30 00:00:00" and len(plan.time) == 9
    best = world.optimize(plan, Limits(periods="month", **FREE), over="periods")
    assert list(best.prices().index) == ["total", "periods 2025-01", "periods 2025-02"]
    assert np.allclose(best.prices().used, [200, 100, 100]) and np.allclose(best.prices().most, [200, 100, 100])
    half = world.optimize(plan, Limits(periods={"2025-01": (None, 60)}, **FREE), over="periods")
    assert np.isclose(half.plan.spend.sum(axis=1)[:5].sum(), 60, atol=1e-5)


def test_names_that_stand_at_two_levels():
    world = diminishing([10, 40], tree={"tv": {"spots": ["tv"]}, "web": {"search": ["google"]}}, names=["tv", "google"])
    plan = world.plan(spend=table(world, [50, 50]))
    best = world.optimize(plan, Limits(change=0.1, **FREE))
    near(money(best)[0], (45, 55))
    near(world.evaluate(world.plan(spend=best.plan.spend)).value, best.evaluation.value)
