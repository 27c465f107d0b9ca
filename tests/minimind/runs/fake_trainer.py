"""A trainer without a network: steps, records, obeys, saves and leaves as a real one does, in milliseconds.

Usage: fake_trainer.py RUN_DIRECTORY [BEHAVIOUR=VALUE …] with
steps=N            finish after N steps (default 1,000,000)
seconds=S          of one step (default 0.005)
deaf=1             ignore SIGTERM and every wish
die=STATUS         leave with this status at step 3, after a line to stderr and without a verdict
children=N         start N grandchildren in sessions of their own
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from minimind.events import Mark, Scalars
from minimind.training.recorder import Recorder


class Trainer:
    def __init__(self, directory: Path, behaviour: dict[str, str]) -> None:
        self.directory = directory
        self.behaviour = behaviour
        self.terminated = False
        self.saved = 0
        signal.signal(signal.SIGTERM, self.on_terminate)

    def on_terminate(self, number: int, frame: object) -> None:
        self.terminated = not self.behaviour.get("deaf")

    def train(self) -> None:
        checkpoint = self.directory / "state.json"
        step = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        for _ in range(int(self.behaviour.get("children", 0))):
            subprocess.Popen(["sleep", "300"], start_new_session=True)
        with Recorder(self.directory) as recorder:
            recorder.record(Mark("started", step))
            while step < int(self.behaviour.get("steps", 1_000_000)):
                if self.asked_to_leave(recorder, step):
                    checkpoint.write_text(json.dumps(step))
                    recorder.record(Mark("ended", step))
                    recorder.finish({"outcome": "stopped", "step": step})
                    return
                time.sleep(float(self.behaviour.get("seconds", 0.005)))
                step += 1
                recorder.record(Scalars(step, {"loss": 10 / step}))
                if step == 3 and "die" in self.behaviour:
                    print("ValueError: made to fail \x1b[31m", file=sys.stderr)
                    os._exit(int(self.behaviour["die"]))
            recorder.record(Mark("ended", step))
            recorder.finish({"outcome": "finished", "step": step})

    def asked_to_leave(self, recorder: Recorder, step: int) -> bool:
        if self.behaviour.get("deaf"):
            return False
        control = recorder.control()
        if control.save > self.saved:
            self.saved = control.save
            recorder.record(Mark("saved", step))
        if control.want == "pause":
            recorder.record(Mark("paused", step))
            while control.want == "pause" and not self.terminated:
                time.sleep(0.005)
                control = recorder.control()
            recorder.record(Mark("resumed", step))
        return control.want == "stop" or self.terminated


if __name__ == "__main__":
    Trainer(Path(sys.argv[1]), dict(argument.split("=") for argument in sys.argv[2:])).train()
