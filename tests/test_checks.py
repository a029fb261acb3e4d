"""May one believe a fit? Every problem is found, and a fit without problems is left in peace."""

from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import signal, stats

from precision.checkup import UNSEEN, Checkup, check_up
from precision.checks import cost_of, experiments_finding, past_finding
from precision.identification import collinearity_finding, common_movement, inflation, partners, common_movement_finding
from precision.prior_checks import Stated, contraction, decays_finding, media_prior_finding, news, prior_findings, standard_errors
from precision.residual_checks import (
    breusch_pagan, delay_finding, feedback_finding, lag_test, ljung_box, scores, season_finding, yearly, zeros_finding)
from precision.data import Controls
from precision.draws import Finding, grade, groups_of, judge, sampling_findings, to_idata
from precision.experiments import CostTarget, LiftTest
from precision.errors import PrecisionError, PrecisionWarning
from precision.hierarchy import build_hierarchy
from precision.model import MMM, Fit
from precision.noise import LIKELIHOODS, RESIDUALS, noise_of
from precision.priors import Priors
from precision.summaries import lift_of

pytestmark = pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
QUICK = dict(chains=2, warmup=100, draws=80, progress=False)
TREE = {"x": {"p": ["a", "b"]}, "y": ["c", "d"]}


def data(periods=100, seed=2, tacticals="abcd"):
    rng = np.random.default_rng(seed)
    weeks = pd.date_range("2024-01-01", periods=periods, freq="W-MON")
    U = pd.DataFrame(rng.gamma(2.0, [30, 60, 20, 90][:len(tacticals)], (periods, len(tacticals))), weeks, list(tacticals))
    Z = pd.DataFrame({"price": rng.normal(5, 1, periods)}, weeks)
    y = 500 + U @ np.array([0.4, 0.2, 0.9, 0.1])[:len(tacticals)] - 8 * Z.price + rng.normal(0, 10, periods)
    return y, U, Z


@pytest.fixture(scope="module")
def fit():
    y, U, Z = data()
    return MMM(build_hierarchy(TREE)).fit(y, U, Z, chains=4, warmup=500, draws=1000, progress=False)


def with_data(fit, **changes):
    "The checkup of a fit whose data are not those it was fitted to."
    from dataclasses import replace

    components = replace(fit.components, data=replace(fit.data, **changes))
    return check_up(fit.idata, components, fit.mmm.draw_prior(fit.data, 300, 0).components, fit.mmm.noise)


@pytest.fixture(scope="module")
def still():
    "One with a baseline that stands still."
    y, U, Z = data()
    return MMM(build_hierarchy(TREE), baseline="none").fit(y, U, Z, **QUICK)


def test_a_fit_without_problems_is_left_in_peace(fit):
    checkup = fit.check()
    of_the_model = [finding for finding in checkup.findings if finding.check not in ("chains", "means", "intervals", "divergences", "decays")]
    assert {finding.verdict for finding in of_the_model} == {"ok"}, checkup
    assert checkup.worst == max((f.verdict for f in checkup.findings), key=["ok", "caution", "problem"].index)
    table = checkup.to_frame()
    assert list(table.columns) == ["verdict", "value", "limit", "where", "evidence", "remedy"] and table.index.is_unique
    told = " ".join(repr(checkup).split())  # lines may break within a name
    assert told.startswith("No problem found") and all(check in told for check in table.index)
    assert (table.remedy[table.verdict == "ok"] == "").all() and (table.remedy[table.verdict != "ok"] != "").all()


def test_what_is_wrong_with_the_residuals_is_found(fit):
    T, y, rng = len(fit.data.y), fit.data.y, np.random.default_rng(1)
    mean = fit.components.fitted().mean(axis=0)
    noise = rng.normal(0, 10, T)
    assert with_data(fit, y=y + np.linspace(-30, 30, T))["autocorrelation"].verdict == "problem"
    odd = y.copy()
    odd[40] += 100
    found = with_data(fit, y=odd)["tails"]
    assert found.verdict == "problem" and found.where == str(fit.data.time[40].date()) and "student_t" in found.remedy
    height = (mean - mean.min()) / np.ptp(mean)
    assert with_data(fit, y=mean + noise * np.exp(3 * (height - 0.5)))["spread"].verdict == "problem"


