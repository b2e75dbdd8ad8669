"""The agent's end of the server: its sockets, its start and end, what it is asked and what it reports."""
