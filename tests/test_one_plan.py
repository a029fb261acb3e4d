"""One plan over several models: the same money in all worlds, whatever their metrics, and what each makes of it."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from precision.ensemble import ensemble
from precision.errors import PrecisionError, PrecisionWarning
from precision.hierarchy import build_hierarchy
from precision.limits import Limits
from precision.metrics import Report
from precision.mixture import EnsembleResult
from precision.model import MMM
from precision.next_experiment import Test
from precision.plan_values import values_of
from precision.plans import price_of

T = 60
H = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c", "d"]}})
WEEKS = pd.date_range("2023-01-02", periods=T, freq="7D")
RNG = np.random.default_rng(0)
U = pd.DataFrame(RNG.gamma(2.0, 50.0, size=(T, 4)), WEEKS, list("abcd"))
CLICKS = U * RNG.gamma(4.0, 0.01, size=(T, 4))
CLICKS[["a", "b"]] = 0.0
SPEND = U * [2.0, 3.0, 1.0, 4.0]
Y = pd.Series(1000 + np.sqrt(U * 40).sum(axis=1) + RNG.normal(0, 40, T), WEEKS)
FAST = {"chains": 2, "warmup": 100, "draws": 100, "progress": False, "seed": 1}
LIMITS = Limits(change=0.4)


def quietly(make, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        return make(*args, **options | FAST)


@pytest.fixture(scope="module")
def result():
    return quietly(ensemble, H, Y, {"impressions": U, "clicks": CLICKS}, spend=SPEND, metric_lags={"clicks": 1},
                   weight_scheme={"impressions": 0.6, "clicks": 0.4}, offline_channels=["tv"])


@pytest.fixture(scope="module")
def best(result):
    return result.optimize(result.plan(26), LIMITS)


@pytest.fixture(scope="module")
def views(result, best):
    return result.disagreement(best)


def turned(result):
    return replace(result, fits=dict(reversed(result.fits.items())))


# Money is the same in all worlds

def test_a_line_that_the_first_metric_lacks_is_planned(result):
    plan, other = result.plan(26), turned(result).plan(26)
    assert (plan.spend.sum() > 0).all() and plan.spend.equals(other.spend) and plan.price.equals(other.price)


def test_the_order_of_the_metrics_changes_no_answer(result, best):
    other = turned(result)
    again = other.optimize(other.plan(26), LIMITS)
    np.testing.assert_allclose(best.plan.spend, again.plan.spend, rtol=1e-9)
    np.testing.assert_allclose(best.uplift, again.uplift, rtol=1e-9)


def test_money_buys_each_metric_at_its_own_price(result):
    plan = result.plan(26)
    for (lines, _), fit in zip(values_of(result, plan).parts, result.fits.values()):
        own = price_of(fit.data) * fit.data.unit
        assert sorted(lines) == list(np.flatnonzero(fit.data.active))
        for i, line in lines.items():
            np.testing.assert_allclose(line.cost, own[i])


def test_a_dearer_line_is_dearer_in_every_metric(result):
    plan = result.plan(26)
    dear = result.plan(26, price={"c": 3 * plan.price["c"].iloc[0]})
    for (old, _), (new, _) in zip(values_of(result, plan).parts, values_of(result, dear).parts):
        np.testing.assert_allclose(new[2].cost, 3 * old[2].cost)
        np.testing.assert_allclose(new[3].cost, old[3].cost)


def test_an_organic_line_with_a_price_has_one_in_every_metric():
    spend = SPEND.assign(c=0.0, d=0.0)  # a channel is organic as a whole
    both = quietly(ensemble, H, Y, {"impressions": U, "clicks": CLICKS}, spend=spend, weight_scheme={"impressions": 0.5, "clicks": 0.5})
    price = 4.0  # of a thousand impressions, say
    plan = both.plan(26, price={"d": price})
    (one, _), (other, _) = values_of(both, plan).parts
    units = [fit.data.unit[3] for fit in both.fits.values()]
    ratio = U["d"].sum() / CLICKS["d"].sum()  # impressions to a click
    assert one[3].cost[0] == pytest.approx(price * units[0]) and other[3].cost[0] == pytest.approx(price * ratio * units[1])


def test_what_the_mixture_says_is_what_its_models_say(result):
    plan = result.plan(26)
    mixed = result.evaluate(plan).value
    for name, (rows, places) in result._chosen.parts.items():
        fit = result.fits[name]
        inside = plan.spend * (fit.data.active)
        # the same plan as this metric sees it: its own prices
        own = replace(plan, spend=inside, price=pd.DataFrame(np.tile(price_of(fit.data), (26, 1)), plan.time, H.leaves))
        np.testing.assert_allclose(mixed[places], fit.evaluate(own).value[rows], rtol=1e-9)


# What each model makes of it

def test_uplifts_of_the_models_add_up_to_that_of_the_mixture(result, best, views):
    table, parts = views.table(), result._chosen.parts
    share = np.array([len(part.places) for part in parts.values()]) / best.uplift.size
    assert share @ table.uplift[list(parts)] == pytest.approx(table.uplift["mixture"])
    assert share @ table.better[list(parts)] == pytest.approx(best.better)
    assert table.loc["mixture", "uplift"] == pytest.approx(best.uplift.mean())


def test_nobody_does_worse_by_its_own_plan(best, views):
    table, task = views.table(), best.task
    assert (table.loss > -1e-7 * abs(best.found.score)).all()
    for name, found in views.own.items():
        assert not task.polytope.broken(found.x), name
        assert found.highest - found.score < 1e-6 * found.highest
    money = views.plans("tactical")
    np.testing.assert_allclose(money["mixture"], best.plan.spend.sum())
    np.testing.assert_allclose(money["before"], best.task.plan.spend.sum())


def test_a_model_alone_agrees_with_its_own_optimum(result, views):
    "Of the metric that has every line: the optimum of a mixture of nothing else."
    alone = replace(result, weights={"impressions": 1.0, "clicks": 0.0})
    own = alone.optimize(alone.plan(26), LIMITS)
    told = alone.disagreement(own)
    assert list(told.own) == ["impressions"] and told.table().loss["impressions"] == pytest.approx(0, abs=1e-5 * own.found.score)
    assert "clicks" not in views.plans().columns[:2]


def test_what_is_not_measured_is_said_unless_it_is_locked(result, views):
    assert "clicks has no estimate of 'a', 'b'" in str(views) and "Limits(fixed" in str(views)
    assert views.table().unknown["clicks"] > 0.1 and views.table().unknown["impressions"] == 0
    locked = result.optimize(result.plan(26), Limits(change=0.4, fixed=["tv"]))
    assert "no estimate" not in str(result.disagreement(locked)) and "no estimate" not in str(locked)


def test_an_optimum_says_what_a_model_does_not_know(result, best):
    (lines, share), = best.task.unknown
    assert lines == ["a", "b"] and 0 < share < 1
    assert f"The model of {share:.0%} of the draws has no estimate of 'a', 'b'" in str(best) and "too little" in str(best)


def test_weeks_of_their_own(result):
    plan = result.plan(8)
    best = result.optimize(plan, LIMITS, over="periods")
    assert result.disagreement(best).table().loss.min() > -1e-7 * abs(best.found.score)


def test_pictures(views):
    left, right = views.plot("channel")
    assert [one.get_text() for one in left.get_yticklabels()][::-1] == ["tv", "search"]
    assert [one.get_text() for one in right.get_yticklabels()][::-1] == ["impressions (60%)", "clicks (40%)", "mixture (100%)"]


def test_only_an_optimum_of_this_ensemble(result, best):
    with pytest.raises(PrecisionError, match="of this ensemble"):
        turned(result).disagreement(best)
    with pytest.raises(PrecisionError, match="result.optimize"):
        result.disagreement(best.plan)
    with pytest.raises(AttributeError, match="disagreement"):
        result.fits["impressions"].disagreement(best)


def test_two_saturations_make_one_plan(result):
    bent = quietly(MMM(H, saturation="logistic").fit, Y.iloc[1:], U.iloc[1:], spend=SPEND.iloc[1:])
    both = EnsembleResult({"mm": result.fits["impressions"], "logistic": bent}, {"mm": 0.5, "logistic": 0.5}, Report(), "given")
    best = both.optimize(both.plan(26), LIMITS)
    table = both.disagreement(best).table()
    assert best.gap < 1e-6 and (table.unknown.dropna() == 0).all() and (table.loss > -1e-6).all()
    names = [part[0][0].curve.name for part in best.task.values.parts]
    assert names == ["michaelis_menten", "logistic"]


def test_tests_are_weighed_over_all_models(result):
    told = result.next_experiment(result.plan(26), LIMITS, [Test("c", -1, 8, 50.0), Test("tv", 0.5)])
    assert (told.table.worth <= told.perfect).all() and (told.table.se > 0).all()


def test_a_saved_ensemble_plans_the_same(result, best, tmp_path):
    result.save(tmp_path / "both")
    again = EnsembleResult.load(tmp_path / "both")
    np.testing.assert_allclose(again.optimize(again.plan(26), LIMITS).plan.spend, best.plan.spend, rtol=1e-6)
