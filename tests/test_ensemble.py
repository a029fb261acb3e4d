"""The ensemble: one program for all fits, sound weights, a mixture of draws that adds up, and a result that keeps."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from precision.draws import elpd_of, groups_of
from precision.ensemble import WEIGHT_SCHEMES, EnsembleResult, ensemble, mixture_rows, split_draws, stack_means, weigh
from precision.draws import OLD_ARVIZ
from precision.errors import PrecisionError, PrecisionWarning
from precision.hierarchy import build_hierarchy
from precision.leakage import LeakageError
from precision.metrics import Report
from precision.model import MMM

T = 44
H = build_hierarchy({"tv": {"linear": ["a", "b"]}, "search": {"google": ["c", "d"]}})
WEEKS = pd.date_range("2024-01-01", periods=T, freq="7D")
RNG = np.random.default_rng(0)
U = pd.DataFrame(RNG.gamma(2.0, 50.0, size=(T, 4)), WEEKS, list("abcd"))
METRICS = {"impressions": U, "clicks": U * RNG.gamma(4.0, 0.01, size=(T, 4)), "conversions": U * RNG.gamma(1.0, 0.001, size=(T, 4))}
Z = pd.DataFrame({"price": RNG.normal(10, 1, T)}, WEEKS)
Y = pd.Series(1000 + U.sum(axis=1) - 20 * Z["price"] + RNG.normal(0, 100, T), WEEKS)
SPEND = U * [2.0, 3.0, 1.0, 4.0]
MODEL = MMM(H, saturation="none")
FAST = {"chains": 2, "warmup": 40, "draws": 30, "progress": False}
LONG = {"hierarchy": H, "y": Y, "U_metrics": METRICS, "Z_controls": Z, "mmm": MODEL}
LAGS = {"metric_lags": {"clicks": 1, "conversions": 2}, "offline_channels": ["tv"], "spend": SPEND}
# as many periods as the lags leave, so that every fit here shares one compiled program
Y42, U42 = Y.iloc[2:], U.iloc[2:]
METRICS42 = {name: table.iloc[2:] for name, table in METRICS.items()}
DATA = LONG | {"y": Y42, "U_metrics": METRICS42, "Z_controls": Z.iloc[2:]}


def quick(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrecisionWarning)
        return ensemble(**DATA | FAST | options)


@pytest.fixture(scope="module")
def result():
    return quick(weight_scheme={"impressions": 0.5, "clicks": 0.3, "conversions": 0.2}, seed=3, **LONG, **LAGS)


@pytest.fixture(scope="module")
def loos(result):
    return {name: fit.loo() for name, fit in result.fits.items()}


# Fits

def test_all_fits_share_one_program_and_the_scored_periods(result):
    assert all(fit.timing["compile"] == 0.0 for fit in list(result.fits.values())[1:])
    assert all(fit.data.time.equals(WEEKS[2:]) and (fit.data.y == Y.to_numpy()[2:]).all() for fit in result.fits.values())
    assert [0 if f.data.history is None else len(f.data.history) for f in result.fits.values()] == [2, 1, 0]


def test_tacticals_that_are_left_out_have_no_estimate(result):
    fit = result.fits["clicks"]
    assert np.isnan(fit.posterior["decay"].values[..., :2]).all() and not np.isnan(fit.posterior["decay"].values[..., 2:]).any()
    assert (fit.contributions("channel", draws=True).sel(node="tv") == 0).all()
    assert (fit.data.spend[:, :2] == 0).all() and (fit.data.spend[:, 2:] == SPEND.to_numpy()[1:-1, 2:]).all()


def test_one_metric_is_the_fit_itself():
    single = quick(U_metrics={"impressions": U42}, seed=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MODEL.fit(Y42, U42, Z.iloc[2:], seed=4, **FAST)
    assert single.weights == {"impressions": 1.0}
    order = np.argsort(single._chosen[2]["impressions"][0][np.argsort(single._chosen[2]["impressions"][1])])
    mine = single.contributions("tactical", draws=True).values.reshape(60, T - 2, 4)[order]
    np.testing.assert_array_equal(mine, fit.contributions("tactical", draws=True).values.reshape(60, T - 2, 4))
    pd.testing.assert_frame_equal(single.shares(), fit.shares())
    pd.testing.assert_frame_equal(single.decay_rates(), fit.decay_rates())
    np.testing.assert_allclose(single.fitted().drop(columns="time"), fit.fitted().drop(columns="time"))


def test_a_metric_without_usable_tacticals_is_left_out():
    two = quick(availability={"clicks": []})
    assert set(two.weights) == set(two.fits) == {"impressions", "conversions"}
    assert any("clicks" in record.sentence and "left out" in record.sentence for record in two.report.findings)


def test_bad_sampling_is_said_once_and_names_the_metric():
    with pytest.warns(PrecisionWarning) as caught:
        ensemble(**DATA | FAST | {"U_metrics": dict(list(METRICS42.items())[:2])})
    assert len(caught) == 1 and "impressions: " in str(caught[0].message) and "clicks: " in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("ignore:impressions. ")
def test_an_echo_can_be_let_through_with_a_warning():
    echo = METRICS42 | {"conversions": METRICS42["conversions"].assign(c=Y42 / 100)}
    with pytest.raises(LeakageError, match="conversions, c"):
        ensemble(**DATA | FAST | {"U_metrics": echo})
    with pytest.warns(PrecisionWarning, match="echo"):
        let = ensemble(**DATA | FAST | {"U_metrics": echo, "on_leakage": "warn"})
    assert any(r.guard == "outcome" and r.node == "c" for r in let.report.findings)


# Weights

def test_every_scheme_gives_weights_that_sum_to_one(result, loos):
    for scheme in WEIGHT_SCHEMES:
        weights = weigh(result.fits, loos, scheme)
        assert list(weights) == list(METRICS) and np.isclose(sum(weights.values()), 1) and min(weights.values()) >= 0, scheme


def test_in_sample_schemes_are_what_they_say(result, loos):
    y = Y.to_numpy()[2:]
    mean = {name: fit.components.fitted().mean(axis=0) for name, fit in result.fits.items()}
    for scheme, score in (("rmse", lambda m: 1 / np.sqrt(((y - m) ** 2).mean())), ("mae", lambda m: 1 / np.abs(y - m).mean()),
                          ("r2", lambda m: max(0, 1 - ((y - m) ** 2).sum() / ((y - y.mean()) ** 2).sum()))):
        expected = pd.Series({name: score(m) for name, m in mean.items()})
        np.testing.assert_allclose(list(weigh(result.fits, loos, scheme).values()), expected / expected.sum())
    sigma = pd.Series({name: 1 / fit.posterior.sigma.values.mean() for name, fit in result.fits.items()})
    np.testing.assert_allclose(list(weigh(result.fits, loos, "sigma").values()), sigma / sigma.sum())


def test_psis_loo_maximises_the_log_score_of_the_mixture(result, loos):
    density = np.exp(np.column_stack([elpd_of(loo)["pointwise"] for loo in loos.values()]))
    score = lambda w: np.log(density @ w).sum()
    best = score(np.array(list(weigh(result.fits, loos, "psis_loo").values())))
    others = RNG.dirichlet(np.ones(3), size=2000)
    assert best > max(map(score, others)) - 0.02


@pytest.mark.parametrize("seed", range(5))
def test_stacked_means_are_optimal(seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(50, 3, size=80)
    predictions = y[:, None] + rng.normal(rng.normal(0, 2, 4), rng.uniform(0.5, 4, 4), size=(80, 4))
    w = stack_means(predictions, y)
    found = minimize(lambda v: ((y - predictions @ v) ** 2).mean(), np.full(4, 0.25), bounds=[(0, 1)] * 4, tol=1e-12,
                     constraints={"type": "eq", "fun": lambda v: v.sum() - 1})
    assert np.isclose(w.sum(), 1) and (w >= 0).all()
    assert ((y - predictions @ w) ** 2).mean() <= found.fun + 1e-9


def test_given_weights_are_normalised(result, loos):
    assert weigh(result.fits, loos, {"conversions": 1, "clicks": 0, "impressions": 3}) == pytest.approx(
        {"impressions": 0.75, "clicks": 0.0, "conversions": 0.25})


@pytest.mark.parametrize("scheme, words", [
    ("psis", "Choose from 'psis_loo'"), ("stackng", "Did you mean 'stacking'"), (None, "weight_scheme=None"), (["uniform"], "not known"),
    ({"impressions": 1, "clicks": 1}, "Missing: 'conversions'"), ({"impression": 1, "clicks": 1, "conversions": 1}, "Did you mean 'impressions'"),
    ({"impressions": -1, "clicks": 1, "conversions": 1}, "zero or more"), ({"impressions": np.nan, "clicks": 1, "conversions": 1}, "finite"),
    ({"impressions": 0, "clicks": 0, "conversions": 0}, "all zero"), ({"impressions": "1", "clicks": 0, "conversions": 0}, "finite number"),
])
def test_bad_weights(scheme, words):
    with pytest.raises(PrecisionError, match=words):
        ensemble(**DATA | FAST | {"weight_scheme": scheme})


@pytest.mark.parametrize("options, words", [
    ({"drawz": 10}, "Did you mean 'draws'"), ({"weight_schem": "uniform"}, "Did you mean 'weight_scheme'"), ({"U_history": U}, "no option"),
    ({"on_leakage": "ignore"}, "Choose from 'raise', 'warn'"), ({"max_correlation": 1.5}, "between 0 and 1"),
    ({"max_correlation": "high"}, "between 0 and 1"), ({"hierarchy": "tree"}, "build_hierarchy"), ({"mmm": "model"}, "same hierarchy"),
    ({"mmm": MMM(build_hierarchy({"x": {"y": ["z"]}}))}, "same hierarchy"), ({"draws": 0}, "draws must be"), ({"chains": -1}, "chains must be"),
    ({"warmup": 0.5}, "warmup must be"), ({"metric_lags": {"clicks": 42}}, "leaves 0 of 42"), ({"offline_channels": ["TVs"]}, "not known"),
    ({"U_metrics": {}}, "U_metrics must map"), ({"U_metrics": {"clicks": -U42}}, r"U_metrics\['clicks'\]"),
])
def test_bad_options(options, words):
    with pytest.raises(PrecisionError, match=words):
        ensemble(**DATA | FAST | options)


# The mixture

def test_draws_are_split_by_largest_remainder():
    assert split_draws({"a": 0.5, "b": 0.3, "c": 0.2}, 7) == {"a": 4, "b": 2, "c": 1}
    assert split_draws({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 100) == {"a": 34, "b": 33, "c": 33}
    for _ in range(50):
        weights = dict(enumerate(RNG.dirichlet(np.ones(5))))
        counts = split_draws(weights, 97)
        assert sum(counts.values()) == 97 and all(abs(counts[k] - 97 * weights[k]) < 1 for k in weights)


def test_fits_of_unequal_length_are_mixed_without_replacement():
    length, rows = mixture_rows({"a": 0.7, "b": 0.3, "c": 0.0}, {"a": 90, "b": 60, "c": 5}, chains=3, seed=1)
    assert length == 60 and "c" not in rows
    for name, draws in (("a", 90), ("b", 60)):
        mine, places = rows[name]
        assert len(set(mine)) == len(mine) and (mine // draws == places // length).all()  # a chain stays a chain
    assert sorted(np.concatenate([p for _, p in rows.values()])) == list(range(180))
    again = mixture_rows({"a": 0.7, "b": 0.3, "c": 0.0}, {"a": 90, "b": 60, "c": 5}, chains=3, seed=1)[1]
    assert all((rows[n][0] == again[n][0]).all() for n in rows)


def test_an_interrupted_fit_shortens_the_mixture():
    whole = quick(U_metrics={"impressions": U42}).fits["impressions"]
    short = quick(U_metrics={"clicks": METRICS42["clicks"]}, draws=12).fits["clicks"]
    both = EnsembleResult({"impressions": whole, "clicks": short}, {"impressions": 0.25, "clicks": 0.75}, Report(), "given")
    assert both.sample_shape == (2, 12) and [len(rows) for rows, _ in both._chosen[2].values()] == [6, 18]
    terms = both.decomposition("tactical", draws=True)
    assert terms.shape == (2, 12, T - 2, 7) and np.isfinite(terms).all() and both.fitted().notna().all(axis=None)


def test_every_draw_of_the_mixture_is_a_draw_of_one_fit(result):
    assert result.sample_shape == (2, 30)
    chosen = result._chosen[2]
    assert [len(rows) for rows, _ in chosen.values()] == [30, 18, 12]
    mixed = result.contributions("platform", draws=True).values.reshape(60, T - 2, 2)
    for name, (rows, places) in chosen.items():
        np.testing.assert_array_equal(mixed[places], result.fits[name].contributions("platform", draws=True).values.reshape(60, T - 2, 2)[rows])


@pytest.mark.parametrize("level", H.levels)
def test_terms_add_up_to_the_fitted_mean_in_every_draw(result, level):
    terms = result.decomposition(level, draws=True)
    assert terms.dims == ("chain", "draw", "time", "node") and list(terms.node.values[:3]) == ["intercept", "level", "price"]
    fitted = np.empty((60, T - 2))
    for name, (rows, places) in result._chosen[2].items():
        fitted[places] = result.fits[name].components.fitted()[rows]
    np.testing.assert_allclose(terms.sum("node").values.reshape(60, -1), fitted, rtol=1e-9)
    np.testing.assert_allclose(result.fitted()["mean"], fitted.mean(axis=0), rtol=1e-9)


def test_intervals_come_from_the_mixture(result):
    table = result.contributions("tactical").query("node == 'c'")
    draws = result.contributions("tactical", draws=True).sel(node="c").values.reshape(60, -1)
    np.testing.assert_allclose(table[["lower", "upper"]].T, np.quantile(draws, [0.05, 0.95], axis=0))


def test_predictive_draws_are_mixed_alike(result):
    for name, (rows, places) in result._chosen[2].items():
        own = groups_of(result.fits[name].idata)["posterior_predictive"]["y"].values.reshape(60, -1)
        np.testing.assert_array_equal(result._predictive()[places], own[rows])


def test_decay_comes_from_the_fits_that_have_an_estimate(result):
    rows, _ = result._chosen[2]["impressions"]
    decay = result.fits["impressions"].posterior["decay"].values.reshape(60, 4)
    table = result.decay_rates()
    assert table.loc["a", "mean"] == pytest.approx(decay[rows, 0].mean()) and table.notna().all(axis=None)
    only_clicks = replace(result, weights={"impressions": 0.0, "clicks": 1.0, "conversions": 0.0})
    assert only_clicks.decay_rates().loc[["a", "b"]].isna().all(axis=None) and only_clicks.decay_rates().loc["c"].notna().all()


def test_the_report_says_what_weights_do_not_mean(result):
    said = {r.sentence for r in result.report.records if r.guard == "weights"}
    assert any("not a causal weight" in s for s in said)
    assert any(s.startswith("a, b: no estimate in clicks, conversions") and "50%" in s for s in said)
    guards = list(dict.fromkeys(r.guard for r in result.report.records))
    assert guards == ["lags", "offline", "usable", "outcome", "past", "reproduction", "upstream", "sampling", "loo", "weights"]
    late = quick(weight_scheme={"impressions": 0.2, "clicks": 0.8}, U_metrics=dict(list(METRICS42.items())[:2]))
    assert any("downstream of exposure hold 80%" in r.sentence for r in late.report.findings)


def test_high_pareto_k_is_reported_with_its_periods():
    shock = Y42.copy()
    shock.iloc[18] += 5000
    hit = quick(y=shock, U_metrics={"impressions": U42}, refits=0)
    found = next(r for r in hit.report.records if r.guard == "loo")
    assert found.alarm and found.value > 0.7 and "2024-05-20" in found.sentence and "the weights lean on it" in found.sentence
    assert hit.loo().high_k.sum() > 0


def test_few_periods_of_high_pareto_k_are_refitted():
    shock = Y42.copy()
    shock.iloc[18] += 5000
    hit = quick(y=shock, U_metrics={"impressions": U42}, refits=42)
    found = next(r for r in hit.report.records if r.guard == "loo")
    assert not found.alarm and found.value > 0.7 and "the densities are exact" in found.sentence
    assert hit.loo().high_k.sum() == 0 and hit.loo().elpd.iloc[0] != hit.fits["impressions"].loo()["elpd_loo" if OLD_ARVIZ else "elpd"]


def test_tables_and_pictures(result):
    assert set(result.by_metric("platform").index.get_level_values("metric")) == {*METRICS, "mixture"}
    assert result.loo()["elpd"].is_monotonic_decreasing and result.loo()["weight"].sum() == pytest.approx(1)
    assert set(result.summary(kind="stats").index.get_level_values("metric")) == set(METRICS)
    assert "impressions 50.0%" in repr(result) and [t.get_text() for t in result.plot.weights().get_yticklabels()] == list(METRICS)[::-1]
    result.plot.decay(), result.plot.totals("tactical"), result.plot.waterfall(), result.plot.fit()
    with pytest.raises(PrecisionError, match="Did you mean 'channel'"):
        result.contributions("chanel")


# Kept on disk

def test_saved_and_loaded(result, tmp_path):
    result.save(tmp_path / "a")
    result.save(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    loaded = EnsembleResult.load(tmp_path / "a")
    assert loaded.weights == result.weights and loaded.scheme == "given" and loaded.seed == 3
    assert repr(loaded) == repr(result) and repr(loaded.report) == repr(result.report)
    pd.testing.assert_frame_equal(loaded.report.to_frame(), result.report.to_frame())
    pd.testing.assert_frame_equal(loaded.contributions("tactical"), result.contributions("tactical"), check_freq=False)
    json.loads((tmp_path / "a" / "ensemble.json").read_text(), parse_constant=pytest.fail)  # no NaN in JSON


def test_foreign_folders_are_left_alone(result, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("dear")
    with pytest.raises(PrecisionError, match="chapter.tex"):
        result.save(tmp_path / "thesis")
    with pytest.raises(PrecisionError, match="it is a file"):
        result.save(tmp_path / "thesis" / "chapter.tex")
    with pytest.raises(PrecisionError, match="create it first"):
        result.save(tmp_path / "no" / "where")
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "dear" and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "empty").mkdir()
    result.save(tmp_path / "empty")
    assert EnsembleResult.load(tmp_path / "empty").weights == result.weights


def test_a_failed_save_leaves_the_old_result(result, tmp_path, monkeypatch):
    result.save(tmp_path / "a")
    before = (tmp_path / "a" / "ensemble.json").read_bytes()
    monkeypatch.setattr("precision.ensemble.json.dumps", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(PrecisionError):
        replace(result, seed=9).save(tmp_path / "a")
    assert (tmp_path / "a" / "ensemble.json").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("content, words", [
    (None, "there is no file"), ("{", "not readable"), ("[]", "not readable"), ('{"metrics": []}', "format unknown"),
    ('{"precision_ensemble": 99, "metrics": []}', "format 99"),
    ('{"precision_ensemble": 1, "metrics": [{"name": "x", "file": "../x.nc"}]}', "outside its folder"),
])
def test_other_folders_are_not_loaded(tmp_path, content, words):
    if content is not None:
        (tmp_path / "ensemble.json").write_text(content)
    with pytest.raises(PrecisionError, match=words):
        EnsembleResult.load(tmp_path)
