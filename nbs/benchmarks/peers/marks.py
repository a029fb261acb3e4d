"""What an analyst feels beside effective draws per second: refits, ensembles, size, memory. Writes marks.json beside this file.

    ~/benchmark-environments/precision/bin/python marks.py
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
HERE, STARTED = Path(__file__).parent, time.perf_counter()


def tree(tacticals):
    "Channels of four platforms of five tacticals, as many as it takes."
    rest, channels = tacticals, {}
    while rest > 0:
        c = len(channels)
        channels[f"c{c}"] = {f"c{c}p{p}": [f"c{c}p{p}t{t}" for t in range(min(5, rest - 5 * p))] for p in range(4) if rest > 5 * p}
        rest -= 20
    return channels


def world(tacticals, periods, seed=0):
    from precision import build_hierarchy
    from precision.simulate import simulate

    return simulate(build_hierarchy(tree(tacticals)), periods, seed)


def fit(sim, **settings):
    from precision import MMM

    return MMM(sim.hierarchy).fit(sim.y, sim.U, sim.Z, sim.spend, progress=False, **settings)


def resident():
    "Megabytes now."
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2 ** 20


def large():
    "One fit of 100 tacticals and 260 weeks."
    from precision.draws import diagnostics

    started = time.perf_counter()
    done = fit(world(100, 260), chains=4, warmup=500, draws=500)
    found = diagnostics(done.drawn)
    return {"seconds": time.perf_counter() - started, **{k: done.timing[k] for k in ("compile", "warmup", "sample", "report")},
            "rhat": found["rhat"][0], "min_ess": found["ess_bulk"][0], "divergences": found["divergences"],
            "resident_MB": resident(), "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def refits():
    "Twenty more fits of other data of one shape."
    sims = [world(12, 156, seed) for seed in range(22)]
    first, second = (fit(sim).timing for sim in sims[:2])
    before = resident()
    for sim in sims[2:]:
        fit(sim)
    return {"compile_first": first["compile"], "compile_second": second["compile"], "growth_MB": resident() - before}


def ensemble_of_three():
    "An ensemble of three metrics, from the start of its process."
    from precision.ensemble import ensemble

    sim = world(12, 156)
    ensemble(hierarchy=sim.hierarchy, y=sim.y, U_metrics=sim.metrics, Z_controls=sim.Z, progress=False, on_leakage="warn")
    return {"seconds": time.perf_counter() - STARTED}


def one_fit():
    "One fit, from the start of its process."
    fit(world(12, 156))
    return {"seconds": time.perf_counter() - STARTED}


def gradients():
    "Microseconds a gradient, as periods and tacticals grow."
    import numpy as np
    import tensorflow as tf
    from precision import MMM
    from precision.data import prepare
    from precision.posterior import log_density

    rows = []
    for tacticals, periods in [(20, t) for t in (52, 104, 208, 520, 1040)] + [(n, 208) for n in (10, 50, 100, 200)]:
        sim = world(tacticals, periods)
        model = MMM(sim.hierarchy)
        posterior = model.posterior(model.prepared(prepare(sim.hierarchy, sim.y, sim.U, sim.Z, sim.spend)))
        inputs = {name: tf.constant(value, tf.float32) for name, value in posterior.inputs.items()}

        @tf.function(jit_compile=True, autograph=False)
        def repeat(start, inputs, count):
            def step(i, x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    density = log_density(posterior.blocks, x, inputs)
                return i + 1, start + 1e-9 * tape.gradient(density, x)

            return tf.while_loop(lambda i, x: i < count, step, (0, start))[1]

        x, best = tf.constant(np.random.default_rng(0).normal(0, 0.3, posterior.dimension), tf.float32), np.inf
        repeat(x, inputs, tf.constant(1))
        for _ in range(3):
            started = time.perf_counter()
            repeat(x, inputs, tf.constant(2000)).numpy()
            best = min(best, (time.perf_counter() - started) / 2000 * 1e6)
        rows.append({"tacticals": tacticals, "periods": periods, "microseconds": best})
    return rows


MARKS = (one_fit, ensemble_of_three, large, refits, gradients)

if __name__ == "__main__":
    if len(sys.argv) > 1:  # one mark, in this process
        import warnings

        warnings.simplefilter("ignore")
        print(json.dumps(dict((mark.__name__, mark) for mark in MARKS)[sys.argv[1]]()))
    else:
        found = {}
        for mark in MARKS:
            with tempfile.TemporaryDirectory() as programs:
                told = subprocess.run([sys.executable, __file__, mark.__name__], env=os.environ | {"PRECISION_CACHE": programs},
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
            found[mark.__name__] = json.loads(told.stdout.splitlines()[-1])
            print(mark.__name__, found[mark.__name__], flush=True)
        (HERE / "marks.json").write_text(json.dumps(found, indent=1) + "\n")
