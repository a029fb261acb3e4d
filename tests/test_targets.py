"""Budgets from goals, frontiers, ranges and few moves: known answers, limits that hold, certificates that are never beaten."""

import numpy as np
import pandas as pd
import pytest

from precision import Limits, PrecisionError, Reach, TargetMarginalROI, TargetROI
from precision.climb import Hill
from precision.hierarchy import build_hierarchy
from precision.known_worlds import around_truth
from precision.near_best import _in_order
from precision.optimum import Mean, Optimum, Task
from precision.plan_lines import Line
from precision.plan_values import PlanValues
from precision.plans import Plan
from precision.polytope import decision_of, furthest, polytope_of
from precision.saturation import MICHAELIS_MENTEN
from precision.simulate import simulate


def textbook(spend, halves=(10, 40), limits=None, over="totals", ceilings=(100, 100), currency=1.0):
    "Lines that bring `ceiling * s / (half + s)`, without memory."
    names = [f"line_{n}" for n in range(len(halves))]
    tree = build_hierarchy({"media": names}, levels=("line", "all"))
    rows = np.atleast_2d(np.asarray(spend, float)) * currency
    frame = pd.DataFrame(rows, columns=names)
    full = lambda value: np.array([float(value)])
    plan = Plan(frame, frame * 0 + currency, np.ones(len(rows)), "nothing", tree)
    lines = {
        i: Line(MICHAELIS_MENTEN, (full(0.5),), full(0), full(1), full(ceiling / 2), full(0), 0.0, np.full(len(rows), half * currency), np.ones(len(rows)))
        for i, (half, ceiling) in enumerate(zip(halves, ceilings))
    }
    limits = Limits() if limits is None else limits
    decision = decision_of(plan, limits, np.arange(len(names)), over)
    return Task(None, limits, PlanValues(plan, ((lines, np.arange(1)),), 1), {}, decision, polytope_of(limits, decision, {}))


def optimum(task, aim=Mean()):
    return Optimum(task, aim, aim.best(task))


@pytest.fixture(scope="module")
def world():
    beliefs = around_truth(simulate(seed=3), draws=60)
    return beliefs, beliefs.plan(12)


@pytest.mark.parametrize("over", ["totals", "periods"])
def test_known_answers(over):
    task = textbook([100, 100], over=over)
    least = Reach(140).best(task)
    assert -least.score == pytest.approx(100, rel=1e-4) and -least.highest == pytest.approx(100, rel=1e-4)
    assert least.x.ravel() == pytest.approx([40, 60], rel=1e-3)
    until = TargetMarginalROI(0.4).best(task)
    assert until.x.sum() == pytest.approx(100, rel=1e-4) and until.highest - until.score < 1e-3
    assert until.charge == 0.4 and not until.said
    roi = TargetROI(1.4).best(task)  # 140 for 100 is the best plan of its money
    assert roi.x.sum() == pytest.approx(100, rel=1e-4) and roi.score == pytest.approx(140, rel=1e-4)
    assert roi.highest == pytest.approx(roi.score, rel=1e-4)


def test_four_weeks_are_even_for_a_goal():
    task = textbook([[100], [0], [0], [0]], halves=(25,), over="periods")
    found = Reach(160).best(task)  # 4 * 100 s / (25 + s) = 160 at s = 50 / 3
    assert found.x.ravel() == pytest.approx([50 / 3] * 4, rel=1e-3)


def test_the_currency_does_not_matter():
    for currency in (1e-3, 1e4):
        task = textbook([100, 100], currency=currency)
        assert -Reach(140).best(task).score == pytest.approx(100 * currency, rel=1e-4)
        assert TargetROI(1.4 / currency).best(task).x.sum() == pytest.approx(100 * currency, rel=1e-4)


