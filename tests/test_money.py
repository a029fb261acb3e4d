"""What a euro brought, what the next one would bring, and what a unit costs: against hand computations and laws."""

import tracemalloc
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest

from precision.data import prepare
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.money import (
    COUNTING, caused, exposure_costs, money, money_over_time, money_whenever, plot_response, plot_roi, read_value, response_table, roi_over_time, roi_table, scaled,
    spend_by)
from precision.saturation import SATURATIONS
from precision.summaries import Decomposition, in_total

matplotlib.use("Agg")

TREES = {
    1: (["a", "b", "c"], ["tactical"]),
    3: ({"tv": {"linear": ["a", "b"], "stream": ["c"]}, "search": {"google": ["d", "e"]}}, ["tactical", "platform", "channel"]),
    4: ({"eu": {"tv": {"linear": ["a", "b"], "stream": ["c"]}}, "us": {"tv us": {"cable": ["d"]}, "web": {"meta": ["e", "f"]}}},
        ["line", "platform", "channel", "region"]),
}


def world(levels=3, draws=40, periods=30, history=0, saturation="michaelis_menten", normalize=True, seed=0, organic=(),
          idle=(), effects=None, sales=1.0, currency=1.0, exposure=1.0):
    "Decomposition of made-up data and draws."
    rng = np.random.default_rng(seed)
    h = build_hierarchy(*TREES[levels])
    names = h.names[h.levels[0]]
    U = pd.DataFrame(rng.gamma(2, 50, (periods, len(names))) * (rng.random((periods, len(names))) < 0.7), columns=names)
    U[list(idle)] = 0.0
    spend = U * rng.uniform(0.5, 2, U.shape)
    spend[list(organic)] = 0.0
    y = sales * (1000 + rng.normal(0, 50, periods))
    before = rng.gamma(2, 50, (history, len(names))) * (U.sum() > 0).to_numpy() if history else None
    data = prepare(h, y, exposure * U, None, currency * spend, None if before is None else exposure * before)
    effect = rng.lognormal(0, 0.5, (draws, len(names))) if effects is None else effects
    values = {"decay": rng.beta(2, 5, (draws, len(names))), "saturation_level": rng.beta(2, 2, (draws, len(names))),
              f"effect_{h.levels[0]}": effect}
    values["decay"][:, ~data.active] = np.nan  # as a fit reports them
    return Decomposition(data, SATURATIONS[saturation], normalize, values)


def every(question, components, level, *about):
    return [(node, question(components, level, node, *about)) for node in components.data.hierarchy.names[level]]


def by_hand(x, decay, normalize=True):
    "Geometric adstock, written out."
    out, carried = [], 0.0
    for value in x:
        carried = (1 - decay if normalize else 1.0) * value + decay * carried
        out.append(carried)
    return np.array(out)


def test_returns_of_one_tactical_agree_with_a_computation_by_hand():
    h = build_hierarchy(["only"], levels=["tactical"])
    y, U, spend = np.arange(8.0) ** 2, np.array([4.0, 0, 0, 8, 0, 4, 0, 0]), np.array([2.0, 0, 0, 4, 0, 2, 0, 0])
    data = prepare(h, y, U[:, None], None, spend[:, None])
    components = Decomposition(data, SATURATIONS["michaelis_menten"], True,
                        {"decay": np.array([[0.5]]), "saturation_level": np.array([[0.4]]), "effect_tactical": np.array([[1.5]])})
    curve = lambda a: a / (0.6 + 0.4 * a)
    a = by_hand(U / 2, 0.5)
    brought, more = 1.5 * y.std() * curve(a).sum(), 1.5 * y.std() * curve(1.01 * a).sum()
    row = roi_table(every(money, components, "tactical")).loc["only"]
    assert row.spend == 8 and row.contribution == pytest.approx(brought)
    assert row.roi == row.roi_lower == row.roi_upper == pytest.approx(brought / 8)
    assert row.marginal_roi == pytest.approx((more - brought) / 0.08, rel=1e-9)
    assert row.cost_per_unit == pytest.approx(8 / brought)


