"""What controlled experiments are made of, so that a learner can read the experiment itself.

tiny        small models of our own network, and the sizes the course calls T0, T1 and T2
text        bytes to train on and bytes held out, from the embedded corpus
floors      what predictors reach that know only byte frequencies, pairs or triples
arms        several networks trained side by side: same seeds, same batches, one difference
races       a race on text: arms, floors, curves and a table of results
switches    every switch of a small model, and what differs between two settings (no torch)
tasks       synthetic tasks whose best possible answer is known
attention   what the heads of a trained network look at
feed_forward  the middle of a feed-forward, sublayers and neurons silenced, networks that learn facts
stages      several trainings with one progress
lengths     losses place by place, inside and beyond the trained length
verdicts    from numbers of several seeds to supported, refuted or inconclusive
"""
