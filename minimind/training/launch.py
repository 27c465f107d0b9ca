"""Start, resume and stop a run from a process that may be gone a moment later."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from minimind.errors import UserError
from minimind.hardware import available_cores
from minimind.safe_text import clean_line
from minimind.training import shim
from minimind.training.companions import afterwards_command, occasions, start_follower
from minimind.training.liveness import read_processes
from minimind.training.processes import is_alive, processes_with_variable, send_signal
from minimind.training.run_files import LOG, RUN_VARIABLE
from minimind.training.run_view import RunView
from minimind.training.runs import read_control, request

WISH_SECONDS = 5.0
GRACE_SECONDS = 30.0
_ANSWER_SECONDS = 60.0
_OF_TORCHRUN = frozenset({"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})


@dataclass(frozen=True, slots=True)
class Machines:
    """The machines that train a run together: how many, which one this is (0 … count-1), where the first is reached.

    `address` is HOST:PORT of the machine with index 0. All of them see the run's directory under the same path.
    """

    count: int = 1
    index: int = 0
    address: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """How a run is started, besides its own settings: the machines, and whether changed settings or data are allowed."""

    machines: Machines = Machines()
    allow_changes: bool = False


_AS_IT_IS = Order()


def launch(
    run_directory: Path | str,
    *,
    order: Order = _AS_IT_IS,
    command: Sequence[str] | None = None,
    wish_seconds: float = WISH_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Start a run that was never started; returns once its shim holds the lock and the trainer's process exists.

    `command` replaces the trainer (tests); it is never read from the run's files, which may come from a stranger.
    When asked to stop, the trainer gets SIGTERM after `wish_seconds` and SIGKILL `grace_seconds` later.
    Raises UserError for a run that lives or was started before, and where it cannot be started.
    """
    view = RunView(run_directory)
    status = view.status()
    if status.state != "created":
        raise UserError(
            f"{view.id}: was started before ({status.reason.en}): resume it instead",
            f"{view.id}：已经启动过（{status.reason.zh}）：请改用恢复",
        )
    _start(view, command or trainer_command(view.directory, order), wish_seconds, grace_seconds)


