"""Tests, in rooms by what they need: unit, netns, vm, bench."""
