"""TFP's NUTS says what ours says; draws from elsewhere become a fit; what cannot be is refused in words."""

import arviz as az
import numpy as np
import pytest

from precision.data import prepare
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.joint import statement
from precision.model import MMM
from precision.simulate import simulate

H = build_hierarchy({"tv": {"linear": ["brand", "offers"]}, "search": {"google": ["generic"]}})
SIM = simulate(H, periods=60, seed=5)
DATA = (SIM.y, SIM.U, SIM.Z, SIM.spend)
ROUGH = {"likelihood": "student_t", "residual": "ar1", "saturation": "none", "baseline": "none"}


@pytest.mark.parametrize("options", [{}, ROUGH], ids=["default", "rough"])
def test_both_samplers_agree_within_monte_carlo_error(options):
    mmm = MMM(H, **options)
    ours, theirs = (mmm.fit(*DATA, warmup=400, draws=1500, seed=2, progress=False, sampler=sampler).posterior for sampler in ("nuts", "tfp"))
    for name in ours:
        error = np.hypot(*(az.mcse(fit[[name]], method="mean")[name].values for fit in (ours, theirs)))
        gap = (ours[name].mean(("chain", "draw")) - theirs[name].mean(("chain", "draw"))).values
        assert (np.abs(gap) <= 4.5 * error).all(), name
        assert np.allclose(ours[name].std(("chain", "draw")), theirs[name].std(("chain", "draw")), rtol=0.25), name


@pytest.fixture(scope="module")
def linear():
    mmm = MMM(H, saturation="none", baseline="none")
    data = mmm.prepared(prepare(H, *DATA))
    joint = mmm.joint_distribution(data)
    draws = joint.sample(400, seed=(1, 2))._asdict()
    return mmm, data, {name: value.numpy().reshape(2, 200, *value.shape[1:]) for name, value in draws.items() if name != "y"}


@pytest.mark.parametrize("options", [{}, ROUGH, {"measure": "efficiency", "baseline": "none", "past": "nothing", "saturation": "hill"},
                                     {"effect": "real", "pooling": "sparse", "baseline": "none", "decay": "beta"},
                                     {"measure": "efficiency", "pooling": "channel", "weights": "exposure", "baseline": "none", "decay": "half_life"}],
                         ids=["default", "rough", "efficiency", "sparse", "channel"])
def test_a_fit_of_draws_has_the_mean_of_the_model(options):
    mmm = MMM(H, **options)
    data = mmm.prepared(prepare(H, *DATA))
    told = statement(mmm.posterior(data), mmm.options)
    draws = {name: value.numpy()[None] for name, value in told.distribution().sample(50, seed=(3, 4))._asdict().items() if name != "y"}
    fit = mmm.from_draws(draws, data)
    made = told.at({name: value[0] for name, value in draws.items()} | {"y": data.y})
    np.testing.assert_allclose(fit.components.fitted(), data.y_mean + data.y_sd * made["mean"].numpy(), rtol=1e-4)  # Hill's power has a floor
    np.testing.assert_allclose(fit.posterior.sigma.values[0], data.y_sd * draws["sigma"][0])
    assert set(fit.posterior) == set(mmm.draw_prior(data, 10, 0).variables)


def test_a_fit_of_draws_answers_and_is_kept(linear, tmp_path):
    mmm, data, draws = linear
    fit = mmm.from_draws(draws, data)
    assert "which did not tell acceptance_rate" in fit.notes[-1] and len(fit.roi().drop("total")) == 2
    fit.save(tmp_path / "fit.nc")
    assert type(fit).load(tmp_path / "fit.nc").notes == fit.notes
    quiet = mmm.from_draws(draws, data, stats={"diverging": np.ones((2, 200), bool)})
    assert any("diverge" in sentence for sentence in quiet.diagnosis) and not any("diverge" in sentence for sentence in fit.diagnosis)
    assert repr(quiet) and quiet.check().plot() is not None and "BFMI" not in repr(fit)


@pytest.mark.parametrize("change, words", [
    (lambda d: d.pop("sigma"), "lacks 'sigma'"),
    (lambda d: d.update(sigmo=d.pop("sigma")), "'sigmo', which is no parameter"),
    (lambda d: d.update(sigma=d["sigma"][:, :100]), r"'sigma' have the shape \(2, 100\)"),
    (lambda d: d.update(sigma=d["sigma"] * np.nan), "400 NaN"),
    (lambda d: d.update(intercept=d["intercept"][..., 0]), r"'intercept' have the shape \(2, 200\); \('chains', 'draws', 1\)"),
])
def test_draws_that_cannot_be_are_refused(change, words, linear):
    mmm, data, draws = linear
    draws = dict(draws)
    change(draws)
    with pytest.raises(PrecisionError, match=words):
        mmm.from_draws(draws, data)


def test_what_is_no_data_and_no_statistic_is_refused(linear):
    mmm, data, draws = linear
    with pytest.raises(PrecisionError, match="draws is ndarray; a mapping"):
        mmm.from_draws(np.zeros((2, 200)), data)
    with pytest.raises(PrecisionError, match="draws of 'sigma' hold <U1"):
        mmm.from_draws(draws | {"sigma": np.full((2, 200), "a")}, data)
    with pytest.raises(PrecisionError, match="stats is list"):
        mmm.from_draws(draws, data, stats=["diverging"])
    with pytest.raises(PrecisionError, match="data is DataFrame; the Dataset of a fit"):
        mmm.from_draws(draws, SIM.U)
    with pytest.raises(PrecisionError, match="data is Series"):
        mmm.joint_distribution(SIM.y)
    with pytest.raises(PrecisionError, match="stats has 'divergent'"):
        mmm.from_draws(draws, data, stats={"divergent": np.zeros((2, 200))})
    with pytest.raises(PrecisionError, match="a line of the model"):
        mmm.joint_distribution(data, noise=lambda m: None)


@pytest.mark.parametrize("given, words", [({"sampler": "hmc"}, "sampler"), ({"sampler": "tfp", "target_ess": 400}, "target_ess is 400"),
                                          ({"sampler": "tfp", "checkpoint": "folder"}, "checkpoint is 'folder'"), ({"sampler": "tfp", "threads": 2}, "threads is 2")])
def test_what_a_sampler_does_not_offer_is_refused(given, words):
    with pytest.raises(PrecisionError, match=words):
        MMM(H).fit(*DATA, progress=False, **given)
