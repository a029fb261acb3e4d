"The linear nested model of Precision, written in PyMC, sampled by nutpie."
import common
from common import CHAINS, DRAWS, SEED, WARMUP, time

import numpy as np
import nutpie
import pymc as pm
import pytensor.tensor as pt

imported = time.perf_counter()
data, path = common.arguments()


def adstock(x, decay):
    "Exact geometric adstock by doubling: eight shifted additions for 156 periods."
    out, weight, shift = x * (1 - decay), decay, 1
    while shift < len(x):
        out = out + weight * pt.concatenate([pt.zeros((shift, x.shape[1])), out[:-shift]])
        weight, shift = weight ** 2, 2 * shift
    return out


with pm.Model() as model:
    spread = pm.HalfNormal("decay_spread", 0.5, shape=2)
    centre = pm.Normal("decay_channel", -0.85, 1, shape=data.channels)
    platform = centre[data.to_channel] + spread[1] * pm.Normal("z_decay_platform", shape=data.platforms)
    eta = platform[data.to_platform] + spread[0] * pm.Normal("z_decay", shape=data.tacticals)
    decay = pm.Deterministic("decay", 0.99 * pm.math.sigmoid(eta))
    spread = pm.HalfNormal("effect_spread", 0.8, shape=2)
    centre = pm.Normal("log_effect_channel", np.log(0.8), 1, shape=data.channels)
    platform = pm.Deterministic("log_effect_platform", centre[data.to_channel] + spread[1] * pm.Normal(
        "z_effect_platform", shape=data.platforms))
    effect = pm.Deterministic("log_effect_tactical", platform[data.to_platform] + spread[0] * pm.Normal(
        "z_effect", shape=data.tacticals))
    media = pt.dot(adstock(data.x, decay), pt.exp(effect) * data.share)
    intercept = pm.Normal("intercept", 0, 2)
    control = pm.Normal("control_effect", 0, 1, shape=data.Z.shape[1])
    sigma = pm.HalfNormal("sigma", 1)
    pm.Normal("y", intercept + media + pt.dot(data.Z_scaled, control), sigma, observed=data.y_scaled)

compiled = nutpie.compile_pymc_model(model)
ready = time.perf_counter()
trace = nutpie.sample(compiled, draws=DRAWS, tune=WARMUP, chains=CHAINS, seed=SEED, progress_bar=False)
done = time.perf_counter()
names = ("decay", "log_effect_tactical", "log_effect_platform", "log_effect_channel", "intercept", "control_effect", "sigma")
common.write(path, f"PyMC {pm.__version__}, nutpie {nutpie.__version__}",
             {"import": imported - common.STARTED, "compile": ready - imported, "sample": done - ready},
             {name: trace.posterior[name].values for name in names},
             divergences=int(trace.sample_stats["diverging"].values.sum()))