def test_intervals_are_those_of_the_draws_of_the_ratio():
    components = world(draws=200)
    row = roi_table(every(money, components, "platform"), interval=0.8).loc["google"]
    ratio = components.node("platform", "google").sum(axis=1) / spend_by(components.data, "platform")["google"].sum()
    assert row.roi == pytest.approx(ratio.mean())
    assert [row.roi_lower, row.roi_upper] == pytest.approx(list(np.quantile(ratio, [0.1, 0.9])))
    assert row.cost_per_unit == pytest.approx(1 / np.median(ratio))
    assert [row.cost_per_unit_lower, row.cost_per_unit_upper] == pytest.approx(list(1 / np.quantile(ratio, [0.9, 0.1])))


@pytest.mark.parametrize("history", [0, 6])
@pytest.mark.parametrize("normalize", [True, False])
def test_marginal_roi_is_roi_without_saturation(normalize, history):
    components = world(saturation="none", normalize=normalize, history=history)
    for level in components.data.hierarchy.levels:
        table = roi_table(every(money, components, level))
        for end in ("", "_lower", "_upper"):
            np.testing.assert_allclose(table[f"marginal_roi{end}"], table[f"roi{end}"], rtol=1e-10)


@pytest.mark.parametrize("history", [0, 6])
@pytest.mark.parametrize("normalize", [True, False])
def test_marginal_roi_is_the_slope_of_the_curve_and_below_roi_with_saturation(normalize, history):
    components = world(normalize=normalize, history=history)
    data, v = components.data, components.values
    for i, (name, draws) in enumerate(every(money, components, "tactical")):
        table = roi_table([(name, draws)])
        slopes = []
        for decay, s, effect in zip(v["decay"][:, i], v["saturation_level"][:, i], v["effect_tactical"][:, i]):
            a = by_hand(data.x[:, i], decay, normalize)[-len(data.y):]
            size = data.y.std() * data.share[i] * effect / data.spend[:, i].sum()
            slopes.append(size * (a * (1 - s) / (1 - s + s * a) ** 2).sum())
        assert table.marginal_roi.item() == pytest.approx(np.mean(slopes), rel=0.01)
        assert table.marginal_roi.item() < np.mean(slopes)  # a step of one percent, not of nothing
        marginal, roi = (np.diff(draws, axis=2)[:, 1] / np.diff(draws, axis=2)[:, 0]).ravel(), draws[:, 1, 0] / draws[:, 0, 0]
        assert (marginal < roi).all()


def test_units_carry_through():
    base, money_unit, sales_unit, counts = (roi_table(every(money, world(**k), "channel")) for k in (
        {}, {"currency": 1000}, {"sales": 1000}, {"exposure": 1000}))
    returns = [name for name in base if "roi" in name]
    np.testing.assert_allclose(money_unit[returns], base[returns] / 1000, rtol=1e-9)
    np.testing.assert_allclose(money_unit.filter(like="cost"), base.filter(like="cost") * 1000, rtol=1e-9)
    np.testing.assert_allclose(sales_unit[returns], base[returns] * 1000, rtol=1e-9)
    np.testing.assert_allclose(counts, base, rtol=1e-9)


@pytest.mark.parametrize("levels", TREES)
def test_every_level_adds_up_and_divides_sums(levels):
    components = world(levels)
    h = components.data.hierarchy
    whole = roi_table(every(money, components, h.levels[0]))
    for level in h.levels:
        table = roi_table(every(money, components, level))
        assert list(table.index) == h.names[level] and table.index.name == "node"
        parent = h.parent_index(h.levels[0], level)
        sums = whole[["spend", "contribution"]].groupby(parent).sum()
        np.testing.assert_allclose(table.spend, sums.spend)
        np.testing.assert_allclose(table.contribution, sums.contribution)
        np.testing.assert_allclose(table.roi, sums.contribution / sums.spend)
        np.testing.assert_allclose(table.contribution, in_total(components.media(level), components.data.y).contribution)


def test_organic_nodes_are_listed_without_returns():
    components = world(organic=["d", "e"])
    table = roi_table(every(money, components, "channel"))
    assert table.loc["search", "spend"] == 0 and table.loc["search", "contribution"] > 0
    assert table.loc["search"].drop(["spend", "contribution"]).isna().all()
    assert table.loc["tv"].notna().all()
    over_time = roi_over_time(every(money_over_time, components, "platform"), components.data.time)
    assert over_time.query("node == 'google'")["mean"].isna().all() and over_time.query("node != 'google'")["mean"].notna().any()


