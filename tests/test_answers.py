"""Totals, levels and questions that every result answers alike; asked of a prior, which needs no sampling."""

import numpy as np
import pandas as pd
import pytest

from precision.errors import PrecisionError

from precision.hierarchy import build_hierarchy
from precision.model import MMM
from precision.simulate import simulate

TREE = build_hierarchy({"north": {"tv": ["spot", "sponsor"], "web": ["banner"]}, "south": {"radio": ["drive"]}}, levels=["line", "medium", "region"])


@pytest.fixture(scope="module")
def world():
    return simulate(TREE, periods=52, seed=1)


@pytest.fixture(scope="module")
def prior(world):
    paid = world.spend.drop(columns=["drive"])
    return MMM(TREE).sample_prior(world.y, world.U, world.Z, paid, draws=200)


def test_the_default_is_the_top_level_whatever_its_name(prior):
    for ask in ("contributions", "decomposition", "shares", "roi", "roi_over_time", "response"):
        pd.testing.assert_frame_equal(getattr(prior, ask)(), getattr(prior, ask)("region"))
    for draw in ("contributions", "totals", "waterfall", "roi", "roi_over_time", "response"):
        getattr(prior.plot, draw)()
    with pytest.raises(PrecisionError, match="'channel' is not known.*'region'"):
        prior.shares("channel")


@pytest.mark.parametrize("level", TREE.levels)
def test_total_and_baseline_are_rows(prior, level):
    shares, names = prior.shares(level), TREE.names[level]
    assert list(shares.index) == [*names, "total", "baseline"]
    assert np.isclose(shares.contribution["total"], shares.contribution[names].sum())
    whole = prior.decomposition(level, draws=True).sum("node").sum("time").mean()
    assert np.isclose(shares.contribution["total"] + shares.contribution["baseline"], whole)
    media = sum(draws.sum(axis=1) for _, draws in prior._media(level))
    assert np.allclose(shares.loc["total", ["lower", "upper"]].astype(float), np.quantile(media, [0.05, 0.95]))


def test_the_total_of_roi_is_of_paid_media(prior, world):
    table = prior.roi("line")
    paid = table.loc[["spot", "sponsor", "banner"]]
    assert list(table.index) == [*TREE.names["line"], "total"] and np.isnan(table.roi["drive"])
    assert np.isclose(table.spend["total"], paid.spend.sum()) and np.isclose(table.contribution["total"], paid.contribution.sum())
    assert np.isclose(table.roi["total"], table.contribution["total"] / table.spend["total"])
    assert np.isclose(prior.roi("region").roi["total"], table.roi["total"]) and np.isclose(prior.roi().marginal_roi["total"], table.marginal_roi["total"])


def test_the_two_questions_and_their_totals(prior):
    money, over_time = prior.roi("line", counting="money"), prior.roi_over_time("line")
    sums = over_time.groupby("node")[["spend", "contribution"]].sum()
    paid = ["spot", "sponsor", "banner"]
    assert np.allclose(money.contribution[paid], sums.contribution[paid]) and np.allclose(money.spend[paid], sums.spend[paid])
    with pytest.raises(PrecisionError, match="counting='wndow' is not known. Did you mean 'window'"):
        prior.roi(counting="wndow")


def test_a_value_per_unit(prior, world):
    price = pd.Series(np.linspace(1, 2, 52), world.y.index)
    for ask in (prior.roi, prior.roi_over_time):
        plain, twice = ask("line"), ask("line", value=2)
        name = "roi" if "roi" in plain else "mean"
        assert np.allclose(twice[name], 2 * plain[name], equal_nan=True)
    by_hand = (prior.contributions("line", draws=True).sel(node="spot").values * price.to_numpy()).sum(axis=-1).mean()
    assert np.isclose(prior.roi("line", value=price).contribution["spot"], by_hand)
    with pytest.raises(PrecisionError, match="value and y must have the same index"):
        prior.roi(value=price.set_axis(price.index + pd.Timedelta(weeks=1)))
