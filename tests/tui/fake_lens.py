"""Samples without a tokenizer: what ``python -m minimind lens … --json`` prints, driven by its --seed."""

from __future__ import annotations

import json
import sys

seed = int(sys.argv[sys.argv.index("--seed") + 1])
first = int(sys.argv[sys.argv.index("--sample") + 1])
if seed == 7:
    print("minimind: pairs.jsonl, line 3: not JSON \x1b]52;c;aGk=\x07[/]", file=sys.stderr)
    sys.exit(2)
print("a library says hello")
for sample in range(first, min(first + 20, 26)):
    side = {
        "ids": [1, 70, 71, 72],
        "texts": ["<|im_start|>", f"word{sample}", "\x1b[2J[/]⏎", "尾"],
        "states": "rttc",
        "special": [True, False, False, False],
    }
    names = ("chosen", "rejected") if sys.argv[2] == "dpo" else ("",)
    print(
        json.dumps(
            {
                "kind": "sft",
                "sample": sample,
                "count": 25,
                "sequence_length": 256,
                "used": sample != 2,
                "sides": [side | {"name": name} for name in names],
            }
        )
    )
