"""Calibration methods by name: one function and one row each."""

from edgeseg.calibrate.observe import Observer

METHODS = {
    "minmax": "edgeseg.calibrate.methods:minmax",
    "percentile": "edgeseg.calibrate.methods:percentile",
    "mse": "edgeseg.calibrate.methods:mse",
}

__all__ = ["METHODS", "Observer"]
