"""Run every library in turn on the same data, each in its own environment, and write down what was seen.

    bash environments.sh ~/benchmark-environments
    ~/benchmark-environments/precision/bin/python run.py ~/benchmark-environments

Takes about eight minutes on two cores; leave the machine alone meanwhile. Writes results.json and twins.csv beside this file.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
from common import CHAINS, DRAWS, WARMUP
from precision import build_hierarchy
from precision.simulate import simulate

HERE = Path(__file__).parent
NESTED = {f"c{c}": {f"c{c}p{p}": [f"c{c}p{p}t{t}" for t in range(3)] for p in range(3)} for c in range(3)}
SATURATED = {"tv": {"linear": ["l1", "l2"], "stream": ["s1", "s2"]}, "search": {"google": ["g1", "g2", "g3"], "bing": ["b1"]},
             "social": {"meta": ["m1", "m2"], "tiktok": ["t1"]}, "radio": {"local": ["r1"]}}
RUNS = (  # data, label, environment, script, more arguments
    ("nested27", "Precision", "precision", "fit_precision.py", ["none"]),
    ("nested27", "PyMC", "pymc", "nested_pymc.py", []),
    ("nested27", "NumPyro", "numpyro", "nested_numpyro.py", []),
    ("saturated12", "Precision", "precision", "fit_precision.py", ["michaelis_menten"]),
    ("saturated12", "Precision, second process", "precision", "fit_precision.py", ["michaelis_menten"]),
    ("saturated12", "PyMC-Marketing", "pymc-marketing", "fit_marketing.py", []),
    ("saturated12", "Meridian", "meridian", "fit_meridian.py", []),
)


TWINS = (  # the same posterior, drawn carefully
    ("nested27", "Precision, careful", "precision", "fit_precision.py", ["none", "careful"]),
    ("nested27", "NumPyro, careful", "numpyro", "nested_numpyro.py", ["careful"]),
)


def write_data(path, hierarchy, y, U, Z):
    np.savez(path, y=y, U=U, Z=Z, to_platform=hierarchy.parent_index("tactical", "platform"),
             to_channel=hierarchy.parent_index("platform", "channel"))


def write_simulated(path, tree, saturation):
    sim = simulate(build_hierarchy(tree), seed=1, saturation=saturation)
    write_data(path, sim.hierarchy, sim.y, sim.U, sim.Z)


def write_csv(path, source):
    "Twelve tacticals of a CSV file with columns date, y, controls, and channel__platform__tactical."
    frame = pd.read_csv(source, index_col="date", parse_dates=True)
    media = [name for name in frame if "__" in name]
    tree = {}
    for name in media:
        channel, platform_, _ = name.split("__")
        tree.setdefault(channel, {}).setdefault(f"{channel}__{platform_}", []).append(name)
    year = 2 * np.pi * frame.index.day_of_year.to_numpy() / 365.25
    waves = np.column_stack([wave(k * year) for k in (1, 2) for wave in (np.sin, np.cos)])
    Z = np.column_stack([frame.drop(columns=["y", *media]), waves])
    hierarchy = build_hierarchy(tree)
    write_data(path, hierarchy, frame["y"], frame[list(hierarchy.names["tactical"])], Z)


def smallest_ess(draws):
    "Of all reported quantities, the smallest bulk effective sample size."
    return min(float(az.ess(az.convert_to_dataset({"v": value}))["v"].min()) for value in draws.values())


def measure(environments, folder, data, label, environment, script, more):
    result = folder / f"{data}-{label}".replace(" ", "-").replace(",", "")
    settings = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PRECISION_CACHE": str(folder / f"programs-{data}")}
    command = [environments / environment / "bin" / "python", HERE / script, folder / f"{data}.npz", result, *more]
    print(f"{data}: {label}", flush=True)
    subprocess.run(command, check=True, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    told, draws = json.loads(result.with_suffix(".json").read_text()), np.load(result.with_suffix(".npz"))
    draws = {name: draws[name] for name in draws.files}
    ess, seconds = smallest_ess(draws), told["seconds"]
    enough = seconds["sample"] * (WARMUP + DRAWS * min(1, 400 / ess)) / (WARMUP + DRAWS)
    row = {"data": data, "label": label, "library": told["library"], "min_ess": ess, "divergences": told["divergences"],
           "peak_MB": told["peak_MB"], **seconds, "ess_per_second": ess / seconds["sample"],
           "cold_to_400": seconds["import"] + seconds["compile"] + enough}
    print({name: round(value, 1) for name, value in row.items() if isinstance(value, float)}, flush=True)
    return row, draws


def twins(ours, theirs):
    "Means and sds of the quantities that two libraries share, and the Monte Carlo error of the difference."
    rows = []
    for name in sorted(set(ours) & set(theirs)):
        table = [az.summary(az.convert_to_dataset({"v": side[name]}), round_to="none") for side in (ours, theirs)]
        table = [t.astype(float) for t in table]
        error = np.hypot(table[0]["mcse_mean"], table[1]["mcse_mean"])
        for i, place in enumerate(table[0].index):
            rows.append({"quantity": place.replace("v", name, 1), "mean": table[0]["mean"].iloc[i], "mean_peer": table[1]["mean"].iloc[i],
                         "mcse": error.iloc[i], "sd": table[0]["sd"].iloc[i], "sd_peer": table[1]["sd"].iloc[i]})
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", type=Path, help="folder made by environments.sh")
    parser.add_argument("--csv", type=Path, help="a file for the second data set, instead of the simulated one")
    parser.add_argument("--only", choices=("times", "twins"), help="leave the other part as it was")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, environments = Path(place), options.environments.expanduser().absolute()
        write_simulated(folder / "nested27.npz", NESTED, "none")
        if options.csv:
            write_csv(folder / "saturated12.npz", options.csv)
        else:
            write_simulated(folder / "saturated12.npz", SATURATED, "michaelis_menten")
        if options.only != "twins":
            rows = [measure(environments, folder, *run)[0] for run in RUNS]
            about = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
                     "chains": CHAINS, "warmup": WARMUP, "draws": DRAWS,
                     "second data": options.csv.name if options.csv else "simulated"}
            (HERE / "results.json").write_text(json.dumps({"about": about, "runs": rows}, indent=1) + "\n")
        if options.only != "times":
            ours, theirs = (measure(environments, folder, *run)[1] for run in TWINS)
            twins(ours, theirs).to_csv(HERE / "twins.csv", index=False, float_format="%.6g")
    return 0


if __name__ == "__main__":
    sys.exit(main())
