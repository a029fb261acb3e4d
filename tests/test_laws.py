"""Priors that are distributions: taken, refused, kept, sampled, and found again in draws of the prior."""

import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats
from test_joint import agree
from test_posterior import total_world

from precision.errors import PrecisionError

from precision.hierarchy import build_hierarchy
from precision.laws import drawn, law_of
from precision.model import MMM, Fit
from precision.posterior import build_posterior
from precision.priors import Priors
from precision.saving import priors_of, record_of

tfd = tfp.distributions
TREE = {"x": {"p": ["a", "b"], "q": ["c"]}, "y": ["d", "e"]}
LEVELS = ["tactical", "platform", "channel"]
SIX = {  # prior: (what its draws are, their law by SciPy)
    "media_share": ({"media_share": tfd.Beta(2.0, 6.0)}, stats.beta(2, 6)),
    "roi": ({"roi": {"x": tfd.LogNormal(0.7, 0.3)}}, stats.lognorm(0.3, scale=np.exp(0.7))),
    "share": ({"share": {"p": tfd.Uniform(0.02, 0.08)}}, stats.uniform(0.02, 0.06)),
    "half_life": ({"half_life": tfd.Gamma(4.0, 2.0)}, stats.gamma(4, scale=1 / 2)),
    "decay": ({"decay": {"x": tfd.Beta(2.0, 5.0)}}, stats.beta(2, 5)),
    "saturation_point": ({"saturation_point": tfd.LogNormal(0.5, 0.4)}, stats.lognorm(0.4, scale=np.exp(0.5))),
    "noise_scale": ({"noise_scale": tfd.Weibull(2.0, 0.7)}, stats.weibull_min(2, scale=0.7)),
}


@pytest.fixture(scope="module")
def data():
    return total_world(3, spend=True, moving=True)


def free_of(posterior, draws=4000):
    "{block parameter: draws} of the prior, with the state they make."
    import tensorflow as tf

    from precision.posterior import evaluate
    rng = np.random.default_rng(1)
    free = {name: value for block in posterior.blocks for name, value in block.draw(rng, draws, posterior.inputs).items()}
    x = tf.constant(np.concatenate([free[name] for name in posterior.sizes], axis=1))
    return evaluate(posterior.blocks, x, {name: tf.constant(value) for name, value in posterior.inputs.items()})[0]


def seen(kind, state, data):
    "Draws of what the prior speaks of."
    h = data.hierarchy
    total = state["total"].numpy() * data.y_sd if "total" in state else None
    of = lambda node, level: total[:, h.matrix(h.levels[0], level)[:, h.names[level].index(node)] > 0].sum(axis=1)
    logistic = lambda v: 1 / (1 + np.exp(-v))
    if kind == "media_share":
        return total.sum(axis=1) / data.level
    if kind == "roi":
        return of("x", "channel") * len(data.y) / data.spend[:, :3].sum()
    if kind == "share":
        return of("p", "platform") / data.y.mean()
    top = 0.99 * logistic(state["decay"].pooled.values[-1].numpy()[:, 0])
    return {"decay": lambda: top, "half_life": lambda: np.log(0.5) / np.log(top), "noise_scale": lambda: state["sigma"].numpy(),
            "saturation_point": lambda: np.exp(-state["saturation"].pooled.values[-1].numpy()[:, 0])}[kind]()


