"""Fits the default model to truths that it does not have and scores it; writes scores.csv beside this file, a line a fit.

    python study.py                    # 50 data sets of each kind, about two seconds a data set on two cores
    python study.py 10 "untold past"   # fewer, of one kind; the lines of the others stay
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from truths import HISTORY, TRUTHS

from precision import MMM


def scores(draws, truth) -> dict:
    "Of draws of totals [S, n] against the true ones [n]: coverage of 90% intervals, bias and mean error, relative to the truth's mean."
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    mean = draws.mean(axis=0)
    return {"coverage": np.mean((low <= truth) & (truth <= high)), "bias": mean.sum() / truth.sum() - 1,
            "error": np.mean(np.abs(mean - truth)) / truth.mean()}


def fit_and_score(truth, seed) -> dict:
    sim = TRUTHS[truth](seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with the sampling is among the findings
        fit = MMM(sim.hierarchy).fit(*(table[HISTORY:] for table in (sim.y, sim.U, sim.Z, sim.spend)), U_history=None if truth == "untold past" else sim.U[:HISTORY],
                                     chains=4, warmup=500, draws=250, seed=seed, progress=False)
    tacticals = np.stack([fit.components.tactical(i).sum(axis=1) for i in range(sim.hierarchy.num_tacticals)], axis=1)
    row = {"truth": truth, "seed": seed}
    for level in ("tactical", "channel"):
        up = sim.hierarchy.matrix("tactical", level)
        row |= {f"{level}_{name}": value for name, value in scores(tacticals @ up, sim.truth.contributions[HISTORY:].sum().to_numpy() @ up).items()}
    found = fit.check().to_frame()
    return row | {f"said_{check}": verdict for check, verdict in found.groupby("check", sort=False).verdict.agg(worst).items()}


def worst(verdicts):
    return max(verdicts, key=("ok", "caution", "problem").index)


def main(sets="50", *chosen):
    file, chosen = Path(__file__).parent / "scores.csv", chosen or tuple(TRUTHS)
    rows = pd.DataFrame([fit_and_score(truth, seed) for truth in chosen for seed in range(500, 500 + int(sets))]).round(4)
    if file.exists():
        before = pd.read_csv(file)
        rows = pd.concat([before[~before.truth.isin(chosen)], rows])
    rows.sort_values("truth", key=lambda names: names.map(list(TRUTHS).index), kind="stable").to_csv(file, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
