"""The flexible baseline: columns that mean what they say, priors that are those of the process, and a future without a seam."""

import pickle
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precision.controls import Calendar, events, fourier, holidays, local_level, trend_knots
from precision.data import Controls, prepare
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.metrics import read_metrics

WEEKS = pd.date_range("2019-12-30", periods=160, freq="W-MON")
CALENDARS = {
    "days of five years": pd.date_range("2019-01-01", periods=5 * 365 + 1, freq="D"),
    "weeks from Sunday": pd.date_range("2020-01-05", periods=160, freq="W-SUN"),
    "weeks from Monday": WEEKS,
    "fortnights": pd.date_range("2020-01-06", periods=80, freq="2W-MON"),
    "first days of months": pd.date_range("2019-03-01", periods=50, freq="MS"),
    "middles of months": pd.date_range("2019-03-01", periods=50, freq="MS") + pd.Timedelta(days=14),
    "periods of months": pd.period_range("2019-03", periods=50, freq="M"),
    "periods of weeks": pd.period_range("2020-01-06", periods=120, freq="W-SUN"),
    "quarters": pd.date_range("2010-01-01", periods=44, freq="QS"),
}


def refused(message, make):
    with pytest.raises(PrecisionError, match=message):
        make()


def all_helpers(dates, year=None):
    "One of each, as far as the calendar allows."
    dated = not pd.api.types.is_integer_dtype(dates)
    yield fourier(dates, *(("year", 1) if dated else (13, 3)))
    yield fourier(dates, period=7.5, pairs=3)
    yield trend_knots(dates, 3, year=year)
    yield local_level(dates, 4, year=year)
    if dated:
        stamps = dates.to_timestamp() if isinstance(dates, pd.PeriodIndex) else dates
        yield holidays(dates, "DE", "BY", window=(2, 1), together=True)
        yield events(dates, {"once": stamps[9], "long": (stamps[20], stamps[25] + pd.Timedelta(days=1))})


# The seam

@pytest.mark.parametrize("dates", CALENDARS.values(), ids=CALENDARS)
@pytest.mark.parametrize("cut", [26, 31])
def test_what_is_made_for_the_past_is_the_past_of_what_is_made_for_all(dates, cut):
    for controls in all_helpers(dates[:cut]):
        longer, ahead = controls.at(dates), controls.at(dates[cut:])
        assert list(longer.frame) == list(controls.frame)
        assert longer.frame.iloc[:cut].equals(controls.frame)
        assert longer.frame.iloc[cut:].equals(ahead.frame)
        assert controls.at(dates[:cut]).sd == controls.sd and longer.unit_sd == controls.unit_sd


def test_integers_continue_as_well():
    for controls in all_helpers(pd.RangeIndex(60), year=52):
        assert controls.at(pd.RangeIndex(90)).frame.iloc[:60].equals(controls.frame)
        assert controls.at(pd.Index([75])).frame.equals(controls.at(pd.RangeIndex(90)).frame.iloc[[75]])


@pytest.mark.parametrize("dates", CALENDARS.values(), ids=CALENDARS)
def test_one_period_can_be_asked_for_on_its_own(dates):
    for controls in all_helpers(dates[:26]):
        assert controls.at(dates[30:31]).frame.equals(controls.at(dates[:31]).frame.iloc[30:])


def test_season_repeats_trend_goes_on_level_stays():
    ahead = pd.date_range(WEEKS[-1] + pd.Timedelta(weeks=1), periods=60, freq="W-MON")
    assert (local_level(WEEKS).at(ahead).frame == 1).all(axis=None)
    slopes = trend_knots(WEEKS, 5).at(ahead).frame.diff().iloc[1:]
    assert np.allclose(slopes, 7 / 365.25)
    days = pd.date_range("2022-01-01", periods=28, freq="D")
    week = fourier(days, "week")
    assert np.allclose(week.at(days + pd.Timedelta(days=7 * 52)).frame, week.frame, atol=1e-8)
    month = fourier(pd.date_range("2022-01-01", periods=100, freq="D"), "month")
    firsts = month.at(pd.date_range("2022-01-01", periods=800, freq="D")).frame.loc[lambda f: f.index.day == 1]
    assert len(firsts) == 27 and np.allclose(firsts, [0, 1] * 3)


