"""Odd input by the thousand: what comes in either fits the contract or is refused in a sentence, and nothing else happens."""

import datetime
import decimal
import fractions
import pickle
import signal
import string
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precision.controls import Calendar, events, fourier, holidays, local_level, trend_knots
from precision.data import Controls, prepare
from precision.experiments import CostTarget, LiftTest, changed, check_experiments, from_record, to_record, window
from precision.files import read_data, read_model, read_table
from precision.forecast import inputs_of, read_future, split
from precision.beliefs import Belief, belief, beliefs, inherited, step_priors
from precision.errors import PrecisionError
from precision.hierarchy import Hierarchy, build_hierarchy
from precision.metrics import read_metrics
from precision.priors import ANY_SIGN, RANGES, Priors, total_of_roi, total_of_share

SECONDS = 120  # of the processor, for one test; most need a few


@pytest.fixture(autouse=True)
def alarm():
    "A test that hangs fails instead. What counts is the processor's time, so that a busy machine is no hang."
    def ring(*_):
        raise TimeoutError(f"still at it after {SECONDS} seconds")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


def cases(number, **strategies):
    "`number` cases of a test."
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    return lambda test: settings(max_examples=number, deadline=None, suppress_health_check=quiet)(given(**strategies)(test))


def tried(call, *args, **kwargs):
    "What a call gives; `None` where it refused its input in a sentence. Warnings and every other exception are failures."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return call(*args, **kwargs)
        except PrecisionError as error:
            said = str(error)
    assert len(said.split()) >= 4 and said.strip() == said and "Traceback" not in said and len(said) < 20_000, said
    return None


# what may stand where something else belongs

SCALARS = [
    None, True, False, np.nan, np.inf, -np.inf, 0, -1, 1, 2, 3, 0.5, -0.0, 1e300, -1e300, 1e-300, 5e-324, 10**400, 2**63, np.float32(0.5),
    np.int8(3), np.bool_(True), "", " ", "x", "12", "a", "tv", "2024-02-04", "year", b"a", decimal.Decimal("1.5"), decimal.Decimal("NaN"), decimal.Decimal("sNaN"), fractions.Fraction(1, 3),
    1 + 2j, pd.NA, pd.NaT, pd.Timestamp("2024-03-03"), pd.Timestamp("2024-03-03", tz="UTC"), pd.Timedelta(days=7),
    pd.Period("2024-03", "M"), np.datetime64("2024-03-03"), np.datetime64("NaT"), datetime.date(2024, 3, 3), datetime.timedelta(days=1), len, object(),
]
OBJECTS = [(), (1, 2), (2, 1), (0.1, 0.5), (1,), (None, 1), [], [1, 2], ["a"], ["a", "a"], ["x"], {}, {"a": 1}, {"tv": 0.5}, {"x": 1}, {1: 2}, {"a": None}, {"a": (1, 2)},
           {"a", "b"}, [["a"], ["b", "c"]], [{"a": 1}], np.array([]), np.array(2.0), np.array([1.0]), np.array(["a", "b"]), np.ones((2, 2)), np.ones((2, 2, 2)), pd.Series([1.0]),
           pd.DataFrame({"a": [1.0]}), pd.DataFrame(), pd.date_range("2024-01-07", periods=3, freq="W"), "abc", range(3), iter([1])]
scalars, anything = st.sampled_from(SCALARS), st.sampled_from(SCALARS + OBJECTS)
odd_text = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("ab '\"/>|{}[]%\\\n\t.éß中🎈")), max_size=6)
names = st.one_of(st.sampled_from(["a", "b", "tv", "web", "A", "a b", "channel", "tv (pass-through)", "{}", "a/b", "time", "ünï", "🎈"]), odd_text)


# trees

def trees(depth):
    "Nested dicts and lists, now and then deeper, shallower or with something else in it."
    leaves = st.lists(st.one_of(names, names, names, names, anything), max_size=3)
    if depth <= 1:
        return leaves
    below = st.one_of(trees(depth - 1), trees(depth - 1), leaves, anything) if depth < 3 else st.one_of(trees(depth - 1), leaves)
    return st.dictionaries(names, below, max_size=3)


LEVELS = [["tactical"], ["tactical", "channel"], ["tactical", "platform", "channel"], ["a", "b", "c", "d"], ["l1", "l2", "l3", "l4", "l5"],
          ["channel", "tactical"], ["time"], ["a", "a"], [], "tactical", None, [1], [""], ("tactical", "Ünter"), [["a"], ["b"]], 3]


def check_tree(h):
    bottom, top = h.levels[0], h.levels[-1]
    for level in h.levels:
        assert len(set(h.names[level])) == len(h.names[level]) == h.size(level) > 0
        membership = h.matrix(bottom, level)
        assert membership.shape == (h.num_tacticals, h.size(level)) and (membership.sum(axis=1) == 1).all() and membership.any(axis=0).all()
        for node in h.names[level]:
            assert len(h.path(node, level)) == len(h.levels) - h.levels.index(level) and h.descendants(node, level)
    assert sum(len(h.descendants(node, top)) for node in h.names[top]) == h.num_tacticals
    again = Hierarchy.from_frame(h.to_frame(), list(h.levels))
    assert again == h and pickle.loads(pickle.dumps(h)) == h
    assert str(h).count("\n") >= len(h.levels) - 1 + h.num_tacticals - 1 and repr(h)


