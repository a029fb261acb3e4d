"""Precision: Bayesian marketing mix modelling of channels, platforms and tacticals."""
__version__ = "0.1.0"

import os
from importlib import import_module

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow logs by itself (no GPU here, ...) is of no use to an analyst

_HOME = {
    "Hierarchy": "hierarchy", "build_hierarchy": "hierarchy", "PrecisionError": "errors",
    "PrecisionWarning": "errors",
    "Priors": "priors", "LiftTest": "experiments", "CostTarget": "experiments", "Controls": "data",
    "Plan": "plans", "Limits": "limits", "Window": "limits",
    "TargetROI": "targets", "TargetMarginalROI": "targets", "Reach": "targets",
    "Test": "next_experiment",
    "Cautious": "risk",
    "load_example": "examples", "MMM": "model", "Fit": "model", "EnsembleResult": "ensemble",
}
__all__ = list(_HOME)


def __getattr__(name):
    # Loaded on first use: TensorFlow and ArviZ take seconds, a hierarchy takes none.
    if name not in _HOME:
        raise AttributeError(f"module 'precision' has no attribute {name!r}")
    if _HOME[name] not in ("errors", "hierarchy", "examples"):
        import_module("tensorflow_probability")  # before TensorFlow: then it loads only what is asked for
    return getattr(import_module(f"precision.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