def test_controls_survive_a_trip_through_a_file():
    for controls in all_helpers(WEEKS):
        again = pickle.loads(pickle.dumps(controls))
        assert again.at(WEEKS[:50]).frame.equals(controls.at(WEEKS[:50]).frame)


def test_other_dates_must_stand_on_the_same_calendar():
    controls = local_level(WEEKS)
    refused("2024-01-07 is no period of these controls, which stand at 2019-12-30, 2020-01-06", lambda: controls.at(
        pd.date_range("2024-01-07", periods=9, freq="W-SUN")))
    refused("made for dates", lambda: controls.at(pd.RangeIndex(9)))
    refused("made for integers", lambda: fourier(pd.RangeIndex(50), 7).at(WEEKS))
    refused("empty", lambda: controls.at(WEEKS[:0]))
    months = trend_knots(CALENDARS["first days of months"])
    refused("2024-01-31 is no period", lambda: months.at(pd.date_range("2024-01-31", periods=4, freq="ME")))
    ends = trend_knots(pd.date_range("2019-01-31", periods=30, freq="ME"))
    assert ends.at(pd.date_range("2024-02-29", periods=2, freq="ME")).frame.shape == (2, 5)


# The priors

def centred(covariance):
    P = np.eye(len(covariance)) - 1 / len(covariance)
    return P @ covariance @ P


def as_the_model_sees_it(controls):
    "Prior covariance of the baseline [T, T] from standardised columns and the sds of their coefficients."
    Z = controls.frame.to_numpy()
    scaled = (Z - Z.mean(axis=0)) / Z.std(axis=0) * np.array(list(controls.sd.values()))
    return scaled @ scaled.T


@pytest.mark.parametrize("every", [1, 4, 7])
@pytest.mark.parametrize("name", ["weeks from Monday", "days of five years", "first days of months"])
def test_the_local_level_has_the_covariance_of_a_random_walk_in_years(name, every):
    dates = CALENDARS[name][:200]
    length = {"weeks from Monday": 7 / 365.25, "days of five years": 1 / 365.25, "first days of months": 1 / 12}[name]
    t = np.arange(len(dates)) // every * every * length
    assert np.allclose(as_the_model_sees_it(local_level(dates, every, sd=0.7)), centred(0.49 * np.minimum.outer(t, t)))


def test_the_drift_of_a_year_does_not_depend_on_how_finely_it_is_drawn():
    for every in (1, 4, 13):
        level = local_level(pd.RangeIndex(53), every, sd=0.6, year=52)
        assert np.isclose(np.sqrt(sum(np.square(list(level.unit_sd.values())))), 0.6)


@pytest.mark.parametrize("dates", [WEEKS[:97], CALENDARS["first days of months"][:31]], ids=["weeks", "months"])
def test_a_season_is_equally_unsure_on_every_day_however_much_of_it_the_data_hold(dates):
    phase = np.subtract.outer(*[(dates - dates[0]).days / 365.25] * 2)
    kernel = 2 * 0.4**2 * sum(np.cos(2 * np.pi * k * phase) for k in (1, 2))
    assert np.allclose(as_the_model_sees_it(fourier(dates, "year", 2, sd=0.4)), centred(kernel))


def test_a_trend_has_the_slopes_that_its_prior_says():
    dates = pd.date_range("2020-01-01", periods=4, freq="YS")
    trend = trend_knots(dates, ["2021-01-01", "2022-01-01"], sd=0.3, slope=2.0)
    t = np.array([0, 366, 731, 1096]) / 365.25
    columns = np.column_stack([t, np.maximum(t - t[1], 0), np.maximum(t - t[2], 0)])
    assert np.allclose(as_the_model_sees_it(trend), centred(columns @ np.diag([4, 0.09, 0.09]) @ columns.T))


def test_the_effect_of_one_holiday_or_event_has_the_prior_sd_that_was_asked_for():
    for controls in (holidays(WEEKS, "DE", sd=0.8), events(WEEKS, {"launch": "2020-05-01"}, sd=0.8)):
        for name in controls.frame:
            assert np.isclose(controls.sd[name] / controls.frame[name].std(ddof=0), 0.8)


def test_draws_from_the_prior_have_the_priors_covariance():
    controls = fourier(WEEKS) + local_level(WEEKS, 8)
    drawn = controls.prior_draws(20_000, seed=1).to_numpy()
    assert np.allclose(drawn.mean(axis=0), 0) and np.abs(drawn @ drawn.T / 20_000 - as_the_model_sees_it(controls)).max() < 0.05


