"""Seeing a binding and the guest behind it: status, probe, wait, doctor, capture, bundle, drawings."""
