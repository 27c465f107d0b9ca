"""A queue runner whose runs are trained by the fake trainer, for as many steps as the environment says."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from minimind.training import launch, queue_runner

FAKE = Path(__file__).with_name("fake_trainer.py")


def fake_command(directory: Path, order: object = None) -> list[str]:
    steps = os.environ.get("FAKE_STEPS", "30")
    return [sys.executable, "-S", str(FAKE), str(directory), f"steps={steps}", "seconds=0.01"]


if __name__ == "__main__":
    launch.trainer_command = fake_command
    launch.afterwards_command = lambda directory: []  # it would wake a runner that trains in earnest
    sys.exit(0 if queue_runner.run_queue(0.05) else 3)
