"""Data, matched and checked: what is handed on unchanged, and the sentence that refuses the rest."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precision.data import check_time, prepare
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy

HIERARCHY = build_hierarchy({"A": {"p": ["a", "b"]}, "B": {"q": ["c"]}})
WEEKS = pd.date_range("2024-01-07", periods=30, freq="W")


def frames():
    rng = np.random.default_rng(0)
    y = pd.Series(rng.normal(100, 5, 30), WEEKS)
    U = pd.DataFrame(rng.gamma(2.0, 3.0, (30, 3)), WEEKS, list("abc"))
    Z = pd.DataFrame(rng.normal(size=(30, 2)), WEEKS, ["price", "promo"])
    return y, U, Z


def refused(message, *args, **kwargs):
    with pytest.raises(PrecisionError, match=message):
        prepare(HIERARCHY, *args, **kwargs)


@given(order=st.permutations(list("abc")))
def test_columns_are_matched_by_name(order):
    y, U, Z = frames()
    assert (prepare(HIERARCHY, y, U[order], Z).U == U.to_numpy()).all()


def test_arrays_frames_and_lists_agree():
    y, U, Z = frames()
    named, plain = prepare(HIERARCHY, y, U, Z), prepare(HIERARCHY, y.tolist(), U.to_numpy().tolist(), Z.to_numpy())
    assert (named.x == plain.x).all() and (named.y_scaled == plain.y_scaled).all()
    assert list(named.time) == list(WEEKS) and list(plain.time) == list(range(30))


@pytest.mark.parametrize("bad, said", [(np.nan, "missing value"), (np.inf, "infinite value"), ("12", "'12'"), (1e200, "change its unit")])
@pytest.mark.parametrize("table", ["y", "U", "Z", "spend", "U_history"])
def test_a_bad_cell_is_named(table, bad, said):
    y, U, Z = frames()
    tables = {"y": y, "U": U, "Z": Z, "spend": U * 2, "U_history": U.set_axis(WEEKS - pd.Timedelta(weeks=30))}
    broken = tables[table].astype(object)
    broken.iloc[(7,) if table == "y" else (7, 1)] = bad
    with pytest.raises(PrecisionError, match=said) as caught:
        prepare(HIERARCHY, **(tables | {table: broken}))
    where = "the outcome y" if table == "y" else f"{table} column '{broken.columns[1]}'"
    assert where in str(caught.value)
    if bad != 1e200:
        assert f"row {broken.index[7].date()}" in str(caught.value)


def test_names_and_shapes():
    y, U, Z = frames()
    refused("'aa' is not known. Did you mean 'a'", y, U.rename(columns={"a": "aa"}), Z)
    refused("Missing: 'b'", y, U[["a", "c"]], Z)
    refused("two columns named 'b'", y, U.set_axis(["a", "b", "b"], axis=1), Z)
    refused(r"shape \[periods, 3\]", y, U.to_numpy()[:, :2], Z)
    refused("U has 29 rows and y has 30", y, U.iloc[1:], Z)
    refused("row 0 is 2024-01-14 in U and 2024-01-07 in y", y, U.set_axis(WEEKS + pd.Timedelta(weeks=1)), Z)
    refused("one column", pd.concat([y, y], axis=1), U, Z)
    refused("rename the control", y, U, Z.rename(columns={"price": "intercept"}))
    refused("rename the control", y, U, Z.rename(columns={"price": "p"}))


def test_values_that_make_no_sense():
    y, U, Z = frames()
    refused("exposure of 'b' is -1 at row 2024-02-25", y, U.assign(b=np.where(np.arange(30) == 7, -1.0, 1.0)), Z)
    refused("spend of 'c' is -2", y, U, Z, U.assign(c=-2.0))
    refused("outcome y is constant", y * 0 + 7, U, Z)
    refused("control 'promo' is constant", y, U, Z.assign(promo=1.0))
    refused("at least 8 are needed", y[:5], U[:5])
    refused("U is zero in every column", y, U * 0, Z)


def test_spend_and_exposure_must_agree():
    y, U, Z = frames()
    refused("'a' has spend but no exposure", y, U.assign(a=0.0), Z, U)
    refused("'b' has exposure but no spend, while 'a' of the same channel 'A'", y, U, Z, U[["a", "c"]])
    organic = prepare(HIERARCHY, y, U, Z, U[["a", "b"]] * 3)
    assert np.allclose(organic.currency, [3, 3, 1])


@pytest.mark.parametrize("index, said", [
    (WEEKS[::-1], "not in ascending order"),
    (WEEKS[:29].append(WEEKS[28:29]), "twice"),
    (WEEKS[:10].append(WEEKS[11:]).append(WEEKS[-1:] + pd.Timedelta(weeks=1)), "2024-03-10 is followed by 2024-03-24"),
    (WEEKS.astype(str), "pandas.to_datetime"),
    (WEEKS.tz_localize("UTC"), "tz_localize"),
    (pd.Index([0, 1, 3]), "One period is missing, 2"),
])
def test_time_is_ascending_unique_and_even(index, said):
    with pytest.raises(PrecisionError, match=said):
        check_time(index)


@pytest.mark.parametrize("freq", ["D", "W", "MS", "ME", "QS", "YS", "2W"])
def test_calendars_that_are_even(freq):
    check_time(pd.date_range("2020-01-01", periods=24, freq=freq))


def test_history_must_come_right_before():
    y, U, Z = frames()
    early = U.iloc[:4].set_axis(WEEKS[:4] - pd.Timedelta(weeks=4))
    assert prepare(HIERARCHY, y, U, Z, U_history=early).x.shape == (34, 3)
    refused("U_history followed by y", y, U, Z, U_history=early.set_axis(early.index - pd.Timedelta(weeks=1)))


@settings(max_examples=200, deadline=None)
@given(cells=st.lists(st.one_of(st.floats(), st.integers(-5, 5), st.text(max_size=2), st.none(), st.booleans()), min_size=12, max_size=12))
def test_any_column_is_taken_or_refused_by_name(cells):
    y, U, _ = frames()
    exposure = U.iloc[:12].astype(object).assign(a=pd.Series(cells, WEEKS[:12], dtype=object))
    try:
        data = prepare(HIERARCHY, y[:12], exposure)
    except PrecisionError as error:
        assert "'a'" in str(error) or "y has" in str(error)
    else:
        assert np.isfinite(data.x).all() and (data.U[:, 0] == [float(c) for c in cells]).all()


def test_exposures_of_unlike_units_in_a_channel_without_spend_get_a_note():
    h = build_hierarchy({"web": ["seen", "clicked"], "tv": ["spots"]}, ["tactical", "channel"])
    rng = np.random.default_rng(0)
    U = pd.DataFrame(rng.gamma(4, size=(30, 3)) * [1e6, 1e2, 1], columns=["seen", "clicked", "spots"])
    y = pd.Series(rng.normal(100, 10, 30))
    units = lambda data: [note for note in data.notes if "are they of one unit" in note]
    (note,) = units(prepare(h, y, U))
    assert "in web, seen has" in note and "clicked" in note and "spend" in note
    assert not units(prepare(h, y, U, spend=U / U.mean() * 10))
    assert not units(prepare(h, y, U, spend=U))  # exposure that is spend
    assert not units(prepare(h, y, U.assign(clicked=U.clicked * 100)))
