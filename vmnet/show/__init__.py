"""How vmnet speaks: log lines, outlines, the terminal, systemd's and Kubernetes' places for a last word."""