def leaves_of(tree):
    return [leaf for branch in tree.values() for leaf in leaves_of(branch)] if isinstance(tree, dict) else list(tree)


@cases(400, data=st.data(), qualify=st.booleans())
def test_any_tree(data, qualify):
    levels = data.draw(st.sampled_from(LEVELS))
    tree = data.draw(trees(len(levels) if isinstance(levels, (list, tuple)) else 1))
    if (h := tried(build_hierarchy, tree, levels, qualify)) is not None:
        check_tree(h)
        assert h.num_tacticals == len(leaves_of(tree)) and h.levels == tuple(levels)
        if not qualify:
            assert h.names[h.levels[0]] == leaves_of(tree)


@cases(100, rows=st.lists(st.lists(st.one_of(names, names, names, scalars), min_size=3, max_size=3), max_size=5), width=st.integers(0, 3),
       levels=st.one_of(st.none(), st.sampled_from(LEVELS)), qualify=st.booleans())
def test_any_table_of_a_tree(rows, width, levels, qualify):
    frame = pd.DataFrame([row[:width] for row in rows], columns=["channel", "platform", "tactical"][:width])
    if (h := tried(Hierarchy.from_frame, frame, levels, qualify)) is not None:
        check_tree(h)
        assert h.num_tacticals == len(frame)


# tables of data

WEEKS = 24
H = build_hierarchy({"tv": {"linear": ["a", "b"]}, "web": {"search": ["c"], "social": ["d"]}})


def clean(seed, periods=WEEKS):
    "Tables that fit."
    rng, index = np.random.default_rng(seed), pd.date_range("2024-01-07", periods=periods, freq="W")
    U = pd.DataFrame(rng.gamma(2.0, 3.0, (periods, 4)), index, list("abcd"))
    return {"y": pd.Series(rng.normal(100, 5, periods), index), "U": U, "Z": pd.DataFrame(rng.normal(size=(periods, 2)), index, ["price", "promo"]),
            "spend": U * 2, "U_history": U.set_axis(index - pd.Timedelta(weeks=periods))}


INDICES = {
    "integers": lambda i: pd.RangeIndex(len(i)), "other integers": lambda i: pd.Index(np.arange(len(i)) * 3 - 7),
    "unsigned": lambda i: pd.Index(np.arange(len(i)), dtype="uint8"),
    "nullable": lambda i: pd.Index(np.arange(len(i)), dtype="Int64"), "nullable with a gap": lambda i: pd.Index([*range(len(i) - 1), pd.NA], dtype="Int64"),
    "floats": lambda i: pd.Index(np.arange(len(i)) * 0.5), "text": lambda i: pd.Index(i.astype(str)) if len(i) else i, "objects": lambda i: pd.Index(list(i), dtype=object),
    "mixed": lambda i: pd.Index([*i[:-1].astype(object), "x"]) if len(i) else i, "dates": lambda i: pd.Index([d.date() if hasattr(d, "date") else d for d in i]),
    "time zone": lambda i: pd.date_range("2024-01-07", periods=len(i), freq="W", tz="Europe/Berlin"),
    "periods": lambda i: pd.period_range("2024-01-07", periods=len(i), freq="W"), "monthly periods": lambda i: pd.period_range("2020-01", periods=len(i), freq="M"),
    "month ends": lambda i: pd.date_range("2020-01-31", periods=len(i), freq="ME"), "hours": lambda i: pd.date_range("2020-01-31", periods=len(i), freq="h"),
    "far away": lambda i: pd.date_range("1700-01-01", periods=len(i), freq="W"), "seconds": lambda i: pd.date_range("2024-01-07", periods=len(i), freq="W").as_unit("s"),
    "very far away": lambda i: pd.DatetimeIndex(np.datetime64("9990-01-01", "s") + np.arange(len(i)) * np.timedelta64(7 * 86400, "s")),
    "duplicated": lambda i: i[[0, *range(len(i) - 1)]] if len(i) else i, "backwards": lambda i: i[::-1], "unordered": lambda i: i[np.r_[1, 0, 2:len(i)]] if len(i) > 1 else i,
    "gapped": lambda i: i.delete(1).append(i[-1:] + (i[-1] - i[-2])) if len(i) > 3 and isinstance(i, pd.DatetimeIndex) else i,
    "missing date": lambda i: i.where(np.arange(len(i)) != 1) if len(i) else i, "shifted": lambda i: i + pd.Timedelta(days=1) if isinstance(i, pd.DatetimeIndex) else i,
    "multi": lambda i: pd.MultiIndex.from_arrays([range(len(i)), range(len(i))]), "categories": lambda i: pd.CategoricalIndex(i.astype(str)) if len(i) else i,
    "timedeltas": lambda i: pd.to_timedelta(np.arange(len(i)), "D"), "booleans": lambda i: pd.Index(np.arange(len(i)) % 2 == 0), "nothing": lambda i: pd.Index([None] * len(i)),
    "intervals": lambda i: pd.interval_range(0, len(i)),
}
DTYPES = ["float32", "float16", "int64", "int8", "uint8", "Int64", "Float64", "boolean", "bool", object, "string", "category", "complex128",
          "datetime64[ns]", "timedelta64[ns]", "Sparse[float]"]
