"""The checks of `vmnet doctor`: pure functions from the evidence to findings."""