def test_a_baseline_below_zero_and_media_that_bring_all_are_found(fit):
    from dataclasses import replace

    low = replace(fit.components, values=fit.components.values | {"intercept": fit.components.values["intercept"] - 500})
    y = fit.data.y - 500
    low = replace(low, data=replace(fit.data, y=np.maximum(y, 1)))
    prior = fit.mmm.draw_prior(fit.data, 300, 0).components
    checkup = check_up(fit.idata, low, prior, fit.mmm.noise)
    assert checkup["baseline"].verdict == checkup["media share"].verdict == "problem"
    below = check_up(fit.idata, replace(low, data=replace(fit.data, y=y - 200)), prior, fit.mmm.noise)
    assert below["baseline"].verdict == below["media share"].verdict == "ok" and np.isnan(below["media share"].value)


def test_a_posterior_that_is_its_prior_and_one_far_from_it_are_found(fit):
    from dataclasses import replace

    same = check_up(fit.idata, fit.components, fit.components, fit.mmm.noise)
    assert same["prior"].verdict == "problem" and same["prior"].value == pytest.approx(1) and same["prior conflict"].verdict == "ok"
    timid = replace(fit.components, values=fit.components.values | {"effect_tactical": fit.components.values["effect_tactical"] / 1000})
    far = check_up(fit.idata, fit.components, timid, fit.mmm.noise)
    assert far["prior conflict"].verdict == "problem" and far["prior"].verdict == "ok"


def test_an_effect_that_comes_late_is_found_and_its_lag_is_named(fit):
    late = np.roll(fit.data.U[:, 1], 3) / fit.data.U[:, 1].std()
    found = with_data(fit, y=fit.data.y + 10 * (late - late.mean()))["delay"]
    assert found.verdict == "problem" and "3 periods after the exposure of b" in found.evidence and "later" in found.remedy
    less = with_data(fit, y=fit.data.y - 10 * (late - late.mean()))["delay"]
    assert "less outcome about 3 periods after" in less.evidence and "earlier" in less.remedy


def test_the_test_of_lags_is_the_f_test_of_a_regression():
    rng = np.random.default_rng(3)
    x, z = np.cumsum(rng.normal(size=80)), rng.standard_t(2, size=80)
    p, slopes = lag_test(x, z)
    z_normal = stats.norm.ppf((stats.rankdata(z) - 0.5) / 80)
    memory = (z_normal[1:] * z_normal[:-1]).sum() / (z_normal ** 2).sum()
    x_new, z_new = ((v[1:] - memory * v[:-1]) for v in ((x - x.mean()) / x.std(), z_normal))
    columns = np.column_stack([np.ones(74), *(x_new[5 - lag:79 - lag] for lag in range(6))])
    left = [((z_new[5:] - a @ np.linalg.lstsq(a, z_new[5:], rcond=None)[0]) ** 2).sum() for a in (columns, columns[:, :1])]
    assert p == pytest.approx(stats.f.sf((left[1] - left[0]) / 6 / (left[0] / (74 - 7)), 6, 74 - 7)) and len(slopes) == 6
    assert lag_test(x, np.exp(z))[0] == pytest.approx(p)  # ranks alone count
    assert lag_test(np.ones(80), z)[0] == lag_test(x, np.ones(80))[0] == 1
    assert delay_finding(x[:12, None], ["x"], z[:12]).verdict == "ok"  # too few periods


def test_budgets_moved_by_one_hand_are_seen_and_forgiven_where_the_hand_is_known():
    rng = np.random.default_rng(8)
    own, hand = np.exp(0.5 * rng.normal(size=(120, 5))), np.cumsum(rng.normal(0, 0.2, 120))[:, None]
    steered, nothing = pd.DataFrame(own * np.exp(hand)), np.empty((120, 0))
    assert common_movement_finding(pd.DataFrame(own), nothing).verdict == "ok" != common_movement_finding(steered, nothing).verdict
    assert common_movement_finding(steered, hand).verdict == common_movement_finding(steered, hand, [10.0]).verdict == "ok"
    assert common_movement_finding(steered, hand, [0.0]).verdict == common_movement_finding(steered, hand, [1e-6]).verdict != "ok"  # believed to do nothing
    assert common_movement(own, nothing)[0] == pytest.approx(common_movement(own * [1, 10, 1e3, 1, 1e-3], nothing)[0])  # units do not matter
    same, _ = common_movement(np.repeat(own[:, :1], 5, axis=1), nothing)
    assert same == pytest.approx(1)
    twins = pd.DataFrame(own[:, [0, 0]])
    assert common_movement_finding(twins, nothing).verdict == "problem" and common_movement_finding(twins, np.sqrt(own[:, :1])).verdict == "ok"
    assert common_movement_finding(pd.DataFrame(own).assign(flat=0.1), nothing).verdict == "ok"
    assert common_movement_finding(steered[[0]], nothing).verdict == common_movement_finding(steered[:10], nothing[:10]).verdict == "ok"  # nothing to see