OUTSIDE = ["ragged", "values", "list", "fortran", "row", "transposed", "series", "three axes", "one column", "no column", "no row", "one row", "short", "long", "nested lists", "dict",
           "polars", "arrow", "xarray", "mask", "fields", "columns"]


def with_fallback(dress):
    "A dress of another library; the naked table where it does not fit."
    def put_on(frame):
        try:
            return dress(frame)
        except (ValueError, TypeError, pa.ArrowException, pl.exceptions.PolarsError, OverflowError):
            return frame
    return put_on


NAMED = {"polars": with_fallback(pl.from_pandas), "arrow": with_fallback(pa.Table.from_pandas), "xarray": with_fallback(lambda frame: frame.set_index("when").to_xarray()),
         "fields": with_fallback(lambda frame: frame.to_records(index=False)), "columns": lambda frame: {name: frame[name].tolist() for name in frame}}


def outside(table, how):
    "The table in another form."
    values = table.to_numpy()
    flat = isinstance(table, pd.Series)
    if how in NAMED:
        frame = (table.to_frame("one") if flat else table).rename(columns=str).reset_index(names=["when"] * table.index.nlevels)
        return NAMED[how](frame) if frame.columns.is_unique else table
    return {"ragged": lambda: [[1.0, 2.0], [3.0]] * (len(table) // 2), "values": lambda: values, "list": lambda: list(values), "fortran": lambda: np.asfortranarray(values), "row": lambda: values[None],
            "transposed": lambda: table.T, "series": lambda: table if flat or not table.shape[1] else table.iloc[:, 0], "three axes": lambda: values[..., None],
            "one column": lambda: table if flat else table.iloc[:, :1], "no column": lambda: table if flat else table.iloc[:, :0], "no row": lambda: table.iloc[:0],
            "one row": lambda: table.iloc[:1], "short": lambda: table.iloc[:9], "long": lambda: pd.concat([table, table]),
            "nested lists": lambda: values.tolist(), "dict": lambda: table.to_dict(),
            "mask": lambda: np.ma.masked_equal(values, values.flat[0]) if values.size else values}[how]()


def mutated(table, data):
    "The table with one odd thing done to it."
    if not isinstance(table, (pd.DataFrame, pd.Series)) or not len(table):
        return table
    draw, flat = data.draw, isinstance(table, pd.Series)
    columns = 1 if flat else table.shape[1]
    row, column = draw(st.integers(0, len(table) - 1)), draw(st.integers(0, max(columns - 1, 0)))
    at = (slice(None),) if flat else (slice(None), column)
    kind = draw(st.sampled_from(["cell", "cell", "cell", "index", "index", "dtype", "name", "extra", "double", "missing", "order", "scale", "constant", "negative", "rows", "outside", "thing"]))
    if kind == "thing":
        return draw(anything)
    if kind == "index":
        return table.set_axis(INDICES[draw(st.sampled_from(sorted(INDICES)))](table.index), axis=0)
    if kind == "outside":
        return outside(table, draw(st.sampled_from(OUTSIDE)))
    if kind == "rows":
        return table.iloc[draw(st.lists(st.integers(0, len(table) - 1), max_size=2 * len(table)))]
    if columns == 0:
        return table
    if kind == "cell":
        table = table.astype(object)
        table.iloc[(row,) if flat else (row, column)] = draw(scalars)
        return table if draw(st.booleans()) else table.infer_objects()
    if kind == "dtype":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return table.astype(draw(st.sampled_from(DTYPES)))
            except (TypeError, ValueError):
                return table
    if kind in ("scale", "constant", "negative"):
        factor = {"scale": st.sampled_from([1e-320, 1e-200, 1e-90, 1e-9, 1e9, 1e90, 1e200, 1e307]), "constant": st.just(0.0), "negative": st.just(-1.0)}[kind]
        try:
            table = table.astype(float)
        except (TypeError, ValueError):
            return table
        with np.errstate(all="ignore"):
            table.iloc[at] = table.iloc[at] * draw(factor) + (draw(st.sampled_from([0.0, 5.0])) if kind == "constant" else 0)
        return table
    if flat:
        return table.rename(draw(names))
    if kind == "name":
        return table.set_axis([*table.columns[:column], draw(st.one_of(names, scalars)), *table.columns[column + 1:]], axis=1)
    if kind == "extra":
        return pd.concat([table, pd.Series(1.0, table.index, name=draw(names))], axis=1)
    if kind == "double":
        return table.iloc[:, [*range(columns), column]]
    if kind == "missing":
        return table.drop(columns=table.columns[column])
    return table.iloc[:, draw(st.permutations(range(columns)))]


def check_dataset(data, periods=None):
    T, N, J = len(data.y), data.hierarchy.num_tacticals, len(data.controls)
    assert data.U.shape == data.x.shape[:0] + (T, N) and data.Z.shape == (T, J) and len(data.time) == T and T in (periods, T)
    assert all(values.dtype == float and np.isfinite(values).all() for values in (data.y, data.U, data.Z, data.x, data.share, data.y_scaled, data.Z_scaled))
    assert (data.U >= 0).all() and data.active.any() and len(set(data.controls)) == J and all(isinstance(name, str) for name in data.controls)
    assert np.allclose(data.x[-T:].mean(axis=0), data.active) and abs(data.y_scaled.mean()) < 1e-6 and np.isclose(data.y_scaled.std(), 1)
    assert np.allclose(data.Z_scaled.std(axis=0), 1)
    channels = data.share @ data.hierarchy.matrix(data.hierarchy.levels[0], data.hierarchy.levels[-1])
    assert (np.isclose(channels, 1) | (channels == 0)).all()
    assert data.time.is_unique and data.time.is_monotonic_increasing and data.time.name == "time"
    assert data.spend is None or data.spend.shape == (T, N) and np.isfinite(data.currency).all() and (data.spend >= 0).all()
    assert all(isinstance(note, str) for note in data.notes)


def some_tables(data, odd=3):
    "Tables of which some are odd, and some are left out."
    tables = clean(data.draw(st.integers(0, 3)))
    if data.draw(st.booleans()):
        shared = INDICES[data.draw(st.sampled_from(sorted(INDICES)))](tables["y"].index)
        tables = {name: table.set_axis(shared, axis=0) for name, table in tables.items() if name != "U_history"}
    for _ in range(data.draw(st.integers(0, odd))):
        name = data.draw(st.sampled_from(sorted(tables)))
        tables[name] = mutated(tables[name], data)
    optional = data.draw(st.sets(st.sampled_from(["Z", "spend", "U_history"])))
    return {name: table for name, table in tables.items() if name in optional | {"y", "U"}}


@cases(900, data=st.data())
def test_any_tables_through_the_door(data):
    found = tried(prepare, H, **some_tables(data))
    if found is not None:
        check_dataset(found)
        again = prepare(H, **inputs_of(found, 0, len(found.y)))
        assert (again.y == found.y).all() and (again.U == found.U).all() and again.controls == found.controls


@cases(60, data=st.data())
def test_any_shape_of_data(data):
    "One column, one row, hardly any periods, many controls."
    periods, controls = data.draw(st.integers(1, 12)), data.draw(st.integers(0, 12))
    h = build_hierarchy({"only": ["one"]}, ["tactical", "channel"])
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(periods, controls)) if data.draw(st.booleans()) else None
    y, U = rng.normal(size=periods) * data.draw(st.sampled_from([1e-99, 1e-30, 1.0, 1e30, 1e90])), rng.gamma(2, size=(periods, 1))
    U = U * data.draw(st.sampled_from([1e-99, 1e-30, 1.0, 1e30, 1e90]))
    if (found := tried(prepare, h, y, U, Z)) is not None:
        check_dataset(found, periods)


