"""PyMC-Marketing and Meridian fit some of the worlds and plan with their own optimisers: adds lines to peers.csv.

    bash ../peers/environments.sh ~/benchmark-environments
    python peers.py ~/benchmark-environments               # a group's first worlds, about six minutes each on two cores
    python peers.py ~/benchmark-environments Meridian 1    # the next one only, of one library

Every line is a channel to them, so that all decide on the same things. What is there already is not done again.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from study import Judge, done, write
from worlds import GROUPS, MAIN, best_factors, make_world, worlds

HERE = Path(__file__).parent
RESULTS = HERE / "peers.csv"
MODELS = {"PyMC-Marketing": ("pymc-marketing", "plan_marketing.py"), "Meridian": ("meridian", "plan_meridian.py")}
EACH = 12  # worlds of a group


def write_world(path, world, draws):
    "What a library is told: no hierarchy, no truth."
    Z, dates = world.Z, world.y.index
    np.savez(path, y=world.y, spend=world.spend, U=world.U, lines=np.array(world.hierarchy.leaves, str), today=world.today, step=MAIN,
             dates=np.array(dates.strftime("%Y-%m-%d"), str), Z=np.empty((len(dates), 0)) if Z is None else Z,
             controls=np.array([] if Z is None else list(Z), str), draws=draws)


def run(environments, model, world, draws=500) -> dict:
    "What a library's script has written down."
    environment, script = MODELS[model]
    with tempfile.TemporaryDirectory() as folder:
        data, result = Path(folder, "data.npz"), Path(folder, "result.npz")
        write_world(data, world, draws)
        subprocess.run([environments / environment / "bin" / "python", HERE / script, data, result], check=True,
                       env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        return dict(np.load(result))


def row_of(model, world, told) -> dict:
    "The plan judged by the truth; beside it the best plan of the library's own curves, which tells the optimiser's part of the regret."
    judge = Judge(world)
    factors = np.clip(told["factors"], 1 - MAIN, 1 + MAIN)
    factors *= min(1.0, judge.money.sum() / (factors @ judge.money))  # Meridian rounds money
    own, most = best_factors(told["table"], told["knots"], judge.money, MAIN)
    row = judge.row(model, MAIN, factors, promised=float(told["promised"]), fit_s=float(told["fit_s"]), plan_s=float(told["plan_s"]),
                    rhat=float(told["max_rhat"]))
    return row | {"build_s": float(told["build_s"]), "own_best": most, "realised_own_best": judge.gain(own), "success": bool(told["success"])}


def main(environments, only=None, most=10**6):
    most, environments = int(most), Path(environments).expanduser().absolute()
    order = [(group, *pair) for i in range(EACH) for group in GROUPS for pair in [worlds(group)[i]]]
    for group, kind, seed in order:
        for model in [only] if only else MODELS:
            if most == 0 or (model, group, kind, str(seed)) in done(RESULTS, ("method", "group", "kind", "seed")):
                continue
            started, world = time.perf_counter(), make_world(group, kind, seed)
            try:
                row = row_of(model, world, run(environments, model, world))
            except (subprocess.SubprocessError, AssertionError) as error:
                print(f"{model} does not plan {group} {kind} {seed}: {error} {getattr(error, 'stderr', '')[-1500:]}", flush=True)
                continue
            write([row], RESULTS)
            most -= 1
            print(time.strftime("%H:%M:%S"), model, group, kind, seed, f"{time.perf_counter() - started:.0f} s",
                  f"{row['realised'] / row['oracle']:.2f} own best {row['realised_own_best'] / row['oracle']:.2f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