@pytest.mark.parametrize("kind", SIX)
def test_draws_of_the_prior_have_the_law_that_was_stated(kind, data):
    fields, law = SIX[kind]
    state = free_of(build_posterior(data, Priors(**fields)))
    assert stats.kstest(seen(kind, state, data), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("kind", SIX)
def test_the_page_says_the_same_of_the_density(kind, data):
    agree(data, Priors(**SIX[kind][0]))


@pytest.mark.parametrize("pooling", ["none", "channel", "sparse"])
@pytest.mark.parametrize("effect", ["positive", "real"])
def test_laws_of_totals_under_every_tree(pooling, effect, data):
    told = {"positive": (tfd.Beta(2.0, 6.0), tfd.LogNormal(0.0, 0.3)), "real": (tfd.Normal(0.2, 0.1), tfd.StudentT(5.0, 1.0, 0.5))}[effect]
    priors = Priors(media_share=told[0], roi={"p": told[1]})
    agree(data, priors, pooling=pooling, effect=effect)
    if effect == "positive":
        assert stats.kstest(seen("media_share", free_of(build_posterior(data, Priors(media_share=told[0]), pooling=pooling)), data),
                            stats.beta(2, 6).cdf).pvalue > 1e-3


@pytest.mark.parametrize("decay, field, law, numbers", [
    ("beta", "decay", tfd.Beta(3.0, 4.0), {"decay_alpha": 3.0, "decay_beta": 4.0}),
    ("half_life", "half_life", tfd.LogNormal(np.log(3.0), 0.5), {"half_life": 3.0, "half_life_sd": 0.5})])
def test_a_law_of_the_class_that_a_line_has_is_its_numbers(decay, field, law, numbers, data):
    for by_object, by_number in (({field: law}, numbers), ({field: {"y": law}}, {name: {"y": value} for name, value in numbers.items()})):
        one, other = (build_posterior(data, Priors(**fields), decay=decay).inputs["decay_prior"] for fields in (by_object, by_number))
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_other_numbers_need_no_other_program(data):
    blocks = [build_posterior(data, Priors(media_share=tfd.Beta(a, 6.0), roi={"x": tfd.LogNormal(a, 0.3)}, noise_scale=tfd.Gamma(a, 2.0))).blocks for a in (2.0, 3.0)]
    assert blocks[0] == blocks[1] and hash(blocks[0][1]) == hash(blocks[1][1])
    assert blocks[0] != build_posterior(data, Priors(media_share=tfd.Kumaraswamy(2.0, 6.0))).blocks


def test_a_half_normal_of_a_scale_is_that_scale():
    assert Priors(effect_spread=tfd.HalfNormal(0.5), noise_scale=tfd.HalfNormal(2.0)) == Priors(effect_spread=0.5, noise_scale=2.0)


def test_equal_distributions_are_equal_and_are_kept():
    make = lambda: Priors(media_share=tfd.Beta(2.0, 6.0), roi={"x": tfd.LogNormal(0.7, 0.3), "y": (1.0, 2.0)}, decay_spread={"x": 0.3})
    assert make() == make() == priors_of(record_of(make())) and make() != Priors(media_share=tfd.Beta(2.0, 6.5))
    assert MMM(build_hierarchy(TREE, LEVELS), make()) == MMM(build_hierarchy(TREE, LEVELS), make())


def test_a_fit_with_distributions_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    h = build_hierarchy(TREE, LEVELS)
    U = rng.gamma(2.0, 3.0, size=(60, 5))
    mmm = MMM(h, Priors(media_share=tfd.TruncatedNormal(0.2, 0.1, 0.05, 0.4), decay=tfd.Beta(2.0, 5.0), noise_scale=tfd.LogNormal(-1.0, 0.5)), saturation="none")
    fit = mmm.fit(100 + U.sum(axis=1) + rng.normal(size=60), U, chains=2, draws=100, progress=False)
    share = fit.posterior.media_share.values
    assert (share > 0.05).all() and (share < 0.4).all()
    fit.save(tmp_path / "fit.nc")
    again = Fit.load(tmp_path / "fit.nc")
    assert again.mmm == mmm and repr(again.mmm.priors.decay) == "Beta(concentration0=5, concentration1=2)"
    assert len(again.prior_vs_posterior()) == len(fit.prior_vs_posterior())


@pytest.mark.parametrize("fields, words", [
    ({"roi": {"x": tfd.Normal(1.0, 0.5)}}, "needs a positive one"),
    ({"decay": tfd.LogNormal(0.0, 1.0)}, "decay takes values from 0 to 1.*tfd.Beta"),
    ({"half_life": tfd.Normal(2.0, 1.0)}, "half_life takes values from 0 to inf"),
    ({"media_share": tfd.Beta([2.0, 3.0], 6.0)}, r"batch shape \(2,\).*for several nodes give"),
    ({"roi": {"x": tfd.MultivariateNormalDiag([0.0, 1.0])}}, r"event shape \(2,\)"),
    ({"noise_scale": tfd.Gamma(np.nan, 1.0)}, "concentration of its Gamma is nan"),
    ({"noise_scale": tfd.Gamma(-1.0, 1.0)}, "TensorFlow Probability refuses"),
    ({"media_share": tfd.Poisson(3.0)}, "whole numbers"),
    ({"media_share": tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfp.bijectors.Exp())}, "made of others cannot be saved"),
    ({"effect_sd": tfd.HalfNormal(1.0)}, "a number was expected. Distributions are taken by media_share"),
    ({"decay_spread": tfd.Gamma(2.0, 2.0)}, "has a HalfNormal law"),
    ({"roi": {"z": tfd.LogNormal(0.0, 1.0)}}, "names 'z', which is no node"),
    ({"roi": {"x": tfd.LogNormal(0.0, 1.0)}, "share": {"x": 0.1}}, "both speak of 'x'"),
    ({"half_life": {"x": tfd.LogNormal(0.0, 1.0)}, "decay": {"x": 0.3}}, "both speak of 'x'"),
    ({"half_life": {"a": tfd.LogNormal(0.0, 1.0)}}, "give one number for 'a', or the range for its channel"),
    ({"saturation_point": {"x": tfd.LogNormal(0.0, 1.0)}}, "one for all, or a number for the node"),
    ({"media_share": tfd.Uniform(1.5, 2.0)}, "share of the outcome below 1"),
])
def test_what_cannot_be_is_refused_in_words(fields, words, data):
    with pytest.raises(PrecisionError, match=f"(?i){words}"):
        priors = Priors(**fields)
        MMM(data.hierarchy, priors)
        assert build_posterior(data, priors).inputs


