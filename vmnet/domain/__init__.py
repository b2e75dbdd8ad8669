"""libvirt's domain XML: read, spliced, and what it wishes. Pure."""
