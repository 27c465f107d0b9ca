"""Other networks out of the same one, made from outside: the network itself has no switches.

Experiments compare what a part is good for by taking it out or moving it; a learner puts their own part in and trains.
Every function changes `model` in place. Parameters that stay keep their names and their tensors.

    norms          another norm, or none
    positions      no positions, learned ones, sinusoids, ALiBi in place of the rotation
    rotation       somebody else's function in place of the rotation
    attention      no causal mask, no scaling, shared projections
    cores          a function in place of what attention computes
    feed_forward   other activations and widths, or none
    blocks         no residual connection, another order, norms elsewhere, a part left out
    arrangement    which of these go together
    parts          a learner's own module in place of the model's
"""