# a future, a holdout, several metrics

@cases(300, data=st.data())
def test_any_future(data):
    tables = clean(0)
    fitted = prepare(H, **({} if data.draw(st.booleans()) else {"Z": tables["Z"]}), **{k: tables[k] for k in ("y", "U", "spend")})
    later = tables["y"].index[-1] + pd.Timedelta(weeks=1) * np.arange(1, 6)
    U, Z = tables["U"].iloc[:5].set_axis(later), tables["Z"].iloc[:5].set_axis(later)
    new = {"U_new": mutated(U, data) if data.draw(st.booleans()) else U, "Z_new": mutated(Z, data) if data.draw(st.booleans()) else Z}
    if (future := tried(read_future, fitted, **new, controls=data.draw(st.booleans()))) is not None:
        F = len(future.time)
        assert future.U.shape == (F, 4) and future.Z.shape == (F, len(fitted.controls)) and F > 0
        assert np.isfinite(future.U).all() and (future.U >= 0).all() and np.isfinite(future.Z).all() and (future.time > fitted.time[-1]).all()


@cases(150, data=st.data(), holdout=st.one_of(anything, st.integers(-2, 30)))
def test_any_holdout(data, holdout):
    whole = tried(prepare, H, **some_tables(data, 1))
    if whole is None or (parts := tried(split, whole, holdout)) is None:
        return
    kept, held = parts
    check_dataset(kept)
    assert len(kept.y) + len(held.y) == len(whole.y) and len(held.y) == holdout
    assert (np.r_[kept.y, held.y] == whole.y).all() and held.U.shape == (holdout, 4)


