"""A seed's draws stay what they are while the house is rebuilt: a few, kept to the last bit.

    python tests/test_same_draws.py    # writes the record anew, where draws are meant to change
"""

import hashlib
import json
import platform
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from precision import MMM, build_hierarchy

RECORD = Path(__file__).parent / "reference" / "draws.json"
TREE = {"tv": {"linear": ["spot", "drtv"]}, "search": {"google": ["brand"], "bing": ["generic"]}}
MODELS = {
    "default": {},
    "linear, separate": {"saturation": "none", "pooling": "none", "decay": "half_life", "baseline": "none"},
    "real, autocorrelated": {"effect": "real", "saturation": "none", "residual": "ar1"},
    "heavy tails": {"likelihood": "student_t", "saturation": "hill"},
}
SHORT = dict(chains=2, warmup=20, draws=4, seed=3, progress=False)


def processor():
    "What rounds: a processor with other instructions may differ in the last bits."
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line for line in described.splitlines() if line.startswith("flags")), "")
    return f"{platform.machine()} {hashlib.sha256(' '.join(sorted(flags.split())).encode()).hexdigest()[:16]}"


def draws(options):
    "The last draw of every chain, by variable."
    rng = np.random.default_rng(5)
    weeks = pd.date_range("2023-01-02", periods=60, freq="W-MON")
    lines = ["spot", "drtv", "brand", "generic"]
    U = pd.DataFrame(rng.gamma(2.0, [30, 60, 20, 90], (60, 4)), weeks, lines)
    y = pd.Series(500 + U.to_numpy() @ [0.4, 0.2, 0.9, 0.1] + rng.normal(0, 10, 60), weeks)
    posterior = MMM(build_hierarchy(TREE), **options).fit(y, U, **SHORT).posterior
    return {name: values.isel(draw=-1).values.ravel().tolist() for name, values in sorted(posterior.data_vars.items())}


@pytest.mark.filterwarnings("ignore::precision.errors.PrecisionWarning")  # short runs, on purpose
@pytest.mark.parametrize("name", MODELS)
def test_draws_of_a_seed_stay_bit_for_bit(name):
    record = json.loads(RECORD.read_text())
    if record["processor"] != processor():
        pytest.skip("the record was made on a processor that rounds otherwise; make one before a change: python tests/test_same_draws.py")
    now, kept = draws(MODELS[name]), record["draws"][name]
    assert set(now) == set(kept)
    for variable in kept:
        assert now[variable] == kept[variable], variable


if __name__ == "__main__":
    kept = {name: draws(options) for name, options in MODELS.items()}
    RECORD.write_text(json.dumps({"processor": processor(), "draws": kept}, indent=1) + "\n")
    sys.exit(0)
