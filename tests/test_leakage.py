"""The guards: what each sees, what it does, and the message for every bad input."""

import numpy as np
import pandas as pd
import pytest

from precision.errors import PrecisionError, PrecisionWarning

from precision.hierarchy import build_hierarchy
from precision.leakage import LeakageError, inspect_metrics, outcome_guard, past_guard, past_test, reproduction_guard, upstream_guard
from precision.metrics import DOWNSTREAM, Report, check_lags, measured_for, read_metrics

T = 60
H = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c", "d"]}})
WEEKS = pd.date_range("2024-01-01", periods=T, freq="7D")
RNG = np.random.default_rng(0)
U = pd.DataFrame(RNG.gamma(2.0, 50.0, size=(T, 4)), WEEKS, list("abcd"))
CLICKS = pd.DataFrame(RNG.gamma(3.0, 5.0, size=(T, 4)), WEEKS, list("abcd"))
Y = pd.Series(1000 + U.sum(axis=1) + RNG.normal(0, 100, T), WEEKS)
METRICS = {"impressions": U, "clicks": CLICKS}


def read(U_metrics=METRICS, **options):
    return read_metrics(**{"hierarchy": H, "y": Y, "U_metrics": U_metrics} | options)


def alarms(records):
    return [(record.metric, record.node) for record in records if record.alarm]


# Lags

def test_every_model_is_scored_on_the_same_periods_and_sees_the_shifted_metric():
    metrics, _ = read(metric_lags={"clicks": np.int64(2)})
    for name, lag in (("impressions", 0), ("clicks", 2)):
        inputs, table = metrics[name].inputs, METRICS[name].to_numpy()
        assert inputs["y"].index.equals(metrics[name].data.time[2:]) and (inputs["y"] == Y.to_numpy()[2:]).all()
        for t in range(2, T):
            assert (inputs["U"][t - 2] == table[t - lag]).all()
        assert len(inputs["U"]) == T - 2
    assert (metrics["impressions"].inputs["U_history"] == U.to_numpy()[:2]).all()
    assert metrics["clicks"].inputs["U_history"] is None


def test_history_is_what_lies_right_before_the_scored_periods():
    metrics, _ = read(metric_lags={"clicks": 1, "impressions": 3})
    both = np.concatenate([metrics["clicks"].inputs["U_history"], metrics["clicks"].inputs["U"]])
    assert (both == CLICKS.to_numpy()[:T - 1]).all()


def test_controls_and_spend_keep_step():
    Z = pd.DataFrame({"price": np.arange(T) * 1.0}, WEEKS)
    metrics, _ = read(Z=Z, spend=2 * U, metric_lags={"clicks": 1})
    inputs = metrics["clicks"].inputs
    assert inputs["Z"]["price"].tolist() == list(range(1, T))
    assert (inputs["spend"] == 2 * U.to_numpy()[:T - 1]).all()
    assert (metrics["impressions"].inputs["spend"] == 2 * U.to_numpy()[1:]).all()


@pytest.mark.parametrize("lags, words", [
    ({"clicks": -1}, "zero or more"), ({"clicks": 1.0}, "whole number"), ({"clicks": True}, "whole number"),
    ({"clikcs": 1}, "Did you mean 'clicks'?"), (["clicks"], "is a mapping"), ({"clicks": "1"}, "whole number"),
])
def test_bad_lags(lags, words):
    with pytest.raises(PrecisionError, match=words.replace("?", r"\?")):
        check_lags(lags, ["impressions", "clicks"])


@pytest.mark.parametrize("lag", [T, T + 40, T - 3])
def test_a_lag_that_leaves_too_few_periods(lag):
    with pytest.raises(PrecisionError, match=rf"metric_lags\['clicks'\] = {lag} leaves {max(T - lag, 0)} of {T}"):
        read(metric_lags={"clicks": lag})


# Availability and offline channels

FLAGS = np.array([False, True, True, False])
TABLE = pd.DataFrame(np.tile(FLAGS, (T, 1)), WEEKS, list("abcd"))


@pytest.mark.parametrize("rule", [
    ["b", "c"], {"b", "c"}, ("c", "b"), dict(zip("dcba", FLAGS[::-1])), pd.Series(FLAGS, list("abcd")), FLAGS, FLAGS.astype(int),
    FLAGS.tolist(), TABLE, TABLE[list("dcba")], TABLE.to_numpy(),
], ids=lambda rule: type(rule).__name__)
def test_every_form_of_availability(rule):
    metrics, said = read(availability={"clicks": rule})
    assert (metrics["clicks"].usable == FLAGS).all() and metrics["impressions"].usable.all()
    assert (metrics["clicks"].data.U[:, ~FLAGS] == 0).all()
    assert [r.node for r in said if r.guard == "availability"] == ["a", "d"]