def test_media_that_cannot_be_told_apart_or_hardly_ran_are_found(fit):
    U = fit.data.U.copy()
    U[:, 1] = U[:, 0] * np.random.default_rng(0).normal(1, 0.03, len(U))
    found = with_data(fit, U=U)["collinearity"]
    assert found.verdict == "problem" and found.where in "ab" and np.isfinite(found.value)
    U = fit.data.U.copy()
    U[3:, 2], U[:, 3] = 0, 50
    checkup = with_data(fit, U=U)
    assert (checkup["time on air"].verdict, checkup["time on air"].where, checkup["time on air"].value) == ("problem", "c", 3)
    assert (checkup["variation"].verdict, checkup["variation"].where) == ("problem", "d") and np.isfinite(checkup["collinearity"].value)


def test_exposure_that_follows_sales_is_found_and_planned_exposure_is_not():
    rng, found = np.random.default_rng(0), {"planned": [], "steered": []}
    for _ in range(40):
        z, U = rng.normal(size=120), rng.gamma(3, size=(120, 3))
        found["planned"].append(feedback_finding(U, list("abc"), z, z).verdict)
        steered = U * np.exp(0.6 * np.r_[0, z[:-1]])[:, None]
        found["steered"].append(feedback_finding(steered, list("abc"), z, z).verdict)
    assert found["planned"].count("ok") >= 37 and found["steered"].count("problem") >= 37


def test_ljung_box_is_chi_squared_and_knows_the_coefficients_that_were_fitted():
    z = np.random.default_rng(0).normal(size=(3000, 200))
    p = np.array([ljung_box(one, 5)[1] for one in z])
    assert abs((p < 0.05).mean() - 0.05) < 0.015 and abs(p.mean() - 0.5) < 0.03
    r, all_of_them = ljung_box(z[0], 5)
    assert r[0] == pytest.approx(((z[0] - z[0].mean())[1:] * (z[0] - z[0].mean())[:-1]).sum() / (200 * z[0].var()))
    assert ljung_box(z[0], 5, fitted=1)[1] < all_of_them


def test_breusch_pagan_is_the_regression_of_squares():
    rng = np.random.default_rng(0)
    z, level = rng.normal(size=80), rng.normal(size=80)
    left = z ** 2 - np.polyval(np.polyfit(level, z ** 2, 1), level)
    assert breusch_pagan(z, level)[1] == pytest.approx(stats.chi2.sf(80 * (1 - left.var() / (z ** 2).var()), 1))
    assert breusch_pagan(z, np.ones(80))[1] == 1


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("residual", RESIDUALS)
def test_scores_of_the_models_own_noise_are_standard_normal(likelihood, residual):
    noise, rng = noise_of(likelihood, residual, 1), np.random.default_rng(0)
    values = {"sigma": np.full(3, 4.0), "phi": np.full(3, 0.8), "nu": np.full(3, 3.0)}
    r = np.repeat(noise.replicate({k: v[:1] for k, v in values.items()}, 3000, rng), 3, axis=0)
    z = scores(r, noise, values)
    assert stats.kstest(z, "norm").pvalue > 0.001 and abs(ljung_box(z, 1)[0][0]) < 0.06
    assert np.isfinite(scores(1e4 * r, noise, values)).all()


def test_inflation_is_that_of_the_inverse_correlation():
    columns = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)) @ [[1, 0.9, 0], [0, 0.3, 0], [0, 0, 1]], columns=list("abc"))
    np.testing.assert_allclose(inflation(columns), np.diag(np.linalg.inv(columns.corr())))
    assert inflation(columns[["a"]]).iloc[0] == pytest.approx(1)


