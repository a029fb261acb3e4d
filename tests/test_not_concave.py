"""Curves that rise before they fall, effects of either sign, and minimum buys: what is best, and how high it can be."""

import itertools
import os

import numpy as np
import pandas as pd
import pytest

from precision.errors import PrecisionError
from precision.evaluation import Evaluation
from precision.hierarchy import build_hierarchy
from precision.hill import best_of_rising
from precision.known_worlds import around_truth
from precision.limits import Limits
from precision.majorant import roof_over
from precision.minimum_buys import best_with_buys, check_buys, with_choices
from precision.model import MMM
from precision.optimum import Mean, Task, optimum_of, task_of
from precision.pieces import _without_remarks
from precision.plan_lines import Line
from precision.plan_values import PlanValues
from precision.plans import Plan
from precision.polytope import decision_of, polytope_of
from precision.saturation import SATURATIONS
from precision.simulate import simulate

NAMES = ["tv_a", "tv_b", "search", "social"]
TREE = build_hierarchy({"tv": {"linear": NAMES[:2]}, "online": {"google": NAMES[2:3], "meta": NAMES[3:]}})
PAIR = build_hierarchy({"media": {"all": ["a", "b"]}})


def plan_by_hand(tree, money, currency=1.0):
    "A plan of money [P, N]."
    money = np.array(money, float) * currency
    frame = pd.DataFrame(money, pd.RangeIndex(len(money)), tree.leaves)
    return Plan(frame, frame * 0 + currency, np.ones(len(money)), "nothing", tree)


def task_by_hand(tree, lines, money, limits=Limits(seen=False), over="totals", currency=1.0):
    "A task without a fit, of lines that were made by hand."
    plan, draws = plan_by_hand(tree, money, currency), len(lines[0].size)
    values = PlanValues(plan, ((dict(enumerate(lines)), np.arange(draws)),), draws)
    decision = decision_of(plan, limits, np.arange(len(lines)), over)
    return Task(None, limits, values, {}, decision, polytope_of(limits, decision, {}))


def random_lines(rng, draws, periods, effects, currency=1.0, count=4):
    "Hill curves with slopes on both sides of one, memory, carry-in and media after the plan."
    for _ in range(count):
        size = rng.uniform(5, 50, draws) if effects == "positive" else rng.normal(15, 25, draws)
        yield Line(SATURATIONS["hill"], (rng.uniform(0.2, 0.8, draws), rng.uniform(0.6, 3, draws)),
                   decay := rng.uniform(0, 0.8, draws), 1 - decay, size, rng.uniform(0, 1, draws), rng.choice([0.0, 0.7]),
                   np.full(periods, rng.uniform(5, 30)) * currency, np.full(periods, 1.0))


def random_task(seed, over, effects="positive", currency=1.0, **limits):
    rng = np.random.default_rng(seed)
    periods = 5
    lines = list(random_lines(rng, 12, periods, effects, currency))
    limits = Limits(seen=False, nodes={"tv": (None, 60 * currency)}, **limits)
    return task_by_hand(TREE, lines, np.full((periods, 4), 5.0), limits, over, currency)


def random_decisions(task, rng, count):
    "Decisions within a total of 100 and at most 60 for tv, many of them at corners."
    shape = task.decision.shape.shape[::2]
    for sharp in rng.choice([0.05, 0.3, 1.0], count):
        x = rng.dirichlet(np.full(np.prod(shape) + 1, sharp))[:-1].reshape(shape) * task.polytope.scale
        tv = x[:2].sum()
        x[:2] *= min(1.0, 0.6 * task.polytope.scale / max(tv, 1e-300))
        yield x


def two_equal(money=(50, 50), over="totals", currency=1.0, limits=Limits(seen=False)):
    line = Line(SATURATIONS["hill"], (np.array([0.5]), np.array([3.0])), np.zeros(1), np.ones(1), np.array([50.0]), np.zeros(1),
                0.0, np.array([100.0 * currency]), np.ones(1))
    return task_by_hand(PAIR, [line, line], [money], limits, over, currency)


