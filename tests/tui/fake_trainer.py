"""A trainer without a model: records steps, saves, pauses and stops as it is asked. Run by the real shim."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from minimind.events import Mark, Progress, Sample
from minimind.training.runs import Recorder, RunView
from tests.tui.fake_runs import make_checkpoint, scalars


def main(directory: Path) -> None:
    view = RunView(directory)
    total = view.config.steps or 100
    saved = [checkpoint.step for checkpoint in view.checkpoints()]
    step = max(saved, default=0)
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", step))
        saves = recorder.control().save
        while step < total:
            control = recorder.control()
            if control.want == "pause":
                recorder.record(Mark("paused", step))
                while recorder.control().want == "pause":
                    time.sleep(0.02)
                recorder.record(Mark("resumed", step))
                continue
            if control.save > saves or control.want == "stop":
                saves = control.save
                make_checkpoint(directory, step)
                recorder.record(Mark("saved", step))
            if control.want == "stop":
                recorder.finish({"outcome": "stopped", "step": step})
                return
            step += 1
            recorder.record(scalars(step, total))
            recorder.record(Progress(step, total))
            recorder.record(Sample(step, "Once", f" at step {step}."))
            time.sleep(0.02)
        make_checkpoint(directory, step)
        recorder.finish({"outcome": "finished", "step": step})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
