"""Tables of any library: what has names is read by its names, what has dates by its dates, at every door."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr

from precision.controls import events, trend_knots
from precision.data import Controls, prepare
from precision.experiments import LiftTest, window
from precision.forecast import read_future
from precision.errors import PrecisionError
from precision.hierarchy import Hierarchy, build_hierarchy
from precision.metrics import measured_for, read_metrics
from precision.simulate import simulate
from precision.tables import as_pandas, is_dated

TREE = build_hierarchy({"A": {"p": ["a", "b"]}, "B": {"q": ["c"]}})
WEEKS = pd.date_range("2024-01-01", periods=30, freq="W-MON", name="week")
RNG = np.random.default_rng(0)
Y = pd.Series(RNG.normal(100, 5, 30), WEEKS, name="sales")
U = pd.DataFrame(RNG.gamma(2.0, 3.0, (30, 3)), WEEKS, list("abc"))
Z = pd.DataFrame(RNG.normal(size=(30, 2)), WEEKS, ["price", "promo"])
HOLED = U.mask(np.arange(90).reshape(30, 3) == 13)
BACK = U[["c", "b", "a"]]  # the order in which position gives the wrong answer


def with_dates(frame):
    return frame.reset_index(names="week")


DRESS = {  # {kind: (dress a frame, does it keep the dates?)}
    "polars": (lambda f: pl.from_pandas(f), False),
    "polars with dates": (lambda f: pl.from_pandas(with_dates(f)), True),
    "polars with days": (lambda f: pl.from_pandas(with_dates(f)).with_columns(pl.col("week").cast(pl.Date)), True),
    "arrow": (lambda f: pa.Table.from_pandas(f, preserve_index=False), False),
    "arrow with dates": (lambda f: pa.Table.from_pandas(with_dates(f), preserve_index=False), True),
    "xarray": (lambda f: xr.DataArray(f.to_numpy(), {"week": f.index, "line": list(f)}, ("week", "line")), True),
    "xarray turned": (lambda f: xr.DataArray(f.to_numpy().T, {"week": f.index, "line": list(f)}, ("line", "week")), True),
    "xarray dataset": (lambda f: xr.Dataset({name: ("week", f[name]) for name in f}, {"week": f.index}), True),
    "mapping": (lambda f: {name: f[name].tolist() for name in f}, False),
    "mapping with dates": (lambda f: {"week": list(f.index)} | {name: f[name].tolist() for name in f}, True),
    "mapping of columns": (lambda f: {name: f[name] for name in f}, True),
    "array with fields": (lambda f: f.to_records(index=False), False),
}


@pytest.mark.parametrize("kind", DRESS)
def test_every_door_reads_names_not_places(kind):
    dress, dated = DRESS[kind]
    plain = prepare(TREE, Y, U, Z, U * 2, U_history=U.set_axis(WEEKS - pd.Timedelta(weeks=30)))
    read = prepare(TREE, Y, dress(BACK), dress(Z[["promo", "price"]]), dress(BACK * 2), U_history=dress(BACK.set_axis(WEEKS - pd.Timedelta(weeks=30))))
    for part in ("U", "spend", "history"):
        assert (getattr(read, part) == getattr(plain, part)).all(), part
    assert read.controls == ("promo", "price") and (read.Z[:, ::-1] == plain.Z).all()
    later = WEEKS + pd.Timedelta(weeks=30)
    future = read_future(plain, dress(BACK.set_axis(later)), dress(Z[["promo", "price"]].set_axis(later)))
    assert (future.U == U.to_numpy()).all() and (future.Z == Z.to_numpy()).all()
    metrics, _ = read_metrics(TREE, Y, {"clicks": dress(BACK)}, dress(Z))
    assert (metrics["clicks"].data.U == U.to_numpy()).all()
    flags = BACK > 5
    assert (measured_for(dress(flags), "x", list("abc"), WEEKS) == (U <= 5).sum().to_numpy()).all() if "mapping" not in kind else True
    if dated:
        assert prepare(TREE, Y.to_numpy(), dress(BACK)).time.equals(WEEKS.as_unit("ns").rename("time"))
        own = Controls.of(dress(Z), sd=0.5)
        assert list(own.frame) == ["price", "promo"] and own.frame.index.equals(WEEKS)


@pytest.mark.parametrize("kind", [kind for kind, (_, dated) in DRESS.items() if dated])
def test_every_door_reads_dates(kind):
    dress, _ = DRESS[kind]
    late = U.set_axis(WEEKS + pd.Timedelta(weeks=1))
    for door in (lambda: prepare(TREE, Y, dress(late)), lambda: prepare(TREE, Y, U, dress(Z.set_axis(late.index))),
                 lambda: prepare(TREE, Y, U, None, dress(late)), lambda: read_future(prepare(TREE, Y, U), dress(U.set_axis(WEEKS + pd.Timedelta(weeks=31)))),
                 lambda: read_metrics(TREE, Y, {"clicks": dress(late)})):
        with pytest.raises(PrecisionError, match="same index|must go on"):
            door()


@pytest.mark.parametrize("kind", DRESS)
def test_wrong_names_are_refused(kind):
    with pytest.raises(PrecisionError, match="'cc' is not known"):
        prepare(TREE, Y, DRESS[kind][0](U.rename(columns={"c": "cc"})))


@pytest.mark.parametrize("y", [pl.Series("sales", Y.tolist()), pa.chunked_array([Y.tolist()]), Y.to_frame(), pl.from_pandas(with_dates(Y.to_frame())),
                               xr.DataArray(Y.to_numpy(), {"week": WEEKS}, ("week",)), np.ma.array(Y.to_numpy()), [Decimal(str(v)) for v in Y]],
                         ids=lambda y: type(y).__name__)
def test_an_outcome_of_any_library(y):
    data = prepare(TREE, y, U)
    assert np.allclose(data.y, Y) and data.time.equals(WEEKS.as_unit("ns").rename("time"))


@pytest.mark.parametrize("missing", [
    pl.from_pandas(U).with_columns(pl.when(pl.int_range(30) == 4).then(None).otherwise(pl.col("b")).alias("b")),
    pa.Table.from_pandas(HOLED.astype(object).where(HOLED.notna(), None), preserve_index=False),
    np.ma.array(U.to_numpy(), mask=np.arange(90).reshape(30, 3) == 13),
    np.ma.array(U.to_numpy().astype(int), mask=np.arange(90).reshape(30, 3) == 13),
    xr.DataArray(HOLED.to_numpy(), {"line": list("abc"), "week": WEEKS}, ("week", "line"))], ids=["polars", "arrow", "mask", "mask of integers", "xarray"])
def test_what_is_marked_as_missing_is_missing(missing):
    with pytest.raises(PrecisionError, match="missing value"):
        prepare(TREE, Y, missing)


def test_decimals_and_truth_values_are_numbers():
    U_decimal = U.map(lambda v: Decimal(repr(float(v))))
    assert (prepare(TREE, Y, U_decimal).U == U.to_numpy()).all()
    assert (prepare(TREE, Y, pl.DataFrame({n: U[n] for n in "abc"}), {"promo": (Z.promo > 0).tolist()}).Z[:, 0] == (Z.promo > 0)).all()


@pytest.mark.parametrize("one", [U.a, U.a.rename(None), U.a.to_numpy(), U.a.tolist(), U[["a"]], pl.Series("a", U.a.tolist()), U.a.rename("other")], ids=str)
def test_one_line_in_one_dimension(one):
    tree = build_hierarchy(["a"], levels=["campaign"])
    if getattr(one, "name", None) == "other":
        with pytest.raises(PrecisionError, match="'other' is not known"):
            prepare(tree, Y, one)
        return
    for spend in (None, one):
        assert (prepare(tree, Y, one, spend=spend).U[:, 0] == U.a).all()
    assert (read_metrics(tree, Y, {"clicks": one})[0]["clicks"].data.U[:, 0] == U.a).all()


class Strange:
    "Something with columns that nobody here can read."
    columns = list("abc")


@pytest.mark.parametrize("odd, said", [
    (Strange(), "to_pandas"), (pl.from_pandas(U).lazy(), "collect"), (pl.from_pandas(with_dates(U).assign(aired=WEEKS)), "dates in the columns 'week', 'aired'"),
    (xr.DataArray(U.to_numpy(), {"week": WEEKS}, ("week", "line")), "assign_coords"), (xr.Dataset({"u": (("week", "line"), U.to_numpy())}), "pick one table"),
    ({"a": [1.0], "b": [1.0, 2.0], "c": [1.0]}, "one cell a period"), ({"a": 1.0, "b": 2.0, "c": 3.0}, "one cell a period"), (with_dates(U), "set_index"),
    (pa.record_batch(U.to_dict("list")), "to_pandas")], ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_names_that_cannot_be_read_are_refused_with_the_way_out(odd, said):
    with pytest.raises(PrecisionError, match=said):
        prepare(TREE, Y.to_numpy(), odd)


def test_the_ways_out_lead_on():
    named = xr.DataArray(BACK.to_numpy(), {"week": WEEKS}, ("week", "line")).assign_coords(line=list(BACK))
    for table in (named, pl.from_pandas(BACK).lazy().collect(), pa.record_batch(BACK.to_dict("list")).to_pandas(), with_dates(BACK).set_index("week")):
        assert (prepare(TREE, Y.to_numpy(), table).U == U.to_numpy()).all()


def test_a_table_without_names_beside_one_in_another_order():
    for arguments in ({"spend": U.to_numpy()}, {"U_history": U.to_numpy()}):
        with pytest.raises(PrecisionError, match="has no names"):
            prepare(TREE, Y, BACK, **arguments)
        assert (prepare(TREE, Y, U, **arguments).U == U.to_numpy()).all()
    mended = prepare(TREE, Y, BACK, spend=pd.DataFrame(BACK.to_numpy(), columns=BACK.columns, index=WEEKS))
    assert (mended.spend == U.to_numpy()).all()


def test_two_columns_of_one_name_in_a_table_of_arrow():
    with pytest.raises(PrecisionError, match="two columns of one name, among a, a, b"):
        prepare(TREE, Y, pa.table([[1.0] * 30] * 3, names=["a", "a", "b"]))


def test_a_row_of_a_tree_is_named_by_its_label():
    rows = TREE.to_frame().set_axis(["first", "second", "third"])
    rows.loc["second", "tactical"] = None
    with pytest.raises(PrecisionError, match="Row 'second' has no tactical"):
        Hierarchy.from_frame(rows)


def test_two_controls_of_one_name_as_text():
    twice = pd.DataFrame(RNG.normal(size=(30, 2)), WEEKS, [1, "1"])
    for door in (lambda: prepare(TREE, Y, U, twice), lambda: Controls.of(twice)):
        with pytest.raises(PrecisionError, match="1 and '1'"):
            door()


@pytest.mark.parametrize("name", ["intercept", "total"])
def test_names_of_rows_of_results_are_no_nodes(name):
    with pytest.raises(PrecisionError, match="row of their own"):
        build_hierarchy({"A": {"p": [name, "b"]}})
    with pytest.raises(PrecisionError, match="rename the control"):
        prepare(TREE, Y, U, Z.rename(columns={"price": name}))


def test_a_tree_from_any_library():
    rows = TREE.to_frame()
    for frame in (pl.from_pandas(rows), pa.Table.from_pandas(rows)):
        assert Hierarchy.from_frame(frame) == TREE


@pytest.mark.parametrize("text", ["05.03.2024", "03/05/2024", "5 March 2024", "20240305", "2024", "2024-3-5", "now", ""])
def test_text_is_a_date_only_as_year_month_day(text):
    data = prepare(TREE, Y, U)
    for door in (lambda: window(LiftTest("a", text, "2024-03-12", 1.0, 1.0, change=-1.0), data), lambda: events(WEEKS, {"launch": text}),
                 lambda: trend_knots(WEEKS, [text]), lambda: simulate(start=text)):
        with pytest.raises(PrecisionError):
            door()


def test_a_month_ends_with_its_last_day():
    data = prepare(TREE, Y, U)
    for first, last in (("2024-03", "2024-04"), (np.datetime64("2024-03"), np.datetime64("2024-04")), (pd.Period("2024-03"), pd.Period("2024-04"))):
        spans = window(LiftTest("a", first, last, 1.0, 1.0, change=-1.0), data)
        assert [str(WEEKS[k].date()) for k in spans] == ["2024-02-26", "2024-04-29", "2024-04-29"]
    march = events(WEEKS, {"sale": "2024-03"}).frame["sale"]
    assert march.equals(events(WEEKS, {"sale": ("2024-03-01", "2024-03-31")}).frame["sale"]) and np.isclose(march.sum() * 7, 31)
    assert simulate(periods=12, start="2024-03").y.index[0] == pd.Timestamp("2024-03-01")


def test_arrays_and_lists_come_as_they_are():
    for plain in (U.to_numpy(), U.to_numpy().tolist(), None, 3):
        assert as_pandas(plain, "U") is plain and not is_dated(plain)
