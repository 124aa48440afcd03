"""Measured values as pictures that explain themselves; the one place that draws charts."""