def test_a_flexible_baseline_is_found_with_the_uncertainty_that_it_has():
    rng, covered = np.random.default_rng(0), []
    parts = [local_level(WEEKS, 4), fourier(WEEKS, pairs=3), holidays(WEEKS, "DE", sd=1.0)]
    Z = np.hstack([(p.frame - p.frame.mean()) / p.frame.std(ddof=0) for p in parts])
    sd = np.concatenate([list(p.sd.values()) for p in parts])
    edges = np.cumsum([0] + [p.frame.shape[1] for p in parts])
    inverse = np.linalg.inv(Z * sd**2 @ Z.T + 0.09 * np.eye(len(Z)))
    covariance = np.diag(sd**2) - (sd**2 * Z).T @ inverse @ (Z * sd**2)
    for _ in range(100):
        truth = rng.normal(size=len(sd)) * sd
        mean = (sd**2 * Z).T @ (inverse @ (Z @ truth + 0.3 * rng.normal(size=len(Z))))
        for a, b in zip(edges, edges[1:]):
            width = 1.645 * np.sqrt(np.einsum("tj,jk,tk->t", Z[:, a:b], covariance[a:b, a:b], Z[:, a:b]))
            covered.append(np.mean(np.abs(Z[:, a:b] @ (mean - truth)[a:b]) <= width))
    assert np.allclose(np.reshape(covered, (-1, 3)).mean(axis=0), 0.9, atol=0.04)


# Seasons

def test_waves_of_the_year_stand_where_they_should():
    dates = pd.date_range("2000-01-01", periods=1500, freq="6h")
    waves = fourier(dates, pairs=1).at(pd.date_range("2000-01-01", periods=6000, freq="6h")).frame
    np.testing.assert_allclose(waves.loc[["2000-01-01", "2000-04-01 06:00", "2004-01-01"]], [[0, 1], [1, 0], [0, 1]], atol=5e-3)


def test_three_pairs_a_week_draw_any_seven_days():
    days = pd.date_range("2024-01-01", periods=70, freq="D")
    design = np.column_stack([np.ones(70), fourier(days, "week").frame])
    assert np.linalg.matrix_rank(design) == 7
    assert np.allclose(np.unique(np.round(design, 6), axis=0).shape[0], 7)


@pytest.mark.parametrize("dates, period, most", [
    (WEEKS, "year", 26), (WEEKS, "month", 2), (WEEKS, 13, 6), (WEEKS, 12, 5), (CALENDARS["first days of months"], "year", 5),
    (CALENDARS["quarters"], "year", 1), (CALENDARS["days of five years"], "week", 3), (pd.RangeIndex(90), 7, 3)])
def test_no_wave_is_faster_than_the_data_can_show(dates, period, most):
    frame = fourier(dates, period, most).frame
    assert frame.shape[1] == 2 * most and (frame.std() > 0.1).all()
    refused(f"at most {most}", lambda: fourier(dates, period, most + 1))


def test_seasons_refuse_nonsense():
    refused("Did you mean 'year'", lambda: fourier(WEEKS, "years"))
    refused("cannot show this season", lambda: fourier(WEEKS, "week", 1))
    refused("like period=52", lambda: fourier(pd.RangeIndex(80)))
    for period in (0, -3, np.nan, np.inf, True, None):
        refused("period is", lambda: fourier(WEEKS, period))
    for pairs in (0, -1, 2.5, True, "2"):
        refused("pairs must be", lambda: fourier(WEEKS, pairs=pairs))
    for sd in (-1, np.nan, np.inf, "1", True, None):
        refused("prior sd of fourier", lambda: fourier(WEEKS, sd=sd))


# Holidays

def test_a_column_counts_the_days_of_its_holiday():
    days = holidays(CALENDARS["days of five years"], "DE").frame
    assert list(days.index[days["Christmas Day"] == 1].strftime("%m-%d")) == ["12-25"] * 5
    assert days["Good Friday"].idxmax() == pd.Timestamp("2019-04-19")
    for name in ("weeks from Monday", "weeks from Sunday", "fortnights", "first days of months"):
        dates = CALENDARS[name]
        counts, names = holidays(dates, "DE").frame, ["Christmas Day", "Easter Monday"]
        for day, row in counts[names].iterrows():
            after = Calendar.of(dates).dates(Calendar.of(dates).position(pd.DatetimeIndex([day])) + 1)[0]
            assert (days.loc[day:after - pd.Timedelta(days=1), names].sum() == row).all()  # the days all lie in the five years
            if after.year > 2023:
                break