@pytest.mark.parametrize("options", [
    {"effect": "real", "saturation": "none", "likelihood": "student_t", "residual": "ar1"},
    {"pooling": "channel", "decay": "beta", "saturation": "hill", "residual": "ar1"},
    {"pooling": "none", "decay": "half_life", "saturation": "logistic", "likelihood": "student_t"}])
def test_every_option_is_checked(options):
    y, U, Z = data(40)
    fit = MMM(build_hierarchy(TREE), **options).fit(y, U.assign(d=0.0), Z, **(QUICK | {"warmup": 50, "draws": 30}))
    checkup = fit.check()
    assert list(checkup.correlation) == list("abc") and set(checkup.contraction.node) == set("abc")
    assert ("residual" in options) == ('residual="ar1"' not in "".join(
        f.remedy for f in with_data(fit, y=fit.data.y + np.linspace(-200, 200, 40)).findings if f.check == "autocorrelation"))
    plt.close(checkup.plot())


def test_one_tactical_without_controls_with_few_integer_periods_comes_back_from_a_file(tmp_path):
    y, U, _ = data(9, tacticals="a")
    fit = MMM(build_hierarchy(["a"], ["tactical"])).fit(y.to_numpy(), U.to_numpy(), **(QUICK | {"warmup": 50, "draws": 30}))
    fit.save(tmp_path / "fit.nc")
    again = Fit.load(tmp_path / "fit.nc").check()
    pd.testing.assert_frame_equal(again.to_frame(), fit.check().to_frame())
    assert again["posterior correlation"].verdict == again["collinearity"].verdict == "ok" and again["influence"].where in map(str, range(9))
    plt.close(again.plot())


def test_the_same_columns_give_the_same_verdict_however_they_were_given():
    y, U, Z = data()
    Z = Z.assign(copy=U.a * np.random.default_rng(0).normal(1, 0.03, len(U)))
    model, found = MMM(build_hierarchy(TREE)), []
    for given in (Z, Controls.of(Z)):
        fit = model.fit(y, U, given, **(QUICK | {"warmup": 50, "draws": 30}))
        found.append(fit.check()["collinearity"])
    assert [f.verdict for f in found] == ["problem", "problem"] and found[0].value == pytest.approx(found[1].value, rel=0.05)
    assert "copy" in found[0].evidence and "vary a against copy" in found[0].remedy
    held = collinearity_finding(U, Z[["copy"]].reset_index(drop=True), [1e-6])  # a control that is believed to do nothing
    assert held.verdict == "ok"


def test_all_partners_of_an_exact_sum_are_named():
    rng = np.random.default_rng(0)
    U = pd.DataFrame(rng.gamma(2, size=(100, 4)), columns=list("abcd")).assign(total=lambda U: U.a + 0.7 * U.b)
    found = collinearity_finding(U, pd.DataFrame(index=range(100)), [])
    assert found.verdict == "problem" and np.isinf(found.value) and set(partners(U, np.inf, "total")) == {"a", "b"}
    assert all(name in found.remedy for name in {"a", "b", "total"})


@pytest.mark.parametrize("seed", range(5))
def test_forty_series_of_their_own_are_left_in_peace(seed):
    rng = np.random.default_rng(seed)
    U = pd.DataFrame(np.exp(signal.lfilter([1.0], [1.0, -0.7], rng.normal(size=(40, 156)), axis=1)).T).add_prefix("x")
    assert collinearity_finding(U, pd.DataFrame(rng.normal(size=(156, 6))), np.full(6, np.inf)).verdict == "ok"


def test_more_columns_than_periods_can_carry_are_named():
    rng = np.random.default_rng(0)
    found = collinearity_finding(pd.DataFrame(rng.gamma(2, size=(60, 4))).add_prefix("x"), pd.DataFrame(rng.normal(size=(60, 58))), np.full(58, np.inf))
    assert found.verdict == "problem" and "62 exposures and controls on 60 periods" in found.evidence


