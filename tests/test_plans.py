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