def test_a_holiday_on_the_edge_belongs_to_one_period_only():
    thursdays = pd.date_range("2025-12-04", periods=8, freq="W-THU")  # 25 December 2025 is one
    start = holidays(thursdays, "DE", names="Christmas Day").frame["Christmas Day"]
    end = holidays(thursdays, "DE", names="Christmas Day", label="end").frame["Christmas Day"]
    assert start.idxmax() == end.idxmax() == pd.Timestamp("2025-12-25") and start.sum() == end.sum() == 1
    fridays = thursdays + pd.Timedelta(days=1)
    assert holidays(fridays, "DE", names="Christmas Day").frame["Christmas Day"].idxmax() == pd.Timestamp("2025-12-19")
    assert holidays(fridays, "DE", names="Christmas Day", label="end").frame["Christmas Day"].idxmax() == pd.Timestamp("2025-12-26")


def test_the_last_period_is_as_long_as_the_others():
    weeks = pd.date_range("2023-11-20", periods=6, freq="W-MON")  # the last begins on 25 December
    assert holidays(weeks, "DE").frame.loc["2023-12-25", ["Christmas Day", "Second Day of Christmas"]].tolist() == [1, 1]
    months = pd.date_range("2023-06-30", periods=7, freq="ME")
    assert holidays(months, "DE", label="end").frame.loc["2023-12-31", "Christmas Day"] == 1


def test_windows_reach_over_the_edges_and_the_turn_of_the_year():
    days = pd.date_range("2023-12-01", "2023-12-30", freq="D")
    ahead = holidays(days, "DE", names=["Christmas Day"], window=(2, 1)).frame["Christmas Day"]
    assert list(ahead.index[ahead == 1].day) == [23, 24, 25, 26]
    new_year = holidays(pd.date_range("2022-12-20", "2023-12-31", freq="D"), "DE", names=["New Year's Day"], window=(3, 0))
    assert new_year.at(days).frame["New Year's Day"].sum() == 2  # 29 and 30 December, for the year to come
    weeks = holidays(WEEKS, "DE", window=(3, 0)).frame["Christmas Day"]
    assert weeks.sum() == 12 and weeks.loc["2021-12-20"] == 4


def test_days_of_several_holidays_count_once_together():
    days = pd.date_range("2023-12-01", "2023-12-31", freq="D")
    both = holidays(days, "DE", window=(1, 1), together=True).frame
    assert list(both) == ["holidays_DE"] and both.max().item() == 1 and list(both.index[both.holidays_DE == 1].day) == [24, 25, 26, 27, 31]
    some = holidays(days, "DE", names=["Christmas Day"], together=True).frame
    assert list(some.index[some.holidays_DE == 1].day) == [25]
    assert list(holidays(WEEKS, "DE", "BY", together=True).frame) == ["holidays_DE-BY"]


def test_regions_and_languages():
    bavaria, berlin = holidays(WEEKS, "DE", "BY"), holidays(WEEKS, "DE", "BE")
    assert "Epiphany" in bavaria.frame and "Epiphany" not in berlin.frame and "Women's Day" in berlin.frame
    assert "Erster Weihnachtstag" in holidays(WEEKS, "DE", language="de").frame
    refused("no region of DE", lambda: holidays(WEEKS, "DE", "XX"))
    refused("no names in 'fr'", lambda: holidays(WEEKS, "DE", language="fr"))
    for given, meant in (("Germany", "DE"), ("germny", "DE"), ("de", "DE"), ("United Kingdom", "GB")):
        refused(f"Did you mean '{meant}'", lambda: holidays(WEEKS, given))
    refused("the country 'XX' is not known. Countries", lambda: holidays(WEEKS, "XX"))
    refused("the country None is not known", lambda: holidays(WEEKS, None))