def test_a_tactical_without_exposure_is_listed_and_changes_nothing_above():
    components = world(idle=["a"])
    table = roi_table(every(money, components, "tactical"))
    assert table.loc["a", ["spend", "contribution"]].tolist() == [0, 0] and np.isnan(table.loc["a", "roi"])
    above = roi_table(every(money, components, "platform")).loc["linear"]
    pd.testing.assert_series_equal(above, table.loc["b"], check_names=False)
    assert (caused(components, 0) == 0).all() and caused(components, 0).shape == (40, 30)


def test_without_spend_the_error_says_what_to_pass():
    components = world()
    bare = replace(components, data=replace(components.data, spend=None))
    for ask in (lambda: money(bare, "channel", "tv"), lambda: money_over_time(bare, "channel", "tv"),
                lambda: exposure_costs(bare.data, "channel")):
        with pytest.raises(PrecisionError, match=r"no spend was given; pass spend= to MMM\.fit"):
            ask()


def test_misspelt_names_and_impossible_numbers_are_refused():
    components = world()
    for ask, words in (
        (lambda: money(components, "chanel", "tv"), "Did you mean 'channel'"),
        (lambda: money(components, "platform", "gogle"), "Did you mean 'google'"),
        (lambda: money_over_time(components, "platform", "gogle"), "Did you mean 'google'"),
        (lambda: spend_by(components.data, "chanel"), "Did you mean 'channel'"),
        (lambda: scaled(components, -0.1), "factor must be zero or more"),
        (lambda: scaled(components, np.nan), "factor must be zero or more"),
        (lambda: roi_table(every(money, components, "channel"), interval=90), "probability between 0 and 1"),
        (lambda: roi_over_time([], components.data.time, by="year"), "needs dates"),
        (lambda: roi_over_time([], pd.date_range("2024-01-01", periods=3), by="yaer"), "Did you mean 'year'"),
    ):
        with pytest.raises(PrecisionError, match=words):
            ask()


def test_price_of_exposure_is_spend_over_exposure():
    data = world(organic=["d", "e"]).data
    table = exposure_costs(data, "platform")
    assert table.loc["linear", "cost_per_exposure"] == pytest.approx(data.spend[:, :2].sum() / data.U[:, :2].sum())
    assert np.isnan(table.loc["google", "cost_per_exposure"]) and table.loc["google", "exposure"] > 0


def test_media_of_another_size_are_those_of_scaled_exposure_on_the_old_scale():
    components = world(history=4)
    data, v = components.data, components.values
    a = 1.7 * by_hand(data.x[:, 1], v["decay"][3, 1])[-len(data.y):]
    s = v["saturation_level"][3, 1]
    expected = data.y.std() * data.share[1] * v["effect_tactical"][3, 1] * a / (1 - s + s * a)
    np.testing.assert_allclose(scaled(components, 1.7).tactical(1)[3], expected)
    assert (scaled(components, 0).tactical(1) == 0).all()


def test_a_cost_that_may_be_infinite_is_never_negative():
    effects = np.random.default_rng(1).normal(0.3, 1.0, (400, 5))
    draws = money(world(draws=400, effects=effects), "tactical", "c")
    row = roi_table([("c", draws)]).iloc[0]
    assert row.roi_lower < 0 < row.roi_upper
    assert row.cost_per_unit_upper == np.inf and 0 < row.cost_per_unit_lower < row.cost_per_unit < np.inf
    harmful = roi_table([("c", draws * np.array([1, -1])[:, None] * np.sign(draws))]).iloc[0]
    assert harmful.roi_upper < 0 and harmful.filter(like="cost").eq(np.inf).all()


def test_draws_of_a_mixture_in_which_nothing_was_spent_say_nothing_about_money():
    draws = money(world(), "tactical", "a")
    silent = np.concatenate([draws, np.zeros_like(draws)])
    alone, mixed = roi_table([("a", draws)]).iloc[0], roi_table([("a", silent)]).iloc[0]
    pd.testing.assert_series_equal(mixed, alone)
    pd.testing.assert_frame_equal(response_table([("a", silent)], [1, 1.01]), response_table([("a", draws)], [1, 1.01]))
    over_time = money_over_time(world(), "tactical", "b")
    silent = np.concatenate([over_time, np.zeros_like(over_time)])
    pd.testing.assert_frame_equal(*(roi_over_time([("b", d)], range(30)) for d in (silent, over_time)))