def test_a_period_that_sways_the_result_is_named(still):
    groups = groups_of(still.idata)
    density = groups["log_likelihood"]["y"].copy(deep=True)
    density[..., 17] = 8 * density[..., 17] * np.random.default_rng(0).standard_cauchy(density.shape[:2])
    idata = to_idata(groups | {"log_likelihood": groups["log_likelihood"].assign(y=density)}, {})
    found = check_up(idata, still.components, still.mmm.draw_prior(still.data, 300, 0).components, still.mmm.noise)["influence"]
    assert found.verdict == "problem" and found.where == str(still.data.time[17].date())


def test_single_periods_are_judged_with_the_moving_baseline_fitted_to_the_others(fit):
    from precision.blocks import baseline_design
    from precision.checkup import _single_periods

    data, t = fit.data, 40
    density = groups_of(_single_periods(fit.idata, fit.components, fit.mmm.noise, fit.mmm.priors))["log_likelihood"]["y"].values.reshape(-1, 100)
    Q, d, *_ = baseline_design(data, fit.mmm.priors)
    media = sum(fit.components.tactical(i)[0] for i in range(4)) / data.y_sd
    r, variance = data.y_scaled - media + media.mean(), (fit.components.values["sigma"][0] / data.y_sd) ** 2
    V = (Q * d ** 2) @ Q.T + variance * np.eye(100)
    others = np.arange(100) != t
    gain = np.linalg.solve(V[np.ix_(others, others)], V[others, t])
    assert density[0, t] == pytest.approx(stats.norm.logpdf(r[t], gain @ r[others], np.sqrt(V[t, t] - gain @ V[others, t])))


def test_a_misspelt_check_is_answered(fit):
    with pytest.raises(PrecisionError, match="Did you mean 'collinearity'"):
        fit.check()["colinearity"]


@pytest.mark.filterwarnings("default::precision.errors.PrecisionWarning")
def test_former_names_still_find_their_check(fit):
    checkup = fit.check()
    for old, new in {"one week": "influence", "in step": "common movement", "memory": "autocorrelation", "surprise": "prior conflict",
                     "trade-offs": "posterior correlation"}.items():
        with pytest.warns(PrecisionWarning, match=f"'{old}' is called '{new}' now"):
            assert checkup[old] is checkup[new]
    with pytest.warns(PrecisionWarning, match="'good' is called 'ok' now"):
        assert checkup.of("good") == checkup.of("ok") != []


@pytest.mark.filterwarnings("default::precision.errors.PrecisionWarning")
def test_former_fields_still_hold_their_numbers(fit):
    checkup = fit.check()
    with pytest.warns(PrecisionWarning, match="'memory' is called 'autocorrelation' now"):
        assert checkup.memory is checkup.autocorrelation
    with pytest.warns(PrecisionWarning, match="'news' is called 'contraction' now"):
        assert checkup.news is checkup.contraction
    prior = fit.mmm.draw_prior(fit.data, 300, 0).components
    totals = np.stack([fit.components.tactical(i).sum(axis=1) for i in range(4)], axis=1)
    with pytest.warns(PrecisionWarning, match=r"news\(\) is called contraction\(\)"):
        pd.testing.assert_frame_equal(news(prior, fit.components, totals), contraction(prior, fit.components, totals))


def test_the_table_of_verdicts_holds_every_sentence_whole(fit):
    rows = with_data(fit, y=fit.data.y + np.linspace(-30, 30, len(fit.data.y)))
    html = rows._repr_html_()
    assert all(escape(one.evidence) in html and escape(one.remedy) in html for one in rows.findings)
    assert html.index("autocorrelation") < html.index("<details>") < html.index("media share") and escape(UNSEEN) in html
    calm = Checkup((Finding("tails", "ok", 0.5, 0.01, "", "<b>"),), pd.RangeIndex(1), *[None] * 6)._repr_html_()
    assert "<details open>" in calm and "&lt;b&gt;" in calm and calm.startswith("<p><strong>No problem found (1 checks: 1 ok).")


def test_the_picture_is_readable_at_eight_inches(fit):
    fig = fit.check().plot()
    fig.canvas.draw()
    assert fig.get_figwidth() == 8 and min(text.get_fontsize() for text in fig.findobj(plt.Text) if text.get_text()) >= 9
    inside = [ax.get_tightbbox().x1 <= fig.bbox.x1 + 1 and ax.get_tightbbox().x0 >= -1 for ax in fig.axes]
    assert len(inside) == 6 and all(inside)
    plt.close(fig)


