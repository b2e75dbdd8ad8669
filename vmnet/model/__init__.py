"""The facts vmnet speaks of, in the field's words: plain frozen values and what is read off them. Pure."""
