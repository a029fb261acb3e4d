"""The calendar of the data: the odd step is named, never an innocent one, and every remedy works when it is followed to the letter."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precision.controls import Calendar
from precision.data import prepare
from precision.forecast import next_periods
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.periods import check_time, even_months, in_words

EVEN = ["D", "W-WED", "14D", "MS", "ME", "QS", "QE", "YS", "YE", "h", "2MS"]
HALF_OF_IT = np.cumsum([0, *[28, 28, 35] * 6]).astype("timedelta64[D]") + np.datetime64("2024-01-01")


def said_of(index):
    with pytest.raises(PrecisionError) as caught:
        check_time(index)
    return str(caught.value)


@pytest.mark.parametrize("freq", EVEN)
@given(gap=st.integers(1, 20), width=st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_the_step_with_the_hole_is_the_one_that_is_named(freq, gap, width):
    whole = pd.date_range("2020-03-31" if freq.endswith("E") else "2020-01-01", periods=24, freq=freq)
    message = said_of(whole.delete(range(gap, gap + width)))
    written = lambda day: str(day).removesuffix(" 00:00:00")
    assert f"{written(whole[gap - 1])} is followed by {written(whole[gap + width])}" in message
    assert ("One period is missing, " if width == 1 else f"{width} periods are missing, the first ") + written(whole[gap]) in message
    check_time(whole)


@pytest.mark.parametrize("index, remedy", [
    (pd.date_range("2020-03-31", periods=12, freq="BQE"), "index.to_period('Q')"),
    (pd.date_range("2020-01-31", periods=24, freq="BME"), "index.to_period('M')"),
    (pd.DatetimeIndex([f"2024-{month:02d}-{29 if month == 2 else 30}" for month in range(1, 13)]), "index.to_period('M')"),
    (pd.DatetimeIndex(["2024-01-31", "2024-02-29", "2024-03-30", "2024-04-30"]), "index.to_period('M')"),
    (pd.Index(range(202401, 202413)), "pandas.to_datetime(index.astype(str), format='%Y%m')"),
    (pd.Index([*range(202340, 202353), *range(202401, 202410)]), "pandas.to_datetime(index.astype(str) + '-1', format='%G%V-%u')"),
    (pd.Index([20240101, 20240108, 20240115]), "pandas.to_datetime(index.astype(str), format='%Y%m%d')"),
    (pd.Index([1.0, 2.0, 3.0]), "index.astype(int)"), (pd.Index([1, 2, 3], dtype=object), "index.astype(int)"),
    (pd.Index(pd.date_range("2024-01-01", periods=4).date), "pandas.to_datetime(index)"), (pd.Index(["2024-01-01", "2024-01-02"]), "pandas.to_datetime(index)"),
    (pd.Index(["01.02.2024", "01.03.2024"]), "pandas.to_datetime(index, format='%d.%m.%Y')"),
    (pd.date_range("2024-01-01", periods=5, tz="Europe/Berlin"), "index.tz_localize(None)"),
], ids=str)
def test_calendars_that_lack_nothing_are_told_as_they_are(index, remedy):
    message = said_of(index)
    assert remedy.removeprefix("index.").removeprefix("pandas.") in message and "missing" not in message
    check_time(eval(remedy, {"index": index, "pandas": pd}))


def test_weeks_of_four_and_five_and_days_without_weekends():
    assert "4-4-5" in said_of(pd.DatetimeIndex(HALF_OF_IT))
    check_time(pd.Series(1.0, HALF_OF_IT).reset_index(drop=True).index)
    for days in (pd.bdate_range("2024-01-01", periods=60), pd.bdate_range("2024-01-01", periods=60).delete([7, 21])):
        assert "leaves out weekends" in said_of(days)
        check_time(pd.Series(1.0, days).resample("W-MON", closed="left", label="left").sum().index)


@pytest.mark.parametrize("index, culprit", [
    (pd.DatetimeIndex(["2024-01-01", "2024-01-08", "2024-01-16", "2024-01-22", "2024-01-29", "2024-02-05", "2024-02-12"]), "2024-01-15 was expected"),
    (pd.date_range("2020-01-01", periods=24, freq="MS").delete(7).insert(7, pd.Timestamp("2020-08-03")), "2020-08-03 where 2020-08-01 was expected"),
    (pd.date_range("2020-01-31", periods=24, freq="ME").delete(6).insert(6, pd.Timestamp("2020-07-28")), "2020-07-28 where 2020-07-31 was expected"),
    (pd.DatetimeIndex(["2024-01-01", "2024-01-15", "2024-01-22", "2024-02-05", "2024-02-12"]), "no usual spacing"),
    (pd.to_datetime(pd.Index(range(202401, 202413))), "made dates without a format"),
    (pd.DatetimeIndex(["2024-01-01"] * 2 + ["2024-01-08"] * 2), "several regions or brands"),
    (pd.MultiIndex.from_product([["north", "south"], [0, 1]]), "choose one region or brand"), (pd.Index([]), "nothing"), (pd.Index([True, False]), "dates or integers"),
], ids=str)
def test_what_is_odd_is_named(index, culprit):
    assert culprit in said_of(index)


@pytest.mark.parametrize("freq", [*EVEN, "BQE", "BME", "B"])
def test_an_index_that_says_its_spacing_means_the_same_as_one_that_does_not(freq):
    told = pd.date_range("2022-02-28", periods=30, freq=freq)
    untold = pd.DatetimeIndex(list(told))
    outcome = []
    for index in (told, untold):
        try:
            check_time(index)
            outcome.append((Calendar.of(index), list(next_periods(index, 3))))
        except PrecisionError as error:
            outcome.append(str(error))
    assert outcome[0] == outcome[1]


@pytest.mark.parametrize("freq", EVEN)
def test_words_say_what_was_understood(freq):
    index = pd.date_range("2020-01-01", periods=24, freq=freq)
    words = in_words(index)
    kind = {"D": "days", "W-WED": "weeks", "14D": "periods of 14 days", "MS": "months", "ME": "months", "QS": "quarters", "QE": "quarters",
            "YS": "years", "YE": "years", "h": "hours", "2MS": "periods of 2 months"}[freq]
    ends = " to ".join(str(index[k]).removesuffix(" 00:00:00") for k in (0, -1))
    assert words == f"24 {kind}, {ends}" + ", dated on Wednesdays" * (kind == "weeks")


def test_quarters_named_by_their_quarter_pass_the_door():
    ends = pd.date_range("2018-01-01", periods=20, freq="BQE")
    tree, rng = build_hierarchy(["a"], levels=["line"]), np.random.default_rng(0)
    with pytest.raises(PrecisionError, match="to_period"):
        prepare(tree, pd.Series(rng.normal(9, 1, 20), ends), rng.gamma(2, 3, 20))
    data = prepare(tree, pd.Series(rng.normal(9, 1, 20), ends.to_period("Q")), rng.gamma(2, 3, 20))
    assert even_months(data.time) and data.time[0] == pd.Timestamp("2018-01-01") and next_periods(data.time, 1)[0] == pd.Timestamp("2023-01-01")