def test_a_tactical_with_gaps_is_left_out_and_the_periods_are_counted():
    gaps = TABLE.copy()
    gaps.iloc[:7, 1] = False
    metrics, said = read(availability={"clicks": gaps})
    assert metrics["clicks"].usable.tolist() == [False, False, True, False]
    assert next(r for r in said if r.node == "b").value == 7 and f"not measured in 7 of {T}" in Report(tuple(said)).__repr__()


@pytest.mark.parametrize("rule, words", [
    (["e"], "'e' is not known"), ("a", "write"), ({"a": True}, "Missing: 'b', 'c', 'd'"), ([True, False], "shape"),
    ([2, 0, 1, 1], "True and False only"), ([np.nan, 0, 1, 1], "True and False only"), (TABLE.iloc[1:], "shape"),
    (TABLE.rename(columns={"a": "x"}), "columns of availability"), (TABLE.set_index(WEEKS + pd.Timedelta("1D")), "same index"),
])
def test_bad_availability(rule, words):
    with pytest.raises(PrecisionError, match=words):
        read(availability={"clicks": rule})


def test_availability_of_unknown_metrics():
    with pytest.raises(PrecisionError, match="Did you mean 'clicks'"):
        read(availability={"click": ["a"]})
    with pytest.raises(PrecisionError, match="mapping"):
        read(availability=["a"])


def test_offline_channels_leave_downstream_metrics_only():
    metrics, said = read(offline_channels=["tv"])
    assert metrics["clicks"].usable.tolist() == [False, False, True, True] and metrics["impressions"].usable.all()
    assert [(r.metric, r.node) for r in said if r.guard == "offline"] == [("clicks", "tv")]
    metrics, _ = read(offline_channels=["tv"], downstream_metrics=["impressions"])
    assert metrics["clicks"].usable.all() and metrics["impressions"].usable.tolist() == [False, False, True, True]


@pytest.mark.parametrize("options, words", [
    ({"offline_channels": ["tvv"]}, "Did you mean 'tv'"), ({"offline_channels": "tv"}, r"\['tv'\]"),
    ({"downstream_metrics": ["click"]}, "Did you mean 'clicks'"), ({"downstream_metrics": "clicks"}, "list of names"),
    ({"offline_channels": ["linear"]}, "not known"),
])
def test_bad_offline_channels(options, words):
    with pytest.raises(PrecisionError, match=words):
        read(**options)


def test_default_downstream_metrics_need_not_be_there():
    assert set(read({"impressions": U})[0]) == {"impressions"} and "conversions" in DOWNSTREAM


@pytest.mark.parametrize("clicks, options", [
    (CLICKS, {"availability": {"clicks": []}}), (CLICKS, {"offline_channels": ["tv", "search"]}), (0 * CLICKS, {}),
    (0 * CLICKS.to_numpy(), {}), (CLICKS * [0, 0, 1, 1], {"availability": {"clicks": ["a"]}}),
])
def test_a_metric_without_usable_tacticals_is_left_out(clicks, options):
    metrics, said = read({"impressions": U, "clicks": clicks}, **options)
    assert set(metrics) == {"impressions"}
    assert any(r.alarm and r.metric == "clicks" and "left out" in r.sentence for r in said)


def test_no_usable_tactical_at_all_is_an_error():
    with pytest.raises(PrecisionError, match="no metric has a usable tactical"):
        read({"clicks": CLICKS}, offline_channels=["tv", "search"])


def test_exposure_that_ends_before_the_scored_periods_is_no_exposure():
    early = CLICKS.copy()
    early.iloc[2:, 0] = 0
    metrics, said = read({"impressions": U, "clicks": early}, metric_lags={"impressions": 2})
    assert metrics["clicks"].usable.tolist() == [False, True, True, True]
    assert any("without exposure in the scored periods: a" in r.sentence for r in said)


def test_a_tactical_in_no_metric_is_pointed_out():
    _, said = read(availability={name: ["b", "c", "d"] for name in METRICS})
    assert ("", "a") in alarms(said)


def test_what_is_left_out_may_be_missing_or_full_of_holes():
    for table in (CLICKS[["c", "d"]], CLICKS.assign(a=np.nan, b="none"), np.where([True, True, False, False], np.nan, CLICKS)):
        metrics, _ = read({"impressions": U, "clicks": table}, offline_channels=["tv"])
        assert (metrics["clicks"].data.U[:, 2:] == CLICKS[["c", "d"]]).all(axis=None)


