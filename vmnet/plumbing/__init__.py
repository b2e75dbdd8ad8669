"""The room that decides and touches nothing: plain values in, plain values out."""