def test_what_cannot_be_learnt_is_noted_or_refused():
    half = holidays(WEEKS[:26], "DE")
    assert "Christmas Day" not in half.frame and "hold none" in half.notes[0] and "Christmas Day" in half.notes[0]
    refused("'Christmas Day' falls into no period", lambda: holidays(WEEKS[:26], "DE", names=["Christmas Day"]))
    refused("Did you mean 'Christmas Day'", lambda: holidays(WEEKS, "DE", names=["Christmas"]))
    refused("more than once", lambda: holidays(WEEKS, "DE", names=["Christmas Day"] * 2))
    years = pd.date_range("2010-01-01", periods=10, freq="YS")
    assert "as many: New Year's Day" in " ".join(holidays(years, "DE").notes) and list(holidays(years, "DE").frame) == ["Reformation Day"]
    refused("same in every period", lambda: holidays(years, "DE", names=["Christmas Day"]))
    refused("no holiday of DE", lambda: holidays(pd.date_range("2024-07-01", periods=20, freq="D"), "DE"))
    refused("no holiday of DE", lambda: holidays(pd.date_range("2024-07-01", periods=20, freq="D"), "DE", together=True))


def test_holidays_need_periods_of_whole_days():
    refused("whole days", lambda: holidays(pd.date_range("2024-01-01", periods=99, freq="h"), "DE"))
    refused("whole days", lambda: holidays(WEEKS + pd.Timedelta(hours=1), "DE"))
    refused("index holds integers", lambda: holidays(pd.RangeIndex(50), "DE"))
    refused("label='end'", lambda: holidays(pd.date_range("2022-01-31", periods=30, freq="ME"), "DE"))
    refused("leave out label", lambda: holidays(CALENDARS["periods of months"], "DE", label="end"))
    refused("Did you mean 'start'", lambda: holidays(WEEKS, "DE", label="strat"))
    for window in (3, (1,), (-1, 0), (0, 99), (1, 2, 3), "ab", (0.5, 0), None):
        refused("window is", lambda: holidays(WEEKS, "DE", window=window))


def test_time_zones_gaps_and_disorder_are_refused_everywhere():
    for make in (fourier, lambda d: holidays(d, "DE"), lambda d: events(d, {"a": "2020-05-01"}), trend_knots, local_level):
        refused("time zone", lambda: make(WEEKS.tz_localize("Europe/Berlin")))
        refused("ascending", lambda: make(WEEKS[::-1]))
        refused("2020-02-17; add it", lambda: make(WEEKS.delete(7)))
        refused("twice", lambda: make(WEEKS[[0, 1, 1, 2]]))
        refused("pandas.to_datetime", lambda: make(WEEKS.astype(str)))
        refused("must be an index", lambda: make(list(WEEKS)))
        refused("must be an index", lambda: make(pd.DataFrame(index=WEEKS)))
        refused("one date", lambda: make(WEEKS[:1]))
        refused("empty", lambda: make(WEEKS[:0]))


# Events

def test_pulses_states_and_lists():
    frame = events(WEEKS, {"pulse": "2020-05-06", "state": ("2020-05-06", "2020-05-19"),
                           "list": ["2020-05-06", "2020-05-07", ("2020-06-01", "2020-06-07")]}).frame
    seen = frame.loc["2020-05-04":"2020-06-07"]
    assert seen.pulse.tolist() == [1, 0, 0, 0, 0]
    assert np.allclose(seen.state, [5 / 7, 1, 2 / 7, 0, 0]) and np.allclose(seen["list"], [2, 0, 0, 0, 1])
    assert (frame.drop(seen.index) == 0).all(axis=None)
    ended = events(WEEKS, {"pulse": "2020-05-06"}, label="end").frame
    assert ended.pulse.idxmax() == pd.Timestamp("2020-05-11")
    month = events(CALENDARS["periods of months"], {"state": ("2020-02-01", "2020-03-15")}).frame.state
    assert np.allclose(month[month > 0], [1, 15 / 31])


def test_every_way_to_write_a_day_is_the_same_day():
    ways = [pd.Timestamp("2020-05-06"), pd.Timestamp("2020-05-06").date(), np.datetime64("2020-05-06"), ["2020-05-06"],
            pd.DatetimeIndex(["2020-05-06"]), ("2020-05-06", "2020-05-06")]
    frames = [events(WEEKS, {"e": way}).frame.e for way in ways]
    assert all(f.equals(frames[0]) for f in frames[:-1]) and np.isclose(frames[-1].sum(), 1 / 7)


