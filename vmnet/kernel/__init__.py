"""The room that touches the kernel and decides nothing."""
