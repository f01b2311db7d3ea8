"""Measurement: cost, reach, intervals over seeds."""
