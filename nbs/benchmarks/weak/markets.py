"""Markets as analysts meet them, with known truth: media bring 5 to 40% of the outcome, the baseline moves, curves and sizes differ.
No candidate has the form of these worlds: carry-over is cut, four kinds of curves stand side by side, effects grow with spend to a power."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from precision import build_hierarchy

LEVEL = 1_000_000.0  # outcome per period
YEAR = 365.25
FORMS = 5  # of tree and length for each size of market, so that fits share compiled programs


@dataclass(frozen=True)
class Market:
    "Data to fit, and the true contribution of every line in every period."
    hierarchy: object
    y: pd.Series             # [time]
    spend: pd.DataFrame      # [time, tactical]
    Z: pd.DataFrame | None   # [time, control]
    truth: pd.DataFrame      # [time, tactical], units of y
    acts: Callable = None    # what spend [T + lags - 1, tactical] in the unit of `spend` brings in the last T periods, units of y

    def totals(self, level) -> pd.Series:
        "True contribution of every node of a level over all periods; the level \"total\" has one node."
        totals = self.truth.sum()
        if level == "total":
            return pd.Series({"media": totals.sum()})
        h = self.hierarchy
        return pd.Series(totals.to_numpy() @ h.matrix(h.levels[0], level), h.names[level])


@dataclass(frozen=True)
class Kind:
    "What a kind of market is like; the rest is drawn."
    about: str
    lines: tuple = (10, 30)          # fewest and most tacticals
    channels: tuple = (3, 8)
    periods: tuple = (104, 208)
    step: int | str = 7              # days from one period to the next, or "month"
    drift: tuple = (0.0, 0.08)       # sd of the wandering level, as a share of it
    steps: int = 0                   # sudden changes of the level
    trend: float = 0.0               # change over the whole time, as a share of the level, of either sign
    demand: float = 0.0              # how far budgets follow a demand that nobody measures
    dominant: bool = False           # one channel has two thirds of the money
    flighted: float = 0.25           # share of lines that are on air now and then only
    twins: bool = False              # two lines run together always
    controls: bool = True            # are price, promotions and yearly waves given?


KINDS = {
    "drift": Kind("a level that wanders by up to 8%"),
    "still": Kind("a level that does not move", drift=(0.0, 0.0)),
    "steps": Kind("two sudden changes of the level", drift=(0.0, 0.02), steps=2),
    "trend": Kind("growth or decline of about 30%", drift=(0.0, 0.02), trend=0.3),
    "demand": Kind("budgets follow a demand that nobody measures", demand=0.5),
    "dominant": Kind("one channel has two thirds of the money", dominant=True),
    "flights": Kind("every line is on air now and then only", flighted=1.0),
    "twins": Kind("two lines that always run together", twins=True),
    "daily": Kind("days, with a pattern of the week", lines=(6, 12), channels=(3, 4), periods=(500, 800), step=1),
    "monthly": Kind("four to six years of months", lines=(4, 8), channels=(2, 4), periods=(48, 72), step="month"),
    "few": Kind("three lines", lines=(3, 3), channels=(3, 3)),
    "many": Kind("sixty lines", lines=(60, 60), channels=(6, 8), periods=(156, 208)),
    "bare": Kind("no controls are given", controls=False),
}


def _tree(lines, channels, rng):
    "Channels of one to three platforms, and lines spread over them."
    platforms = [f"c{c}p{p}" for c in range(channels) for p in range(rng.integers(1, 4))]
    platforms = platforms if len(platforms) <= lines else [f"c{c}p0" for c in range(channels)]
    home = np.concatenate([np.arange(len(platforms)), rng.integers(len(platforms), size=lines - len(platforms))])
    tree = {}
    for k, platform in enumerate(platforms):
        own = [f"{platform}t{i}" for i in range((home == k).sum())]
        tree.setdefault(platform.split("p")[0], {})[platform] = own
    return build_hierarchy(tree)


def _wander(T, rng, memory, sd):
    "A stationary series that remembers."
    noise = rng.normal(0, sd, T) * np.r_[1, np.full(T - 1, np.sqrt(1 - memory ** 2))]
    return lfilter([1.0], [1.0, -memory], noise)


def _walk(T, rng):
    "A smooth random walk with sd 1."
    walk = np.cumsum(rng.normal(size=T)) + 2 * np.sqrt(T) * rng.normal() * np.linspace(-0.5, 0.5, T)
    return (walk - walk.mean()) / walk.std()


def _plan(kind, h, season, demand, per_year, rng):
    "Spend [T, N]: sizes of lines differ by a factor of ten, some are flighted, all follow season and demand up to a point."
    T, N, parent = len(season), h.num_tacticals, h.parent_index(h.levels[0], h.levels[-1])
    size = np.exp(rng.normal(0, 0.8, parent.max() + 1)[parent] + rng.normal(0, 0.7, N))
    if kind.dominant:
        size[parent == 0] *= 2 * size[parent != 0].sum() / size[parent == 0].sum()
    follows = rng.uniform(0, 0.6, N) * season[:, None] + kind.demand * demand[:, None]
    memory = 0.8 ** (52 / per_year)
    together = np.stack([_wander(T, rng, memory, 0.2) for _ in range(parent.max() + 1)], axis=1)[:, parent]
    spend = np.exp(follows + together + np.stack([_wander(T, rng, memory, rng.uniform(0.15, 0.5)) for _ in range(N)], axis=1))
    burst = max(1, round(5 * per_year / 52))
    for i in np.flatnonzero(rng.random(N) < kind.flighted):
        on = np.repeat(rng.random(-(-T // burst)) < rng.uniform(0.15, 0.7), burst)[:T]
        on[int(rng.integers(T - 2 * burst)):][:2 * burst] = True
        spend[:, i] *= on
    if kind.twins:
        first = np.flatnonzero(parent == np.bincount(parent).argmax())[:2]
        spend[:, first[1]] = spend[:, first[0]] * np.exp(rng.normal(0, 0.02, T)) if len(first) > 1 else spend[:, first[0]]
    return spend * size / spend.mean(axis=0)


def _response(spend, parent, scale, per_year, rng):
    "Shape of every line's effect [T, N]: carry-over cut after a quarter, one of four curves; of mean one. And the same of any spend."
    T, N = spend.shape
    decay = np.clip(rng.uniform(0.05, 0.75, parent.max() + 1)[parent] + rng.normal(0, 0.08, N), 0, 0.9) ** (52 / per_year)
    lags = max(2, round(per_year / 4))
    weights = decay ** np.arange(lags)[:, None]
    weights /= weights.sum(axis=0)
    before = spend[rng.permutation(T)[:lags - 1]] if lags - 1 <= T else spend[:lags - 1]  # media ran before the data begin
    padded = np.concatenate([before, spend])
    half, slope = np.exp(rng.normal(0.5, 0.5, N)), np.exp(rng.normal(0.3, 0.2, N))
    kind = rng.integers(4, size=N)

    def shaped(padded):
        a = sum(w * padded[lags - 1 - k:len(padded) - k] for k, w in enumerate(weights)) / scale
        curves = (a, a / (half + a), a ** slope / (half ** slope + a ** slope), np.tanh(a / half))
        return np.stack([curves[k][:, i] for i, k in enumerate(kind)], axis=1)

    shape = shaped(padded)
    mean = shape.mean(axis=0)
    return shape / mean, lambda padded: shaped(padded) / mean


def _controls(dates, per_year, rng):
    "Price and promotions [T, 2], and yearly waves [T, 4]."
    T, year = len(dates), 2 * np.pi * np.asarray((dates - dates[0]) / pd.Timedelta(days=YEAR))
    price = 10 + _wander(T, rng, 0.9, 0.4)
    promotion = 1.0 * (rng.random(T) < 0.15)
    promotion[:2] = (0, 1)
    waves = {f"wave_{f.__name__}_{k}": f(k * year) for k in (1, 2) for f in (np.sin, np.cos)}
    return pd.DataFrame({"price": price, "promotion": promotion} | waves, dates)


def make_market(name: str, seed: int) -> Market:
    "One market of a kind."
    kind = KINDS[name]
    draw, plan, media, other, noise = map(np.random.default_rng, np.random.SeedSequence([list(KINDS).index(name), seed]).spawn(5))
    form = np.random.default_rng([seed % FORMS, *kind.lines, *kind.channels, *kind.periods])
    between = lambda ends: int(form.integers(ends[0], ends[1] + 1))
    T, step = between(kind.periods), kind.step
    h = _tree(between(kind.lines), between(kind.channels), form)
    dates = pd.date_range("2021-01-01", periods=T, freq="MS") if step == "month" else pd.date_range("2021-01-04", periods=T, freq=f"{step}D")
    per_year = 12 if step == "month" else YEAR / step
    parent = h.parent_index(h.levels[0], h.levels[-1])

    phase = 2 * np.pi * (np.asarray((dates - dates[0]) / pd.Timedelta(days=YEAR)) - draw.uniform())
    season = np.cos(phase) + 0.35 * np.cos(2 * phase + draw.uniform(0, 6))
    demand = _wander(T, other, 0.9 ** (52 / per_year), 1.0)
    spend = _plan(kind, h, season, demand, per_year, plan)
    on_air = (spend ** 2).sum(axis=0) / spend.sum(axis=0)
    response, respond = _response(spend, parent, on_air, per_year, media)
    power = media.uniform(0.3, 1.0)
    size = np.exp(media.normal(0, 0.5, parent.max() + 1)[parent] + media.normal(0, 0.35, h.num_tacticals)) * spend.mean(axis=0) ** power
    share = media.uniform(0.05, 0.4)
    worth, unit = size / size.sum() * share * LEVEL, 1e5 / spend.sum(axis=1).mean()
    contributions = response * worth

    Z = _controls(dates, per_year, other)
    base = 1 + draw.uniform(*kind.drift) * _walk(T, other) + kind.trend * draw.choice([-1, 1]) * np.linspace(-0.5, 0.5, T)
    for place in draw.integers(T // 6, T - T // 6, size=kind.steps):
        base += draw.choice([-1, 1]) * draw.uniform(0.05, 0.12) * (np.arange(T) >= place)
    base += draw.uniform(0.02, 0.1) * season / season.std() + 0.02 * (kind.demand > 0) * 2 * demand
    base += Z.promotion * draw.uniform(0.02, 0.1) - (Z.price - 10) * draw.uniform(0.01, 0.06)
    if step == 1:
        base += draw.uniform(0.02, 0.1) * np.array([0.2, 0, -0.3, -0.5, 0.6, 1.2, -1.2])[dates.dayofweek]
    mean = contributions.sum(axis=1) + LEVEL * (1 - share) * base.to_numpy()
    r2 = noise.uniform(0.6, 0.95)
    y = mean + noise.normal(0, mean.std() * np.sqrt(1 / r2 - 1), T)
    frame = lambda values: pd.DataFrame(values, dates, h.names[h.levels[0]])
    return Market(h, pd.Series(y, dates, name="sales"), frame(unit * spend), Z if kind.controls else None, frame(contributions),
                  lambda padded: respond(padded / unit) * worth)