@cases(150, data=st.data())
def test_any_metrics(data):
    tables = clean(1)
    U_metrics = {"impressions": tables["U"], "clicks": tables["U"] * 0.1, "conversions": tables["U"] * 0.01}
    odd = data.draw(st.sampled_from(["metrics", "table", "metric_lags", "offline_channels", "downstream_metrics", "availability", "y", "Z"]))
    given = {"y": tables["y"], "U_metrics": U_metrics, "Z": tables["Z"], "spend": tables["spend"]}
    metric = data.draw(st.sampled_from(["impressions", "clicks", "klicks"]))
    thing = data.draw(st.one_of(anything, st.just(["tv"]), st.just(["web", "tv"]), st.just([True] * 4), st.just(tables["U"] > 5), st.just({"clicks": 3})))
    if odd == "metrics":
        given["U_metrics"] = data.draw(st.sampled_from([thing, {"x": thing}, U_metrics | {"": tables["U"]}, U_metrics | {3: tables["U"]}]))
    elif odd == "table":
        given["U_metrics"] = U_metrics | {metric: mutated(tables["U"], data)}
    elif odd in ("y", "Z"):
        given[odd] = mutated(tables[odd], data)
    else:
        given[odd] = thing if data.draw(st.booleans()) or odd.endswith("s") and odd != "metric_lags" else {metric: thing}
    if (read := tried(read_metrics, H, **given)) is not None:
        metrics, records = read
        assert metrics and set(metrics) <= set(given["U_metrics"]) and all(record.sentence for record in records)
        for one in metrics.values():
            assert one.usable.shape == (4,) and one.usable.any()
            check_dataset(prepare(H, **one.inputs))


# beliefs

FIELDS = {name: field.default for name, field in Priors.__dataclass_fields__.items()}
numbers = st.one_of(st.floats(), st.integers(-3, 10), scalars)
stated = st.one_of(numbers, st.tuples(numbers, numbers), anything, st.dictionaries(st.sampled_from(["a", "b", "c", "tv", "web", "linear", "seach", "price", 1, None]),
                   st.one_of(numbers, numbers, st.tuples(numbers, numbers), anything), max_size=3))


@cases(400, said=st.dictionaries(st.sampled_from(sorted(FIELDS)), stated, max_size=3))
def test_any_priors(said):
    priors = tried(Priors, **said)
    if priors is None:
        return
    for field in said:
        values = getattr(priors, field)
        for value in values.values() if isinstance(values, dict) else [values]:
            for one in value if isinstance(value, tuple) else () if value is None else [value]:
                assert np.isfinite(float(one)) and (one > 0 or field in ANY_SIGN or field == "control_sd")
    centre = lambda value, *_: belief(value, lambda number: float(number))
    for field in RANGES:
        believed = tried(beliefs, {field: (getattr(priors, field), centre)}, H, Belief(0.0))
        if believed is not None:
            assert {level: len(some) for level, some in believed.items()} == {level: H.size(level) for level in H.levels}
            steps = tried(step_priors, H.levels, H, believed, priors.effect_sd, priors.effect_spread, 0.8)
            assert steps is None or [len(width) for _, width in steps] == [4, 3, 2] and all(np.isfinite(part).all() for step in steps for part in step)


@cases(150, roi=numbers, share=numbers, node=st.sampled_from(["a", "c", "linear", "tv", "web"]), spend=st.booleans(), level=st.sampled_from([-500.0, 0.0, 100.0]))
def test_any_return_and_any_share(roi, share, node, spend, level):
    tables = clean(2)
    data = prepare(H, tables["y"] - tables["y"].mean() + level, tables["U"], spend=tables["spend"] if spend else None)
    priors = tried(Priors, roi={node: roi}, share=share)
    if priors is None or isinstance(priors.share, tuple) or priors.share is None or priors.roi[node] is None:
        return
    where = next(name for name in H.levels if node in H.names[name])
    for value in (tried(total_of_roi, priors.roi[node], node, where, data), tried(total_of_share, priors.share, node, where, data)):
        assert value is None or np.isfinite(float(value))


# experiments

moments = st.one_of(st.sampled_from(["2024-02-04", "2024-03-01", "2024-05-20", "2023-01-01", "20240204", "4", "2024-02-30", "now"]), st.integers(-3, 30), anything)


