"""Measurements: ratios of things measured side by side in one run, printed beside their targets; nothing asserts."""
