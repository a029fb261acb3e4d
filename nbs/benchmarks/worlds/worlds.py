"Worlds that no candidate matches exactly: 12 tacticals in 4 channels, 156 weeks, carry-over cut at 8 weeks."
from dataclasses import dataclass

import numpy as np
import pandas as pd

from precision import build_hierarchy
from precision.simulate import control_series

TREE = {
    "tv": {"linear": ["linear_brand", "linear_offers"], "streaming": ["streaming_brand"]},
    "search": {"google": ["google_brand", "google_generic"], "bing": ["bing_generic"]},
    "social": {"meta": ["meta_prospecting", "meta_retargeting"], "tiktok": ["tiktok_prospecting"]},
    "display": {"dv360": ["dv360_prospecting", "dv360_retargeting", "dv360_video"]},
}
KINDS = {  # name: (do effects saturate?, are effects alike per unit of spend, instead of alike whatever was spent?)
    "A": (True, False),
    "B": (False, False),
    "C": (True, True),
}
PERIODS, LAGS, MEAN_OUTCOME = 156, 8, 800_000.0
CONTROLS = ["price", "promotion", "competitor", "season", "trend"]


@dataclass(frozen=True)
class World:
    "Data to fit, and the true contribution of every tactical in every week."
    hierarchy: object
    y: pd.Series            # [time]
    spend: pd.DataFrame     # [time, tactical]
    Z: pd.DataFrame         # [time, control]
    truth: pd.DataFrame     # [time, tactical], units of y

    def totals(self, level) -> pd.Series:
        "True contribution of every node of a level over all weeks; the level \"total\" has one node, all media."
        totals = self.truth.sum()
        if level == "total":
            return pd.Series({"media": totals.sum()})
        h = self.hierarchy
        return pd.Series(totals.to_numpy() @ h.matrix(h.levels[0], level), h.names[level])


def in_family(parent, rng, of_parent, own):
    "A number a leaf, [leaf]: a part that siblings share, with sd `of_parent`, and one of its own, with sd `own`."
    return rng.normal(0, of_parent, parent.max() + 1)[parent] + rng.normal(0, own, len(parent))


def draw_spend(parent, rng):
    "Weekly spend [T, N]: some channels always on, others in flights of four weeks; siblings move together, sizes differ."
    blocks = -(-PERIODS // 4)
    share_on = np.where(rng.random(parent.max() + 1) < 0.5, 1.0, rng.uniform(0.4, 0.9, parent.max() + 1))[parent]
    on = rng.random((blocks, len(parent))) < share_on
    on[rng.integers(blocks, size=2)] = True  # every line ran
    week = np.stack([in_family(parent, rng, 0.22, 0.28) for _ in range(PERIODS)])
    size = 20_000 * np.exp(in_family(parent, rng, 0.3, 0.7))
    return size * np.repeat(on, 4, axis=0)[:PERIODS] * np.exp(week)


def carried(spend, decay):
    "Geometric carry-over over eight weeks, weights summing to one: [T, N]."
    weights = decay ** np.arange(LAGS)[:, None]
    padded = np.concatenate([np.zeros((LAGS - 1, len(decay))), spend])
    return sum(w * padded[LAGS - 1 - k:len(padded) - k] for k, w in enumerate(weights / weights.sum(axis=0)))


def make_world(
    kind: str,   # "A", "B" or "C"
    seed: int,   # the same seed gives the three kinds the same plan, carry-over, controls and noise
) -> World:
    "One world of a kind."
    saturates, follows_spend = KINDS[kind]
    h = build_hierarchy(TREE)
    parent = h.parent_index("tactical", "channel")
    plan, media, other, noise = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
    dates = pd.date_range("2022-01-03", periods=PERIODS, freq="7D", name="date")

    spend = draw_spend(parent, plan)
    decay = np.clip(media.uniform(0.15, 0.6, parent.max() + 1)[parent] + media.normal(0, 0.1, len(parent)), 0.1, 0.8)
    rate = 3 * np.exp(media.normal(0, 0.35, len(parent)))
    a = carried(spend, decay) / spend.max(axis=0)
    response = (1 - np.exp(-rate * a)) / (1 + np.exp(-rate * a)) if saturates else a
    size = np.exp(in_family(parent, media, 0.4, 0.35)) * (spend.mean(axis=0) if follows_spend else 1)
    if follows_spend:
        size /= np.bincount(parent, spend.mean(axis=0))[parent]  # channels are alike again
    contributions = size * response
    contributions *= media.uniform(0.2, 0.5) * MEAN_OUTCOME / contributions.sum(axis=1).mean()

    Z, strength = control_series(CONTROLS, dates, other)
    strength *= np.exp(other.normal(0, 0.3, len(strength)))
    mean = contributions.sum(axis=1) + ((Z - Z.mean()) / Z.std(ddof=0) * strength * MEAN_OUTCOME).sum(axis=1)
    mean += MEAN_OUTCOME - mean.mean()
    r2 = noise.uniform(0.85, 0.92)
    y = mean + noise.normal(0, mean.std(ddof=0) * np.sqrt(1 / r2 - 1), PERIODS)
    frame = lambda values: pd.DataFrame(values, dates, h.names["tactical"])
    return World(h, y.rename("sales"), frame(spend), Z, frame(contributions))
