"""What outlives a process: journal, its schema, the note on the NIC, and what of it may be believed."""