def test_events_that_cannot_be_are_refused_by_name():
    refused("'launch' .2032-05-01. lies outside the data, which run from 2019-12-30 to", lambda: events(WEEKS, {"launch": "2032-05-01"}))
    end = WEEKS[-1] + pd.Timedelta(days=6)
    assert events(WEEKS, {"last": end}).frame["last"].iloc[-1] == 1
    refused("outside", lambda: events(WEEKS, {"late": end + pd.Timedelta(days=1)}))
    assert "2032-05-01" in events(WEEKS, {"sale": ["2020-05-01", "2032-05-01"]}).notes[0]
    refused("before it begins", lambda: events(WEEKS, {"a": ("2020-05-02", "2020-05-01")}))
    refused("same in every period", lambda: events(WEEKS, {"a": ("2019-01-01", "2024-01-01")}))
    refused("a list", lambda: events(WEEKS, {"a": ("2020-05-02", "2020-05-03", "2020-05-04")}))
    for day in ("some day", None, 7, np.nan, pd.NaT, "2020-05-06 12:00", pd.Timestamp("2020-05-06", tz="UTC")):
        refused("'a' has .* where a day", lambda: events(WEEKS, {"a": day}))
    for when in ({}, ["2020-05-01"], {1: "2020-05-01"}, {" ": "2020-05-01"}, None):
        refused("by name", lambda: events(WEEKS, when))


# Trend and level

def test_knots_by_number_and_by_place():
    assert list(trend_knots(WEEKS, 0).frame) == ["trend"]
    assert trend_knots(WEEKS, len(WEEKS) - 2).frame.shape == (160, 159)
    late, early = "2021-05-03", pd.Timestamp("2020-05-04")
    placed = trend_knots(WEEKS, [late, early])
    assert list(placed.frame) == ["trend", "trend_2020-05-04", "trend_2021-05-03"]
    assert placed.frame.loc["2020-05-04", "trend_2020-05-04"] == 0 < placed.frame.loc["2020-05-11", "trend_2020-05-04"]
    assert list(trend_knots(pd.RangeIndex(50), [10, 20], year=52).frame) == ["trend", "trend_10", "trend_20"]


def test_knots_that_cannot_be_are_refused():
    refused("2019-12-30 does not lie between", lambda: trend_knots(WEEKS, ["2019-12-30"]))
    refused("2030-01-01 does not lie between", lambda: trend_knots(WEEKS, ["2030-01-01"]))
    refused("given twice", lambda: trend_knots(WEEKS, ["2020-05-04"] * 2))
    for knots in (-1, 159, True):
        refused("knots=", lambda: trend_knots(WEEKS, knots))
    for knots in ("many", None, 2.5, [None], [np.nan], ["soon"], [pd.Timestamp("2020-05-04", tz="UTC")]):
        refused("knots=|does not lie", lambda: trend_knots(WEEKS, knots))
    refused("kind of the index", lambda: trend_knots(pd.RangeIndex(50), ["2020-05-04"], year=52))
    refused("year=52", lambda: trend_knots(pd.RangeIndex(50)))
    refused("leave out year", lambda: trend_knots(WEEKS, year=52))
    refused("slope", lambda: trend_knots(WEEKS, slope=-1))
    for year in (0, -1, np.nan, "52", True):
        refused("year=52", lambda: local_level(pd.RangeIndex(50), year=year))
    for every in (0, -4, 160, 1.5, True, None):
        refused("every is", lambda: local_level(WEEKS, every))


# Side by side, and checked with the data

def test_side_by_side():
    both = fourier(WEEKS) + local_level(WEEKS)
    assert list(both.frame) == [*fourier(WEEKS).frame, *local_level(WEEKS).frame]
    assert both.sd == fourier(WEEKS).sd | local_level(WEEKS).sd
    assert both.at(WEEKS[:60]).frame.equals(both.frame.iloc[:60])
    assert len((holidays(WEEKS[:26], "DE") + holidays(WEEKS[:26], "US", names=["Memorial Day"])).notes) == 1
    refused("both sets of controls have a column 'year_sin_1'", lambda: fourier(WEEKS) + fourier(WEEKS))
    refused("same index", lambda: fourier(WEEKS) + local_level(WEEKS[:100]))
    refused("Controls.of", lambda: fourier(WEEKS) + pd.DataFrame({"price": 1.0}, WEEKS))


