"""libvirt's protocols: its hook, and a domain that `vmnet launch` starts and looks after."""
