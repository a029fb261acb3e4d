"""The compiled program: the posterior's own density, and a folder of kept programs that cannot spoil a fit."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from precision.data import prepare
from precision.hierarchy import build_hierarchy
from precision.posterior import build_posterior
from precision.program import KEPT_PROGRAMS, SAMPLER_NODES, Program, cache_folder, clear_out, seal


def small_posterior(**options):
    rng = np.random.default_rng(0)
    h = build_hierarchy({"x": {"p": ["a", "b"]}, "y": {"q": ["c"]}})
    U = rng.gamma(2.0, 3.0, size=(60, 3))
    return build_posterior(prepare(h, 100 + U @ [1.0, 0.5, 0.2] + rng.normal(size=60), U), nodes=SAMPLER_NODES, **options)


@pytest.mark.parametrize("options", [{}, {"saturation": "none"}, {"effect": "real"}], ids=str)
def test_what_the_program_sees_is_the_posteriors_density_and_gradient(options):
    posterior = small_posterior(**options)
    points = np.random.default_rng(1).normal(0, 0.5, size=(7, posterior.dimension))
    program = Program(posterior, tf.float64)
    density, gradients = program.evaluate(points, program.tensors(posterior.inputs))
    x = tf.constant(points)
    with tf.GradientTape() as tape:
        tape.watch(x)
        expected = posterior.log_density(x, {name: tf.constant(value) for name, value in posterior.inputs.items()})
    np.testing.assert_allclose(density, expected, rtol=1e-10)
    np.testing.assert_allclose(gradients, tape.gradient(expected, x), rtol=1e-7, atol=1e-9)


def compile_elsewhere(folder):
    "Compile and run a small program in a new process that keeps programs in the folder."
    code = ("import sys; sys.path.insert(0, 'tests'); from test_program import small_posterior; "
            "from precision.sampling import run_nuts; "
            "print(run_nuts(small_posterior(), chains=1, warmup=10, draws=5, progress=False).draws.sum())")
    told = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PRECISION_CACHE": str(folder)}, capture_output=True,
                          text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    return told.stdout, {path.name: path.stat().st_mtime_ns for path in folder.glob("xla-*/*")}


def test_a_kept_program_is_read_again_and_a_broken_one_replaced(tmp_path):
    first, files = compile_elsewhere(tmp_path)
    assert {name.rpartition(".")[2] for name in files} == {"pb", "sha256"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("xla-*"))
    second, again = compile_elsewhere(tmp_path)
    assert second == first and again == files, "the second process compiled anew"
    program = next(tmp_path.glob("xla-*/*.pb"))
    program.write_bytes(program.read_bytes()[:1000])
    third, repaired = compile_elsewhere(tmp_path)
    assert third == first and repaired.keys() == files.keys() and program.stat().st_size > 1000


def test_only_the_newest_programs_stay(tmp_path):
    for i in range(KEPT_PROGRAMS + 3):
        (tmp_path / f"{i}.pb").write_bytes(bytes([i]))
        os.utime(tmp_path / f"{i}.pb", (i, i))
    seal(tmp_path)
    clear_out(tmp_path)
    assert sorted(int(path.stem) for path in tmp_path.glob("*.pb")) == list(range(3, KEPT_PROGRAMS + 3))
    assert len(list(tmp_path.glob("*.sha256"))) == KEPT_PROGRAMS


def test_programs_need_not_be_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("PRECISION_CACHE", "off")
    assert cache_folder() is None
    monkeypatch.setenv("PRECISION_CACHE", str(tmp_path))
    assert cache_folder().parent == tmp_path and tf.__version__ in cache_folder().name


def test_where_xla_was_used_before_a_fit_is_slower_and_still_right():
    "XLA has read its flags by then; the program is compiled as XLA likes, and sees the same density."
    code = ("import sys; sys.path.insert(0, 'tests'); import numpy as np, tensorflow as tf; "
            "tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0)); "
            "from test_program import Program, small_posterior; p = small_posterior(); program = Program(p); "
            "points = np.random.default_rng(0).normal(0, 0.3, size=(5, p.dimension)); "
            "exact = p.log_density(tf.constant(points), {name: tf.constant(value) for name, value in p.inputs.items()}); "
            "print(np.abs(program.evaluate(points, program.tensors(p.inputs))[0] - exact).max() < 1e-2)")
    told = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PRECISION_CACHE": "off"}, capture_output=True, text=True, timeout=300)
    assert told.stdout.strip() == "True", told.stderr


def test_flags_of_the_environment_are_left_as_they_were():
    code = ("import os; os.environ['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=true'; os.environ.pop('TF_XLA_FLAGS', None); "
            "from precision.program import instruct_xla; instruct_xla(); print(os.environ['XLA_FLAGS'], os.environ.get('TF_XLA_FLAGS'))")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert told.stdout.strip() == "--xla_cpu_multi_thread_eigen=true None", told.stderr


def test_a_program_that_another_process_clears_out_meanwhile_is_passed_over(tmp_path, monkeypatch):
    gone, there = tmp_path / "gone.pb", tmp_path / "there.pb"
    there.write_bytes(b"program")
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: [gone, there])
    seal(tmp_path)
    assert there.with_suffix(".sha256").exists() and not gone.with_suffix(".sha256").exists()