def test_columns_of_ones_own():
    price = pd.DataFrame({"price": np.arange(160.0), 7: np.arange(160.0) ** 2}, index=WEEKS)
    own = Controls.of(price, sd={"price": 0.5})
    assert np.isclose(own.sd["price"], 0.5) and np.isclose(own.sd["7"], 1)
    refused("'price' was given as a column", lambda: (fourier(WEEKS) + own).at(WEEKS))
    refused("Did you mean 'price'", lambda: Controls.of(price, sd={"prize": 1}))
    refused("constant", lambda: Controls.of(price * 0))
    refused("missing value", lambda: Controls.of(price.replace(3.0, np.nan)))
    refused("DataFrame or a Series", lambda: Controls.of(price.to_numpy()))
    for sd in (-1, np.nan, "1", True, None):
        refused("prior sd of 'price'", lambda: Controls.of(price["price"], sd))


def world(periods=40):
    rng = np.random.default_rng(0)
    y = pd.Series(rng.normal(size=periods), WEEKS[:periods])
    return build_hierarchy({"A": {"p": ["a", "b"]}}), y, pd.DataFrame(rng.gamma(2.0, size=(periods, 2)), y.index, list("ab"))


def test_priors_come_through_the_door_with_their_columns():
    hierarchy, y, U = world()
    controls = local_level(y.index, 1) + fourier(y.index) + holidays(y.index, "DE")  # more columns than periods
    data = prepare(hierarchy, y, U, controls)
    assert data.controls == tuple(controls.frame) and (data.Z == controls.frame.to_numpy()).all()
    assert data.control_sd == pytest.approx(controls.sd)
    assert data.notes[-len(controls.notes):] == list(controls.notes) != []
    assert prepare(hierarchy, y, U, controls.frame.iloc[:, :5]).control_sd is None
    part = replace(data, y=data.y[:30], U=data.U[:30], Z=data.Z[:30])
    cut = controls.at(y.index[:30])
    assert part.control_sd == pytest.approx(cut.sd)
    refused("'level_2020-07-27' is constant", lambda: prepare(hierarchy, y[:30], U[:30], cut))
    varying = cut.varying()
    assert prepare(hierarchy, y[:30], U[:30], varying).controls == tuple(varying.frame) and "level_2020-08-03" in varying.notes[-1]
    refused("row 0 is", lambda: prepare(hierarchy, y.set_axis(WEEKS[1:41]), U.set_axis(WEEKS[1:41]), controls))


def test_what_does_not_vary_leaves_with_a_note():
    level = local_level(WEEKS, 4)
    assert level.varying() is level
    early = level.at(WEEKS[:60]).varying()
    assert list(early.frame) == list(local_level(WEEKS[:60], 4).frame) and early.sd == pytest.approx(local_level(WEEKS[:60], 4).sd)
    assert early.at(WEEKS).frame.equals(level.frame[list(early.frame)])


def test_an_ensemble_hands_the_priors_on_to_the_scored_periods():
    hierarchy, y, U = world()
    controls = local_level(y.index, 2) + fourier(y.index, pairs=1)
    metrics, _ = read_metrics(hierarchy, y.to_numpy(), {"clicks": U, "views": U.to_numpy()}, controls, metric_lags={"clicks": 3})
    Z = metrics["clicks"].inputs["Z"]
    assert len(Z.frame) == 37 and f"level_{y.index[2].date()}" not in Z.frame and Z.notes
    assert {name: Z.unit_sd[name] for name in Z.frame} == {name: controls.unit_sd[name] for name in Z.frame}


@settings(max_examples=60, deadline=None)
@given(freq=st.sampled_from(["D", "W-SUN", "W-WED", "2W", "MS", "QS", "ME", "10D", "YS", "YE"]),
       start=st.dates(date(1995, 1, 1), date(2030, 1, 1)),
       periods=st.integers(12, 60), ahead=st.integers(1, 30))
def test_any_calendar_has_no_seam(freq, start, periods, ahead):
    dates = pd.date_range(start, periods=periods + ahead, freq=freq)
    past = dates[:periods]
    calendar = Calendar.of(past)
    assert (calendar.position(dates) == np.arange(len(dates))).all() and (calendar.dates(np.arange(len(dates))) == dates).all()
    label = "end" if calendar.unit == "month end" else "start"
    for controls in (trend_knots(past, 3), local_level(past, 3), fourier(past, 5, 2), events(past, {"e": past[5]}, label=label)):
        assert controls.at(dates).frame.iloc[:periods].equals(controls.frame)
