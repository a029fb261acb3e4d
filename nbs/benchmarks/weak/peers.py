"""Two other libraries fit the weak markets as their guides introduce them: spend by channel, with the controls that are given.

    bash ../peers/environments.sh ~/benchmark-environments
    ~/benchmark-environments/precision/bin/python peers.py ~/benchmark-environments

Takes about an hour and a half on two cores. Adds a line a fit to peers.csv; what is there already is not done again.
"""
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from markets import KINDS, make_market

HERE = Path(__file__).parent
RESULTS = HERE / "peers.csv"
MODELS = {"PyMC-Marketing": ("pymc-marketing", "fit_marketing.py"), "Meridian": ("meridian", "fit_meridian.py")}
JOBS = ([(model, kind, 20) for kind in KINDS for model in MODELS] + [("PyMC-Marketing", kind, seed) for seed in (21, 22) for kind in KINDS]
        + [("PyMC-Marketing", "drift", 23)])


def write_market(path, market):
    "What a library is told: no hierarchy, no truth. The step is the days from one period to the next."
    spend = market.spend.to_numpy() @ market.hierarchy.matrix("tactical", "channel")
    Z, dates = market.Z, market.y.index
    np.savez(path, y=market.y, spend=spend, channels=np.array(market.hierarchy.names["channel"], str), dates=np.array(dates.strftime("%Y-%m-%d"), str),
             step=(dates[-1] - dates[0]).days / (len(dates) - 1), Z=np.empty((len(dates), 0)) if Z is None else Z,
             controls=np.array([] if Z is None else list(Z), str))


def holds(draws, truth):
    "Share of 90% intervals that hold the truth."
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return np.mean((low <= truth) & (truth <= high))


def scores(draws, truth) -> dict:
    "Of draws of channels' totals [S, C] against the true ones [C]; a total of all media is the sum of a draw."
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return {"channels": len(truth), "coverage": holds(draws, truth), "error": np.abs(draws.mean(axis=0) - truth).mean() / truth.mean(),
            "width": (high - low).mean() / truth.mean(), "estimate_total": draws.sum(axis=1).mean(), "true_total": truth.sum(),
            "total_covered": holds(draws.sum(axis=1), truth.sum())}


def fit_and_score(environments, model, kind, seed) -> dict:
    "One line of the results."
    environment, script = MODELS[model]
    market = make_market(kind, seed)
    with tempfile.TemporaryDirectory() as folder:
        data, result = Path(folder, "data.npz"), Path(folder, "result.npz")
        write_market(data, market)
        subprocess.run([environments / environment / "bin" / "python", HERE / script, data, result], check=True,
                       env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.DEVNULL)
        told = np.load(result)
    found = scores(told["totals"], market.totals("channel").to_numpy()) | {"seconds": told["seconds"], "max_rhat": told["max_rhat"]}
    return {"model": model, "kind": kind, "seed": seed} | {name: f"{v:.6g}" for name, v in found.items()}


def main(environments):
    done = {tuple(line[:3]) for line in csv.reader(RESULTS.open())} if RESULTS.exists() else set()
    for model, kind, seed in JOBS:
        if (model, kind, str(seed)) in done:
            continue
        try:
            row = fit_and_score(Path(environments).expanduser().absolute(), model, kind, seed)
        except subprocess.SubprocessError as error:
            print(f"{model} does not fit {kind} {seed}: {error}", flush=True)
            continue
        print(time.strftime("%H:%M:%S"), row, flush=True)
        with RESULTS.open("a", newline="") as out:
            writer = csv.DictWriter(out, row)
            if out.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main(sys.argv[1])
