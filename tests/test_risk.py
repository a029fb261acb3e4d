"""CVaR of the paired uplift, its bound, and regret: against brute force in worlds small enough to try everything."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.known_worlds import around_truth
from precision.limits import Limits
from precision.optimum import Mean, Optimum, Task
from precision.plan_lines import Line
from precision.plan_values import PlanValues
from precision.plans import Plan
from precision.polytope import decision_of, polytope_of
from precision.risk import Cautious, cvar
from precision.saturation import SATURATIONS
from precision.simulate import simulate


class Alone:
    "A result that has nothing but the shape of its draws, and an outcome without a name."

    data = SimpleNamespace(outcome="")

    def __init__(self, chains, draws):
        self.sample_shape = chains, draws


def line_of(halves, ceilings, periods):
    "ceiling * money / (half + money) in every draw, without carry-over."
    halves, ceilings = np.asarray(halves, float), np.asarray(ceilings, float)
    s, one = 1 / (1 + halves), np.ones(len(halves))
    return Line(SATURATIONS["michaelis_menten"], (s,), 0 * one, one, ceilings * s, 0 * one, 0.0, np.ones(periods), np.ones(periods))


def world(halves, ceilings, money, limits=Limits(seen=False), over="totals"):
    "A task of lines with half-points and ceilings [S, L], from a plan of money [P, L]."
    halves, ceilings, money = (np.asarray(value, float) for value in (halves, ceilings, money))
    size, lines = halves.shape
    names = [f"line_{i}" for i in range(lines)]
    tree = build_hierarchy({"all": {"all media": names}})
    plan = Plan(pd.DataFrame(money, columns=names), pd.DataFrame(np.ones_like(money), columns=names), np.ones(len(money)), "nothing", tree)
    made = {i: line_of(halves[:, i], ceilings[:, i], len(money)) for i in range(lines)}
    decision = decision_of(plan, limits, np.arange(lines), over)
    values = PlanValues(plan, ((made, np.arange(size)),), size)
    return Task(Alone(2, size // 2), limits, values, {}, decision, polytope_of(limits, decision, {}))


def random_world(seed, size=60, lines=4, **options):
    rng = np.random.default_rng(seed)
    return world(rng.uniform(5, 80, (size, lines)), rng.lognormal(4, 0.5, (size, lines)), rng.uniform(5, 40, (1, lines)), **options)


def own(task):
    return task.decision.of_plan(task.plan.spend.to_numpy())


def test_a_hand_made_line_is_what_it_says():
    task = world([[10, 40]], [[100, 100]], [[40, 60]])
    assert np.isclose(task.draws(own(task))[0], 140)
    assert np.allclose(Mean().best(task).x.ravel(), [40, 60], atol=1e-3)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.25, 1 / 3, 0.5, 0.99, 1])
def test_cvar_is_the_lowest_mean_of_so_many_draws(share):
    draws = np.random.default_rng(1).normal(size=37)
    levels = np.linspace(draws.min(), draws.max(), 20_001)  # Rockafellar and Uryasev's own formula
    by_formula = max(level - np.maximum(level - draws, 0).mean() / share for level in levels)
    assert np.isclose(cvar(draws, share), by_formula, atol=1e-3)


@pytest.mark.parametrize("share", [0.25, 0.5, 1])
def test_the_cautious_plan_is_the_best_of_all_that_can_be_tried(share):
    task = world([[5, 20], [60, 20], [10, 60], [90, 5]], [[100, 80], [30, 90], [150, 70], [90, 60]], [[50, 50]])
    found = Cautious(share).best(task)
    tried = [Cautious(share).score(task, np.array([[x], [100 - x]])) for x in np.linspace(0, 100, 2001)]
    assert max(tried) <= found.highest + 1e-9 and abs(found.score - max(tried)) < 1e-4 * abs(task.draws(found.x).mean())
    assert found.highest - found.score <= 2e-5 * task.draws(found.x).mean()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("aim", [Cautious(0.1), Cautious(0.05), Cautious(0.2, 0.5)])
def test_no_allowed_plan_beats_the_bound(seed, aim):
    limits = Limits(seen=False, change=(-0.8, 1.5), nodes={"line_0": (None, 30)})
    task = random_world(seed, limits=limits)
    found, rng = aim.best(task), np.random.default_rng(seed)
    assert not task.polytope.broken(found.x) and np.isclose(found.score, aim.score(task, found.x))
    at, now = 0, own(task)
    for _ in range(40_000):
        x = (now if rng.random() < 0.5 else found.x) * rng.uniform(0.2, 2.2, now.shape)
        x *= task.plan.total / x.sum()
        if not task.polytope.broken(x):
            at += 1
            assert aim.score(task, x) <= found.highest + 1e-9
        if at == 2000:
            break
    assert at > 500


def test_all_draws_and_no_caution_are_the_mean():
    task = random_world(5)
    mean = Mean().best(task)
    now = task.draws(own(task)).mean()
    for aim in (Cautious(1), Cautious(0.1, weight=0)):
        found = aim.best(task)
        assert np.isclose(found.score, mean.score - now, atol=1e-4 * mean.score) and np.allclose(found.x, mean.x, atol=0.05)


def test_a_smaller_share_is_more_cautious():
    task = random_world(6, size=200)
    uplifts = [task.draws(Cautious(share).best(task).x) - task.draws(own(task)) for share in (0.05, 0.2, 0.6, 1)]
    means = [uplift.mean() for uplift in uplifts]
    worst = [cvar(uplift, 0.05) for uplift in uplifts]
    assert (np.diff(means) > -1e-2).all() and (np.diff(worst) < 1e-2).all() and means[-1] > means[0]


def test_where_every_move_is_a_risk_the_plan_stays():
    # each line is the better one in half of the draws, so any move loses in half of them
    task = world([[20, 20]] * 10, [[100, 60]] * 5 + [[60, 100]] * 5, [[50, 50]])
    found = Cautious(0.2).best(task)
    assert np.allclose(found.x, own(task), atol=1e-2) and 0 <= found.score <= 1e-4
    assert found.highest - found.score < 2e-5 * task.draws(found.x).mean()


def test_a_plan_that_limits_rule_out_is_left():
    task = random_world(7, limits=Limits(seen=False, nodes={"line_0": (None, 1.0)}))
    found = Cautious(0.1).best(task)
    assert found.x[0, 0] <= 1.0 + 1e-6 and not task.polytope.broken(found.x)
    assert found.highest - found.score < 2e-5 * task.draws(found.x).mean()


def test_the_joint_uplift_is_not_the_sum_of_lines():
    # two lines that go wrong in different draws hedge each other: CVaR of the sum is above the sum of CVaRs
    task = random_world(8, size=200)
    money = task.decision.money(1.2 * own(task))
    before = task.plan.spend.to_numpy()
    lines = [task.values.brings(i, money[:, i]) - task.values.brings(i, before[:, i]) for i in range(4)]
    assert Cautious(0.1).score(task, 1.2 * own(task)) > sum(cvar(line, 0.1) for line in lines) + 1e-6


def test_currency_and_order_change_nothing():
    rng = np.random.default_rng(9)
    halves, ceilings, money = rng.uniform(5, 80, (50, 3)), rng.lognormal(4, 0.5, (50, 3)), rng.uniform(5, 40, (1, 3))
    first = Cautious(0.1).best(world(halves, ceilings, money))
    cents = Cautious(0.1).best(world(halves * 100, ceilings, money * 100))
    turned = Cautious(0.1).best(world(halves[::-1, ::-1], ceilings[::-1, ::-1], money[:, ::-1]))
    for other in (cents, turned):
        assert np.isclose(other.score, first.score, atol=1e-4 * money.sum())
    assert np.allclose(cents.x / 100, first.x, atol=0.5) and np.allclose(turned.x[::-1], first.x, atol=0.5)


def test_weeks_are_at_least_as_good_as_totals():
    rng = np.random.default_rng(10)
    halves, ceilings, money = rng.uniform(5, 40, (40, 2)), rng.lognormal(4, 0.5, (40, 2)), rng.uniform(5, 40, (5, 2))
    totals, weeks = (Cautious(0.1).best(world(halves, ceilings, money, over=over)) for over in ("totals", "periods"))
    assert weeks.highest >= weeks.score > totals.score - 1e-6
    task = world(halves, ceilings, money, over="periods")
    assert weeks.highest - weeks.score < 2e-5 * task.draws(weeks.x).mean()


@pytest.mark.parametrize("aim", [Cautious(0.1), Cautious(0.3, 0.5), Mean()])
def test_prices_are_those_of_the_aim(aim):
    def best(total):
        task = random_world(7, size=200, limits=Limits(total=total, nodes={"line_1": (None, 0.15 * total)}, seen=False))
        return Optimum(task, aim, aim.best(task))

    here, more, less = best(100.0), best(104.0), best(96.0)
    table = here.prices()
    along = table.price["total"] + 0.15 * table.price["line_1"]  # both ends move with the total
    assert along == pytest.approx((more.found.score - less.found.score) / 8, rel=0.02)
    assert (table.lower <= table.price).all() and (table.price <= table.upper).all()


@pytest.mark.parametrize("wrong", [{"share": 0}, {"share": 1.5}, {"share": None}, {"share": True}, {"weight": -0.1}, {"weight": "much"}])
def test_wrong_shares_are_named(wrong):
    with pytest.raises(PrecisionError, match=f"{next(iter(wrong))}=.*got"):
        Cautious(**wrong)


def regret_of(task, **options):
    return Optimum(task, Mean(), Mean().best(task)).regret(**options)


def test_knowing_all_is_worth_what_brute_force_says():
    halves, ceilings = [[5, 20], [60, 20], [10, 60], [90, 5]], [[100, 80], [30, 90], [150, 70], [90, 60]]
    task = world(halves, ceilings, [[50, 50]])
    money = np.linspace(0, 100, 20_001)
    tried = sum(np.asarray(c)[:, None] * x / (np.asarray(h)[:, None] + x) for h, c, x in zip(np.array(halves).T, np.array(ceilings).T, (money, 100 - money)))
    worth = tried.max(axis=1).mean() - tried.mean(axis=0).max()
    found = regret_of(task)
    assert (found.draws >= 0).all() and abs(found.expected - worth) < 5e-3 * tried.mean(axis=0).max()
    assert abs(regret_of(world(halves, ceilings, [[50, 50]], over="periods")).expected - worth) < 1e-4


def test_nothing_is_gained_by_knowing_what_is_certain():
    task = world([[10, 40]] * 6, [[100, 100]] * 6, [[50, 50]])
    found = regret_of(task)
    assert found.expected < 1e-3 * 140 and found.error < 1e-9


def test_only_the_uncertain_line_is_worth_knowing():
    rng = np.random.default_rng(11)
    ceilings = np.column_stack([rng.lognormal(4.5, 0.8, 400), np.full(400, 80.0), np.full(400, 90.0)])
    found = regret_of(world(np.full((400, 3), 30.0), ceilings, [[30, 30, 30]]))
    table = found.table()
    assert table.index[0] == "line_0" and table.share["line_0"] > 0.9
    assert table.worth[["line_1", "line_2"]].max() < 0.02 * found.expected + 1e-6


def test_a_line_that_moves_with_another_tells_about_it():
    rng = np.random.default_rng(12)
    together = rng.lognormal(4.5, 0.8, 400)
    apart = np.column_stack([together, rng.lognormal(4.5, 0.8, 400), np.full(400, 90.0)])
    tied = np.column_stack([together, together, np.full(400, 90.0)])
    alone, both = (regret_of(world(np.full((400, 3), 30.0), c, [[30, 30, 30]])) for c in (apart, tied))
    assert alone.table().share["line_0"] < 0.8 < both.table().share["line_0"]


def test_halves_are_whole_chains_and_all_is_the_optimum():
    task = random_world(13, size=40)
    best = Optimum(task, Mean(), Mean().best(task))
    found = best.cross_checked()
    assert found.halves == "chains" and np.isclose(found.table.promised["all"], (task.draws(best.found.x) - task.draws(own(task))).mean())
    first = task.with_draws(np.arange(20))
    x = Mean().best(first).x
    uplift = task.draws(x) - task.draws(own(task))
    assert np.isclose(found.table.promised["first half"], uplift[:20].mean(), rtol=1e-6)
    assert np.isclose(found.table.judged["first half"], uplift[20:].mean(), rtol=1e-6)


def test_the_choice_flatters_itself_on_average():
    optimism = [Optimum(task, Mean(), Mean().best(task)).cross_checked().optimism for task in (random_world(seed, size=8) for seed in range(12))]
    assert np.mean(optimism) > 0


def test_draws_of_many_models_are_cut_together():
    task = random_world(14, size=10)
    lines = task.values.parts[0][0]
    split = [np.array([0, 3, 4, 8, 9]), np.array([1, 2, 5, 6, 7])]
    whole = PlanValues(task.plan, tuple((task.values.select(places).parts[0][0], places) for places in split), 10)
    money = task.plan.spend.to_numpy()
    assert np.allclose(whole.total(money), task.values.total(money)) and lines
    for some in ([0, 1, 2], [5, 8], [3]):
        assert np.allclose(whole.select(np.array(some)).total(money), task.values.total(money)[some])


def test_a_result_answers_in_one_call():
    fit = around_truth(simulate(seed=3), draws=60, scatter=0.4)
    plan = fit.plan(6)
    best = fit.optimize(plan, aim=Cautious(0.2))
    assert np.isclose(best.found.score, cvar(best.uplift, 0.2)) and 0 <= best.gap < 3e-5 and "worst 20%" in repr(best)
    frontier = fit.risk_frontier(plan, share=0.2, weights=(0, 1))
    assert list(frontier.table.index) == ["now", "0", "1"] and frontier.table["mean"]["0"] > frontier.table["mean"]["1"]
    assert "Regret" in repr(best.regret()) and "price of its aim" in repr(best.regret())


def test_draws_of_one_of_two_models_are_enough():
    task = random_world(15, size=10)
    split = [np.array([0, 3, 4, 8, 9]), np.array([1, 2, 5, 6, 7])]
    parts = tuple((task.values.select(places).parts[0][0], places) for places in split)
    both = Task(task.result, task.limits, PlanValues(task.plan, parts, 10), {}, task.decision, task.polytope)
    for some in ([0, 3, 9], [1, 2, 8]):
        assert np.allclose(Mean().best(both.with_draws(some)).x, Mean().best(task.with_draws(some)).x, atol=1e-3)
    assert np.isclose(Cautious(0.2).best(both).score, Cautious(0.2).best(task).score, atol=1e-3)
