"""The deciding room."""
