"""The rules by which a run's records are judged: one function a verdict, from what was recorded to a `Finding` or None."""