def test_money_that_stays_counts():
    task = textbook([40, 160], limits=Limits(fixed=["line_0"]))
    assert -Reach(140).best(task).score == pytest.approx(100, rel=1e-4)
    assert TargetROI(1.4).best(task).x.sum() == pytest.approx(60, rel=1e-3)


def test_a_total_that_binds_is_said():
    for aim in (TargetMarginalROI(0.1), TargetROI(1.1)):
        found = aim.best(textbook([20, 30]))
        assert found.x.sum() == pytest.approx(50) and "total of 50 binds" in found.said[-1]
    assert "least that the limits allow" in Reach(1).best(textbook([50, 50], limits=Limits(nodes={"line_1": (30, None)}))).said[-1]


def test_nothing_pays():
    found = TargetMarginalROI(1000).best(textbook([50, 50]))
    assert found.x.sum() == pytest.approx(0, abs=1e-3) and "least" in found.said[0]


@pytest.mark.parametrize(
    "ask, words",
    [
        (lambda: Reach(0), ["outcome of Reach", "above zero"]),
        (lambda: Reach("much"), ["'much'"]),
        (lambda: Reach(100, sure=90), ["sure", "between 0 and 1"]),
        (lambda: TargetROI(np.nan), ["ROI", "above zero"]),
        (lambda: TargetMarginalROI(True), ["marginal ROI"]),
        (lambda: Reach(1000).best(textbook([50, 50])), ["1,000", "at most 139.99", "100 of money"]),
        (lambda: Reach(1000, sure=0.9).best(textbook([50, 50])), ["probability 0.9", "at most 0"]),
        (lambda: TargetROI(11).best(textbook([50, 50])), ["ROI of 11", "the most is about"]),
        (lambda: TargetROI(3).best(textbook([50, 50], limits=Limits(nodes={"line_1": (60, None)}))), ["the most is about 1.6"]),
    ],
)
def test_errors(ask, words):
    with pytest.raises(PrecisionError) as error:
        ask()
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("over", ["totals", "periods"])
def test_random_plans_never_beat_a_certificate(world, over):
    beliefs, now = world
    limits, rng = Limits(total=1.6 * now.total, nodes={"tv": (1e5, None)}), np.random.default_rng(1)
    today = float(beliefs.evaluate(now).value.mean())
    aims = [TargetROI(2.5), TargetMarginalROI(2.0), Reach(today)]
    found = [beliefs.optimize(now, limits, aim=aim, over=over) for aim in aims]
    task = found[0].task
    corners = [furthest(task.polytope, rng.normal(size=one.found.x.shape)) for one in found for _ in range(8)]
    for one, aim in zip(found, aims):
        assert -1e-9 <= one.gap < 1e-4 and not task.polytope.broken(one.found.x)
        assert aim.score(task, one.found.x) == pytest.approx(one.found.score, rel=1e-6)
        mixes = rng.dirichlet(np.full(len(corners) + 1, 0.3), size=60 if over == "totals" else 15)
        scores = [aim.score(task, np.tensordot(mix, [*corners, one.found.x], 1)) for mix in mixes]
        assert max(scores) <= one.found.highest + 1e-9 * abs(one.found.highest)


def test_a_goal_that_is_sure(world):
    beliefs, now = world
    today = float(beliefs.evaluate(now).value.mean())
    best = beliefs.optimize(now, Limits(total=2 * now.total), aim=Reach(today, sure=0.8))
    assert (best.evaluation.value >= today * (1 - 1e-7)).mean() >= 0.8
    assert "not certified" in best.found.said[0] and best.found.highest >= best.found.score
    less = best.task.stop(money=best.plan.total * 0.999)
    assert (best.task.draws(less.x) >= today).mean() < 0.8


def test_prices_are_at_the_same_money(world):
    beliefs, now = world
    limits = lambda most: Limits(total=2 * now.total, nodes={"search": (None, most)})
    aim, most = TargetMarginalROI(1.5), 0.8 * now.by_node().search.sum()
    best, more = (beliefs.optimize(now, limits(amount), aim=aim) for amount in (most, most + 100))
    price = best.prices().price["search"]
    assert price == pytest.approx((more.found.score - best.found.score) / 100, rel=2e-2)


