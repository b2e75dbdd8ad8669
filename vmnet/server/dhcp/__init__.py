"""IPv4: from a request to a reply. Part of the resident process."""