def resume(
    run_directory: Path | str,
    *,
    take_over: bool = False,
    order: Order = _AS_IT_IS,
    command: Sequence[str] | None = None,
    wish_seconds: float = WISH_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Start a run again; its trainer goes on from the newest valid checkpoint. Arguments as `launch`.

    Raises UserError for one that lives or is finished; for one started on another machine unless `take_over`.
    """
    view = RunView(run_directory)
    status = view.status()
    if status.live:
        raise _already_running(view)
    if status.state == "finished":
        raise UserError(
            f"{view.id}: is finished: start a new run from its checkpoint to train on",
            f"{view.id}：已经完成：若要继续训练，请以它的检查点新建一次训练",
        )
    if status.state == "elsewhere" and not take_over:
        raise UserError(
            f"{view.id}: {status.reason.en}: resume it there, or take it over if that machine is gone",
            f"{view.id}：{status.reason.zh}：请在那台机器上恢复；若那台机器已不在，可以接管",
        )
    _start(view, command or trainer_command(view.directory, order), wish_seconds, grace_seconds)


def join(run_directory: Path | str, order: Order) -> NoReturn:
    """Become one more machine's part of a run that the first machine starts; never returns.

    Raises UserError where there is no such run.
    """
    view = RunView(run_directory)
    command = trainer_command(view.directory, order)
    os.execve(command[0], command, trainer_environment(view.config.processes))


def stop(run_directory: Path | str, *, force: bool = False) -> None:
    """Ask a run to stop: it saves and leaves after the current step; what does not is ended by its shim later.

    Returns at once: the status tells how far it is. With `force` every process of the run is killed now, and the steps
    since the last checkpoint are lost. Raises UserError for a run that does not live.
    """
    view = RunView(run_directory)
    status = view.status()
    if not status.live:
        raise UserError(
            f"{view.id}: is not running ({status.reason.en})", f"{view.id}：没有在运行（{status.reason.zh}）"
        )
    request(view.directory, want="stop", force=force)
    processes = read_processes(view.directory)
    if processes is None or is_alive(processes.shim):
        return
    # Without its shim nobody would climb the ladder: SIGTERM means save and leave, force ends whatever is left.
    if force:
        for identity in processes_with_variable(RUN_VARIABLE, str(view.directory.resolve())):
            send_signal(identity, signal.SIGKILL)
    if processes.trainer is not None:
        send_signal(processes.trainer, signal.SIGKILL if force else signal.SIGTERM)


def trainer_command(directory: Path, order: Order = _AS_IT_IS) -> list[str]:
    """The command that trains: the same interpreter, with nothing taken from the working directory (-P).

    Where the run's settings ask for several processes, or there are several machines, torchrun starts them. On one
    machine it lets them begin again after a loss; on several the job's scheduler should (torchrun's own rendezvous
    was seen to hang there). Raises UserError for an unreadable run.
    """
    config, machines = RunView(directory).config, order.machines
    worker = ["-m", "minimind.training.worker", str(directory), *(["--allow-changes"] if order.allow_changes else [])]
    if config.processes == machines.count == 1:
        return [sys.executable, "-P", *worker]
    if machines.count == 1:
        place = ["--standalone", "--local-addr=127.0.0.1", f"--max-restarts={config.restarts}"]
    else:
        host, _, port = machines.address.rpartition(":")
        place = [f"--nnodes={machines.count}", f"--node-rank={machines.index}", "--max-restarts=0"]
        place += [f"--master-addr={host}", f"--master-port={port}"]
    torchrun = ["-m", "torch.distributed.run", *place, f"--nproc-per-node={config.processes}"]
    return [sys.executable, "-P", *torchrun, *worker]


def trainer_environment(processes: int = 1) -> dict[str, str]:
    """The environment of a trainer: ours (HF_*, CUDA_*, OMP_* …) without what belongs to the terminal's window.

    What may say that this very process is one of several is left out too: torchrun tells that to each of them anew. Of
    several `processes` each gets its part of the cores, unless OMP_NUM_THREADS says otherwise.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TEXTUAL", "TORCHELASTIC_")) and name not in _OF_TORCHRUN
    }
    environment["PYTHONUNBUFFERED"] = environment["PYTHONSAFEPATH"] = "1"
    if processes > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // processes)))
    package_root = Path(__file__).resolve().parents[2]
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if package_root not in installed:
        # Run from a source tree: the trainer must find the package from any working directory.
        found = [str(package_root), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(found)
    return environment


def _already_running(view: RunView) -> UserError:
    return UserError(f"{view.id}: is already running", f"{view.id}：已经在运行")


def _start(view: RunView, command: Sequence[str], wish_seconds: float, grace_seconds: float) -> None:
    """Start the shim and wait for its answer. Raises UserError for any answer but yes."""
    directory = view.directory
    read_end, write_end = os.pipe()
    try:
        order = shim.ShimOrder(
            directory=str(directory),
            command=list(command),
            working_directory=_working_directory(view),
            ready=write_end,
            control_sequence=read_control(directory).sequence,
            wish_seconds=wish_seconds,
            grace_seconds=grace_seconds,
            afterwards=afterwards_command(directory),
            occasions=occasions(),
        )
        try:
            _start_shim(order, view.config.processes)
        finally:
            os.close(write_end)
        answer = _read_answer(read_end)
    except OSError as error:
        raise _cannot_start(view, str(error)) from None
    finally:
        os.close(read_end)
    if answer == shim.BUSY:
        raise _already_running(view)
    if answer != shim.READY:
        problem = answer.removeprefix(shim.FAILED).decode("utf-8", "replace")
        raise _cannot_start(view, problem or next(iter(view.log_tail(1)), "no answer"))
    start_follower(directory, trainer_environment())


def _start_shim(order: shim.ShimOrder, processes: int) -> None:
    """Run the shim's script; its first process leaves at once, the shim itself is adopted by init. Raises OSError."""
    directory = Path(order.directory)
    # What the shim itself may have to complain of goes where a person would look.
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", shim.__file__, json.dumps(order._asdict())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=trainer_environment(processes),
            pass_fds=(order.ready,),
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(log)


def _read_answer(descriptor: int) -> bytes:
    """What the shim says before it closes its end; empty if it dies or says nothing in time."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    answer = b""
    poller = select.poll()  # select() knows only the first 1,024 descriptors, and a window may have more
    poller.register(descriptor, select.POLLIN)
    while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
        piece = os.read(descriptor, 4096)
        if not piece:
            break
        answer += piece
    return answer


def _cannot_start(view: RunView, problem: str) -> UserError:
    said = clean_line(problem, 300)
    return UserError(f"{view.id}: cannot be started: {said}", f"{view.id}：无法启动：{said}")


def _working_directory(view: RunView) -> str:
    """Where relative paths of the run's configuration start: the directory in which it was asked for."""
    asked_in = view.request.get("working_directory")
    return asked_in if isinstance(asked_in, str) and Path(asked_in).is_dir() else str(view.directory)
