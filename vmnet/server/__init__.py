"""The process that stays beside the guest: its sockets, its loop, its sandbox, and what becomes of each frame."""
