"""The model of MODEL.md written a second time, in NumPyro, by its formulas alone: nothing here imports Precision.

    python numpyro_model.py default      # or: rough
needs `numpyro` and `arviz`, reads `<data>.csv` and writes `<name>.csv` (one row a quantity) and `<name>.json` (how it was made).
"""
import json
import sys
import time
from pathlib import Path

import numpyro

numpyro.set_host_device_count(4)
import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
from numpyro.infer import MCMC, NUTS

jax.config.update("jax_enable_x64", True)
HERE = Path(__file__).parent
TREE = {"tv": {"linear": ["tv_brand", "tv_offers"]},
        "web": {"search": ["search_brand", "search_generic"], "social": ["social_reach", "social_retarget"]}}
CONTROLS = ["price", "season"]
WORLDS = {"default": "world.csv", "rough": "rough_world.csv"}
CHAINS, SEED = 4, 1
SETTINGS = {"default": (3000, 5000, 0.998), "rough": (1500, 3000, 0.99)}  # warm-up, draws, acceptance

channels = list(TREE)
platforms = [p for c in TREE for p in TREE[c]]
tacticals = [t for c in TREE for p in TREE[c] for t in TREE[c][p]]
to_channel = np.array([channels.index(c) for c in TREE for p in TREE[c]])                      # of each platform
to_platform = np.array([platforms.index(p) for c in TREE for p in TREE[c] for t in TREE[c][p]])  # of each tactical


def read(name):
    "Scaled data, as MODEL.md's `Fixed scaling` has them."
    table = pd.read_csv(HERE / WORLDS[name])
    y, Z = table["sales"].to_numpy(), table[CONTROLS].to_numpy()
    S = table[[f"{t}_spend" for t in tacticals]].to_numpy()
    U = table[tacticals].to_numpy()
    U = U * S.sum(axis=0) / U.sum(axis=0)
    mean = U.mean(axis=0)
    channel = to_channel[to_platform]
    share = mean / np.array([mean[channel == c].sum() for c in channel])
    return {"y": y, "y_star": (y - y.mean()) / y.std(), "x": U / mean, "w": share, "Z_star": (Z - Z.mean(axis=0)) / Z.std(axis=0), "Z": Z}


def adstock(x, decay):
    "The exact recursion a_t = (1 - decay) x_t + decay a_(t-1): each turn doubles how far back a period sees, until it sees all."
    out, weight, shift = (1 - decay) * x, decay, 1
    while shift < len(x):
        out = out + weight * jnp.concatenate([jnp.zeros((shift, x.shape[1])), out[:-shift]])
        weight, shift = weight**2, 2 * shift
    return out


def check_adstock(x):
    "The same, period by period."
    decay, before = np.linspace(0.05, 0.98, x.shape[1]), 0.0
    for now, after in zip(x, np.asarray(adstock(jnp.asarray(x), jnp.asarray(decay)))):
        before = (1 - decay) * now + decay * before
        assert np.allclose(after, before, rtol=1e-12)