@pytest.mark.parametrize("over", ["totals", "periods"])
@pytest.mark.parametrize("money", [(50, 50), (30, 70), (100, 0)])
def test_two_equal_s_shaped_curves_share_nothing(over, money):
    task = two_equal(money, over)
    best = optimum_of(task, Mean())
    assert np.allclose(sorted(best.found.x.ravel()), [0, 100], atol=1e-4)
    assert abs(best.found.score - 50) < 1e-6 and best.gap < 1e-3
    assert abs(task.draws(np.array([[50.0], [50.0]]))[0] - 22.2222) < 1e-4
    assert "a, b rise before they fall" in best.found.said[0]


def test_currency_changes_nothing():
    for currency in (1e-3, 1e4):
        best = optimum_of(two_equal(currency=currency), Mean())
        assert np.allclose(sorted(best.found.x.ravel() / currency), [0, 100], atol=1e-3) and abs(best.found.score - 50) < 1e-6
    plain, large = (random_task(4, "totals", "positive", currency) for currency in (1.0, 1e3))
    one, other = best_of_rising(plain), best_of_rising(large)
    assert abs(one.score - other.score) < 4e-4 * abs(one.score) and abs(one.highest - other.highest) < 5e-4 * abs(one.score)


@pytest.mark.parametrize("effects", ["positive", "real"])
def test_no_draw_rises_above_its_roof_and_the_roof_is_concave(effects):
    rng = np.random.default_rng(7)
    for line in random_lines(rng, 40, 6, effects, count=6):
        roof, evenly = roof_over(line, np.full(6, 40.0), 100.0), np.full(40, 1 / 40)
        rows = [x for x in rng.dirichlet(np.full(7, 0.4), 300)[:, :6] * 100 if x.max() <= 40]
        assert len(rows) > 50
        slack = 1e-5 * np.abs(line.size).max()  # tails are right to a millionth
        assert all((roof.brings(x) >= line.brings(x) - slack).all() for x in rows)
        middles = [(roof.brings(x) + roof.brings(y)) / 2 - roof.brings((x + y) / 2) for x, y in zip(rows, rows[1:])]
        assert np.max(middles) < slack
        near = roof.expand(rows[0], evenly)
        tangent = [near.mean + near.slope @ (x - rows[0]) for x in rows]
        assert all(t >= evenly @ line.brings(x) - slack for t, x in zip(tangent, rows))


@pytest.mark.parametrize("effects", ["positive", "real"])
@pytest.mark.parametrize("over", ["totals", "periods"])
def test_random_plans_do_not_beat_the_bound(over, effects):
    for seed in range(2 if over == "totals" else 1):
        task, rng = random_task(seed, over, effects), np.random.default_rng(seed)
        best = optimum_of(task, Mean())
        assert not task.polytope.broken(best.found.x) and (best.found.x >= 0).all()
        tried = [(x, task.draws(x).mean()) for x in random_decisions(task, rng, 1000)]
        highest = max(value for _, value in tried)
        assert highest <= best.found.highest + 1e-9 and highest <= best.found.score + 4e-4 * abs(best.found.score)
        assert best.gap < (4e-4 if over == "totals" else 0.5)
        assert best.found.score >= task.draws(task.decision.of_plan(task.plan.spend.to_numpy())).mean() - 1e-9
        for x, value in tried[:40]:  # the certificate of any plan
            assert value + task.bound(x) >= best.found.score - 1e-9


def test_the_solver_prints_nothing_and_nothing_else_is_lost(capfd):
    with _without_remarks():
        os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\nkept\n")
    assert capfd.readouterr().out == "kept\n"
    beliefs = around_truth(simulate(seed=3), draws=50)
    best = beliefs.optimize(beliefs.plan(26), Limits(change=0.5))
    assert len(best.moves()) > 2
    with pytest.raises(ZeroDivisionError), _without_remarks():
        raise ZeroDivisionError
    print("still here")
    assert capfd.readouterr().out == "still here\n"


def test_concave_curves_know_nothing_of_this():
    line = Line(SATURATIONS["hill"], (np.array([0.5]), np.array([0.9])), np.zeros(1), np.ones(1), np.array([50.0]), np.zeros(1),
                0.0, np.array([100.0]), np.ones(1))
    task = task_by_hand(PAIR, [line, line], [(30, 70)])
    assert not task.rising
    best = optimum_of(task, Mean())
    assert np.allclose(best.found.x.ravel(), 50, atol=1e-2) and best.gap < 1e-6 and not best.found.said