def test_a_class_that_no_line_has_is_refused(data):
    with pytest.raises(PrecisionError, match="has a Beta of its own"):
        assert build_posterior(data, Priors(decay=tfd.Kumaraswamy(2.0, 3.0)), decay="beta").inputs


@pytest.mark.parametrize("record", [["os.system", {"command": 1.0}], ["Distribution", {}], ["JointDistributionCoroutine", {}], ["Normal", {"loc": "a", "scale": 1.0}],
                                    ["Normal", {"loc": 0.0, "scale": 1.0, "graph_parents": 1.0}], ["Normal", {"loc": float("nan"), "scale": 1.0}]])
def test_what_a_file_tells_is_believed_only_of_distributions(record):
    with pytest.raises(PrecisionError):
        priors_of({"media_share": record})


def test_what_is_no_class_of_tfp_is_refused():
    class Mine(tfd.Normal):
        pass

    with pytest.raises(PrecisionError, match="no class of tfp.distributions"):
        law_of(Mine(0.0, 1.0), "Priors(roi)")


def test_a_distribution_in_a_file_is_a_law():
    told = priors_of({"media_share": ["Beta", {"concentration1": 2, "concentration0": 6}], "roi": {"x": ["LogNormal", {"loc": 0.7, "scale": 0.3}], "y": [1.0, 2.0]}})
    assert told == Priors(media_share=tfd.Beta(2.0, 6.0), roi={"x": tfd.LogNormal(0.7, 0.3), "y": (1.0, 2.0)})


@pytest.mark.parametrize("field", ["media_share", "saturation_sd", "intercept_sd", "noise_scale", "nu_shape", "nu_rate", "phi_sd", "expected_share_of_outliers"])
def test_what_the_model_has_one_of_takes_no_names(field):
    with pytest.raises(PrecisionError, match=f"Priors.{field}. is .*one value was expected and none by name"):
        Priors(**{field: {"x": 0.5}})


def test_a_law_that_lies_mostly_beyond_what_the_model_takes_is_cut_off_there(data):
    law = stats.lognorm(1.0, scale=np.exp(5))
    found = seen("half_life", free_of(build_posterior(data, Priors(half_life=tfd.LogNormal(5.0, 1.0)))), data)
    longest = np.log(0.5) / np.log(0.99)
    assert law.cdf(longest) < 0.25 and found.max() < longest
    assert stats.kstest(law.cdf(found) / law.cdf(longest), "uniform").pvalue > 0.001


@pytest.mark.parametrize("prior, words", [
    ({"half_life": tfd.LogNormal(20.0, 0.1)}, r"Priors\(half_life\) is LogNormal\(loc=20, scale=0.1\), almost all of it above 69, the most that this model can take"),
    ({"decay": {"x": tfd.Beta(500.0, 1e-3)}}, r"Priors\(decay\) of 'x' is Beta.*above 0.99")])
def test_a_law_wholly_beyond_what_the_model_takes_is_refused(prior, words, data):
    with pytest.raises(PrecisionError, match=words):
        build_posterior(data, Priors(**prior))


def test_whole_numbers_are_numbers():
    assert Priors(media_share=tfd.Beta(2, 6)) == Priors(media_share=tfd.Beta(2.0, 6.0))


ALONE = """
import sys, tempfile, os
import numpy as np
from precision import MMM, build_hierarchy
{tfp}
from precision.priors import Priors
h = build_hierarchy({{"x": {{"p": ["a", "b"]}}}})
U = np.random.default_rng(0).gamma(2.0, size=(40, 2))
MMM(h, Priors({prior}), saturation="none").fit(10 + U.sum(axis=1) + np.random.default_rng(1).normal(size=40), U, chains=1, warmup=20, draws=20, progress=False)
print(len([name for name in os.listdir(os.environ["PRECISION_CACHE"]) for _ in os.listdir(os.path.join(os.environ["PRECISION_CACHE"], name))]) > 0)
"""


@pytest.mark.parametrize("tfp_, prior", [("", ""), ("import tensorflow_probability as tfp", "media_share=tfp.distributions.Beta(2.0, 6.0)")],
                         ids=["ranges", "distribution"])
def test_programs_are_kept_with_distributions_made_before_the_first_fit(tfp_, prior, tmp_path):
    import os
    import subprocess
    import sys
    code = ALONE.format(tfp=tfp_, prior=prior)
    seen = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PRECISION_CACHE": str(tmp_path)}, capture_output=True, text=True, timeout=300)
    assert seen.stdout.strip() == "True", seen.stderr[-2000:]


def test_draws_of_many_shapes_bring_no_advice_about_tracing():
    said, log = [], tf.get_logger()
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log.addHandler(handler)
    try:
        for size in range(20, 40):
            draws = drawn(tfp.distributions.Gamma(np.linspace(1.0, 2.0, size), np.float64(3.0)), np.random.default_rng(0), size)
            assert draws.shape == (size, size)
    finally:
        log.removeHandler(handler)
    assert not [sentence for sentence in said if "retracing" in sentence] and not log.filters
