"""The default model, the former default and a rough model written a second time, in NumPyro, by their formulas alone: nothing here
imports Precision.

    python numpyro_model.py default      # or: former, rough
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
CONTROLS = {"default": ["price"], "former": ["price", "season"], "rough": ["price", "season"]}  # the default has a season of its own
WORLDS = {"default": "world.csv", "former": "world.csv", "rough": "rough_world.csv"}
CHAINS, SEED = 4, 1
SETTINGS = {"default": (1000, 3000, 0.99), "former": (3000, 5000, 0.998), "rough": (1500, 3000, 0.99)}  # warm-up, draws, acceptance

channels = list(TREE)
platforms = [p for c in TREE for p in TREE[c]]
tacticals = [t for c in TREE for p in TREE[c] for t in TREE[c][p]]
to_channel = np.array([channels.index(c) for c in TREE for p in TREE[c]])                      # of each platform
to_platform = np.array([platforms.index(p) for c in TREE for p in TREE[c] for t in TREE[c][p]])  # of each tactical


def read(name):
    "Scaled data."
    table = pd.read_csv(HERE / WORLDS[name], parse_dates=["date"])
    y, Z = table["sales"].to_numpy(), table[CONTROLS[name]].to_numpy()
    S = table[[f"{t}_spend" for t in tacticals]].to_numpy()
    U = table[tacticals].to_numpy()
    U = U * S.sum(axis=0) / U.sum(axis=0)
    mean = U.mean(axis=0)
    channel = to_channel[to_platform]
    share = mean / np.array([mean[channel == c].sum() for c in channel])
    data = {"y": y, "y_star": (y - y.mean()) / y.std(), "x": U / mean, "w": share, "Z_star": (Z - Z.mean(axis=0)) / Z.std(axis=0), "Z": Z}
    if name != "default":
        return data | {"before": np.zeros(len(mean))}
    x = U * U.sum(axis=0) / (U**2).sum(axis=0)  # an ordinary period is that in which the average euro was spent
    return data | {"x": x, "before": x[:min(13, len(x) // 4)].mean(axis=0), "mean": mean} | moving(table["date"], data)


def moving(dates, data):
    "Columns of the season and of the level, centred, and the prior sds of their effects."
    T, weeks_a_year = len(dates), 365.25 / 7
    turns = 2 * np.pi * (dates - pd.Timestamp("2000-01-01")).dt.days.to_numpy() / 365.25
    season = np.column_stack([wave(k * turns) for k in (1, 2) for wave in (np.sin, np.cos)])
    every = max(4, int(np.ceil(T / 40)))  # at most forty steps, at least four periods apart
    level = np.column_stack([(np.arange(T) >= step).astype(float) for step in range(every, T, every)])
    # the level's prior is as wide as what controls and season leave unexplained, twice that a year
    design = np.column_stack([np.ones(T), data["Z_star"], season])
    left = data["y_star"] - design @ np.linalg.solve(design.T @ design, design.T @ data["y_star"])
    unexplained = np.sqrt((left**2).sum() / (T - design.shape[1]))
    return {"season": season - season.mean(axis=0), "season_sd": 0.5 * np.sqrt(2),  # a wave's own sd is the root of one half
            "steps": level - level.mean(axis=0), "step_sd": 2 * unexplained * np.sqrt(every / weeks_a_year)}


def adstock(x, decay, before):
    "The exact recursion a_t = (1 - decay) x_t + decay a_(t-1): each turn doubles how far back a period sees, until it sees all."
    out, weight, shift = (1 - decay) * x, decay, 1
    while shift < len(x):
        out = out + weight * jnp.concatenate([jnp.zeros((shift, x.shape[1])), out[:-shift]])
        weight, shift = weight**2, 2 * shift
    return out + before * decay ** np.arange(1, len(x) + 1)[:, None]


def check_adstock(x, before):
    "The same, period by period."
    decay = np.linspace(0.05, 0.98, x.shape[1])
    for now, after in zip(x, np.asarray(adstock(jnp.asarray(x), jnp.asarray(decay), before))):
        before = (1 - decay) * now + decay * before
        assert np.allclose(after, before, rtol=1e-12)


def normal(name, size):
    return numpyro.sample(name, dist.Normal(0, 1).expand([size]).to_event(1))


def decays():
    "Pooled along the tree."
    tau_platform, tau_tactical = (numpyro.sample(f"tau_decay_{level}", dist.HalfNormal(0.5)) for level in ("platform", "tactical"))
    mu = -0.85 + normal("z_decay_channel", len(channels))
    eta = mu[to_channel] + tau_platform * normal("z_decay_platform", len(platforms))
    return 0.99 * jax.nn.sigmoid(eta[to_platform] + tau_tactical * normal("z_decay_tactical", len(tacticals)))


def responses(data, decay, ran=1.0):
    "Saturation levels pooled around one centre, and the curves: 1 in an ordinary period; `ran` is the share of the steady past that there was."
    tau = numpyro.sample("tau_s", dist.HalfNormal(0.5))
    s = jax.nn.sigmoid(numpyro.sample("m", dist.Normal(-0.5, 1)) + tau * normal("z_s", len(tacticals)))
    a = adstock(jnp.asarray(data["x"]), decay, ran * data["before"])
    return s, a / (1 - s + s * a)


def report(values, data):
    "Store what is reported, in the user's units."
    y, of_channel = data["y"], np.eye(len(channels))[to_channel[to_platform]]
    gamma, total = values.pop("gamma"), y.std() * values.pop("media").sum(axis=0)
    values |= {"intercept": y.mean() + y.std() * values["intercept"], "control_effect": y.std() * gamma / data["Z"].std(axis=0),
               "sigma": y.std() * values["sigma"], "contribution_tactical": total, "contribution_channel": total @ of_channel}
    for key, value in values.items():
        numpyro.deterministic(f"report_{key}", value)


def default(data, name):
    "All media bring a share of the outcome; channels, platforms and tacticals divide it; the baseline moves."
    y, K, N = data["y"], len(CONTROLS[name]), len(tacticals)
    decay, ran = decays(), jax.nn.sigmoid(numpyro.sample("logit_past", dist.Normal(0, 3)))
    s, response = responses(data, decay, ran)

    # the root: 90% of the probability between 6% and 50% of the outcome
    low, high = np.log(0.06), np.log(0.5)
    share = jnp.exp((low + high) / 2 + (high - low) / (2 * 1.6449) * numpyro.sample("z_root", dist.Normal(0, 1)))
    alpha = numpyro.sample("alpha", dist.Uniform(0, 1))
    of_platform, of_channel = np.eye(len(platforms))[to_platform], np.eye(len(channels))[to_channel]

    def divide(level, parent, exposure):
        "What children get of what their parents bring: in proportion to exposure^alpha exp(deviation)."
        tau = numpyro.sample(f"tau_{level}", dist.HalfNormal(0.8))
        parts = exposure**alpha * jnp.exp(tau * normal(f"z_{level}", len(exposure)))
        family = np.eye(len(parent))[{"channel": np.zeros(len(channels), int), "platform": to_channel, "tactical": to_platform}[level]]
        return (family @ parent) * parts / (family @ (family.T @ parts))

    exposure = data["mean"]
    channel = divide("channel", share[None], exposure @ of_platform @ of_channel)
    platform = divide("platform", channel, exposure @ of_platform)
    total = divide("tactical", platform, exposure) * np.abs(y).mean() / y.std()  # in an average period, in sd of y

    size = total / response.mean(axis=0)  # an ordinary period
    media = size * response
    intercept = numpyro.sample("beta0", dist.Normal(0, 2))
    gamma, waves = normal("gamma", K), data["season_sd"] * normal("z_season", 4)
    steps = data["step_sd"] * normal("z_steps", data["steps"].shape[1])
    sigma = numpyro.sample("sigma_star", dist.HalfNormal(1))
    season, level = data["season"] @ waves, data["steps"] @ steps
    numpyro.sample("y", dist.Normal(intercept + (media - total).sum(axis=1) + data["Z_star"] @ gamma + season + level, sigma), obs=data["y_star"])

    w, up = data["w"], of_platform @ of_channel
    report({"decay": decay, "effect_channel": size @ up, "effect_platform": (size @ of_platform) / (w @ of_platform), "effect_tactical": size / w,
            "saturation_level": s, "intercept": intercept - total.sum(), "gamma": gamma, "sigma": sigma, "media": media, "size_exponent": alpha,
            "media_share": share, "past": ran} | {f"{part}_{when}": y.std() * values[t] for part, values in (("season", season), ("level", level))
                                     for when, t in WHEN.items()}, data)


def former(data, name):
    "Efficiencies of channels in standard deviations of the outcome, a baseline that stands still, no past."
    C, P, N, K = len(channels), len(platforms), len(tacticals), len(CONTROLS[name])

    tau_platform, tau_tactical = (numpyro.sample(f"tau_{level}", dist.HalfNormal(0.8)) for level in ("platform", "tactical"))
    log_channel = jnp.log(0.8) + normal("z_channel", C)
    log_platform = log_channel[to_channel] + tau_platform * normal("z_platform", P)
    log_tactical = log_platform[to_platform] + tau_tactical * normal("z_tactical", N)

    decay = decays()
    s, response = responses(data, decay)
    media = jnp.exp(log_tactical) * data["w"] * response
    intercept = numpyro.sample("beta0", dist.Normal(0, 2))
    gamma = numpyro.sample("gamma", dist.Normal(0, 1).expand([K]).to_event(1))
    sigma = numpyro.sample("sigma_star", dist.HalfNormal(1))
    mean = intercept + media.sum(axis=1) + data["Z_star"] @ gamma
    noise = {}
    if name == "former":
        numpyro.sample("y", dist.Normal(mean, sigma), obs=data["y_star"])
    else:  # student_t errors with a memory: the innovations are Student's t, the first residual has the stationary scale
        nu, phi = numpyro.sample("nu_", dist.Gamma(2, 0.1)), jnp.tanh(numpyro.sample("v", dist.Normal(0, 0.5)))
        residual = data["y_star"] - mean
        numpyro.sample("first", dist.StudentT(nu, 0, sigma / jnp.sqrt(1 - phi**2)), obs=residual[0])
        numpyro.sample("later", dist.StudentT(nu, phi * residual[:-1], sigma), obs=residual[1:])
        noise = {"nu": nu, "phi": phi}

    report({"decay": decay, "effect_channel": jnp.exp(log_channel), "effect_platform": jnp.exp(log_platform),
            "effect_tactical": jnp.exp(log_tactical), "saturation_level": s, "intercept": intercept, "gamma": gamma, "sigma": sigma,
            "media": media} | noise, data)


WHEN = {"first": 0, "middle": 40, "last": -1}  # periods at which the moving baseline is reported
MODELS = {"default": default, "former": former, "rough": former}
NODES = {"decay": tacticals, "effect_channel": channels, "effect_platform": platforms, "effect_tactical": tacticals,
         "saturation_level": tacticals, "contribution_tactical": tacticals, "contribution_channel": channels}


def summary(draws, controls):
    "One row a quantity, from draws [chain, draw]."
    rows, nodes = {}, NODES | {"control_effect": controls}
    nodes |= {f"{part}_{when}": [when] for part in ("season", "level") for when in WHEN}
    for name, values in draws.items():
        for k, node in enumerate(nodes.get(name, [""])):
            v = values[..., k] if values.ndim == 3 else values
            name = name.removesuffix(f"_{node}")
            rows[f"{name}[{node}]" if node else name] = {
                "mean": v.mean(), "sd": v.std(), "mcse_mean": az.mcse(v, method="mean"), "mcse_sd": az.mcse(v, method="sd"),
                **{f"q{q}": np.quantile(v, q / 100) for q in (5, 25, 50, 75, 95)},
                "ess_bulk": az.ess(v, method="bulk"), "ess_tail": az.ess(v, method="tail", prob=(0.05, 0.95)), "rhat": az.rhat(v)}
    return pd.DataFrame(rows).T.rename_axis("quantity")


if __name__ == "__main__":
    name, started = sys.argv[1], time.time()
    data, (warmup, draws_kept, target) = read(name), SETTINGS[name]
    check_adstock(data["x"], data["before"])
    mcmc = MCMC(NUTS(MODELS[name], target_accept_prob=target, dense_mass=name == "default"), num_warmup=warmup, num_samples=draws_kept, num_chains=CHAINS,
                chain_method="parallel", progress_bar=False)
    mcmc.run(jax.random.PRNGKey(SEED), data, name, extra_fields=("diverging", "num_steps"))
    draws = {key.removeprefix("report_"): np.asarray(v) for key, v in mcmc.get_samples(group_by_chain=True).items() if key.startswith("report_")}
    extra, table = mcmc.get_extra_fields(), summary(draws, CONTROLS[name])
    table.astype(float).map(lambda v: float(f"{v:.7g}")).to_csv(HERE / f"{name}.csv")
    made = {"data": WORLDS[name], "numpyro": numpyro.__version__, "jax": jax.__version__, "arviz": az.__version__, "chains": CHAINS, "warmup": warmup,
            "draws": draws_kept, "target_accept": target, "seed": SEED, "divergences": int(extra["diverging"].sum()),
            "largest_rhat": round(float(table["rhat"].max()), 5), "smallest_ess_bulk": round(float(table["ess_bulk"].min())),
            "smallest_ess_tail": round(float(table["ess_tail"].min()))}
    (HERE / f"{name}.json").write_text(json.dumps(made, indent=2) + "\n")
    print(made, "mean steps", extra["num_steps"].mean(), f"{time.time() - started:.0f} s")