@pytest.mark.parametrize("used, advice", [(None, "=0.95"), (0.85, "=0.95"), (0.95, "=0.99"), (0.97, "=0.99"), (0.99, "will not mend")])
def test_divergences_are_answered_with_a_target_that_was_not_tried(fit, used, advice):
    groups = groups_of(fit.idata)
    stats_ = groups["sample_stats"].copy(deep=True)
    stats_["diverging"][:] = True
    stats_.attrs = {} if used is None else {"target_accept": used}
    idata = to_idata(groups | {"sample_stats": stats_}, {})
    found = next(f for f in sampling_findings(idata) if f.check == "divergences")
    assert found.verdict == "problem" and advice in found.remedy and str(found) in judge(idata)


def test_a_fit_remembers_its_target(fit, tmp_path):
    y, U, Z = data(40)
    quick = MMM(build_hierarchy(TREE)).fit(y, U, Z, target_accept=0.6, **(QUICK | {"warmup": 40, "draws": 20}))
    quick.save(tmp_path / "fit.nc")
    for one in (quick, Fit.load(tmp_path / "fit.nc")):
        assert groups_of(one.idata)["sample_stats"].attrs["target_accept"] == 0.6


def test_grades_are_kind_at_the_limit_and_strict_without_a_number():
    assert [grade(v, 1, 2) for v in (1, 2, 3, np.nan)] == ["ok", "caution", "problem", "problem"]
    assert [grade(v, 2, 1, higher=True) for v in (2, 1, 0, np.nan)] == ["ok", "caution", "problem", "problem"]
    assert str(Finding("a", "caution", 1.0, 1.0, "", "It rains", "take a coat")) == "It rains; take a coat."


def test_a_checkup_without_a_single_finding_that_is_ok_still_prints():
    bad = Finding("autocorrelation", "problem", 0.0, 0.01, "", "Residuals remember", "add a trend")
    said = repr(Checkup((bad,), pd.RangeIndex(1), *[None] * 6))
    assert said.startswith("Problem found: not to be used yet (1 checks: 1 problem)") and "Do: add a trend." in said and "\nok " not in said


def test_a_checkup_never_says_yes(fit):
    good = Finding("autocorrelation", "ok", 0.5, 0.01, "", "Residuals do not remember")
    said = repr(Checkup((good,), pd.RangeIndex(1), *[None] * 6))
    assert said.startswith("No problem found (1 checks: 1 ok)") and "Yes" not in said
    assert "What checks cannot see" in said and "same week's sales" in UNSEEN and "What checks cannot see" in repr(fit.check())


def test_the_medias_prior_is_judged():
    shares = np.exp(np.random.default_rng(0).normal(np.log(0.17), 0.6, 2000))
    absurd, repeated, learnt = (media_prior_finding(*draws) for draws in ((10 * shares, shares), (shares, shares), (shares, 0.2 * (shares / 0.17) ** 0.1)))
    assert (absurd.verdict, repeated.verdict, learnt.verdict) == ("problem", "caution", "ok")
    assert absurd.value == pytest.approx(np.quantile(10 * shares, 0.95)) and repeated.value == pytest.approx(1, abs=0.01) and learnt.value < 0.2
    assert "repeats what was put in" in repeated.evidence and "media_share" in absurd.remedy


def test_what_the_data_want_of_a_stated_total_is_found_from_prior_and_posterior():
    rng = np.random.default_rng(0)
    prior_sd, data_sd, wants = 0.5, 1.0, 3.0  # a normal statement about zero, and data that say 3
    variance = 1 / (prior_sd ** -2 + data_sd ** -2)
    before, after = rng.normal(0, prior_sd, 200_000), rng.normal(variance * wants / data_sd ** 2, np.sqrt(variance), 200_000)
    assert standard_errors(before, after) == pytest.approx(wants / np.hypot(prior_sd, data_sd), rel=0.02)
    held = Stated("tv", "ROI", np.exp(before), np.exp(after), (0.4, 2.3), (np.exp(before), np.exp(before - 5)))
    assert held.pull > 5 and not held.outside and "moves less" in str(held)
    total = pd.DataFrame({"variable": "total", "node": ["a"], "left": [0.3], "moved": [0.1]})
    found = prior_findings(total, pd.Series([1.0], ["a"]), [held])[1]
    assert found.verdict == "problem" and "the ROI of tv was expected at 0.4 to 2.3" in found.evidence
    assert prior_findings(total, pd.Series([1.0], ["a"]), [Stated("tv", "ROI", np.exp(before), np.exp(before), (0.4, 2.3))])[1].verdict == "ok"
    beyond = Stated("tv", "ROI", np.exp(before), np.exp(before / 3 + 0.5), (0.9, 1.1))
    assert beyond.outside and prior_findings(total, pd.Series([1.0], ["a"]), [beyond])[1].verdict == "caution"