def test_frontier(world):
    beliefs, now = world
    line = beliefs.frontier(now, Limits(change=0.6), budgets=[1.2 * now.total, 0.7 * now.total])
    table = line.table()
    assert list(table.index) == sorted(table.index) and (table.gap < 1e-6).all()
    one = beliefs.optimize(now, Limits(total=0.7 * now.total, change=0.6))
    assert table.outcome.iloc[0] == pytest.approx(one.found.score, rel=1e-6)
    assert line.mix("platform").sum(axis=1).to_numpy() == pytest.approx(table.spend.to_numpy())
    weekly = beliefs.frontier(now, Limits(change=0.6), [0.7 * now.total], over="periods").table()
    assert weekly.outcome.iloc[0] >= table.outcome.iloc[0] * (1 - 1e-9)
    assert len(beliefs.frontier(now).best) == 9


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(limits=Limits(total=5)), ["total=5", "budgets"]),
        (dict(limits=Limits(nodes={"tv": (4e5, None)}), budgets=[1e6, 3e5]), ["tv at least 400,000", "total at most 300,000"]),
        (dict(budgets=[1e5, 0]), ["budgets has 0"]),
        (dict(budgets=[]), ["empty"]),
        (dict(limits={"total": 1}), ["Limits"]),
    ],
)
def test_frontier_errors(world, options, words):
    beliefs, now = world
    with pytest.raises(PrecisionError) as error:
        beliefs.frontier(now, **options)
    assert all(word in str(error.value) for word in words), error.value


def test_ranges_of_the_textbook():
    best = optimum(textbook([50, 50]))
    table = best.ranges(0.01)
    s = np.linspace(0, 100, 2_000_001)[1:-1]
    good = s[100 * s / (10 + s) + 100 * (100 - s) / (140 - s) >= 0.99 * 140]
    assert table.loc["line_0", ["least", "most"]].to_numpy() == pytest.approx([good[0], good[-1]], abs=1e-2)
    assert table.loc["line_0", "best"] == pytest.approx(40, abs=1e-3)
    every = best.ranges(0.01, level="all")
    assert every.most.iloc[0] == pytest.approx(100, abs=1e-3) and every.least.iloc[0] == pytest.approx(
        -Reach(0.99 * 140).best(textbook([50, 50])).score, abs=1e-2
    )


def test_ranges_hold_every_plan_that_is_nearly_as_good(world):
    beliefs, now = world
    best = beliefs.optimize(now, Limits(change=0.9, fixed=["stream_sport"]))
    table, rng = best.ranges(0.02), np.random.default_rng(2)
    assert (table.loc["stream_sport", ["least", "best", "most"]] == now.spend.stream_sport.sum()).all()
    task, top = best.task, best.found.x
    leaves = [now.hierarchy.leaves[i] for i in task.decision.lines]
    low, high = (table.loc[leaves, end].to_numpy() for end in ("least", "most"))
    kept = 0
    for _ in range(60):
        far = furthest(task.polytope, rng.normal(size=top.shape))
        x = top + rng.uniform(0, 0.5) * (far - top)
        if task.draws(x).mean() >= 0.98 * best.found.score:
            kept += 1
            assert (x[:, 0] >= low - 2e-4 * now.total).all() and (x[:, 0] <= high + 2e-4 * now.total).all()
    assert kept > 10


