"""The image built by podman and run in a real CNI pod; the manifests, validated."""