def test_spend_of_what_is_left_out_leaves_with_it():
    spend = pd.DataFrame(RNG.gamma(2.0, 10.0, size=(T, 4)), WEEKS, list("abcd"))
    clicks = CLICKS.assign(c=0.0)  # c is paid, and has no clicks
    metrics, _ = read({"impressions": U, "clicks": clicks}, spend=spend, availability={"clicks": ["a", "c", "d"]}, offline_channels=["tv"])
    assert (metrics["impressions"].data.spend == spend).all(axis=None)
    assert (metrics["clicks"].data.spend == spend * [0, 0, 0, 1]).all(axis=None)
    np.testing.assert_allclose(metrics["clicks"].data.share, [0, 0, 0, 1])


# The door, in the words of the ensemble

BROKEN = CLICKS.copy()
BROKEN.iloc[3, 2] = np.nan


@pytest.mark.parametrize("table, words", [
    (BROKEN, r"U_metrics\['clicks'\] column 'c' has a missing value \(NaN\) at row 2024-01-22"),
    (CLICKS.rename(columns={"c": "cc"}), r"columns of U_metrics\['clicks'\].*Did you mean 'c'"),
    (CLICKS.iloc[1:], r"U_metrics\['clicks'\] has 59 rows and y has 60"),
    (CLICKS.shift(1, freq="D"), r"U_metrics\['clicks'\] and y must have the same index"),
    (-CLICKS, r"U_metrics\['clicks'\]: exposure of 'a' is -"),
    (CLICKS.to_numpy()[:, :3], r"U_metrics\['clicks'\] must have shape \[periods, 4\]"),
    (CLICKS.assign(a="many"), r"U_metrics\['clicks'\] column 'a' holds 'many'"),
    (None, r"U_metrics\['clicks'\] must be a table with a row a period, .* got None"),
])
def test_errors_name_the_metric(table, words):
    with pytest.raises(PrecisionError, match=words):
        read({"impressions": U, "clicks": table})


def test_errors_in_outcome_controls_and_spend_blame_no_metric():
    for options, words in (({"y": Y.where(Y != Y.iloc[4])}, "the outcome y"), ({"Z": pd.DataFrame({"p": np.ones(T)}, WEEKS)}, "control 'p'"),
                           ({"Z": np.full((T, 1), np.nan)}, "Z_controls column"), ({"spend": U.assign(a=np.inf)}, "spend column 'a'"),
                           ({"spend": U.rename(columns={"a": "aa"})}, "columns of spend"), ({"y": Y * 0}, "constant")):
        with pytest.raises(PrecisionError, match=words) as caught:
            read(**options)
        assert "U_metrics" not in str(caught.value)


@pytest.mark.parametrize("metrics", [{}, U, [U], None, {1: U}, {" ": U}])
def test_metrics_must_be_a_mapping_with_names(metrics):
    with pytest.raises(PrecisionError, match="U_metrics|names of metrics"):
        read(metrics)


def test_frames_are_held_against_each_other_when_the_outcome_has_no_dates():
    with pytest.raises(PrecisionError, match=r"U_metrics\['clicks'\] and y must have the same index"):
        read({"impressions": U, "clicks": CLICKS.shift(1, freq="D")}, y=Y.to_numpy())
    metrics, _ = read(y=Y.to_numpy())
    assert metrics["clicks"].inputs["y"].index[0] == WEEKS[0]


def test_columns_are_matched_by_name():
    metrics, _ = read({"impressions": U[list("dbca")], "clicks": CLICKS.to_numpy()}, spend=U[list("cbda")])
    assert (metrics["impressions"].data.U == U).all(axis=None) and (metrics["clicks"].data.spend == U).all(axis=None)


# Leakage tests

def test_an_echo_is_an_error_or_a_warning():
    metrics, _ = read({"impressions": U, "conversions": CLICKS.assign(c=3 * Y + 5)})
    with pytest.raises(LeakageError, match=r"conversions, c: the correlation with the outcome is 1\.000"):
        inspect_metrics(metrics)
    with pytest.warns(PrecisionWarning, match="conversions, c"):
        said = inspect_metrics(metrics, on_leakage="warn")
    assert ("conversions", "c") in alarms(said)


def test_an_inverted_echo_is_an_echo_too():
    metrics, _ = read({"impressions": U.assign(d=10_000 - Y)})
    assert ("impressions", "d") in alarms(outcome_guard(metrics["impressions"]))


def test_the_limit_of_correlation_can_be_set():
    metrics, _ = read()
    r = np.corrcoef(U.sum(axis=1), Y)[0, 1]
    assert 0.5 < r < 0.97 and not alarms(outcome_guard(metrics["impressions"]))
    assert ("impressions", "total") in alarms(outcome_guard(metrics["impressions"], limit=r - 0.01))


def test_the_outcome_is_compared_as_the_model_sees_it():
    shifted = Y.shift(-1, fill_value=Y.iloc[-1])  # moves one period before the outcome
    metrics, _ = read({"impressions": U.assign(d=shifted)}, metric_lags={"impressions": 1})
    assert ("impressions", "d") in alarms(outcome_guard(metrics["impressions"]))
    metrics, _ = read({"impressions": U.assign(d=shifted)})
    assert not alarms(outcome_guard(metrics["impressions"]))


