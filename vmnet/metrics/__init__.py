"""What the servers count, for Prometheus."""
