"""The fuzz target, and the test that runs it beside all others."""
