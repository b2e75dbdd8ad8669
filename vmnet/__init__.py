"""vmnet hands a pod's network identity to the virtual machine inside it."""

__version__ = "0.1.0"