# Returns over time

@pytest.mark.parametrize("normalize", [True, False])
def test_without_saturation_every_unit_of_exposure_causes_the_same(normalize):
    components = world(saturation="none", normalize=normalize, history=5)
    data, v = components.data, components.values
    gain = 1 if normalize else 1 / (1 - v["decay"][:, [2]])
    expected = data.y.std() * data.share[2] * v["effect_tactical"][:, [2]] * gain * data.x[5:, 2]
    np.testing.assert_allclose(caused(components, 2), expected, rtol=1e-10)


@pytest.mark.parametrize("normalize", [True, False])
def test_periods_and_history_together_cause_the_contribution(normalize):
    with_history = world(history=7, normalize=normalize)
    data = with_history.data
    for i in range(3):
        contribution = with_history.tactical(i).sum(axis=1)
        v = with_history.values
        from_history = []
        for decay, s, effect in zip(v["decay"][:, i], v["saturation_level"][:, i], v["effect_tactical"][:, i]):
            a = by_hand(data.x[:, i], decay, normalize)
            old = by_hand(np.r_[data.x[:7, i], np.zeros(len(data.y))], decay, normalize)
            f = data.y.std() * data.share[i] * effect * a / (1 - s + s * a)
            from_history.append((f * old / a)[7:].sum())
        within = caused(with_history, i, beyond=False).sum(axis=1)
        np.testing.assert_allclose(within + from_history, contribution, rtol=1e-10)


def test_the_split_is_what_each_period_adds_while_all_grow_together():
    components = world(draws=1, periods=9)
    data, v, i = components.data, components.values, 0
    decay, s, effect = v["decay"][0, i], v["saturation_level"][0, i], v["effect_tactical"][0, i]
    total = lambda x: (lambda a: (a / (1 - s + s * a)).sum())(by_hand(x, decay)) * data.y.std() * data.share[i] * effect
    grid, weights = np.polynomial.legendre.leggauss(40)
    expected = np.zeros(9)
    for u, weight in zip((grid + 1) / 2, weights / 2):
        for t in range(9):
            step = 1e-5 * np.eye(9)[t] * data.x[t, i]
            expected[t] += weight * (total(u * data.x[:, i] + step) - total(u * data.x[:, i] - step)) / 2e-5
    np.testing.assert_allclose(caused(components, i, beyond=False)[0], expected, rtol=1e-5, atol=1e-8)


def test_what_comes_after_the_data_is_put_in_at_the_usual_effect():
    components = world(draws=3)
    data, v, i = components.data, components.values, 4
    a = by_hand(data.x[:, i], v["decay"][1, i])
    usual = components.tactical(i)[1].sum() / a.sum()
    after = data.x[:, i] * v["decay"][1, i] ** np.arange(len(data.y), 0, -1) * usual
    np.testing.assert_allclose((caused(components, i) - caused(components, i, beyond=False))[1], after, rtol=1e-8, atol=1e-12)


def test_returns_over_time_divide_by_the_money_of_the_period():
    components = world()
    time = components.data.time
    table = roi_over_time(every(money_over_time, components, "platform"), time, interval=0.5)
    assert list(table.columns) == ["time", "node", "spend", "contribution", "mean", "lower", "upper"] and len(table) == 3 * len(time)
    part, spend = table[table.node == "stream"], components.data.spend[:, 2]
    ratio = caused(components, 2)[:, spend > 0] / spend[spend > 0]
    assert (part["mean"].isna().to_numpy() == (spend == 0)).all() and (spend == 0).any()
    np.testing.assert_allclose(part["mean"].dropna(), ratio.mean(axis=0))
    np.testing.assert_allclose(part[["lower", "upper"]].dropna().T, np.quantile(ratio, [0.25, 0.75], axis=0))
    both = caused(components, 0) + caused(components, 1)
    np.testing.assert_array_equal(money_over_time(components, "platform", "linear")[:, 1], both)


