"""Plans: slopes against differences and autodiff, value against the decomposition and the truth, and whatever is no plan."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tensorflow as tf
import xarray as xr
from plan_worlds import data_of, dates, diminishing, table, world_of

from precision import MMM, Limits, PrecisionError
from precision.adstock import adstock_geometric_np, adstock_geometric_tf
from precision.future import continued, next_periods, read_future
from precision.hierarchy import build_hierarchy
from precision.limits import Window
from precision.plan_lines import Line
from precision.plan_values import values_of
from precision.saturation import SATURATIONS
from precision.simulate import simulate

SHAPES = {"none": {}, "michaelis_menten": {"saturation_level": (0.05, 0.95)}, "logistic": {"logistic_rate": (0.3, 6)},
          "hill": {"saturation_level": (0.05, 0.95), "hill_slope": (0.5, 3)}}


def a_line(curve, normalize, after, seed=0, periods=5, draws=4):
    rng = np.random.default_rng(seed)
    decay = rng.uniform(0, 0.9, draws)
    return Line(SATURATIONS[curve], tuple(rng.uniform(*ends, draws) for ends in SHAPES[curve].values()), decay, 1 - decay if normalize else np.ones(draws),
                rng.gamma(2, 50, draws), rng.uniform(0, 2, draws), after, rng.uniform(1, 9, periods), rng.uniform(0.5, 2, periods))


every_line = pytest.mark.parametrize("curve, normalize, after", [(c, n, a) for c in SHAPES for n in (True, False) for a in (0.0, 0.8)])


# Slopes: what a plan climbs by


@every_line
def test_slope_and_bend_are_those_of_differences(curve, normalize, after):
    line = a_line(curve, normalize, after)
    money, weights = np.random.default_rng(1).uniform(2, 20, 5), np.array([0.1, 0.2, 0.3, 0.4])
    found, h = line.expand(money, weights), 1e-4
    assert np.isclose(found.mean, weights @ line.brings(money), rtol=1e-12) and np.allclose(line.slopes(money) @ weights, found.slope, rtol=1e-12)
    for t, step in enumerate(h * np.eye(5)):
        assert np.allclose(line.slopes(money)[t], (line.brings(money + step) - line.brings(money - step)) / (2 * h), rtol=1e-5)
        ahead, back = (line.expand(money + sign * step, weights, bend=False).slope for sign in (1, -1))
        assert np.allclose(found.bend[t], (ahead - back) / (2 * h), rtol=1e-5, atol=1e-7 * np.abs(found.bend).max())
    if curve != "hill":
        assert np.linalg.eigvalsh(found.bend).max() <= 1e-12 * np.abs(found.bend).max()


@every_line
def test_value_and_slope_are_those_of_tensorflow(curve, normalize, after):
    line, tail = a_line(curve, normalize, after), 500
    money, later = tf.constant(np.random.default_rng(2).uniform(2, 20, 5)), np.full(tail, line.later)
    shape, value = [tf.constant(s) for s in line.shape], tf.constant(np.r_[line.value, later])[:, None]

    def response(money):
        exposure = tf.concat([money / line.cost, tf.fill([tail], tf.constant(after, tf.float64))], 0)[:, None] * tf.ones(4, tf.float64)
        kept = line.carried * line.decay ** np.arange(1, 5 + tail + 1)[:, None]
        adstock = tf.maximum(adstock_geometric_tf(exposure, line.decay, normalize) + kept, 1e-200)  # or Hill's slope is infinite
        return line.curve.formula(tf.math, adstock, *shape)

    weights = np.array([0.1, 0.2, 0.3, 0.4])
    with tf.GradientTape() as tape:
        tape.watch(money)
        brought = line.size * tf.reduce_sum(value * (response(money) - response(tf.zeros_like(money))), 0)
        mean = tf.reduce_sum(weights * brought)
    assert np.allclose(line.brings(money.numpy()), brought, rtol=1e-6)
    assert np.allclose(line.expand(money.numpy(), weights).slope, tape.gradient(mean, money), rtol=1e-6)


@pytest.mark.parametrize("curve", SHAPES)
@pytest.mark.parametrize("after", [0.0, 1.0])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_tail_is_whole(curve, after, decay):
    "Also of an audience that is nearly full, ten times an ordinary period, unnormalised."
    for shape in ([], ) if curve == "none" else ([0.95], [0.3]) if curve != "hill" else ([0.95, 0.5], [0.5, 1.0], [0.8, 3.0]):
        one, flat = np.ones(1), np.ones(3)
        line = Line(SATURATIONS[curve], tuple(one * (20 * s if curve == "logistic" else s) for s in shape), decay * one, one, one, one * 0.3, after, flat, flat)
        exposure, known = np.r_[np.full(3, 10.0), np.full(6000, after)], 0.0
        for money, sign in ((exposure, 1), (np.r_[np.zeros(3), exposure[3:]], -1)):
            start = np.r_[money[0] + decay * 0.3, money[1:]][:, None]
            known += sign * line.curve.formula(np, adstock_geometric_np(start, decay, False), *line.shape).sum()
        assert np.isclose(line.brings(np.full(3, 10.0)), known, rtol=1e-6)


# What a plan brings, against the decomposition of the same draws, and against the truth


TREE = {"tv": {"zdf": ["spot", "sponsor"]}, "search": {"google": ["brand", "generic"]}, "audio": {"radio": ["drive"]}}


def a_world(curve="michaelis_menten", normalize=True, periods=130, draws=3, seed=3, decays=(0, 0.9), paid=None, freq="W-MON", index=None, **more):
    rng = np.random.default_rng(seed)
    U = rng.gamma(2, 1, (periods, 5)) * [1e3, 30, 5, 800, 1] * (rng.random((periods, 5)) < 0.8)
    spend = U * [0.02, 3, 1, 0.4, 10] * (1 if paid is None else paid)
    data = data_of(TREE, U, spend, dates(periods, freq) if index is None else index, **more)
    shape = {name: rng.uniform(*ends, (draws, 5)) for name, ends in SHAPES[curve].items()}
    return world_of(data, rng.uniform(*decays, (draws, 5)), rng.gamma(2, 10, (draws, 5)), curve, normalize, **shape)


def increments(world, plan, tail, usual):
    "Sum of all media contributions after the data with the plan, less that without it, by the forecast's own arithmetic."
    both = []
    for bought in (plan.exposure.to_numpy(), 0 * plan.exposure.to_numpy()):
        U = np.concatenate([bought, np.repeat(usual[None], tail, axis=0)])
        future = continued(world.components, read_future(world.data, U, controls=False))
        both.append(sum(future.tactical(i) for i in range(5)))
    return (both[0] - both[1]) @ np.r_[plan.value, np.full(tail, plan.value.mean())]


@pytest.mark.parametrize("after", ["as_before", "nothing"])
@pytest.mark.parametrize("curve, normalize, past", [("none", True, "nothing"), ("michaelis_menten", True, "steady"), ("michaelis_menten", False, "nothing"),
                                                   ("logistic", False, "steady"), ("hill", True, "nothing")])
def test_a_plan_brings_what_the_decomposition_says(curve, normalize, past, after):
    world = a_world(curve, normalize)
    world = replace_data(world, past=past)
    plan = world.plan(26, value=np.linspace(1, 2, 26), after=after, price={"spot": 0.03})
    usual = world.data.U[-52:].mean(axis=0) if after == "as_before" else np.zeros(5)
    assert np.allclose(world.evaluate(plan).value, increments(world, plan, 500, usual), rtol=1e-6)


def replace_data(world, **changes):
    data = replace(world.data, **changes)
    return type(world)(data, world.components.curve.name, world.components.values, world.components.normalize)


@pytest.mark.parametrize("cut", [26, 1])
def test_at_the_seam_every_draw_carries_in_its_own_past(cut):
    "The plan is what happened after the cut; a decomposition that saw all of it knows what its money brought."
    whole = a_world(decays=(0.3, 0.95))
    data, early = whole.data, slice(None, len(whole.data.y) - cut)
    ratio = whole.data.U[early].mean(axis=0) / whole.data.unit
    cut_data = replace(data, time=data.time[early], y=data.y[early], U=data.U[early], Z=data.Z[early], spend=data.spend[early])
    decay, size = whole.components.values["decay"], np.stack([whole.components.size_of(i) for i in range(5)], 1)
    s = whole.components.values["saturation_level"]
    level = s * ratio / (1 - s + s * ratio)  # the same curve at another ordinary period
    world = world_of(cut_data, decay, size * ratio / (1 - s + s * ratio), saturation_level=level)
    price = data.currency
    plan = world.plan(spend=pd.DataFrame(data.U[-cut:] * price, data.time[-cut:], data.hierarchy.leaves), price=dict(zip(data.hierarchy.leaves, price)), after="nothing")
    without = replace(data, U=np.concatenate([data.U[early], np.zeros((cut, 5))]))
    known = 0.0
    for i in range(5):
        for U, sign in ((data.U, 1), (without.U, -1)):
            x = np.concatenate([U[:, i], np.zeros(800)])[:, None] / data.unit[i]
            a = adstock_geometric_np(x, decay[:, i])[-cut - 800:]
            known += sign * size[:, i] * (a / (1 - s[:, i] + s[:, i] * a)).sum(axis=0)
    assert np.allclose(world.evaluate(plan).value, known, rtol=1e-6)
    table = world.evaluate(plan).table("tactical")
    assert np.isclose(table.contribution["total"], known.mean(), rtol=1e-6) and np.isclose(table.spend["total"], plan.total)


@pytest.mark.parametrize("curve", SHAPES)
def test_the_money_of_last_year_brings_what_roi_says(curve):
    "Data that repeat their year: the plan is the same year again, and `roi(counting='money')` of a year tells the same."
    rng = np.random.default_rng(5)
    year = rng.gamma(2, 1, (52, 5)) * [1e3, 30, 5, 800, 1]
    data = data_of(TREE, np.tile(year, (4, 1)), np.tile(year, (4, 1)) * [0.02, 3, 1, 0.4, 10])
    shape = {name: rng.uniform(*ends, (3, 5)) for name, ends in SHAPES[curve].items()}
    world = world_of(data, rng.uniform(0, 0.7, (3, 5)), rng.gamma(2, 10, (3, 5)), curve, **shape)
    plan = world.plan(52)
    assert np.allclose(plan.exposure, year) and np.allclose(plan.spend, data.spend[-52:])
    now = increments(world, plan, 300, data.U[-52:].mean(axis=0))
    assert np.allclose(world.evaluate(plan).value, now, rtol=1e-6)


def test_a_prior_of_a_real_model_is_evaluated_as_it_forecasts():
    sim = simulate(build_hierarchy(TREE), periods=60, seed=2)
    fit = MMM(sim.hierarchy).sample_prior(sim.y, sim.U, sim.Z, sim.spend, draws=40)
    plan = fit.plan(8, after="nothing")
    told = fit.evaluate(plan, against=fit.plan(8, after="nothing"))
    assert not told.uplift.any() and told.better == 0
    U = np.concatenate([plan.exposure, np.zeros((600, plan.spend.shape[1]))])
    ahead = [continued(fit.components, read_future(fit.data, part, controls=False)) for part in (U, 0 * U)]
    known = sum((ahead[0].tactical(i) - ahead[1].tactical(i)).sum(axis=1) for i in range(U.shape[1]))
    assert np.allclose(told.value, known, rtol=1e-6)


# Whatever is no plan: one sentence with the culprit


@pytest.fixture(scope="module")
def world():
    return a_world()


AHEAD = dates(4, "W-MON", "2025-06-30")
GOOD = pd.DataFrame(10.0, AHEAD, ["spot", "sponsor", "brand", "generic", "drive"])
MONTHS = pd.period_range("2025-07", periods=2, freq="M")


def changed(row, column, value):
    frame = GOOD.astype(object if isinstance(value, str) else float)
    frame.iloc[row, column] = value
    return frame


@pytest.mark.parametrize("given, sentence", [
    (dict(spend=changed(2, 1, np.nan)), "'sponsor' has a missing value.*2025-07-14"), (dict(spend=changed(2, 1, -3)), "'sponsor' is -3 at row 2025-07-14"),
    (dict(spend=changed(2, 1, np.inf)), "'sponsor' has an infinite value"), (dict(spend=changed(2, 1, "x")), "'sponsor' holds 'x' at row 2025-07-14"),
    (dict(spend=GOOD.set_axis(AHEAD + pd.Timedelta(weeks=1))), "go on where the data end, at 2025-06-23.*2025-07-07, where 2025-06-30 was expected"),
    (dict(spend=GOOD.reset_index(drop=True)), "row 0 is 0, where 2025-06-30"), (dict(spend=GOOD.iloc[:0]), "no cells"), (dict(spend=GOOD.iloc[:, :0]), "no cells"),
    (dict(spend=GOOD.rename(columns={"spot": "spto"})), "'spto', which is no node.*Did you mean 'spot'"), (dict(spend=GOOD.assign(tv=1.0)), "'spot' is part of both"),
    (dict(spend=pd.concat([GOOD, GOOD], axis=1)), "two columns named 'spot'"), (dict(spend=GOOD.to_numpy()[:, :3]), r"shape \[periods, 5\]"),
    (dict(spend=5), "must be a table"), (dict(spend="x"), "must be a table"), (dict(spend={"spot": 1}), "'spot' is no column"),
    (dict(periods=0), "at least 1, got 0"), (dict(periods=1.5), "whole number"), (dict(periods=True), "whole number"), (dict(periods="26"), "whole number"),
    (dict(periods=GOOD), "whole number"), (dict(periods=3, spend=GOOD), "periods=3, and spend has 4"),
    (dict(periods=4, price={"spot": 0}), "price of 'spot' is 0 at row 2025-06-30"), (dict(periods=4, price={"spot": -1}), "more than zero"),
    (dict(periods=4, price={"spto": 1}), "Did you mean 'spot'"), (dict(periods=4, price={"spot": np.nan}), "price"), (dict(periods=4, price=3), "price must be a table"),
    (dict(periods=4, price={"spot": "x"}), "price"), (dict(periods=4, price=GOOD.iloc[:3]), "price has 3 rows and the plan has 4"),
    (dict(periods=4, price=GOOD.set_axis(AHEAD - pd.Timedelta(weeks=9))), "price must go on where the data end"),
    (dict(periods=4, value=0), "value is 0"), (dict(periods=4, value=-1), "value is -1"), (dict(periods=4, value=np.nan), "value"), (dict(periods=4, value=[1, 2, 3]), "value has shape"),
    (dict(periods=4, value="x"), "value must be a table"), (dict(periods=4, value=True), "value"), (dict(periods=4, value=pd.Series(1.0, AHEAD - pd.Timedelta(weeks=9))), "value must have the plan's periods"),
    (dict(periods=4, after="as before"), "Did you mean 'as_before'"), (dict(periods=4, after=None), "after=None"),
    (dict(spend=pd.DataFrame({"tv": [1.0, -2]}, MONTHS)), "'tv' is -2 at row 2025-08"), (dict(spend=pd.DataFrame({"tv": [1.0, np.nan]}, MONTHS)), "missing value.*2025-08"),
    (dict(spend=pd.DataFrame({"tv": [1.0, 2]}, MONTHS + 2)), "first row is 2025-09, and the next period begins on 2025-06-30 and counts for 2025-07"),
    (dict(spend=pd.DataFrame({"tv": [1.0, 2]}, MONTHS - 9)), "first row is 2024-10"), (dict(spend=pd.DataFrame({"tv": [1.0, 2]}, MONTHS[::-1])), "without gaps"),
    (dict(spend=pd.DataFrame({"tv": [1.0, 2]}, MONTHS[[0, 0]])), "without gaps"), (dict(periods=3, spend=pd.DataFrame({"tv": [1.0, 2]}, MONTHS)), "spend has 9"),
])
def test_no_plan(world, given, sentence):
    with pytest.raises(PrecisionError, match=f"(?s){sentence}"):
        world.plan(**given)


def test_only_what_is_spread_is_noted(world):
    weeks, third = GOOD.set_axis(AHEAD.to_period("W-SUN")), pd.period_range("2025Q3", periods=1, freq="Q")
    assert world.plan(spend=weeks).spend.equals(world.plan(spend=GOOD).spend)
    assert world.plan(spend=weeks).notes == world.plan(spend=GOOD).notes
    plan = world.plan(spend=pd.DataFrame(13.0, third, GOOD.columns))
    assert "the money of a quarter is spread" in repr(plan) and "month" not in repr(plan)


def test_lines_without_price_or_effect(world):
    organic = a_world(paid=np.array([1, 1, 1, 1, 0]))
    with pytest.raises(PrecisionError, match="'drive' has money at 2025-06-30 and is organic"):
        organic.plan(spend=GOOD)
    best = organic.optimize(organic.plan(4))
    assert not best.plan.spend["drive"].any() and best.gap < 1e-6 and np.isnan(best.plan.price["drive"]).all()
    priced = organic.plan(spend=GOOD, price={"drive": 3.0})
    assert organic.evaluate(priced).value.mean() > organic.evaluate(organic.plan(spend=GOOD.drop(columns="drive"))).value.mean()
    U = world.data.U * [1, 1, 0, 1, 1]
    idle = world_of(data_of(TREE, U, 2 * U, world.data.time), 0.5, 1, saturation_level=0.5)
    with pytest.raises(PrecisionError, match="'brand' has money at 2025-06-30 and had no exposure"):
        idle.plan(spend=GOOD)
    assert not idle.optimize(idle.plan(4)).plan.spend["brand"].any()
    with pytest.raises(PrecisionError, match="no spend was given"):
        world_of(data_of(TREE, world.data.U, None), 0.5, 1, saturation_level=0.5).plan(4)


@pytest.mark.parametrize("change", [lambda w: a_world(periods=120), lambda w: diminishing([10, 40])])
def test_plans_of_other_data_are_refused(world, change):
    other = change(world).plan(4)
    for ask in (world.evaluate, world.optimize, lambda plan: world.evaluate(world.plan(4), against=plan)):
        with pytest.raises(PrecisionError, match="make it of this one|plan the same periods"):
            ask(other)


def test_with_spend_reads_names_and_refuses_what_plan_refuses(world):
    plan = world.plan(spend=GOOD)
    turned = plan.with_spend((plan.spend * np.arange(5)).iloc[:, ::-1])
    assert list(turned.spend.iloc[0]) == [0, 10, 20, 30, 40] and list(turned.spend) == list(GOOD)
    for wrong in (-GOOD, changed(2, 1, np.nan), GOOD.iloc[:3], GOOD.set_axis(AHEAD + pd.Timedelta(weeks=1)), GOOD.drop(columns="spot"), [1, 2]):
        with pytest.raises(PrecisionError):
            plan.with_spend(wrong)


@pytest.mark.parametrize("spend", [
    pl.DataFrame({"date": list(AHEAD.to_pydatetime()), "tv": [20.0] * 4, "search": [20.0] * 4, "drive": [10.0] * 4}), pl.DataFrame({"tv": [20.0] * 4, "search": [20.0] * 4, "drive": [10.0] * 4}),
    xr.DataArray(np.array([[20.0, 20, 10]] * 4), dims=("time", "node"), coords={"time": AHEAD, "node": ["tv", "search", "drive"]}),
    {"tv": [20.0] * 4, "search": [20.0] * 4, "drive": [10.0] * 4}, pd.DataFrame({"drive": 10.0, "search": 20.0, "tv": 20.0}, AHEAD),
    pd.DataFrame({"drive": 10.0, "google": 20.0, "zdf": 20.0}, AHEAD.to_period("W-SUN"))])
def test_tables_of_every_kind(world, spend):
    plan = world.plan(spend=spend)
    last = world.data.spend[-52:].sum(axis=0)
    assert np.allclose(plan.by_node("channel"), [20, 20, 10]) and np.allclose(plan.spend.iloc[0, :2], 20 * last[:2] / last[:2].sum())
    assert plan.time.equals(AHEAD.rename("time")) and plan.total == pytest.approx(200) and "split over its lines" in repr(plan)


@pytest.mark.parametrize("index, year, months, count", [
    (pd.date_range("2023-01-02", periods=130), 365, pd.period_range("2023-05", periods=2, freq="M"), [20, 30]),
    (pd.date_range("2015-01-01", periods=130, freq="MS"), 12, pd.period_range("2025-11", periods=3, freq="M"), [1, 1, 1]),
    (pd.date_range("2015-01-31", periods=130, freq="ME"), 12, pd.period_range("2025-11", periods=3, freq="M"), [1, 1, 1]),
    (pd.period_range("2023-01-02", periods=130, freq="W-SUN"), 52, pd.period_range("2025Q3", periods=2, freq="Q"), [13, 13]),
    (pd.RangeIndex(7, 137), 26, None, None)])
def test_every_calendar(index, year, months, count):
    world = a_world(index=index)
    plan = world.plan()
    assert len(plan.time) == year and world.optimize(world.plan(6), over="periods").gap < 1e-6
    if months is None:
        with pytest.raises(PrecisionError, match="periods of the data are numbers"):
            world.plan(spend=pd.DataFrame({"tv": [1.0, 2]}, MONTHS))
        with pytest.raises(PrecisionError, match="periods='month' needs dates"):
            world.optimize(plan, Limits(periods="month"))
        with pytest.raises(PrecisionError, match="names '2025-03'"):
            world.optimize(plan, Limits(windows=[Window("tv", "2025-03", 3)]))
        return
    spread = world.plan(spend=pd.DataFrame({"tv": np.arange(1.0, len(months) + 1)}, months))
    assert np.allclose(spread.by_node()["tv"], np.concatenate([np.full(n, (k + 1) / n) for k, n in enumerate(count)]))
    if months.freqstr == "M":
        used = world.optimize(spread, Limits(periods="month", seen=False), over="periods").prices().used
        assert np.allclose(used.iloc[1:], np.arange(1, len(months) + 1))


def test_one_period_and_one_line():
    world = diminishing([25])
    for periods in (1, 6):
        best = world.optimize(world.plan(periods), over="periods")
        assert best.gap < 1e-6 and np.ptp(best.plan.spend.to_numpy()) < 1e-3
    one = world.optimize(world.plan(1), Limits(periods="month"))
    assert np.isclose(one.plan.total, world.plan(1).total)


def test_a_changed_price_buys_less_and_value_is_worth_more(world):
    plan, dear = world.plan(spend=GOOD), world.plan(spend=GOOD, price={"spot": 2 * world.plan(4).price["spot"].iloc[0]})
    assert np.allclose(dear.exposure["spot"] * 2, plan.exposure["spot"]) and (world.evaluate(plan, against=dear).uplift > 0).all()
    assert np.allclose(world.evaluate(world.plan(spend=GOOD, value=3)).value, 3 * world.evaluate(plan).value)
    by_period = world.plan(spend=GOOD, value=[1, 1, 1, 5])
    assert (world.evaluate(by_period).value > world.evaluate(plan).value).all()


def test_values_agree_with_a_line_at_a_time(world):
    plan = world.plan(8)
    values, spend = values_of(world, plan), plan.spend.to_numpy()
    assert np.allclose(values.total(spend), sum(values.brings(i, spend[:, i]) for i in values.paid))
    for i in values.paid:
        assert np.allclose(values.slopes(i, spend[:, i]).mean(axis=1), values.expand(i, spend[:, i], np.full(3, 1 / 3)).slope)
