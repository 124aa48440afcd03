"""Calibration methods by name: one function and one row each."""

from edgeseg.calibrate.choice import METHODS, Chosen, Method, method_from_text
from edgeseg.calibrate.coverage import Coverage, coverage_of
from edgeseg.calibrate.observe import Observer

__all__ = ["METHODS", "Chosen", "Coverage", "Method", "Observer", "coverage_of", "method_from_text"]
