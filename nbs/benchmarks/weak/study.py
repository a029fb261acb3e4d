"""Fits the default and the former default to every market and scores them: adds a line a fit to results.csv.

    python study.py                  # all kinds, seeds 0 to 39: about 40 minutes
    python study.py 0 2 & python study.py 1 2    # the same in half the time (results.0.csv and results.1.csv)

Seeds below 20 were there while the default was chosen; those from 20 on were kept for the last look. What is there is not done again.
"""
import csv
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from markets import FORMS, KINDS, make_market

from precision import MMM
from precision.draws import diagnostics
from precision.model import former_default

HERE, SEEDS, LAST_LOOK = Path(__file__).parent, range(40), 20
MODELS = {"default": MMM, "former default": former_default}
PARTS = {"baseline='none'": lambda h: MMM(h, baseline="none")}
PLAIN = ("still", "drift")  # kinds that the default is fitted to without this part, too


def scores(draws, truth) -> dict:
    "Of draws of totals [S, n] against the true ones [n]: coverage of 90% intervals; error and width relative to the truth's mean."
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return {"coverage": np.mean((low <= truth) & (truth <= high)), "error": np.abs(draws.mean(axis=0) - truth).mean() / truth.mean(),
            "width": (high - low).mean() / truth.mean()}


def fit_and_score(model, kind, seed) -> dict:
    "One line of the results."
    market, started = make_market(kind, seed), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # R-hat and divergences are written down
        fit = (MODELS | PARTS)[model](market.hierarchy).fit(market.y, market.spend, market.Z, spend=market.spend, chains=4, warmup=400, draws=250,
                                                  threads=1, progress=False, seed=seed)
    seconds = time.perf_counter() - started
    tacticals = np.stack([fit.components.tactical(i).sum(axis=1) for i in range(market.hierarchy.num_tacticals)], axis=1)
    row = {"model": model, "kind": kind, "seed": seed}
    for level in ("tactical", "channel"):
        found = scores(tacticals @ market.hierarchy.matrix("tactical", level), market.totals(level).to_numpy())
        row |= {f"{level}_{name}": round(float(v), 4) for name, v in found.items()}
    media, true = tacticals.sum(axis=1), market.totals("total").iloc[0]
    low, high = np.quantile(media, [0.05, 0.95])
    sampling = diagnostics(fit.drawn)
    return row | {"estimate_total": round(media.mean()), "true_total": round(true), "total_covered": int(low <= true <= high),
                  "outcome": round(market.y.sum()), "seconds": round(seconds, 2), "compiling": round(fit.timing["compile"], 2),
                  "rhat": round(sampling["rhat"][0], 4), "ess": round(sampling["ess_bulk"][0]), "divergences": sampling["divergences"]}


def jobs(part, parts):
    "Markets of one shape one after the other, since they share a compiled program."
    shape = lambda kind, seed: (kind.lines, kind.channels, kind.periods, seed % FORMS)
    shapes = sorted({shape(kind, seed) for kind in KINDS.values() for seed in SEEDS})[part::parts]
    return [(model, name, seed) for one in shapes for model in (*MODELS, *PARTS) for name, kind in KINDS.items() for seed in SEEDS
            if shape(kind, seed) == one and (model in MODELS or name in PLAIN and seed >= LAST_LOOK)]


def main(part=0, parts=1):
    file = HERE / ("results.csv" if parts == 1 else f"results.{part}.csv")
    done = {tuple(line[:3]) for path in HERE.glob("results*.csv") for line in csv.reader(path.open())}
    for model, kind, seed in jobs(part, parts):
        if (model, kind, str(seed)) in done:
            continue
        row = fit_and_score(model, kind, seed)
        with file.open("a", newline="") as out:
            writer = csv.DictWriter(out, row)
            if out.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