@pytest.mark.parametrize("factor, named", [(10, True), (1, False)])
def test_a_stated_return_is_named_where_media_move_otherwise(factor, named):
    y, U, Z = data()
    roi = (0.4 * U.a.sum() + 0.2 * U.b.sum()) / (U.a.sum() + U.b.sum())
    model = MMM(build_hierarchy(TREE), Priors(roi={"x": (0.85 * factor * roi, 1.15 * factor * roi)}))
    found = model.fit(y, U, Z, spend=U, **QUICK).check()["prior conflict"]
    assert (found.verdict != "ok") == named and ("the ROI of x was expected" in found.evidence) == named, found


def test_the_data_are_not_said_to_have_spoken():
    total = pd.DataFrame({"variable": "total", "node": ["a", "b"], "left": [0.7, 0.76], "moved": [0.0, 0.1]})
    found = prior_findings(total, pd.Series([1.0, 1.0], ["a", "b"]))[0]
    assert found.verdict == "ok" and "73% is left (median; most: 76% of b)" in found.evidence and "spoken" not in found.evidence


def test_decays_that_repeat_the_prior_are_counted():
    table = pd.DataFrame({"variable": "decay", "node": list("abcd"), "left": [0.9, 0.9, 0.9, 0.2], "repeats_prior": [True, True, True, False]})
    found = decays_finding(table)
    assert (found.verdict, found.value) == ("caution", 0.75) and "3 of 4 decays repeat the prior" in found.evidence
    assert decays_finding(table.assign(repeats_prior=[True, True, False, False])).verdict == "ok"


def test_what_hangs_on_the_time_before_is_the_carry_over_into_the_data(fit):
    from dataclasses import replace

    assert past_finding(fit.components).verdict == "ok"
    values = fit.components.values | {"decay": np.full_like(fit.components.values["decay"], 0.97)}
    long = replace(fit.components, values=values)
    found = past_finding(long)
    assert found.verdict != "ok" and "U_history" in found.remedy
    never = past_finding(replace(long, data=replace(fit.data, past="nothing")))
    assert never.verdict != "ok" and "never to have run" in never.evidence and never.value > found.value  # of a smaller total
    history = np.tile(fit.data.U.mean(axis=0), (200, 1))
    assert past_finding(replace(long, data=replace(fit.data, history=history))).verdict == "ok"


def test_experiments_that_the_model_cannot_reproduce_are_named(fit):
    from dataclasses import replace

    test = LiftTest("x", fit.data.time[50], fit.data.time[53], 1.0, 1.0, change=-1.0)
    lift = lift_of(fit.components, test)
    agrees = replace(test, lift=lift.mean(), se=lift.std())
    far, more = replace(agrees, lift=5 * lift.mean()), replace(agrees, lift=-lift.mean())
    told = {name: experiments_finding(tests, fit.components) for name, tests in {
        "none": [], "agrees": [agrees], "far": [far], "more": [more], "two": [agrees, far]}.items()}
    assert np.isnan(told["none"].value) and told["agrees"].value < 0.01
    assert told["far"].value == pytest.approx(4 * abs(lift.mean()) / np.hypot(lift.std(), lift.std()))
    assert told["far"].verdict == told["more"].verdict == told["two"].verdict == "problem"
    assert "less exposure sells more" in told["more"].evidence and "contradict each other" in told["two"].evidence
    assert told["none"].verdict == told["agrees"].verdict == "ok"


