"""Seeing a binding and the guest behind it: status, what is waited for, the last frames, a bundle for support."""