@cases(300, data=st.data(), dates=st.sampled_from(["weeks", "integers", "monthly periods", "month ends", "hours"]))
def test_any_experiments(data, dates):
    tables = {k: v for k, v in clean(3).items() if k in ("y", "U", "spend")}
    if dates != "weeks":
        tables = {k: v.set_axis(INDICES[dates](v.index), axis=0) for k, v in tables.items()}
    known = prepare(H, **tables)
    within = st.one_of(st.sampled_from(list(known.time)), moments)
    node, number = st.one_of(st.sampled_from(["a", "tv", "search", "web"]), names, anything), st.one_of(st.floats(-2, 5), numbers)
    maybe = lambda strategy: st.one_of(st.none(), strategy)
    lift = st.builds(LiftTest, node, within, within, number, number, change=maybe(number), added=maybe(number), until=maybe(within))
    cost = st.builds(CostTarget, node, number, number)
    experiments = data.draw(st.one_of(st.lists(st.one_of(lift, cost), max_size=3), st.lists(lift, min_size=1, max_size=1), st.lists(anything, max_size=2), anything))
    notes = tried(check_experiments, experiments, known)
    if notes is None:
        return
    assert all(isinstance(note, str) for note in notes)
    for one in experiments:
        assert np.isfinite(one.se) and one.se > 0
        if isinstance(one, LiftTest):
            first, last, until = window(one, known)
            assert 0 <= first <= last <= until < len(known.y)
            other = changed(one, known)
            assert other.shape == known.x.shape and np.isfinite(other).all() and (other >= -1e-9).all() and (other != known.x).any()
        assert type(from_record(to_record(one))) is type(one)


# controls

@cases(400, data=st.data())
def test_any_helper_of_the_baseline(data):
    draw = data.draw
    index = INDICES[draw(st.sampled_from(sorted(INDICES)))](clean(0)["y"].index) if draw(st.booleans()) else draw(anything)
    if draw(st.booleans()):
        index = clean(0, 60)["y"].index
    word, number = st.one_of(st.sampled_from(["year", "month", "DE", "US", "start", "end", "BY"]), anything), st.one_of(st.floats(), st.integers(-2, 60), anything)
    sd = st.one_of(st.just(0.5), number)
    when = st.one_of(moments, st.tuples(moments, moments), st.lists(moments, max_size=3))
    makers = {
        fourier: lambda: {"period": draw(st.one_of(word, number)), "pairs": draw(number), "sd": draw(sd)},
        holidays: lambda: {"country": draw(word), "subdivision": draw(st.one_of(st.none(), word)), "names": draw(st.one_of(st.none(), anything)),
                           "window": draw(st.one_of(st.just((1, 2)), anything)), "sd": draw(sd), "label": draw(word), "together": draw(st.booleans())},
        events: lambda: {"when": draw(st.one_of(st.dictionaries(names, when, max_size=2), anything)), "sd": draw(sd), "label": draw(word)},
        trend_knots: lambda: {"knots": draw(st.one_of(number, st.lists(moments, max_size=2))), "sd": draw(sd), "slope": draw(sd), "year": draw(st.one_of(st.none(), number))},
        local_level: lambda: {"every": draw(number), "sd": draw(sd), "year": draw(st.one_of(st.none(), number))},
        Controls.of: lambda: {"sd": draw(st.one_of(sd, st.dictionaries(st.sampled_from(["price", "promo", "x"]), sd)))},
    }
    make = draw(st.sampled_from(list(makers)))
    given = makers[make]()
    made = tried(make, mutated(clean(0)["Z"], data) if make is Controls.of else index, **given)
    if made is None:
        return
    assert list(made.frame) == list(made.unit_sd) and np.isfinite(made.frame.to_numpy()).all() and repr(made)
    assert all(np.isfinite(sd) and sd >= 0 for sd in made.unit_sd.values()) and np.isfinite(made.prior_draws(3)).all(axis=None)
    if make is not Controls.of:
        pd.testing.assert_frame_equal(made.at(made.frame.index).frame, made.frame)
        calendar = Calendar.of(made.frame.index)
        assert (calendar.position(made.frame.index) == np.arange(len(made.frame))).all()
        later = tried(made.at, draw(st.one_of(st.just(calendar.dates(np.arange(200, 203))), anything)))
        assert later is None or list(later.frame) == list(made.frame) and np.isfinite(later.frame.to_numpy()).all()


# files

MODEL = """outcome: sales
date: week
hierarchy:
  tv:
    linear: [tv_a, tv_b]
  web: [clicks]
controls: [price]
spend: {tv_a: tv_a_spend}
yearly_waves: 1
options:
  pooling: nested
priors:
  half_life: {tv: [1, 4]}
sampling:
  draws: 100
"""
TABLE = "week,sales,tv_a,tv_b,clicks,price,tv_a_spend\n" + "".join(
    f"{day:%Y-%m-%d},{100 + k % 7},{k % 5},{k % 3 + 1},{k * 10},{9.5 + k % 2},{k % 5 * 3}\n"
    for k, day in enumerate(pd.date_range("2024-01-07", periods=30, freq="W")))
