"""An estimate without a probe: what ``python -m minimind estimate … --json`` prints, driven by its --seed."""

from __future__ import annotations

import json
import sys
import time

seed = int(sys.argv[sys.argv.index("--seed") + 1])
if seed == 7:
    print("minimind: stories.jsonl, line 3: not JSON \x1b]52;c;aGk=\x07[/]", file=sys.stderr)
    sys.exit(2)
if seed == 8:
    time.sleep(600)
if seed == 9:
    print("a library says hello")
    sys.exit(0)
objective = sys.argv[2]
print("a library says hello")
print(
    json.dumps(
        {
            "tokens_per_second": 12_345.6,
            "steps": 812 if objective == "pretrain" else 99,
            "seconds_low": 118.0,
            "seconds_high": 150.0,
            "peak_memory_bytes": 310_000_000,
            "disk_bytes": 68_000_000 if seed != 10 else 10**18,
            "parameters": 1_050_000,
            "tokens": 3_300_000,
            "device": "cpu",
            "dtype": "float32",
            "cost": 1.234 if seed == 12 else None,
            "currency": "CNY",
        }
    )
)
