"""How the pod's NIC is joined to the tap: links, names, isolation rules. Pure."""
