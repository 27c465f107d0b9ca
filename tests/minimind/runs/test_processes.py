"""A pid is not a process: identities, zombies, signals, and the kernel's counters of kills for memory."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minimind.training import processes
from minimind.training.oom_kills import OomKills, count_oom_kills
from minimind.training.processes import children_of, identify, identity_from, is_alive, process_stat, send_signal


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_its_start_not_by_its_pid(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identify(sleeper.pid)
    assert is_alive(identity)
    later = identity._replace(start=str(int(identity.start) + 5))
    assert not is_alive(later)
    assert not send_signal(later, signal.SIGKILL)
    assert sleeper.poll() is None
    assert send_signal(identity, signal.SIGKILL)
    assert sleeper.wait() == -signal.SIGKILL


@pytest.mark.parametrize("field", ["boot", "host", "namespace"])
def test_a_process_of_another_boot_host_or_container_gets_no_signal(
    sleeper: subprocess.Popen[bytes], field: str
) -> None:
    foreign = identify(sleeper.pid)._replace(**{field: "other"})
    assert not is_alive(foreign)
    assert not send_signal(foreign, signal.SIGKILL)
    assert not send_signal(foreign, signal.SIGKILL, group=True)
    assert sleeper.poll() is None


def test_a_zombie_is_dead(sleeper: subprocess.Popen[bytes], until) -> None:
    identity = identify(sleeper.pid)
    sleeper.send_signal(signal.SIGKILL)
    until(lambda: not is_alive(identity))
    os.kill(sleeper.pid, 0)  # which alone would call it alive
    stat = process_stat(sleeper.pid)
    assert stat is not None
    assert stat.state == "Z"
    assert (sleeper.pid, "Z") in children_of(os.getpid())


def test_a_vanished_process_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    identity = identify(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not is_alive(identity)
    assert not send_signal(identity, signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        identify(sleeper.pid)


def test_a_name_with_spaces_and_parentheses_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        stat = process_stat(process.pid)
        assert stat is not None
        assert stat.parent == os.getpid()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "change",
    [{"pid": "12"}, {"pid": True}, {"pid": -1}, {"pid": 1}, {"pid": 0}, {"start": 7}, {"boot": None}, {"host": []}],
)
def test_a_damaged_identity_is_none(change: dict[str, object]) -> None:
    good = identify(os.getpid())._asdict()
    assert identity_from(good) == identify(os.getpid())
    assert identity_from(good | change) is None
    assert identity_from([good]) is None


def test_without_proc_the_system_is_asked(sleeper: subprocess.Popen[bytes], monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    answers = {"ps": "S+   41 Mon Mar  2 10:00:00 2026", "sysctl": "AB-12"}
    monkeypatch.setattr(processes, "_answer", lambda *command: answers[command[0]])
    assert process_stat(sleeper.pid) == ("S", 41, "Mon Mar  2 10:00:00 2026")
    assert processes.boot_id() == "AB-12"
    assert processes.pid_namespace() == ""
    assert children_of(os.getpid()) == []
    answers["ps"] = ""
    assert process_stat(sleeper.pid) is None


def kernel(tmp_path: Path, membership: str, counters: dict[str, str]) -> OomKills:
    for name, content in ({"proc/self/cgroup": membership} | counters).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return count_oom_kills(tmp_path / "proc", tmp_path / "cgroup")


def test_kills_for_memory_are_counted(tmp_path: Path) -> None:
    version_2 = kernel(
        tmp_path / "2",
        "0::/user.slice/job\n",
        {"cgroup/user.slice/job/memory.events": "low 0\noom 4\noom_kill 3\n", "proc/vmstat": "oom_kill 9\n"},
    )
    assert version_2 == OomKills(3, 9)
    version_1 = kernel(
        tmp_path / "1",
        "9:cpu,cpuacct:/x\n4:memory:/job\n0::/\n",
        {"cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
    )
    assert version_1 == OomKills(2, None)
    hidden = kernel(tmp_path / "3", "0::/host/path\n", {"cgroup/memory.events": "oom_kill 1\n"})
    assert hidden == OomKills(1, None)
    assert kernel(tmp_path / "4", "", {"proc/vmstat": "nr_free 1\noom_kill x\n"}) == OomKills(None, None)


def test_the_closest_evidence_counts() -> None:
    before = OomKills(1, 5)
    assert OomKills(2, 6).since(before) == "cgroup"
    assert OomKills(1, 6).since(before) == "machine"
    assert OomKills(1, 5).since(before) is None
    assert OomKills(None, 6).since(OomKills(None, None)) is None
