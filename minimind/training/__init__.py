"""Batches to weights: the loop, its objectives, checkpoints, and the supervision of runs."""