PIECES = ["", " ", "  ", "\n", "\n\n", ":", ": ", ",", ",,", ";", "\t", "-", "- ", "[", "]", "{", "}", "'", '"', "&a ", "*a", "!!int ", "!!float ", "!!timestamp ",
          "!!python/object:os.system ", "!!set ", "!!binary ", "<<: ", "? ", "| ", "> ", "%", "@", "`", "#", "~", "null", "yes", "1", "1e5", ".inf", ".nan", "0x1F", "1:30", "2024-01-31",
          "2024-13-45", "2024-01-31T10:00:00+02:00", "1_000", "1,5", "€", "é", "🎈", "\x00", "\x07", "\ufeff", "\r", "\r\n", "\u2028", "sales", "outcome: sales\n", "9" * 4400, "[" * 60, "NaN", "-inf",
          "1e400", "0", "tv_a", "date_format: '%d.%m.%Y'\n", "date_format: '%'\n", "date_format: '%z'\n", "date_format: ''\n", "levels: [a, b]\n", "qualify: true\n", "yearly_waves: 99\n", "  tv: {x: [q]}\n"]


def spoilt(text, data, most=3):
    "A text with some pieces replaced, put in or taken out, now and then as bytes of another encoding."
    for _ in range(data.draw(st.integers(0, most))):
        start = data.draw(st.integers(0, len(text)))
        stop = start + data.draw(st.sampled_from([0, 0, 1, 2, 5, 20]))
        text = text[:start] + data.draw(st.one_of(st.sampled_from(PIECES), odd_text)) + text[stop:]
    return text.encode(data.draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])), errors="replace")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@cases(300, data=st.data())
def test_any_model_file(folder, data):
    (folder / "model.yaml").write_bytes(spoilt(MODEL, data))
    (folder / "good.csv").write_text(TABLE)
    spec = tried(read_model, folder / "model.yaml")
    if spec is not None:
        h = tried(spec.tree)
        assert h.num_tacticals == len(spec.columns()) and spec.outcome and spec.date
        check_read(tried(read_data, folder / "good.csv", spec))


@cases(300, data=st.data())
def test_any_data_file(folder, data):
    (folder / "good.yaml").write_text(MODEL + data.draw(st.sampled_from(["", "", "", "date_format: '%d.%m.%Y'\n", "date_format: '%Y-%m-%d'\n", "decimal: '.'\n", "decimal: ','\n", "separator: ';'\n"])))
    (folder / "data.csv").write_bytes(spoilt(TABLE, data))
    table = tried(read_table, folder / "data.csv")
    if table is not None:
        assert len(table) and table.index.is_monotonic_increasing
        check_read(tried(read_data, folder / "data.csv", read_model(folder / "good.yaml")))


def check_read(read):
    if read is not None:
        found = tried(prepare, **read)
        if found is not None:
            check_dataset(found)
            assert found.hierarchy == read["hierarchy"]


@cases(100, data=st.data(), raw=st.recursive(st.one_of(scalars.filter(lambda v: isinstance(v, (str, int, float, type(None)))), names),
       lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(names, below, max_size=3)), max_leaves=6))
def test_any_value_of_any_key_of_a_model_file(folder, data, raw):
    import yaml

    key = data.draw(st.sampled_from(["outcome", "date", "hierarchy", "levels", "qualify", "controls", "yearly_waves", "spend", "date_format", "options", "priors", "sampling", "x"]))
    (folder / "keyed.yaml").write_text(yaml.safe_dump(yaml.safe_load(MODEL) | {key: raw}, allow_unicode=True), encoding="utf-8")
    (folder / "good.csv").write_text(TABLE)
    spec = tried(read_model, folder / "keyed.yaml")
    if spec is not None:
        check_read(tried(read_data, folder / "good.csv", spec))


# what odd input has found, in plain words

def refused(message, call, *args, **kwargs):
    with warnings.catch_warnings(), pytest.raises(PrecisionError, match=message):
        warnings.simplefilter("error")
        call(*args, **kwargs)


def test_days_that_are_no_timestamps_are_refused_in_every_table():
    tables = clean(0)
    days = tables["U"].set_axis(tables["U"].index.date)
    refused("index of U holds date objects, like 2024-01-07", prepare, H, tables["y"], days)
    refused("must have the same index", read_metrics, H, tables["y"], {"clicks": tables["U"]}, availability={"clicks": days > 0})
    refused("must have the same index", Controls.of(tables["Z"]).__add__, Controls.of(tables["Z"].set_axis(tables["Z"].index.date).add_suffix("2")))


def test_an_index_of_another_kind_is_named():
    tables = clean(0)
    for kind, said in (("time zone", "index of U has the time zone"), ("backwards", "index of U is not in ascending order"), ("shifted", "row 0 is 2024-01-08 in U"),
                       ("periods", "row 0 is 2024-01-01/2024-01-07 in U and 2024-01-07 in y"), ("text", "index of U holds the text '2024-01-07")):
        refused(said, prepare, H, tables["y"], tables["U"].set_axis(INDICES[kind](tables["U"].index)))


def test_dates_that_nanoseconds_cannot_count_are_named():
    tables = clean(0)
    far = INDICES["very far away"](tables["y"].index)
    refused("index of y holds 9990-01-01; dates from 1677 to 2262 were expected", prepare, H, tables["y"].set_axis(far), tables["U"].set_axis(far))


