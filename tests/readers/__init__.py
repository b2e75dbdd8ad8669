"""What vmnet writes for other programs, read by these programs: shells, man, Mermaid, renderers. No root."""
