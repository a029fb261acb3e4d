"""What a lift test or a cost target says, written out with SciPy; windows, refusals, files, and fits that obey."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_posterior import curve_by_hand, decay_by_hand, effect_by_hand, totals_by_hand

from precision.adstock import adstock_geometric_np
from precision.data import prepare
from precision.experiments import CostTarget, LiftTest, changed, check_experiments, from_record, to_record, window
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.model import MMM, Fit
from precision.posterior import build_posterior, make_target_log_prob_fn
from precision.program import Program

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
TREE = {"x": {"p": ["a", "b"], "q": ["c"]}, "y": ["d", "e"]}
H = build_hierarchy(TREE)
WEEKS = pd.date_range("2024-01-01", periods=60, freq="W-MON")
OFF = LiftTest("x", "2024-03-04", "2024-04-14", change=-1, lift=-300, se=40)
QUICK = dict(chains=2, warmup=150, draws=100, progress=False)


def tables(dates=WEEKS, seed=0):
    rng, n = np.random.default_rng(seed), len(dates)
    U = pd.DataFrame(rng.gamma(2.0, [30, 60, 20, 90, 40], (n, 5)), dates, list("abcde"))
    Z = pd.DataFrame({"price": rng.normal(5, 1, n)}, dates)
    y = 500 + U @ [0.4, 0.2, 0.9, 0.1, 0.3] - 8 * Z.price + rng.normal(0, 10, n)
    return y, U, Z, U * [2.0, 1.0, 3.0, 1.0, 0.5]


def dataset(dates=WEEKS, history=0, **other):
    y, U, Z, spend = tables(dates)
    before = np.random.default_rng(9).gamma(2.0, 40.0, (history, 5)) if history else None
    return prepare(H, *(other.get(name, value) for name, value in (("y", y), ("U", U), ("Z", Z), ("spend", spend))), U_history=before)


def lift(node="x", start="2024-03-04", end="2024-04-14", **other):
    told = {"lift": -300, "se": 40} | other
    return LiftTest(node, start, end, **(told if told.keys() & {"change", "added"} else told | {"change": -1}))


# The density

OWN = {"x": [0, 1, 2], "p": [0, 1], "b": [1], "y": [3, 4]}
TESTS = [  # with the first and last changed and the last counted week
    (OFF, (9, 14, 14)),
    (lift("b", change=0.7, lift=90, se=20, until="2024-06-01"), (9, 14, 21)),
    (lift("y", "2024-01-01", "2024-01-02", added=120.0, lift=25, se=30), (0, 0, 0)),
    (lift("p", "2025-01-01", "2025-02-23", change=-0.5, lift=-20, se=9), (52, 59, 59)),
]
TARGETS = [CostTarget("x", cost=3.0, se=0.5), CostTarget("d", cost=8.0, se=4.0)]


def said_by_hand(x, posterior, spend, normalize, **options):
    "Log densities of `TESTS` and `TARGETS`, in sd of y as the outcome's."
    data, h = posterior.data, posterior.data.hierarchy
    free = dict(zip(posterior.sizes, np.split(x, np.cumsum(list(posterior.sizes.values()))[:-1])))
    delta, _ = decay_by_hand(h, free, "nested")
    past = 0 if data.history is None else len(data.history)
    exposure = data.U if data.history is None else np.vstack([data.history, data.U])

    if options["measure"] == "efficiency":
        e, _ = effect_by_hand(h, free, options["effect"], "nested")
        size, unit, before = e * data.share, data.U.mean(axis=0), np.zeros((0, 5))
    else:  # what ran before is that of the world that was seen, whatever a test would have changed
        unit = (data.U ** 2).sum(axis=0) / data.U.sum(axis=0)
        before = np.tile(exposure[:13].mean(axis=0) / (1 + np.exp(-3 * free["past"][0])), (4000, 1))
    responses = lambda exposure: curve_by_hand(h, free, options["saturation"], adstock_geometric_np(
        np.vstack([before, exposure]) / unit, delta, normalize))[len(before) + past:]
    if options["measure"] == "total":
        size = totals_by_hand(data, free, options["effect"], "nested", "learnt", {}, None)[0] / responses(exposure).mean(axis=0)

    def terms(exposure):
        return responses(exposure) * size * data.y.std()

    total = 0.0
    for test, (first, last, until) in TESTS:
        own, other = OWN[test.node], exposure.copy()
        rows = np.ix_(range(past + first, past + last + 1), own)
        means = data.U[:, own].mean(axis=0)
        other[rows] += test.change * other[rows] if test.added is None else test.added * means / means.sum()
        model = (terms(other) - terms(exposure))[first:until + 1].sum()
        total += stats.norm.logpdf(test.lift / data.y.std(), model / data.y.std(), test.se / data.y.std())
    for target in TARGETS if options["effect"] == "positive" else ():  # what may earn nothing has no cost
        own = {"x": [0, 1, 2], "d": [3]}[target.node]
        spent = spend.to_numpy()[:, own].sum()
        ratio = data.y.std() / spent
        total += stats.norm.logpdf(target.cost * ratio, spent / terms(exposure)[:, own].sum() * ratio, target.se * ratio)
    return total


@pytest.mark.parametrize("saturation", ["none", "michaelis_menten", "hill", "logistic"])
@pytest.mark.parametrize("normalize, history, effect", [(True, 0, "positive"), (False, 7, "positive"), (True, 7, "real")])
@pytest.mark.parametrize("measure", ["total", "efficiency"])
def test_experiments_add_to_the_density_what_scipy_says(saturation, normalize, history, effect, measure):
    data, options = dataset(history=history), dict(saturation=saturation, effect=effect, measure=measure, weights="learnt" if measure == "total" else "exposure")
    if measure == "total":
        data = replace(data, past="learnt", ordinary="paid")
    experiments = (*(test for test, _ in TESTS), *(TARGETS if effect == "positive" else ()))
    with_them, without = (build_posterior(data, experiments=some, normalize_adstock=normalize, **options) for some in (experiments, ()))
    points = np.random.default_rng(1).normal(0, 0.7, (4, without.dimension))
    added = make_target_log_prob_fn(with_them)(points) - make_target_log_prob_fn(without)(points)
    by_hand = [said_by_hand(x, without, tables()[3], normalize, **options) for x in points]
    np.testing.assert_allclose(added, by_hand, rtol=1e-4)


@pytest.mark.parametrize("measure", ["total", "efficiency"])
def test_a_cost_of_what_may_earn_nothing_is_refused(measure):
    with pytest.raises(PrecisionError, match="CostTarget of 'x': with effect='real' a contribution may be zero"):
        build_posterior(dataset(), experiments=tuple(TARGETS), effect="real", measure=measure)


def test_the_order_of_experiments_does_not_matter():
    data = dataset()
    experiments = (*TARGETS, *(test for test, _ in TESTS))
    points = np.random.default_rng(1).normal(0, 0.5, (2, build_posterior(data).dimension))
    one, other = (make_target_log_prob_fn(build_posterior(data, experiments=some))(points) for some in (experiments, experiments[::-1]))
    np.testing.assert_allclose(one, other, rtol=1e-9)


# Windows

@pytest.mark.parametrize("dates, start, end, until, expected", [
    (WEEKS, "2024-01-01", "2024-01-07", None, (0, 0, 0)),
    (WEEKS, "2024-01-10", "2024-01-22", "2024-02-04", (1, 3, 4)),
    (WEEKS, pd.Timestamp("2024-01-14 23:59"), np.datetime64("2024-01-15"), None, (1, 2, 2)),
    (WEEKS, WEEKS[3].date(), WEEKS[5].to_pydatetime(), WEEKS[59], (3, 5, 59)),
    (WEEKS, "2025-02-17", "2025-02-23", None, (59, 59, 59)),
    (WEEKS, pd.Period("2024-02"), pd.Period("2024-02"), None, (4, 8, 8)),
    (pd.RangeIndex(60), 0, np.int64(59), None, (0, 59, 59)),
    (pd.Index(range(100, 400, 5)), 100, 107, 399, (0, 1, 59)),
    (pd.date_range("2020-01-01", periods=60, freq="MS"), "2020-02-29", "2020-03-01", "2024-12-31", (1, 2, 59)),
    (pd.date_range("2020-01-31", periods=60, freq="ME"), "2020-02-01", "2020-02-29", "2020-03-31", (1, 1, 2)),
    (pd.date_range("2020-01-31", periods=60, freq="ME"), "2020-01-01", "2020-01-31 12:00", "2024-12-02", (0, 0, 59)),
    (pd.date_range("2010-03-31", periods=60, freq="QE"), "2010-04-01", "2010-07-01", None, (1, 2, 2)),
    (pd.date_range("2020-01-15", periods=60, freq="MS") + pd.Timedelta(days=14), "2020-02-20", "2020-03-14", None, (0, 0, 0)),
    (pd.period_range("2020-01", periods=60, freq="M"), pd.Period("2020-03"), pd.Period("2020-04"), "2020-05-31", (2, 3, 4)),
    (pd.date_range("2024-01-01", periods=60, freq="D"), "2024-01-03", "2024-01-03 18:00", "2024-02-29", (2, 2, 59)),
])
def test_a_date_is_found_in_its_period(dates, start, end, until, expected):
    assert window(lift("x", start, end, until=until), dataset(dates)) == expected


@pytest.mark.parametrize("dates, start, end, word", [
    (WEEKS, "2023-12-31", "2024-01-07", "start is 2023-12-31, outside the data"),
    (WEEKS, "2024-01-01", "2025-02-24", "end is 2025-02-24, outside the data"),
    (pd.date_range("2020-01-31", periods=60, freq="ME"), "2019-12-31", "2020-02-01", "start is 2019-12-31, outside"),
    (pd.date_range("2020-01-31", periods=60, freq="ME"), "2020-02-01", "2025-01-01", "end is 2025-01-01, outside"),
    (pd.RangeIndex(60), -1, 5, "start is -1, outside the data, whose periods are 0 to 59"),
    (pd.RangeIndex(60), 3, 60, "end is 60, outside"),
    (WEEKS, "2024-04-14", "2024-03-04", "must come in this order"),
    (WEEKS, 3, 5, "start is 3; a date without time zone, written year-month-day, was expected, like 2024-01-01"),
    (WEEKS, "the third week", "2024-03-04", "start is 'the third week'; a date"),
    (WEEKS, None, "2024-03-04", "start is None; a date"),
    (WEEKS, "2024-03-04", pd.NaT, "end is NaT; a date"),
    (WEEKS, pd.Timestamp("2024-03-04", tz="UTC"), "2024-04-04", "a date without time zone"),
    (pd.RangeIndex(60), "2024-03-04", 5, "a whole number was expected, like 0"),
    (pd.RangeIndex(60), 3, 4.7, "end is 4.7; a whole number"),
    (pd.RangeIndex(60), True, 4, "start is True; a whole number"),
    (pd.RangeIndex(60), 3, float("inf"), "end is inf; a whole number"),
])
def test_a_window_that_is_not_in_the_data_is_refused(dates, start, end, word):
    with pytest.raises(PrecisionError, match=word):
        check_experiments([lift("x", start, end)], dataset(dates))


def test_until_before_end_is_refused():
    with pytest.raises(PrecisionError, match="must come in this order"):
        check_experiments([lift(until="2024-04-01")], dataset())


# The changed exposure

def test_a_change_touches_its_node_in_its_window_alone():
    data = dataset(history=5)
    other = changed(lift("p", change=0.5), data)
    assert np.array_equal(other[14:20, :2], 1.5 * data.x[14:20, :2])
    other[14:20, :2] = data.x[14:20, :2]
    assert np.array_equal(other, data.x)


def test_added_exposure_is_as_much_as_was_said_and_is_split_like_the_averages():
    data = dataset()
    more = ((changed(lift("x", added=60.0), data) - data.x) * data.U.mean(axis=0))[9:15]
    np.testing.assert_allclose(more.sum(axis=1), 60.0)
    np.testing.assert_allclose(more[0, :3] / 60.0, data.U[:, :3].mean(axis=0) / data.U[:, :3].mean(axis=0).sum())


def test_a_tactical_without_any_exposure_takes_no_part():
    y, U, Z, _ = tables()
    data = prepare(H, y, U.assign(b=0.0), Z)
    more = changed(lift("p", added=60.0), data) - data.x
    assert not more[:, 1].any() and np.isclose(more[9, 0] * data.U[:, 0].mean(), 60.0)
    value = make_target_log_prob_fn(posterior := build_posterior(data, experiments=(lift("p", added=60.0), lift("p"))))
    assert np.isfinite(value(np.zeros(posterior.dimension)))


# What is refused

@pytest.mark.parametrize("experiments, words", [
    (OFF, "a list of LiftTest and CostTarget; got LiftTest"),
    ("tv", "got str"),
    (None, "got NoneType"),
    ([("x", -300)], r"\('x', -300\); LiftTest"),
    ([LiftTest], "LiftTest"),
    ([lift("xx")], "names 'xx', which is no node of the hierarchy. Did you mean 'x'"),
    ([CostTarget("z", 1, 1)], "CostTarget names 'z'"),
    ([lift(3)], "names 3"),
    ([lift(se=0)], "LiftTest of 'x' from 2024-03-04: se is 0; a measurement without error does not exist"),
    ([lift(se=-1)], "se is -1"),
    ([lift(se=np.nan)], "se is nan; a finite number"),
    ([lift(lift=np.inf)], "lift is inf; a finite number"),
    ([lift(lift="-300")], "lift is '-300'; a finite number"),
    ([lift(lift=None)], "lift is None; a finite number"),
    ([lift(se=None)], "se is None; a finite number"),
    ([lift(change=True)], "change is True; a finite number"),
    ([LiftTest("x", "2024-03-04", "2024-04-14", lift=1, se=1)], "change= .* or added= .* one of the two"),
    ([lift(change=-1, added=5)], "one of the two"),
    ([lift(change=0)], "the change is 0"),
    ([lift(added=0)], "the change is 0"),
    ([lift(change=-1.2)], "the change is -1.2; from -1"),
    ([lift(added=-1e6)], r"added is -1e\+06, which takes away more than some period has"),
    ([CostTarget("x", cost=0, se=1)], "CostTarget of 'x': cost is 0; a positive cost"),
    ([CostTarget("x", cost=-2, se=1)], "a positive cost"),
    ([CostTarget("x", cost=np.nan, se=1)], "cost is nan; a finite number"),
    ([CostTarget("x", cost=None, se=1)], "cost is None; a finite number"),
    ([CostTarget("x", cost=2, se=0)], "se is 0"),
])
def test_an_experiment_that_cannot_be_is_refused(experiments, words):
    with pytest.raises(PrecisionError, match=words):
        check_experiments(experiments, dataset())


def test_an_experiment_on_nothing_is_refused():
    y, U, Z, spend = tables()
    dark = U.copy()
    dark.loc["2024-03-04":"2024-04-14", ["a", "b"]] = 0.0
    with pytest.raises(PrecisionError, match="no exposure in the window.*added= instead"):
        check_experiments([lift("p")], prepare(H, y, dark, Z))
    assert check_experiments([lift("p", added=10.0), lift("x")], prepare(H, y, dark, Z)) != []
    with pytest.raises(PrecisionError, match="no exposure of it in any period"):
        check_experiments([lift("b", added=10.0)], prepare(H, y, U.assign(b=0.0), Z))
    with pytest.raises(PrecisionError, match="no spend of it was given"):
        check_experiments([CostTarget("x", 1, 1)], prepare(H, y, U, Z))
    with pytest.raises(PrecisionError, match="CostTarget of 'y': no spend of it was given"):
        check_experiments([CostTarget("x", 1, 1), CostTarget("y", 1, 1)], prepare(H, y, U, Z, spend[["a", "b", "c"]]))


def test_a_name_at_two_levels_is_refused():
    y, U, Z, _ = tables()
    h = build_hierarchy({"a": {"p": ["a", "b"], "q": ["c"]}, "y": {"r": ["d", "e"]}})
    with pytest.raises(PrecisionError, match="stands at the levels tactical and channel"):
        check_experiments([lift("a")], prepare(h, y, U, Z))


# What is noted

@pytest.mark.parametrize("others, notes", [
    ([lift("b", "2024-04-08", "2024-05-01")], 1),
    ([OFF], 1),
    ([lift("y")], 0),
    ([lift("x", "2024-04-15", "2024-05-01")], 0),
    ([lift("a", "2024-02-05", "2024-02-11", until="2024-03-05")], 1),
    ([CostTarget("x", 3, 1)], 0),
    ([CostTarget("x", 3, 1), CostTarget("c", 3, 1)], 1),
    ([CostTarget("x", 3, 1), CostTarget("y", 3, 1)], 0),
    ([lift("p"), lift("a")], 3),
])
def test_experiments_that_say_something_of_the_same_are_noted(others, notes):
    found = check_experiments([OFF, *others], dataset())
    assert len(found) == notes and all("independent" in note for note in found)


# Files

@pytest.mark.parametrize("experiment", [
    OFF, *TARGETS, lift("x", WEEKS[3], WEEKS[9].date()), lift("x", np.datetime64("2024-03-04"), np.datetime64("2024-04-14", "ns")),
    lift("x", pd.Period("2024-02"), pd.Period("2024-03"), until=pd.Period("2024-05-06", "W")),
    lift("x", added=np.float32(20), lift=np.int64(5), se=np.float64(2)), CostTarget("x", np.float64(3), np.int32(1))])
def test_a_record_is_the_same_experiment(experiment):
    again, data = from_record(json.loads(json.dumps(to_record(experiment)))), dataset()
    assert type(again) is type(experiment)
    posteriors = [build_posterior(data, experiments=(one,)) for one in (experiment, again)]
    for name, value in posteriors[0].inputs.items():
        assert np.array_equal(value, posteriors[1].inputs[name]), name


# Fits

@pytest.fixture(scope="module")
def fit():
    return MMM(H).fit(*tables(), experiments=[OFF, CostTarget("y", cost=4.0, se=1.0)], **QUICK)


def test_a_loaded_fit_keeps_its_experiments(fit, tmp_path):
    fit.save(tmp_path / "fit.nc")
    loaded = Fit.load(tmp_path / "fit.nc")
    assert loaded.experiments == fit.experiments
    pd.testing.assert_frame_equal(loaded.lifts(), fit.lifts())


def test_a_fit_without_lift_tests_has_none_to_show(fit):
    with pytest.raises(PrecisionError, match="experiments="):
        replace(fit, experiments=(CostTarget("y", 4.0, 1.0),)).lifts()


def test_lifts_are_those_of_the_contributions(fit):
    y, U, Z, spend = tables()
    world = U.copy()
    world.loc["2024-03-04":"2024-04-14", ["a", "b", "c"]] = 0.0
    components = fit.components
    dark = replace(components, x=world.to_numpy() / ((U ** 2).sum() / U.sum()).to_numpy())
    difference = (dark.node("channel", "x") - components.node("channel", "x"))[:, 9:15].sum(axis=1)
    row = fit.lifts().iloc[0]
    assert np.isclose(row["mean"], difference.mean()) and np.isclose(row["lower"], np.quantile(difference, 0.05))
    assert (row["node"], row["measured"], row["se"]) == ("x", -300, 40)


def test_other_measurements_of_the_same_shape_compile_nothing(fit):
    other = [LiftTest("x", "2024-06-03", "2024-07-14", change=0.5, lift=77, se=11), CostTarget("x", cost=2.0, se=1.0)]
    y, U, Z, spend = tables(seed=5)
    posterior = fit.mmm.posterior(fit.mmm.prepared(prepare(H, y, U, Z, spend)), other)
    assert Program(posterior).compile_seconds == 0


def test_another_number_of_tests_is_another_program_with_its_own_answer(fit):
    for tests in ((OFF, lift("y", change=0.5, lift=20)), (lift("b", until="2024-06-30"),)):
        posterior = build_posterior(fit.data, experiments=tests, nodes=16)
        points = np.random.default_rng(0).normal(0, 0.3, (3, posterior.dimension))
        program = Program(posterior)
        seen, _ = program.evaluate(points, program.tensors(posterior.inputs))
        np.testing.assert_allclose(seen, make_target_log_prob_fn(posterior)(points), rtol=1e-3)


def test_a_checkpoint_refuses_other_experiments(tmp_path):
    fit = lambda *experiments: MMM(H).fit(*tables(), experiments=list(experiments), checkpoint=tmp_path, **(QUICK | {"warmup": 20, "draws": 10}))
    first = fit(OFF)
    assert fit(OFF).posterior.equals(first.posterior)
    for others in ([], [replace(OFF, lift=-200)], [replace(OFF, se=30)], [replace(OFF, end="2024-03-10")], [OFF, CostTarget("x", 3, 1)]):
        with pytest.raises(PrecisionError, match="another (data or prior|model)"):
            fit(*others)


@pytest.mark.parametrize("options", [{}, {"saturation": "hill", "normalize_adstock": False}])
def test_a_lift_that_is_known_exactly_is_the_model_s(options):
    exact, vague = replace(OFF, lift=-600, se=2), CostTarget("x", cost=1.0, se=1e6)
    fit = MMM(H, **options).fit(*tables(), experiments=[exact, vague], **(QUICK | {"warmup": 400}))
    row = fit.lifts().iloc[0]
    assert abs(row["mean"] + 600) < 3 and row["upper"] - row["lower"] < 12


def test_a_cost_that_is_known_exactly_is_the_model_s_and_a_vague_test_says_nothing(fit):
    exact, vague = CostTarget("x", cost=1.0, se=0.005), replace(OFF, lift=5000, se=1e6)
    sharp = MMM(H).fit(*tables(), experiments=[vague, exact], **QUICK).shares()
    spent = tables()[3][["a", "b", "c"]].sum().sum()
    assert abs(spent / sharp.contribution["x"] - 1.0) < 0.02 and abs(spent / fit.shares().contribution["x"] - 1.0) > 0.1
