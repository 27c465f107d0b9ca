"""Tools a model may call: what there is, how a call is read from its text, and what comes back. No torch."""
