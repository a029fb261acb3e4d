"""Simulation-based calibration of the default model, with and without saturation; writes ranks_<saturation>.csv beside this file.

    python ranks.py          # 500 data sets each, about a second a data set on two cores
    python ranks.py 1000
"""

import sys
from pathlib import Path

from precision import MMM, build_hierarchy
from precision.calibration import calibrate
from precision.simulate import simulate

TREE = {"tv": {"linear": ["spots", "sponsoring"]}, "web": {"search": ["brand", "generic"], "social": ["feed", "stories"]}}


def main(sets=500):
    hierarchy = build_hierarchy(TREE)
    world = simulate(hierarchy, periods=78, seed=1, controls=["price", "season"])
    for saturation in ("none", "michaelis_menten"):
        ranks = calibrate(MMM(hierarchy, saturation=saturation), world.y, world.U, world.Z, world.spend, sets=sets, seed=1,
                          chains=2, warmup=500, draws=500)
        ranks.table.to_csv(Path(__file__).parent / f"ranks_{saturation}.csv", index=False)
        print(saturation, ranks, sep=": ")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