def model(data, name):
    normal = lambda name, size: numpyro.sample(name, dist.Normal(0, 1).expand([size]).to_event(1))
    C, P, N = len(channels), len(platforms), len(tacticals)

    tau_platform, tau_tactical = (numpyro.sample(f"tau_{level}", dist.HalfNormal(0.8)) for level in ("platform", "tactical"))
    log_channel = jnp.log(0.8) + normal("z_channel", C)
    log_platform = log_channel[to_channel] + tau_platform * normal("z_platform", P)
    log_tactical = log_platform[to_platform] + tau_tactical * normal("z_tactical", N)

    tau_decay_platform, tau_decay_tactical = (numpyro.sample(f"tau_decay_{level}", dist.HalfNormal(0.5)) for level in ("platform", "tactical"))
    mu = -0.85 + normal("z_decay_channel", C)
    eta = mu[to_channel] + tau_decay_platform * normal("z_decay_platform", P)
    decay = 0.99 * jax.nn.sigmoid(eta[to_platform] + tau_decay_tactical * normal("z_decay_tactical", N))

    tau_s = numpyro.sample("tau_s", dist.HalfNormal(0.5))
    s = jax.nn.sigmoid(numpyro.sample("m", dist.Normal(-0.5, 1)) + tau_s * normal("z_s", N))

    a = adstock(jnp.asarray(data["x"]), decay)
    media = jnp.exp(log_tactical) * data["w"] * a / (1 - s + s * a)
    intercept = numpyro.sample("beta0", dist.Normal(0, 2))
    gamma = numpyro.sample("gamma", dist.Normal(0, 1).expand([len(CONTROLS)]).to_event(1))
    sigma = numpyro.sample("sigma_star", dist.HalfNormal(1))
    mean = intercept + media.sum(axis=1) + data["Z_star"] @ gamma
    noise = {}
    if name == "default":
        numpyro.sample("y", dist.Normal(mean, sigma), obs=data["y_star"])
    else:  # student_t errors with a memory: the innovations are Student's t, the first residual has the stationary scale
        nu, phi = numpyro.sample("nu_", dist.Gamma(2, 0.1)), jnp.tanh(numpyro.sample("v", dist.Normal(0, 0.5)))
        residual = data["y_star"] - mean
        numpyro.sample("first", dist.StudentT(nu, 0, sigma / jnp.sqrt(1 - phi**2)), obs=residual[0])
        numpyro.sample("later", dist.StudentT(nu, phi * residual[:-1], sigma), obs=residual[1:])
        noise = {"nu": nu, "phi": phi}

    y, of_channel = data["y"], np.eye(C)[to_channel[to_platform]]
    total = y.std() * media.sum(axis=0)
    reported = {"decay": decay, "effect_channel": jnp.exp(log_channel), "effect_platform": jnp.exp(log_platform),
                "effect_tactical": jnp.exp(log_tactical), "saturation_level": s, "intercept": y.mean() + y.std() * intercept,
                "control_effect": y.std() * gamma / data["Z"].std(axis=0), "sigma": y.std() * sigma,
                "contribution_tactical": total, "contribution_channel": total @ of_channel} | noise
    for key, value in reported.items():
        numpyro.deterministic(f"report_{key}", value)


NODES = {"decay": tacticals, "effect_channel": channels, "effect_platform": platforms, "effect_tactical": tacticals,
         "saturation_level": tacticals, "control_effect": CONTROLS, "contribution_tactical": tacticals, "contribution_channel": channels}


def summary(draws):
    "One row a quantity, from draws [chain, draw]."
    rows = {}
    for name, values in draws.items():
        for k, node in enumerate(NODES.get(name, [""])):
            v = values[..., k] if name in NODES else values
            rows[f"{name}[{node}]" if node else name] = {
                "mean": v.mean(), "sd": v.std(), "mcse_mean": az.mcse(v, method="mean"), "mcse_sd": az.mcse(v, method="sd"),
                **{f"q{q}": np.quantile(v, q / 100) for q in (5, 25, 50, 75, 95)},
                "ess_bulk": az.ess(v, method="bulk"), "ess_tail": az.ess(v, method="tail", prob=(0.05, 0.95)), "rhat": az.rhat(v)}
    return pd.DataFrame(rows).T.rename_axis("quantity")


if __name__ == "__main__":
    name, started = sys.argv[1], time.time()
    data, (warmup, draws_kept, target) = read(name), SETTINGS[name]
    check_adstock(data["x"])
    mcmc = MCMC(NUTS(model, target_accept_prob=target), num_warmup=warmup, num_samples=draws_kept, num_chains=CHAINS,
                chain_method="parallel", progress_bar=False)
    mcmc.run(jax.random.PRNGKey(SEED), data, name, extra_fields=("diverging", "num_steps"))
    draws = {key.removeprefix("report_"): np.asarray(v) for key, v in mcmc.get_samples(group_by_chain=True).items() if key.startswith("report_")}
    extra, table = mcmc.get_extra_fields(), summary(draws)
    table.astype(float).map(lambda v: float(f"{v:.7g}")).to_csv(HERE / f"{name}.csv")
    made = {"data": WORLDS[name], "numpyro": numpyro.__version__, "jax": jax.__version__, "arviz": az.__version__, "chains": CHAINS, "warmup": warmup,
            "draws": draws_kept, "target_accept": target, "seed": SEED, "divergences": int(extra["diverging"].sum()),
            "largest_rhat": round(float(table["rhat"].max()), 5), "smallest_ess_bulk": round(float(table["ess_bulk"].min())),
            "smallest_ess_tail": round(float(table["ess_tail"].min()))}
    (HERE / f"{name}.json").write_text(json.dumps(made, indent=2) + "\n")
    print(made, "mean steps", extra["num_steps"].mean(), f"{time.time() - started:.0f} s")
