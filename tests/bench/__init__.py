"""Measurements: ratios of things measured side by side in one run, beside their targets; nothing asserts."""