def test_returns_of_years_are_sums_over_sums():
    components = world(periods=30)
    dates = pd.date_range("2023-08-07", periods=30, freq="7D")
    terms = every(money_over_time, components, "channel")
    table = roi_over_time(terms, dates, by="year").set_index(["node", "time"])["mean"]
    first = dates.year == 2023
    assert list(table["tv"].index) == [pd.Timestamp("2023-01-01"), pd.Timestamp("2024-01-01")]
    for rows, year in ((first, "2023-01-01"), (~first, "2024-01-01")):
        draws = dict(terms)["tv"][..., rows].sum(axis=2)
        assert table["tv", year] == pytest.approx((draws[:, 1] / draws[:, 0]).mean())
    assert len(roi_over_time(terms, dates, by="month")) == 2 * 7 and len(roi_over_time(terms, dates, by="quarter")) == 2 * 3


# Response curves and pictures

def test_response_goes_from_nothing_through_the_present_point():
    components = world()
    factors = [0, 0.5, 1, 2]
    table = response_table(every(money, components, "channel", factors), factors)
    present = roi_table(every(money, components, "channel"))
    for node, part in table.groupby("node"):
        part = part.set_index("factor")
        assert (part.loc[0, ["spend", "mean", "lower", "upper"]] == 0).all()
        assert part.loc[1, "mean"] == pytest.approx(present.loc[node, "contribution"])
        assert part.loc[2, "spend"] == pytest.approx(2 * present.loc[node, "spend"])
        assert part["mean"].is_monotonic_increasing and part.loc[2, "mean"] < 2 * part.loc[1, "mean"]