def test_cost_targets_have_a_table_and_a_check():
    y, U, Z = data()
    targets = [CostTarget("x", 3.0, 0.5), CostTarget("c", 50.0, 0.01)]
    fit = MMM(build_hierarchy(TREE)).fit(y, U, Z, spend=U, experiments=targets, **QUICK)
    table, draws = fit.cost_targets(), cost_of(fit.components, targets[0])
    assert list(table.columns) == ["node", "stated", "se", "mean", "lower", "upper"] and table["mean"][0] == pytest.approx(draws.mean())
    brought = sum(fit.components.tactical(i).sum(axis=1) for i in (0, 1))
    np.testing.assert_allclose(draws, U[["a", "b"]].to_numpy().sum() / brought)
    found = fit.check()["experiments"]
    assert not np.isnan(found.value) and ("cost target of c" in found.evidence or found.verdict == "ok")
    with pytest.raises(PrecisionError, match="no lift tests"):
        fit.lifts()


def test_a_season_that_is_missing_is_named_and_one_that_is_there_is_not(still):
    from dataclasses import replace

    rng, T = np.random.default_rng(0), 156
    weeks, year = pd.date_range("2022-01-03", periods=T, freq="W-MON"), np.cos(2 * np.pi * np.arange(T) / 52.18)
    U = np.exp(0.4 * rng.normal(size=(T, 2)))
    world = replace(still.data, time=weeks, y=100 + 10 * year + rng.normal(0, 5, T), Z=np.empty((T, 0)), controls=())
    planned = season_finding(world, U * np.exp(0.5 * year)[:, None], list("ab"))
    assert planned.verdict == "problem" and "auto" in planned.remedy and "no substitute" in planned.remedy
    assert season_finding(world, U, list("ab")).verdict == "caution"  # sales alone
    known = replace(world, Z=year[:, None], controls=("year",))
    assert season_finding(known, U * np.exp(0.5 * year)[:, None], list("ab")).verdict == "ok"
    short = replace(world, time=weeks[:40], y=world.y[:40], Z=world.Z[:40])
    assert np.isnan(season_finding(short, U[:40], list("ab")).value)
    wander = signal.lfilter([1.0], [1.0, -0.9], rng.normal(size=(200, T)), axis=1)
    waves = np.column_stack([year, np.sin(2 * np.pi * np.arange(T) / 52.18)])
    assert np.mean([yearly(x, waves, np.empty((T, 0)))[1] < 0.01 for x in wander]) < 0.06  # no season, but a memory


def test_an_outcome_full_of_zeros_is_named():
    assert [zeros_finding(np.r_[np.zeros(n), np.ones(100 - n)]).verdict for n in (0, 10, 15, 60)] == ["ok", "ok", "caution", "problem"]


def test_sampling_longer_is_no_remedy_for_a_decay_that_plays_the_trend():
    from precision.draws import _agreement

    assert "sample longer" in _agreement(1.5, "decay[a]", 4).remedy
    found = _agreement(1.5, "decay[a]", 4, "a")
    assert found.verdict == "problem" and "baseline='auto'" in found.remedy and "half_life" in found.remedy and "near 0.99" in found.evidence


def test_sales_and_budgets_that_grow_together_are_no_feedback():
    accused = 0
    for seed in range(40):
        rng, trend = np.random.default_rng(seed), np.linspace(1, 2, 120)
        U = rng.gamma(6, size=(120, 3)) * trend[:, None]
        z = rng.normal(size=120)
        accused += feedback_finding(U, list("abc"), z, 100 * trend + 3 * z).verdict != "ok"
    assert accused <= 2


def test_memory_is_judged_in_single_draws_where_averages_are_bent_back():
    rng, T = np.random.default_rng(0), 640
    steps = (np.arange(T)[:, None] // 4 == np.arange(T // 4)).astype(float)
    kept = steps @ np.linalg.inv(steps.T @ steps + np.eye(T // 4)) @ steps.T
    e = steps @ rng.normal(size=T // 4) + rng.normal(size=T)
    root = np.linalg.cholesky(kept + 1e-9 * np.eye(T))
    drawn = e - kept @ e - (root @ rng.normal(size=(T, 300))).T
    assert ljung_box(drawn, 10)[1] > 0.01 > ljung_box(drawn.mean(axis=0), 10)[1]
