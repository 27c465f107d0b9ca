"""The guards: numbers gone astray, batches without a counted token, checkpoints that cannot be saved."""

from __future__ import annotations

import errno
import math
import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind.config import OBJECTIVES
from minimind.data.packing import IGNORED, Batch, Position
from minimind.events import Alert, Mark, Note
from minimind.training import checkpoint, loop
from minimind.training.control import Control
from minimind.training.guards import MOST_ROLLBACKS, WINDOW, Guards
from minimind.training.job import Job
from minimind.training.loop import Trainer
from minimind.training.update import Update, Updater
from tests.minimind.training.listening import Listener, MakeTrainer, assert_same, needs, stop_after, weights

Change = Callable[[Position, Tensor, dict[str, float]], tuple[Tensor, dict[str, float]]]


def change_losses(trainer: Trainer, change: Change) -> None:
    """Let what the loss of a training batch is depend on where in the data it stands."""
    objective = trainer.updater.objective

    class Changed(type(objective)):  # type: ignore[misc]
        def loss(self, model: Any, batch: Batch) -> Any:
            loss, scalars = super().loss(model, batch)
            return change(batch.position, loss, scalars) if torch.is_grad_enabled() else (loss, scalars)

    objective.__class__ = Changed


def poison(trainer: Trainer, rows: Collection[int], factor: float = math.nan) -> None:
    """Multiply the loss of the batches that end at these rows of the first window by `factor`."""

    def change(position: Position, loss: Tensor, scalars: dict[str, float]) -> tuple[Tensor, dict[str, float]]:
        astray = position.epoch == position.window == 0 and position.row in rows
        return (loss * factor, {"loss": scalars["loss"] * factor}) if astray else (loss, scalars)

    change_losses(trainer, change)


def alerts(listener: Listener) -> list[Alert]:
    return [event for event in listener.events if isinstance(event, Alert)]


def test_one_update_that_is_no_number_is_left_out(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path)
    poison(trainer, {8, 10, 18})  # two rows a step
    assert trainer.run().outcome == "finished"
    assert [(alert.code, alert.level, alert.step) for alert in alerts(listener)] == [
        ("not-finite", "warning", step) for step in (4, 5, 9)
    ]
    assert trainer.updater.optimizer.finite()
    assert math.isnan(listener.series("loss")[4])