def test_pictures_show_every_node_and_say_where_nothing_was_spent():
    components = world(organic=["d", "e"])
    table = roi_table(every(money, components, "channel"))
    ax = plot_roi(table, truth=table, break_even=1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["tv", "search"]
    assert [(text.get_text(), text.xy[1]) for text in ax.texts] == [(" no spend", 0)]
    factors = [0, 1, 2]
    axes = plot_response(response_table(every(money, components, "channel", factors), factors), currency="€")
    assert [ax.get_title() for ax in axes.flat] == ["tv", "search"]
    assert [ax.get_xlabel() for ax in axes.flat] == ["spend, €", "times the media; no spend"]


def test_a_table_of_many_tacticals_holds_few_arrays_at_once():
    tree = {f"c{i}": {f"p{i}": [f"t{i}_{k}" for k in range(10)]} for i in range(3)}
    rng = np.random.default_rng(0)
    U = rng.gamma(2, 50, (100, 30))
    data = prepare(build_hierarchy(tree), 1000 + rng.normal(0, 50, 100), U, None, U)
    values = {"decay": rng.beta(2, 5, (500, 30)), "saturation_level": rng.beta(2, 2, (500, 30)),
              "effect_tactical": np.ones((500, 30))}
    components = Decomposition(data, SATURATIONS["michaelis_menten"], True, values)
    one = 8 * 500 * 100
    for question, table in ((money, roi_table), (money_over_time, lambda terms: roi_over_time(terms, data.time))):
        tracemalloc.start()
        table((node, question(components, "tactical", node)) for node in data.hierarchy.names["tactical"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 * one, peak / one


def test_the_two_questions_of_roi_on_a_burst():
    "A burst in the last week returns 1.0 within the data and 5.0 whenever; one before the data is paid for by nobody in them."
    burst = np.where(np.arange(40) == 39, 100.0, 0.0)[:, None]
    h = build_hierarchy(["a"], ["tactical"])
    data = prepare(h, 1000.0 + np.arange(40), burst, None, burst)
    size = np.array([[5 * burst.mean() / data.y.std()]])
    components = Decomposition(data, SATURATIONS["none"], True, {"decay": np.array([[0.8]]), "effect_tactical": size})
    window, whenever = (roi_table([("a", count(components, "tactical", "a"))]).loc["a"] for count in COUNTING.values())
    assert np.isclose(window.roi, 1.0) and np.isclose(whenever.roi, 5.0) and np.isclose(whenever.marginal_roi, 5.0)


@pytest.mark.parametrize("history", [0, 25])
def test_what_money_brings_whenever_is_the_sum_over_time(history):
    components = world(history=history)
    for node in components.data.hierarchy.names["channel"]:
        (spend, more), (brought, with_more) = np.moveaxis(money_whenever(components, "channel", node), 0, -1)
        over_time = money_over_time(components, "channel", node).sum(axis=-1)
        assert np.allclose(spend, over_time[:, 0]) and np.allclose(brought, over_time[:, 1]) and np.allclose(more, 1.01 * spend)
        slope = (with_more - brought) / 0.01
        assert (slope < brought).all() and (slope > 0).all()
    linear = world(history=history, saturation="none")
    _, (brought, with_more) = np.moveaxis(money_whenever(linear, "channel", "tv"), 0, -1)
    assert np.allclose(with_more, 1.01 * brought)


def test_marginal_money_whenever_is_the_effect_of_one_percent_more_seen_to_its_end():
    "One percent more in every period, followed into a long future in which media run as on average."
    rng, h = np.random.default_rng(0), build_hierarchy(["a"], ["tactical"])
    U = np.full((400, 1), 50.0)
    data = prepare(h, 1000 + rng.normal(0, 50, 400), U, None, U)
    values = {"decay": np.array([[0.7]]), "saturation_level": np.array([[0.4]]), "effect_tactical": np.array([[1.0]])}
    components = Decomposition(data, SATURATIONS["michaelis_menten"], True, values)
    window, whenever = (roi_table([("a", count(components, "tactical", "a"))]).loc["a"] for count in COUNTING.values())
    assert abs(whenever.marginal_roi / window.marginal_roi - 1) < 0.02 and abs(whenever.roi / window.roi - 1) < 0.02


def test_a_value_per_unit_weighs_every_period():
    components, value = world(periods=30), np.linspace(1.0, 3.0, 30)
    plain, worth = (money(components, "channel", "tv", value=v) for v in (1.0, value))
    assert np.allclose(worth[:, 1, 0], (components.node("channel", "tv") * value).sum(axis=1)) and np.allclose(worth[:, 0], plain[:, 0])
    for ask in (money, money_whenever, money_over_time):
        one, two = ask(components, "channel", "tv"), ask(components, "channel", "tv", value=np.full(30, 2.0))
        assert np.allclose(two[:, 1], 2 * one[:, 1]) and np.allclose(two[:, 0], one[:, 0])
    late = money_over_time(components, "channel", "tv", value=(np.arange(30) == 29) * 1.0)[:, 1]
    assert (late > 0).any() and (late[:, -1] >= late[:, 0]).all()  # what works in the last period was bought then, or shortly before


def test_values_are_matched_by_date():
    time = pd.date_range("2024-01-01", periods=6, freq="MS")
    price = pd.Series(np.arange(6.0), time)
    assert (read_value(price, time) == price).all() and (read_value(price.to_frame(), time) == price).all() and (read_value(None, time) == 1).all()
    for odd, said in ((price[::-1], "ascending"), (price[1:], "5 rows"), (price - 1, "row 2024-01-01"), ([1] * 5, "5 rows"), (-2, "zero or more"),
                      (price.where(price > 1), "missing"), (pd.DataFrame({"a": price, "b": price}), "one column")):
        with pytest.raises(PrecisionError, match=said):
            read_value(odd, time)


def test_nothing_that_falls_into_periods_without_spend_is_lost():
    "Prepaid media: exposure for ten weeks, all money in the first."
    U = np.where(np.arange(30) < 10, 5.0, 0.0)[:, None]
    paid = np.where(np.arange(30) == 0, 50.0, 0.0)[:, None]
    h = build_hierarchy(["a"], ["tactical"])
    data = prepare(h, 1000 + np.arange(30.0) ** 1.5, U, None, paid)
    components = Decomposition(data, SATURATIONS["none"], True, {"decay": np.array([[0.5]]), "effect_tactical": np.array([[1.0]])})
    table = roi_over_time([("a", money_over_time(components, "tactical", "a"))], data.time)
    assert table["mean"].notna().sum() == 1 and np.isclose(table.contribution.sum(), caused(components, 0).sum()) and (table.contribution[1:10] > 0).all()
