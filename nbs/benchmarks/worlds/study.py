"""Fits every candidate to worlds that it does not match exactly, and scores it: `study.py FIRST LAST [PART PARTS]` adds a
line a fit to results.csv for the seeds FIRST ... LAST; what is there already is not done again. PARTS processes may share the work."""
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
from worlds import KINDS, make_world

from precision import MMM
from precision.draws import diagnostics
from precision.model import former_default

RESULTS = Path(__file__).with_name("results.csv")
CANDIDATES = {"default": MMM, "former default": former_default,
              "default that knows": lambda h: MMM(h, baseline="none", past="nothing")}  # that nothing drifts, and that media begin with the data
LEVELS = ("tactical", "channel", "total")


def scores(draws, truth) -> dict:
    "Of draws of totals [S, n] against the true ones [n]: coverage of 90% intervals, bias, mean error and width, relative to the truth's mean."
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    mean, size = draws.mean(axis=0), truth.mean()
    return {"coverage": np.mean((low <= truth) & (truth <= high)), "bias": (mean.sum() - truth.sum()) / truth.sum(),
            "error": np.mean(np.abs(mean - truth)) / size, "width": np.mean(high - low) / size}


def fit_and_score(candidate, kind, seed) -> dict:
    "One line of the results."
    world = make_world(kind, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # R-hat and divergences are written down
        fit = CANDIDATES[candidate](world.hierarchy).fit(world.y, world.spend, world.Z, spend=world.spend, chains=2, warmup=400, draws=400,
                                                         threads=1, progress=False)
    row = {"candidate": candidate, "kind": kind, "seed": seed}
    tacticals = np.stack([fit.components.tactical(i).sum(axis=1) for i in range(world.hierarchy.num_tacticals)], axis=1)
    for level in LEVELS:
        up = np.ones((tacticals.shape[1], 1)) if level == "total" else world.hierarchy.matrix("tactical", level)
        row |= {f"{level}_{name}": round(float(v), 4) for name, v in scores(tacticals @ up, world.totals(level).to_numpy()).items()}
    found = diagnostics(fit.drawn)
    return row | {"rhat": round(float(found["rhat"][0]), 4), "divergences": found["divergences"]}


def main(first, last, part=0, parts=1):
    file = RESULTS if parts == 1 else RESULTS.with_suffix(f".{part}.csv")
    done = {tuple(line[:3]) for path in RESULTS.parent.glob("results*.csv") for line in csv.reader(path.open())}
    jobs = [(c, k, s) for s in range(first, last + 1)[part::parts] for c in CANDIDATES for k in KINDS]
    for candidate, kind, seed in jobs:
        if (candidate, kind, str(seed)) in done:
            continue
        row = fit_and_score(candidate, kind, seed)
        with file.open("a", newline="") as out:
            writer = csv.DictWriter(out, row)
            if out.tell() == 0:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
