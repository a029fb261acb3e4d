"""Worlds made by hand: draws of our choice behind the calls that a fit answers."""

import numpy as np
import pandas as pd

from precision.answers import Drawn
from precision.data import prepare
from precision.future import next_periods
from precision.hierarchy import build_hierarchy
from precision.saturation import SATURATIONS
from precision.summaries import Decomposition


class World(Drawn):
    "Answers as a fit does, from draws that are given."

    components = data = sample_shape = None  # in place of what a fit reads off its file

    def __init__(self, data, curve, values, normalize=True):
        self.data, self.components = data, Decomposition(data, SATURATIONS[curve], normalize, values)
        self.sample_shape = (1, self.components.size)


def dates(periods=104, freq="W-MON", start="2023-01-02"):
    return pd.date_range(start, periods=periods, freq=freq)


def data_of(tree, U, spend, index=None, **more):
    "Checked data; the outcome is noise of sd one."
    h, index = build_hierarchy(tree) if isinstance(tree, (dict, list)) else tree, dates(len(U)) if index is None else index
    frames = [None if table is None else pd.DataFrame(table, index, h.leaves) for table in (U, spend)]
    y = pd.Series(100 + np.random.default_rng(0).normal(size=len(U)), index)
    return prepare(h, y, frames[0], None, frames[1], **more)


def world_of(data, decay, size, curve="michaelis_menten", normalize=True, **shape):
    "Draws [S, N] of decay, of the size of an ordinary period (units of y) and of the curve's parameters."
    decay, size, *shapes = np.broadcast_arrays(*np.atleast_2d(decay, size, *shape.values(), np.ones(len(data.active))))
    share = np.where(data.share > 0, data.share, 1.0)
    values = {"decay": decay, f"effect_{data.hierarchy.levels[0]}": size / (data.y_sd * share), **dict(zip(shape, shapes))}
    return World(data, curve, values, normalize)


def diminishing(halves, ceilings=100.0, names=None, tree=None, last=None, decay=0.0, periods=104, index=None, price=1.0, curve="michaelis_menten", **shape):
    "A world of responses `ceiling s / (half + s)` to money s: arrays [S, N] or [N]."
    halves = np.atleast_2d(np.asarray(halves, float))
    names = [f"line_{i}" for i in range(halves.shape[1])] if names is None else names
    U = np.random.default_rng(1).uniform(0.5, 1.5, (periods, len(names))) * 30
    if last is not None:
        U[-1] = last
    data = data_of(tree or {f"{name}_channel": {f"{name}_platform": [name]} for name in names}, U, price * U, index)
    level = 1 / (1 + halves / (data.unit * price)) if curve == "michaelis_menten" else 1 / (1 + (halves / (data.unit * price)) ** shape["hill_slope"])
    return world_of(data, decay, ceilings * level, curve, False, saturation_level=level, **shape)


def table(world, rows):
    "Money by name, one row a period."
    rows = np.atleast_2d(rows).astype(float)
    return pd.DataFrame(rows, next_periods(world.data.time, len(rows)), world.data.hierarchy.leaves)