def test_three_in_a_row_go_back_and_resuming_changes_nothing(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Back at step 5 with half the rate and the data that follow; the same to the last bit however it is interrupted."""

    def make(name: str) -> tuple[Trainer, Listener]:
        trainer, listener = make_trainer(tmp_path / name, keep_checkpoints=1)
        poison(trainer, {14, 16, 18})
        return trainer, listener

    straight, heard = make("straight")
    assert straight.run().outcome == "finished"
    back = [(alert.code, alert.step) for alert in alerts(heard)]
    assert back == [("not-finite", 7), ("not-finite", 8), ("rolled-back", 9)]
    text = alerts(heard)[-1].text
    assert "goes back to step 5" in text.en
    assert "第 5 步" in text.zh
    assert heard.marks("rolled-back") == [5]
    guards = straight.state.guards
    assert (guards.rollbacks, guards.rate_share, guards.not_finite) == (1, 0.5, 0)
    assert straight.updater.optimizer.peak == straight.config.learning_rate / 2
    assert straight.state.position == Position(0, 0, 2 * (9 + 7))  # 9 updates' rows, and 7 after going back
    before, after = heard.learning_rates(6)
    assert after == pytest.approx(before / 2)

    for stop in (2, 6, 8, 99):  # the third start goes back, saves at 10 and is then let finish
        trainer, listener = make("interrupted")
        listener.wish = stop_after(stop)
        trainer.run()
        random.seed(0)
    assert_same(weights(trainer), weights(straight))
    assert replace(trainer.state, seconds=0.0) == replace(straight.state, seconds=0.0)


def test_what_never_heals_ends_the_run_and_keeps_the_last_good_checkpoint(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer, listener = make_trainer(tmp_path, steps=40)
    poison(trainer, range(14, 10_000))
    verdict = trainer.run()
    assert (verdict.outcome, alerts(listener)[-1].code) == ("failed", "diverged")
    assert f"after going back {MOST_ROLLBACKS} times" in verdict.text.en
    assert "learning_rate" in verdict.text.zh
    assert checkpoint.steps(tmp_path) == [0]
    assert listener.marks("rolled-back") == [5, 0, 0], "one that gave no healthy update is not trusted again"
    rates = [float(alert.text.en.partition("peak ")[2].partition(")")[0]) for alert in alerts(listener)[2:-1:3]]
    assert rates == pytest.approx([1.5e-3, 7.5e-4, 3.75e-4])
    assert alerts(listener)[-1].level == "error"


def test_without_checkpoints_there_is_nothing_to_go_back_to(make_trainer: MakeTrainer) -> None:
    trainer, _ = make_trainer()
    poison(trainer, {14, 16, 18})
    verdict = trainer.run()
    assert (verdict.outcome, verdict.step) == ("failed", 9)
    assert "step 9" in verdict.text.en


def test_weights_that_are_no_numbers_are_never_saved(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path)
    original, wrecked = trainer.updater.optimizer.step, []

    def step(share: float) -> None:
        original(share)
        if trainer.state.step == 9 and not wrecked:
            wrecked.append(True)
            with torch.no_grad():
                trainer.job.model.model.norm.weight.fill_(math.inf)

    trainer.updater.optimizer.step = step  # type: ignore[method-assign]
    assert trainer.run().outcome == "finished"
    assert listener.marks("rolled-back") == [5]
    assert "weights" in alerts(listener)[0].text.en
    assert trainer.updater.optimizer.finite()
    assert checkpoint.steps(tmp_path) == [0, 5, 10, 12]


def test_a_spike_that_stays_goes_back_before_it(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path, steps=40)
    poison(trainer, range(2 * 26, 2 * 40), factor=4.0)  # from step 26 on, until it has been left behind
    assert trainer.run().outcome == "finished"
    told = alerts(listener)
    assert (told[0].code, told[0].step) == ("rolled-back", 30)
    assert "jumped" in told[0].text.en
    assert "突然升高" in told[0].text.zh
    assert listener.marks("rolled-back")[0] == 20  # the one of step 25 had not yet given a healthy update


def update(loss: float, norm: float = 1.0, weight: float = 10.0, *, applied: bool = True) -> Update:
    return Update(applied, {"loss": loss}, norm, 1e-3, 100, 0.1, Position(), 90, 0.0, weight)


def judged(losses: list[float], norms: list[float] | None = None) -> Guards:
    guards = Guards()
    for step, loss in enumerate(losses):
        guards.judge(step + 1, update(loss, norms[step] if norms else 1.0))
        if guards.must_go_back:
            break
    return guards


def healthy_curve(steps: int, noise: float, seed: int = 1) -> list[float]:
    chance = random.Random(seed)
    return [1.5 + 6 * math.exp(-step / 60) + chance.gauss(0, noise) for step in range(steps)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
def test_healthy_curves_are_left_alone(noise: float, seed: int) -> None:
    chance = random.Random(seed)
    losses = healthy_curve(2000, noise, seed)
    norms = [math.exp(chance.gauss(0, 0.4)) for _ in losses]
    for step in range(200, 2000, 97):  # single outliers, with the gradient they bring
        losses[step], norms[step] = losses[step] + 5, 10.0
    assert not judged(losses, norms).must_go_back


def test_other_data_are_no_spike() -> None:
    """The loss goes up for good, the gradients stay as they are."""
    losses = healthy_curve(300, 0.02)
    assert not judged(losses + [loss + 3 for loss in losses]).must_go_back


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_divergence_is_found_within_a_few_updates(noise: float) -> None:
    losses = healthy_curve(300, noise)
    rising = [losses[-1] + 0.8 * step for step in range(1, 30)]
    guards = judged(losses + rising, [1.0] * 300 + [5.0] * 29)
    assert guards.must_go_back
    assert 297 <= guards.healthy_step <= 301
    assert len(guards.losses) == WINDOW
    assert Guards(**asdict(guards)) == guards


def test_the_fall_of_a_young_run_is_no_spike() -> None:
    assert not judged([7.6, 9.0, 11.0, 12.0, 11.5, 10.0, 9.0], [1, 9, 9, 9, 9, 9, 9]).must_go_back


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_batch_without_a_counted_token_gives_no_nan(objective: str, make_job: Callable[..., Job]) -> None:
    """By itself: the loss is finite and so is every gradient. Among others: it changes nothing but the mean."""
    job = make_job(**needs(objective))
    updater = Updater(job)
    batch = next(updater._batches)
    empty = replace(batch, labels=torch.full_like(batch.labels, IGNORED))
    loss, scalars = updater.objective.loss(updater.working, empty)
    (loss * 0.0).backward()  # type: ignore[no-untyped-call]
    updater.optimizer.collect()
    assert all(map(math.isfinite, [float(loss.detach()), *scalars.values()]))
    assert math.isfinite(updater.optimizer.clip_gradients())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_updates_without_a_counted_token_are_left_out(objective: str, make_trainer: MakeTrainer) -> None:
    trainer, listener = make_trainer(**needs(objective), steps=6, accumulation_steps=2)
    mask_rows(trainer, {8, 12, 14, 16, 18, 20})  # four rows a step: half of steps 2 and 3, all of 4 and 5
    assert trainer.run().outcome == "finished"
    losses = listener.series("loss")
    expected = {1, 2, 3, 6} if objective in ("pretrain", "sft") else set(losses)
    assert set(losses) == expected
    assert all(map(math.isfinite, losses.values()))
    if trainer.state.guards.empty:
        assert [(alert.code, alert.step) for alert in alerts(listener)] == [("nothing-counts", 4)]
    assert trainer.updater.optimizer.finite()


def mask_rows(trainer: Trainer, rows: Collection[int]) -> None:
    """Let no label count in the batches that end at these rows of the first window."""
    objective = trainer.updater.objective

    class Masked(type(objective)):  # type: ignore[misc]
        def batches(self, *arguments: Any, **options: Any) -> Iterator[Batch]:
            for batch in super().batches(*arguments, **options):
                hide = batch.position.window == 0 and batch.position.row in rows
                yield replace(batch, labels=torch.full_like(batch.labels, IGNORED)) if hide else batch

    objective.__class__ = Masked
    trainer.updater.seek(None)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(loop, "_FIRST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_LAST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(loop.time, "sleep", lambda _seconds: None)


class Disk:
    """A disk on which a person frees some space, or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, refuses: Callable[[int], bool]) -> None:
        self.tries = 0
        real = checkpoint._fill

        def fill(directory: Path, step: int, files: Any) -> None:
            self.tries += 1
            if refuses(self.tries):
                raise OSError(number, "full" if number == errno.ENOSPC else "read-only")
            real(directory, step, files)

        monkeypatch.setattr(checkpoint, "_fill", fill)


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EROFS, "save-failed")])
@pytest.mark.usefixtures("no_waiting")
def test_a_disk_that_takes_nothing_pauses_the_run_until_it_does(
    number: int, code: str, make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, listener = make_trainer(tmp_path, save_every=4)
    disk = Disk(monkeypatch, number, lambda tries: 2 <= tries <= 20)
    assert trainer.run().outcome == "finished"
    assert disk.tries == 23
    assert [(alert.code, alert.step) for alert in alerts(listener)] == [(code, 4)], "said once, however often tried"
    assert listener.marks("saved") == [0, 4, 8, 12]
    assert Mark("paused", 4, {"reason": code}) in listener.events
    assert listener.marks("resumed") == [4]


@pytest.mark.usefixtures("no_waiting")
def test_a_person_may_go_on_without_saving(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, listener = make_trainer(tmp_path, save_every=4)
    disk = Disk(monkeypatch, errno.ENOSPC, lambda tries: 2 <= tries <= 9)
    listener.wish = lambda step: Control(go_on=1 if disk.tries >= 5 else 0)
    assert trainer.run().outcome == "finished"
    assert listener.marks("paused") == [4, 8]
    assert listener.marks("saved") == [0, 8, 12]


@pytest.mark.usefixtures("no_waiting")
def test_a_run_told_to_stop_while_it_waits_for_room_says_what_is_lost(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, listener = make_trainer(tmp_path, save_every=4)
    disk = Disk(monkeypatch, errno.ENOSPC, lambda tries: tries >= 3)
    listener.wish = lambda step: Control(want="stop" if disk.tries > 6 else "run")
    verdict = trainer.run()
    assert verdict.outcome == "failed"
    assert "full" in verdict.text.en
    told = [event.kind for event in listener.events if isinstance(event, (Alert, Note))]
    assert told == ["alert", "note"], "said once, however often it is tried"
    assert checkpoint.steps(tmp_path) == [0, 4]


@pytest.mark.usefixtures("no_waiting")
def test_the_last_checkpoint_is_waited_for(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, listener = make_trainer(tmp_path, steps=2)
    Disk(monkeypatch, errno.ENOSPC, lambda tries: 2 <= tries <= 30)
    assert trainer.run().outcome == "finished"
    assert listener.marks("saved") == [0, 2]


def too_large(trainer: Trainer, rows: int, error: Exception, *, nth: int = 1) -> list[int]:
    """Let the allocator fail where more than `rows` rows are trained at a time, from the `nth` time on."""
    objective = trainer.updater.objective
    sizes: list[int] = []

    class Large(type(objective)):  # type: ignore[misc]
        def loss(self, model: Any, batch: Batch) -> Any:
            if torch.is_grad_enabled():
                sizes.append(len(batch.tokens))
                if len(batch.tokens) > rows and len(sizes) >= nth:
                    raise error
            return super().loss(model, batch)

    objective.__class__ = Large
    return sizes


CPU_ERROR = RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried")
GPU_ERROR = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")


@pytest.mark.parametrize("error", [CPU_ERROR, GPU_ERROR, MemoryError()])
def test_too_little_memory_halves_the_micro_batch_in_the_middle_of_an_update(
    error: Exception, make_job: Callable[..., Job], make_trainer: MakeTrainer
) -> None:
    """The same gradient, data and random numbers as in whole micro-batches; nothing of the first attempt is counted."""
    settings: dict[str, Any] = {"batch_size": 8, "accumulation_steps": 3, "steps": 2, "dtype": "bfloat16"}
    results = []
    for rows in (8, 2):
        trainer, listener = make_trainer(**settings)
        for module in trainer.updater.working.modules():
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0  # type: ignore[assignment]
        sizes = too_large(trainer, rows, error, nth=2)
        assert trainer.run().outcome == "finished"
        results.append((trainer, listener, sizes))
    (whole, heard, _), (pieces, listener, sizes) = results
    assert sizes == [8, 8, 4] + [2] * 12 + [2] * 12
    assert pieces.state.guards.parts == 4
    told = alerts(listener)
    assert [(alert.code, alert.step) for alert in told] == [("less-at-a-time", 1)]
    assert "from here on 2 at a time and 12 micro-steps" in told[0].text.en
    assert pieces.state.position == whole.state.position
    assert pieces.state.tokens == whole.state.tokens
    assert listener.series("loss")[1] == pytest.approx(heard.series("loss")[1], rel=1e-3)
    assert listener.series("gradient_norm")[1] == pytest.approx(heard.series("gradient_norm")[1], rel=2e-2)


def test_a_failed_attempt_leaves_no_trace(make_trainer: MakeTrainer) -> None:
    """Bit for bit as if the pieces had been small from the beginning, dropout included."""
    ends = []
    for parts in (1, 2):
        trainer, _ = make_trainer(batch_size=4, accumulation_steps=2, steps=3)
        trainer.updater.parts = trainer.state.guards.parts = parts
        too_large(trainer, 2, GPU_ERROR)
        assert trainer.run().outcome == "finished"
        ends.append(weights(trainer))
    assert_same(*ends)


def test_smaller_pieces_are_kept_by_a_resumed_run(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    def run(name: str, stop: int) -> tuple[Trainer, Listener, list[int]]:
        trainer, listener = make_trainer(tmp_path / name, batch_size=4)
        sizes = too_large(trainer, 2, CPU_ERROR, nth=4)
        listener.wish = stop_after(stop)
        trainer.run()
        return trainer, listener, sizes

    straight, _, _ = run("straight", 99)
    run("interrupted", 7)
    resumed, listener, sizes = run("interrupted", 99)
    assert set(sizes) == {2}
    assert not alerts(listener)
    assert_same(weights(resumed), weights(straight))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_belongs_together_is_not_cut(objective: str, make_job: Callable[..., Job]) -> None:
    """The loss of a batch is the weighted mean of its pieces' for every method, and one unit is given up on."""
    job = make_job(**needs(objective))
    updater = Updater(job)
    batch = next(updater._batches)
    updater.working.eval()
    updater.parts = len(batch.tokens) // job.objective.rows_together
    pieces = updater._pieces([(batch, job.objective.weight(batch))])
    assert len(pieces) == updater.parts
    with torch.no_grad():
        whole = job.objective.loss(updater.working, batch)[1]["loss"]
        parts = [job.objective.loss(updater.working, piece)[1]["loss"] for piece, _ in pieces]
    total = sum(weight for _, weight in pieces)
    assert total == pytest.approx(job.objective.weight(batch))
    mean = sum(loss * weight for loss, (_, weight) in zip(parts, pieces, strict=True)) / total
    assert mean == pytest.approx(whole, rel=1e-4, abs=1e-6)


def test_one_row_that_does_not_fit_ends_the_run(make_trainer: MakeTrainer) -> None:
    trainer, _ = make_trainer(batch_size=4)
    sizes = too_large(trainer, 0, MemoryError())
    with pytest.raises(MemoryError):
        trainer.run()
    assert sizes == [4, 2, 1]


def test_other_errors_are_not_taken_for_too_little_memory(make_trainer: MakeTrainer) -> None:
    trainer, _ = make_trainer(batch_size=4)
    sizes = too_large(trainer, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        trainer.run()
    assert sizes == [4]