def test_moves_are_the_fewest():
    task = textbook([50, 50, 50, 50], halves=(10, 10, 10, 90), ceilings=(100, 100, 100, 300))
    best = optimum(task)
    gain = best.found.score - float(task.draws(np.full((4, 1), 50.0)).mean())
    tangents = best.tangents("moves", gain)
    by_hand = {}
    for count in range(1, 5):
        sets = [np.isin(np.arange(4), [3, *range(count - 1)])]  # the first three are alike
        by_hand[count] = max(tangents.solve(may=some)[1] for some in sets) / gain
    for share in (0.3, 0.6, 0.9, 0.99):
        needed = min(count for count, reached in by_hand.items() if reached >= share)
        assert tangents.fewest(share * gain).sum() == needed


def test_moves(world):
    beliefs, now = world
    best = beliefs.optimize(now, Limits(change=0.9))
    few = best.moves(0.8)
    assert few.share.iloc[-1] >= 0.8 - 1e-5 and len(few) < 10
    told = beliefs.evaluate(best.with_moves(few), against=now)
    assert told.uplift.mean() == pytest.approx(few.gain.iloc[-1], rel=1e-3)
    assert not len(beliefs.optimize(beliefs.optimize(now).plan).moves())


def test_moves_can_be_followed_step_by_step(world):
    beliefs, now = world
    for limits in (Limits(change=0.5), Limits(total=1.02 * now.total, change=0.5), Limits(change=0.5, nodes={"tv": (0.8 * now.by_node()["tv"].sum(), None)})):
        best = beliefs.optimize(now, limits)
        few = best.moves(0.9)
        room = best.task.polytope.upper[0] - now.total
        assert (few.freed > -room - 1e-6 * now.total).all()  # nothing is spent before it is there
        for steps in range(1, len(few) + 1):
            plan = best.with_moves(few[:steps])
            assert not best.task.polytope.broken(best.task.decision.of_plan(plan.spend.to_numpy()))
            assert now.total - plan.total == pytest.approx(few.freed.iloc[steps - 1], abs=1e-6 * now.total)
            assert beliefs.evaluate(plan, against=now).uplift.mean() == pytest.approx(few.gain.iloc[steps - 1], abs=1e-4 * few.gain.max())


def test_a_line_takes_what_another_has_freed():
    task = textbook([50, 50, 50], halves=(10, 10, 90), ceilings=(100, 100, 300))
    best = optimum(task)
    tangents = best.tangents("moves", 10.0)
    steps = _in_order(tangents, tangents.solve()[0], np.ones(3, bool))
    assert steps[-1][0] == 2 and steps[-1][1] == pytest.approx(0, abs=1e-3) and steps[-1][2] > 0
    assert all(freed > 0 and gain < 0 for _, freed, gain in steps[:-1])  # whoever only gives loses


def test_near_best_errors(world):
    beliefs, now = world
    best = beliefs.optimize(now, Limits(change=0.5))
    for ask, words in (
        (lambda: best.ranges(5), "within"),
        (lambda: best.ranges(0.01, level="brand"), "level"),
        (lambda: best.moves(0), "share"),
        (beliefs.optimize(now, Limits(change=0.5), aim=TargetMarginalROI(1)).ranges, "on average over totals"),
        (beliefs.optimize(now, Limits(total=0.8 * now.total)).moves, "does not keep the limit of total"),
    ):
        with pytest.raises(PrecisionError, match=words):
            ask()


def test_curves_agree_with_all_draws(world):
    beliefs, now = world
    task = beliefs.optimize(now, Limits(total=2 * now.total)).task
    rng = np.random.default_rng(3)
    for _ in range(10):
        x = rng.uniform(0, 1, (len(task.decision.lines), 1)) * task.polytope.most
        told, exact = task.curves.hill(x), task.hill(x)
        assert isinstance(told, Hill) and told.value == pytest.approx(exact.value, rel=1e-6)
        learnt = task.curves.learn(x)
        assert learnt.value == pytest.approx(exact.value, rel=1e-10)
        assert learnt.slope.ravel() == pytest.approx(exact.slope.ravel(), rel=1e-8)
        assert learnt.bend.ravel() == pytest.approx(exact.bend.ravel(), rel=1e-8)
