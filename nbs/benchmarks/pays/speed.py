"""How long plans take: ours for several sizes, each in a fresh process, and two other libraries' on their own fits of the same data: writes speed.csv.

    python speed.py                              # ours only, about two minutes
    python speed.py ~/benchmark-environments     # the peers, too; see ../peers/environments.sh

Fits are made first and are not part of the times. Ours run in one thread, of which CPU seconds are counted, too: a busy machine stretches the clock. Ours have four chains with 500 draws, the peers two with 1,000.
"""
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import MODELS, run
from worlds import HISTORY, World

HERE = Path(__file__).parent
RUNS = int(os.environ.get("RUNS", 3))
LINES = {"12": {"tv": {"linear": ["l1", "l2"], "stream": ["s1", "s2"]}, "search": {"google": ["g1", "g2", "g3"], "bing": ["b1"]},
                "social": {"meta": ["m1", "m2"], "tiktok": ["t1"]}, "radio": {"local": ["r1"]}},  # that of `against its peers`
         "100": {f"c{c}": {f"c{c}p{p}": [f"c{c}p{p}t{t}" for t in range(5)] for p in range(4)} for c in range(5)}}
TASKS = {"12 lines, 26 weeks, totals": ("12", 26, "totals"), "12 lines, 52 weeks, totals": ("12", 52, "totals"),
         "12 lines, 52 weeks, every week its own": ("12", 52, "periods"), "100 lines, 26 weeks, totals": ("100", 26, "totals")}


def data_of(size):
    from precision import build_hierarchy
    from precision.simulate import simulate
    return simulate(build_hierarchy(LINES[size]), periods=HISTORY + 156, seed=1)


def make_fit(size, folder):
    "A fit with 2,000 draws, kept in a file."
    from precision import MMM
    sim = data_of(size)
    MMM(sim.hierarchy).fit(sim.y, sim.U, sim.Z, sim.spend, chains=4, draws=500, warmup=500, seed=1, progress=False).save(Path(folder, f"{size}.nc"))


def make_plan(task, folder):
    "In a process of its own: seconds from a fit to a plan with its certificate, its uplift and its probability; memory of the process."
    from precision.limits import Limits
    from precision.model import Fit
    size, weeks, over = TASKS[task]
    fit = Fit.load(Path(folder, f"{size}.nc"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, cpu = time.perf_counter(), time.process_time()
    best = fit.optimize(fit.plan(weeks), Limits(change=0.5), over=over)
    found = {"gap": best.gap, "better": best.better}
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps(found | {"seconds": seconds, "cpu_s": cpu, "loaded_MB": before, "peak_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measured(what, *arguments):
    ran = subprocess.run([sys.executable, __file__, what, *arguments], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return ran.stdout.strip().splitlines()[-1:] or [""]


def peers(environments):
    "Seconds of the other libraries' optimisers for half a year of twelve lines."
    sim = data_of("12")
    world = World("speed", "12 lines", 1, sim.hierarchy, sim.y, sim.U, sim.Z, sim.spend, None, None, 0.0)
    for model in MODELS:
        told = run(Path(environments).expanduser().absolute(), model, world, draws=1000)
        yield {"task": "12 lines, 26 weeks, totals", "tool": model, "seconds": float(told["plan_s"] + told["build_s"]), "cpu_s": float(told["cpu_s"]),
               "fit_s": float(told["fit_s"]), "peak_MB": float(told["peak_MB"])}


def main(environments=None):
    rows, load = [], lambda: round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as folder:
        folder = os.environ.get("KEEP_FITS", folder)
        for size in LINES:
            if not Path(folder, f"{size}.nc").exists():
                measured("fit", size, folder)
        for task in TASKS:
            for _ in range(RUNS):
                rows.append({"task": task, "tool": "Precision", "load": load()} | json.loads(measured("plan", task, folder)[0]))
                print(rows[-1], flush=True)
    for row in peers(environments) if environments else ():
        rows.append(row | {"load": load()})
        print(rows[-1], flush=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (HERE / "speed.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, names, restval="")
        writer.writeheader()
        writer.writerows({name: f"{v:.4g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)


if __name__ == "__main__":
    {"fit": make_fit, "plan": make_plan}.get(sys.argv[1] if len(sys.argv) > 1 else "", lambda *_: main(*sys.argv[1:]))(*sys.argv[2:])
