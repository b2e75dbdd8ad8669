"""The protocols of callers: `vmnet run`, libvirt's, KubeVirt's. A door knows no networks."""