def test_constant_exposure_correlates_with_nothing():
    metrics, _ = read({"impressions": U * 0 + 5})
    assert not alarms(inspect_metrics(metrics))


def test_feedback_is_found_and_named_as_such():
    z = ((Y - Y.mean()) / Y.std()).shift(fill_value=0)
    metrics, _ = read({"impressions": U, "steered": (50 + 10 * z).to_numpy()[:, None] * [1, 1, 1, 1] + CLICKS})
    assert not alarms(past_guard(metrics["impressions"]))
    found = [r for r in past_guard(metrics["steered"]) if r.alarm]
    assert found[0].node == "total" and "1 period earlier" in found[0].sentence and "follow the outcome" in found[0].sentence


def test_a_lag_that_is_too_long_is_told_from_feedback():
    metrics, _ = read(metric_lags={"impressions": 2})  # the effect is immediate
    found = [r for r in past_guard(metrics["impressions"]) if r.alarm]
    assert found and "2 periods earlier" in found[0].sentence and "lag is longer" in found[0].sentence


def test_feedback_on_a_lagged_metric_is_still_feedback():
    z = ((Y - Y.mean()) / Y.std()).shift(fill_value=0)
    metrics, _ = read({"impressions": (50 + 10 * z).to_numpy()[:, None] * [1, 1, 1, 1] + CLICKS}, metric_lags={"impressions": 2})
    found = [r for r in past_guard(metrics["impressions"]) if r.alarm]
    assert "3 periods earlier" in found[0].sentence and "follow the outcome" in found[0].sentence


def test_false_alarms_are_rarer_than_promised():
    rng, wolf = np.random.default_rng(1), 0
    for _ in range(300):
        x, y = np.cumsum(rng.normal(size=(2, 110)), axis=1) * 0.3 + rng.normal(size=(2, 110))
        past = np.column_stack([y[4 - k:-k] for k in range(1, 5)])
        wolf += 4 * past_test(x[4:], y[4:], past)[0].min() < 0.05
    assert wolf / 300 < 0.06


def test_few_periods_are_not_tested():
    metrics, _ = read({"impressions": U.iloc[:15]}, y=Y.iloc[:15])
    assert "too few periods" in past_guard(metrics["impressions"])[0].sentence


def test_a_lag_does_not_hide_a_copy_of_the_outcome():
    parts = RNG.dirichlet(np.ones(4), size=T) * Y.to_numpy()[:, None]
    metrics, _ = read({"impressions": U, "orders": parts}, metric_lags={"orders": 3})
    assert not alarms(outcome_guard(metrics["orders"]))
    found = reproduction_guard(metrics["orders"])
    assert len(alarms(found)) == 2 and "equals the outcome in 100%" in found[1].sentence
    metrics, _ = read({"impressions": U, "orders": 7 * parts + 2})
    assert len(alarms(reproduction_guard(metrics["orders"]))) == 1  # up to factor and offset
    assert not alarms(reproduction_guard(metrics["impressions"]))


def test_downstream_metrics_are_held_against_upstream_ones_in_their_order():
    metrics, _ = read({"conversions": 0.1 * CLICKS, "impressions": U, "clicks": CLICKS})
    said = upstream_guard(metrics, DOWNSTREAM)
    assert [r.metric for r in said] == ["clicks", "conversions"] and alarms(said) == [("conversions", "total")]
    assert alarms(upstream_guard(metrics, ["conversions", "clicks"])) == [("clicks", "total")]


def test_delayed_clicks_are_explained_by_recent_impressions():
    delayed = (0.02 * U.shift(3, fill_value=0) + 0.001 * CLICKS)
    metrics, _ = read({"impressions": U, "clicks": delayed})
    assert alarms(upstream_guard(metrics, DOWNSTREAM)) == [("clicks", "total")]


def test_the_report_is_readable_and_a_frame():
    metrics, said = read(offline_channels=["tv"], metric_lags={"clicks": 1})
    report = Report(tuple(said + inspect_metrics(metrics)))
    text, table = repr(report), report.to_frame()
    headings = ["Lags", "Offline channels", "Usable tacticals", "Correlation with the outcome", "Past outcome",
                "Reproduction of the outcome", "Upstream metrics"]
    places = [text.index(f"\n{heading}\n") for heading in headings]
    assert places == sorted(places) and len(table) == len(report.records) and table.alarm.sum() == len(report.findings)
    assert list(table) == ["guard", "metric", "node", "value", "limit", "sentence", "alarm"]


def test_measured_for_counts_periods():
    assert measured_for(TABLE.to_numpy(), "x", list("abcd"), WEEKS).tolist() == [T, 0, 0, T]