def mm_lines(rng, periods):
    for _ in range(4):
        decay = rng.uniform(0, 0.7, 5)
        yield Line(SATURATIONS["michaelis_menten"], (rng.uniform(0.2, 0.8, 5),), decay, 1 - decay, rng.uniform(5, 50, 5),
                   rng.uniform(0, 1, 5), 0.5, np.full(periods, rng.uniform(5, 30)), np.ones(periods))


@pytest.mark.parametrize("over", ["totals", "periods"])
def test_minimum_buys_are_those_of_all_patterns(over):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        minimum = {"tv": rng.uniform(20, 90), "tv_a": rng.uniform(5, 60), "search": rng.uniform(10, 60), "meta": rng.uniform(10, 60)}
        limits = Limits(seen=False, minimum=minimum, nodes={"online": (None, 70)})
        task = task_by_hand(TREE, list(mm_lines(rng, 3)), np.full((3, 4), 100 / 12), limits, over)
        best, scores = optimum_of(task, Mean()), []
        for bought in itertools.product((True, False), repeat=4):
            try:
                chosen = with_choices(task, dict(zip(minimum, bought)))
            except PrecisionError:
                continue
            scores.append(Mean().best(chosen).score)
        assert abs(best.found.score - max(scores)) < 1e-5 * max(scores)
        assert best.found.highest >= max(scores) - 1e-9 and best.gap < 1e-4
        check_buys(task, task.decision.of_plan(best.plan.spend.to_numpy()))
        assert "Minimum buys" in best.found.said[-1]


def test_minimum_buys_of_s_shaped_curves():
    task = two_equal(limits=Limits(seen=False, minimum={"a": 60.0, "b": 70.0}))
    best = optimum_of(task, Mean())
    assert abs(best.found.score - 50) < 1e-4 and best.gap < 1e-3
    capped = two_equal(limits=Limits(seen=False, minimum={"a": 60.0}, nodes={"b": (None, 40.0)}, total=80))
    best = optimum_of(capped, Mean())
    assert abs(best.found.score - 100 * 80**3 / (100**3 + 80**3)) < 1e-3
    low = two_equal((20, 30), limits=Limits(seen=False, minimum={"a": 60.0}))  # too little for a: all of it to b
    assert np.allclose(optimum_of(low, Mean()).plan.spend.to_numpy(), [[0, 50]], atol=1e-4)


def test_minimum_buys_that_cannot_be():
    with pytest.raises(PrecisionError, match="minimum buys: a nothing, or at least 60"):
        optimum_of(two_equal(limits=Limits(seen=False, minimum={"a": 60.0}, nodes={"a": (10.0, 50.0)})), Mean())


@pytest.fixture(scope="module")
def fit():
    sim = simulate(seed=3)
    return MMM(sim.hierarchy, saturation="hill").fit(sim.y, sim.U, sim.Z, sim.spend, seed=1, progress=False, draws=60, chains=2)


def test_a_fit_with_hill_curves(fit):
    plan = fit.plan(13)
    best = fit.optimize(plan)
    assert best.gap < 1e-3 and "rise before they fall" in repr(best) and best.uplift.mean() >= 0
    told = fit.evaluate(plan)
    gap = told.gap(Limits())
    assert (1 - told.value.mean() / best.evaluation.value.mean()) - 1e-6 <= gap < 1
    assert len(best.prices()) and isinstance(told, Evaluation)


def test_minimum_buys_are_never_passed_over(fit):
    plan = fit.plan(13)
    tv = plan.by_node()["tv"].sum()
    limits = Limits(minimum={"tv": 1.3 * tv}, seen=False)
    with pytest.raises(PrecisionError, match="minimum"):
        task_of(fit, plan, limits)
    with pytest.raises(PrecisionError, match="minimum buy"):
        fit.evaluate(plan).gap(limits)
    best = fit.optimize(plan, limits)
    spent = best.plan.by_node()["tv"].sum()
    assert spent < 1e-6 * tv or spent >= 1.3 * tv * (1 - 1e-7)
    assert fit.evaluate(best.plan, against=plan).gap(limits) < 1e-3
