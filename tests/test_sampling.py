"""The sampler: the right distribution, the same draws on any number of threads, and a clean stop."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from scipy import stats

from precision import sampling
from precision.data import prepare
from precision.errors import PrecisionError
from precision.hierarchy import build_hierarchy
from precision.posterior import build_posterior
from precision.program import SAMPLER_NODES, Program
from precision.sampling import named_values, run_nuts, warmup_windows


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    h = build_hierarchy({"x": {"p": ["a", "b"]}, "y": {"q": ["c"]}})
    U = rng.gamma(2.0, 3.0, size=(60, 3))
    return build_posterior(prepare(h, 100 + U @ [1.0, 0.5, 0.2] + rng.normal(size=60), U), nodes=SAMPLER_NODES)


def test_the_same_seed_gives_the_same_draws_on_any_number_of_threads(posterior):
    runs = [run_nuts(posterior, chains=3, warmup=120, draws=70, seed=5, threads=n, progress=False) for n in (1, 2, 3)]
    assert all((run.draws == runs[0].draws).all() for run in runs)
    other = run_nuts(posterior, chains=3, warmup=120, draws=70, seed=6, progress=False)
    assert not np.isclose(other.draws, runs[0].draws).any()
    assert len({chain.tobytes() for chain in runs[0].draws}) == 3


def test_a_chain_does_not_depend_on_how_many_there_are(posterior):
    two = run_nuts(posterior, chains=2, warmup=80, draws=20, seed=1, progress=False)
    one = run_nuts(posterior, chains=1, warmup=80, draws=20, seed=1, progress=False)
    assert (one.draws[0] == two.draws[0]).all()


def test_without_data_the_prior_comes_back():
    """An outcome that is all noise, and priors so tight that the data cannot move them: draws follow the priors."""
    from precision.priors import Priors

    rng = np.random.default_rng(1)
    h = build_hierarchy({"x": ["a", "b"]}, ["tactical", "channel"])
    data = prepare(h, rng.normal(size=12), rng.gamma(2.0, 3.0, size=(12, 2)))
    priors = Priors(effect_centre=-9.0, effect_sd=0.5, effect_spread=0.4)
    posterior = build_posterior(data, priors, saturation="none", nodes=SAMPLER_NODES, measure="efficiency", weights="exposure")
    values = named_values(posterior, run_nuts(posterior, draws=1500, seed=2, progress=False))
    thin = lambda v: v[:, ::5].reshape(-1)
    assert stats.kstest(thin(np.log(values["effect_channel"][..., 0])), stats.norm(-9, 0.5).cdf).pvalue > 1e-3
    eta = np.log(values["decay"] / (0.99 - values["decay"]))[..., 0]
    reference = -0.85 + rng.normal(size=200_000) + 0.5 * np.abs(rng.normal(size=200_000)) * rng.normal(size=200_000)
    assert stats.ks_2samp(thin(eta), reference).pvalue > 1e-3


def test_without_data_the_prior_of_all_media_comes_back():
    """The same where totals are stated: what all media bring, and a channel that stands alone, follow what was said of them."""
    from precision.priors import Priors

    rng = np.random.default_rng(1)
    h = build_hierarchy({"x": ["a", "b"], "y": ["c"]}, ["tactical", "channel"])
    data = prepare(h, 5 + rng.normal(size=12), U := rng.gamma(2.0, 3.0, size=(12, 3)), None, U)
    posterior = build_posterior(data, Priors(media_share=(1e-6, 1e-5), share={"y": (1e-5, 2e-5)}), saturation="none", nodes=SAMPLER_NODES)
    values = named_values(posterior, run_nuts(posterior, draws=1500, seed=2, progress=False))
    total, exponent = values["total"] * data.y_sd / data.level, values["size_exponent"]
    thin = lambda v: v[:, ::5].reshape(-1)
    law = lambda low, high: stats.norm((np.log(low) + np.log(high)) / 2, (np.log(high) - np.log(low)) / 2 / stats.norm.ppf(0.95)).cdf
    assert stats.kstest(thin(np.log(total[..., 2])), law(1e-5, 2e-5)).pvalue > 1e-3
    left = lambda alpha: 1 - (m := data.exposure_mean @ h.matrix("tactical", "channel") / data.exposure_mean.sum())[1] ** alpha / (m[0] ** alpha + m[1] ** alpha)
    assert stats.kstest(thin(np.log(total[..., :2].sum(axis=-1) / left(exponent))), law(1e-6, 1e-5)).pvalue > 1e-3


@pytest.mark.parametrize("warmup, draws", [(1, 1), (3, 51), (74, 50), (75, 49)])
def test_any_number_of_transitions(posterior, warmup, draws):
    samples = run_nuts(posterior, chains=2, warmup=warmup, draws=draws, progress=False)
    assert samples.draws.shape[:2] == (2, draws) and np.isfinite(samples.draws).all()


def test_windows_add_up():
    assert all(sum(n for n, _ in warmup_windows(k)) == k and min(n for n, _ in warmup_windows(k)) > 0 for k in range(1, 3000))


@pytest.mark.parametrize("wrong", [{"chains": 0}, {"draws": 0}, {"warmup": -1}, {"draws": 2.0}, {"seed": -3},
                                   {"seed": 1.5}, {"threads": 0}, {"target_accept": 1}])
def test_wrong_arguments_are_named(posterior, wrong):
    with pytest.raises(PrecisionError, match=next(iter(wrong))):
        run_nuts(posterior, **wrong)


def interrupt_after(monkeypatch, calls):
    """Raise KeyboardInterrupt in the main thread once `calls` rounds of chunks have come back."""
    original, seen = sampling.wait, []

    def wait(futures, return_when):
        assert threading.current_thread() is threading.main_thread()
        seen.append(1)
        if len(seen) > calls:
            raise KeyboardInterrupt
        return original(futures, return_when=return_when)

    monkeypatch.setattr(sampling, "wait", wait)


def test_a_stop_keeps_what_is_finished(posterior, monkeypatch):
    whole = run_nuts(posterior, chains=2, warmup=100, draws=400, threads=2, progress=False)
    interrupt_after(monkeypatch, 14)
    part = run_nuts(posterior, chains=2, warmup=100, draws=400, threads=2, progress=False)
    length = part.draws.shape[1]
    assert part.interrupted and not whole.interrupted and 0 < length < 400
    assert (part.draws == whole.draws[:, :length]).all()


def test_a_stop_during_warmup_keeps_nothing_and_says_so(posterior, monkeypatch):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt, match="no draw to keep"):
        run_nuts(posterior, chains=2, warmup=500, draws=50, progress=False)


def test_other_data_of_the_same_shape_compile_nothing(posterior):
    Program(posterior)
    data = posterior.data
    again = build_posterior(prepare(data.hierarchy, data.y[::-1], data.U * 7), nodes=SAMPLER_NODES)
    assert Program(again).compile_seconds == 0.0


def test_a_chain_that_has_settled_warms_up_no_longer(posterior):
    program = Program(posterior)
    chain = sampling.Chain(0, posterior, program, 1000, 50, 1, 0.85, lambda call, run: run())
    while not chain.finished:
        chain.advance()
    assert chain.done == chain.planned < 600 and len(np.concatenate(chain.draws)) == 50


# A run that is remembered

KILLED = """
import sys
sys.path.insert(0, "tests")
from test_program import small_posterior
from precision.sampling import run_nuts
run_nuts(small_posterior(), chains=2, warmup=200, draws=20_000, seed=3, progress=False, checkpoint=sys.argv[1])
"""


def test_a_killed_run_goes_on_where_it_stopped(posterior, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("chain*.npz"))) < 16 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -9, "the run ended before it could be killed"
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("chain*.npz")}
    whole = run_nuts(posterior, chains=2, warmup=200, draws=600, seed=3, progress=False)
    resumed = run_nuts(posterior, chains=2, warmup=200, draws=600, seed=3, progress=False, checkpoint=tmp_path)
    assert (resumed.draws == whole.draws).all() and all((resumed.stats[k] == whole.stats[k]).all() for k in whole.stats)
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items()), "what was kept was computed anew"


def test_a_run_may_be_made_longer(posterior, tmp_path):
    settings = dict(chains=2, warmup=100, seed=2, progress=False)
    run_nuts(posterior, draws=70, checkpoint=tmp_path, more=lambda s: 50 if s.draws.shape[1] < 170 else 0, **settings)
    longer = run_nuts(posterior, draws=230, checkpoint=tmp_path, **settings)
    assert (longer.draws == run_nuts(posterior, draws=230, **settings).draws).all()


def test_another_run_does_not_continue_this_one(posterior, tmp_path):
    settings = dict(chains=1, warmup=20, draws=10, progress=False, checkpoint=tmp_path)
    run_nuts(posterior, **settings)
    data = posterior.data
    other = build_posterior(prepare(data.hierarchy, data.y + data.U[:, 0], data.U), nodes=SAMPLER_NODES)
    for changed, what in (({"seed": 9}, "seed"), ({"warmup": 30}, "warmup"), ({"target_accept": 0.7}, "target_accept")):
        with pytest.raises(PrecisionError, match=f"another {what}"):
            run_nuts(posterior, **settings | changed)
    with pytest.raises(PrecisionError, match="another data or prior"):
        run_nuts(other, **settings)
    with pytest.raises(PrecisionError, match="another model"):
        run_nuts(build_posterior(data, normalize_adstock=False, nodes=SAMPLER_NODES), **settings)


def test_what_makes_a_run_what_it_is(posterior):
    data = posterior.data
    build = lambda h=data.hierarchy, **options: sampling.identity(build_posterior(
        prepare(h, data.y, data.U), nodes=SAMPLER_NODES, **options))
    regrouped = [build(build_hierarchy({"x": tree})) for tree in ({"p": ["a", "b"], "q": ["c"]}, {"p": ["a"], "q": ["b", "c"]})]
    assert build() == build() and regrouped[0] != regrouped[1] and build() != build(normalize_adstock=False)


def test_what_cannot_be_read_is_named(posterior, tmp_path):
    settings = dict(chains=1, warmup=20, draws=10, progress=False, checkpoint=tmp_path)
    run_nuts(posterior, **settings)
    broken = sorted(tmp_path.glob("chain*.npz"))[0]
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(PrecisionError, match=broken.name):
        run_nuts(posterior, **settings)
    (tmp_path / "run.json").write_text("no card")
    with pytest.raises(PrecisionError, match="checkpoint"):
        run_nuts(posterior, **settings)
    (tmp_path / "file").touch()
    with pytest.raises(PrecisionError, match="checkpoint"):
        run_nuts(posterior, **settings | {"checkpoint": tmp_path / "file"})


def test_nothing_half_written_stays(tmp_path):
    def fails(file):
        file.write(b"half")
        raise OSError("no space left on device")

    (tmp_path / "kept").write_text("old")
    with pytest.raises(PrecisionError, match="no space"):
        sampling.write_atomically(tmp_path / "kept", fails)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and (tmp_path / "kept").read_text() == "old"
