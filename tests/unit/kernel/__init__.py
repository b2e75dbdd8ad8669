"""The few things of the room `kernel` that need no kernel."""