@pytest.mark.parametrize("thing", [5, "price", len, 10**400])
def test_what_is_no_table_is_refused(thing):
    tables = clean(0)
    refused("Z must be a table with a row a period", prepare, H, tables["y"], tables["U"], thing)
    refused("y must be one column", prepare, H, thing, tables["U"])


def test_rows_of_different_lengths_are_refused():
    tables = clean(0)
    for given in ({"y": [[1.0], [2.0, 3.0]]}, {"U": [[1.0], [2.0, 3.0]]}, {"spend": [[1.0], [2.0, 3.0]]}):
        refused("rows of different lengths", prepare, H, **({"y": tables["y"], "U": tables["U"]} | given))
    refused("rows of different lengths", read_metrics, H, tables["y"], {"clicks": tables["U"]}, availability={"clicks": [[1], [1, 0]]})


@pytest.mark.parametrize("number", [10**400, np.inf, np.nan, True, 1 + 2j, np.complex64(1), "1", fractions.Fraction(1, 3)])
def test_what_is_no_number_is_refused(number):
    index, tables = clean(0)["y"].index, clean(0)
    refused("a finite number was expected", Priors, half_life=number)
    refused("number of zero or more", Controls.of, tables["Z"], sd=number)
    refused("period is", fourier, index, number) if not isinstance(number, str) else None
    refused("se is", check_experiments, [LiftTest("tv", index[2], index[4], 3.0, number, change=-1.0)], prepare(H, tables["y"], tables["U"]))


def test_a_whole_number_that_is_too_large_is_named():
    tables = clean(0)
    refused("the outcome y holds a whole number that is too large", prepare, H, tables["y"].astype(object).where(tables["y"] != tables["y"].iloc[3], 10**400), tables["U"])


def test_numbers_of_numpy_in_priors_are_plain_numbers():
    priors = Priors(half_life={"tv": (np.int64(1), np.float32(4))}, effect_sd=np.float32(0.5))
    assert [type(v) for v in (*priors.half_life["tv"], priors.effect_sd)] == [int, float, float]


def test_names_that_are_no_names_are_named():
    tables, index = clean(0), clean(0)["y"].index
    refused(r'"\[\'tv\'\]" is not known', read_metrics, H, tables["y"], {"clicks": tables["U"]}, offline_channels=[["tv"]])
    refused("is no node of the hierarchy", check_experiments, [LiftTest(np.array(["a", "b"]), index[2], index[4], 3.0, 1.0, change=-1.0)], prepare(H, tables["y"], tables["U"]))
    refused("the country {} is not known", holidays, index, {})
    refused("is no region of DE", holidays, index, "DE", np.array(["BY", "BE"]))
    for rule in (None, 3, np.array(3.0), iter([1])):
        refused("must be a list of names of tacticals", read_metrics, H, tables["y"], {"clicks": tables["U"]}, availability={"clicks": rule})


@pytest.mark.parametrize("text", ["2024-13-45", "!!timestamp 'x'", "!!int 'x'", "!!float 'x'", "1:99:99.x", "!!bool 'x'"])
def test_text_that_is_taken_for_something_else_is_named_with_its_line(folder, text):
    (folder / "odd.yaml").write_text(MODEL.replace("outcome: sales", f"outcome: {text}"))
    if "!!" in text or "-13-" in text:
        refused(r"odd.yaml, line 1, outcome: text belongs here, got .*: (x|2024-13-45). Write it in quotes", read_model, folder / "odd.yaml")
    else:
        assert read_model(folder / "odd.yaml").outcome == text


def test_controls_without_rows_are_refused():
    refused("the controls have no rows", Controls.of, clean(0)["Z"].iloc[:0])
    refused("y has 0 periods", prepare, H, *(clean(0)[name].iloc[:0] for name in ("y", "U", "Z")))


@pytest.mark.parametrize("number", [1e300, -1e300, 1e-300])
def test_beliefs_beyond_arithmetic_are_refused(number):
    refused("beyond what arithmetic can square", Priors, roi={"tv": number})


def test_the_same_periods_in_another_type_are_the_same():
    tables = {name: table.reset_index(drop=True) for name, table in clean(0).items()}
    nullable = tables["U"].set_axis(pd.Index(range(WEEKS), dtype="Int64"))
    assert (prepare(H, tables["y"], nullable).U == tables["U"].to_numpy()).all()


@pytest.mark.parametrize("line", ["controls: [[price]]", "controls: [1]", "spend: {tv_a: [tv_a_spend]}", "spend: {tv_a: 3}"])
def test_columns_that_are_no_text_are_refused(folder, line):
    key = line.partition(":")[0]
    (folder / "odd.yaml").write_text("\n".join(line if row.startswith(key) else row for row in MODEL.splitlines()))
    refused(rf"odd.yaml, line \d.* {key}.*(Names of columns are text|text belongs here)", read_model, folder / "odd.yaml")
