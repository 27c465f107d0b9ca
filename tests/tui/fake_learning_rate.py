"""A range test without training: what ``python -m minimind find-learning-rate … --json`` prints, driven by its --seed."""

from __future__ import annotations

import json
import sys

seed = int(sys.argv[sys.argv.index("--seed") + 1])
if seed == 7:
    print("minimind: the loss blew up after 3 updates \x1b]52;c;aGk=\x07[/]", file=sys.stderr)
    sys.exit(2)
print("a library says hello")
if seed == 9:
    sys.exit(0)
print(json.dumps({"kind": "note", "text": {"en": "learning_rate 0.0042: because", "zh": "建议 0.0042"}}))
print(json.dumps({"kind": "suggestion", "learning_rate": 0.0041999, "suggested": 0.0041999}))
