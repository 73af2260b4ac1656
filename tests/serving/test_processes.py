"""Worker processes, what they start, and how all of them end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import generator
from generator.scaffold import Scaffold
from support.servers.running import (
    PREDICT,
    Running,
    copied,
    end,
    free_port,
    launch,
    serving,
    until,
)

ROOT = Path(__file__).resolve().parents[2]
# Does what the first row says, in load() what data/load says.
OWNERS_CODE = """
import multiprocessing
import os
import pathlib
import signal
import subprocess
import threading
import time


pid = os.getpid
end = os._exit


def spin():
    while True:
        pass


def hold():
    sum(range(10**15))  # in C, with the interpreter's lock


def spin_in_threads():
    for _ in range(3):
        threading.Thread(target=spin).start()
    spin()


def leave():
    return subprocess.Popen(["sleep", "1000"]).pid


def leave_and_hold():
    leave()
    fork().start()
    hold()


def leave_deaf_and_sleep():
    leave_deaf = "trap '' TERM INT HUP; sleep 1000 & wait"
    subprocess.Popen(["sh", "-c", leave_deaf])
    time.sleep(1000)


def fork():
    return multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))


def end_children():
    child = fork()
    child.start()
    child.terminate()
    child.join()
    statuses = [child.exitcode]
    for number in (signal.SIGTERM, signal.SIGINT):
        run = subprocess.Popen(["sleep", "1000"])
        run.send_signal(number)
        statuses.append(run.wait())
    with multiprocessing.get_context("fork").Pool(2) as pool:  # which terminates at the end
        statuses += pool.map(abs, [-7])
    pool.join()
    try:
        os.wait()
    except ChildProcessError:
        statuses.append("no other child")
    return statuses


def fork_in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(end_children()))
    thread.start()
    thread.join()
    return found[0]


class InferenceModel:
    def __init__(self, config):
        pass

    def load(self):
        file = pathlib.Path("data/load")
        if file.exists():
            globals()[file.read_text()]()

    def preprocess(self, request):
        return request

    def predict(self, request):
        what, *arguments = request["instances"][0]
        return {"predictions": [globals()[what](*arguments)]}

    def postprocess(self, response):
        return response
"""


@pytest.fixture
def owners(sums: Scaffold, tmp_path: Path) -> Callable[..., Path]:
    """Makes a scaffold with the code above, which does not check its rows."""

    def make(**knobs: Any) -> Path:
        directory = copied(sums, tmp_path / "own", OWNERS_CODE, **knobs)
        config = directory / "config.yaml"
        config.write_text(config.read_text().partition("    input:\n")[0])
        return directory

    return make


def told(what: str, *arguments: Any) -> dict[str, Any]:
    return {"instances": [[what, *arguments]]}


def ask(running: Running, what: str, *arguments: Any) -> Any:
    with running.client() as client:
        return client.post(PREDICT, json=told(what, *arguments)).json()["predictions"][0]


def begin(running: Running, what: str, *arguments: Any) -> threading.Thread:
    """Send a request whose answer nobody needs."""

    def send() -> None:
        with contextlib.suppress(httpx.TransportError), running.client() as client:
            client.post(PREDICT, json=told(what, *arguments))

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def group(leader: int) -> list[str]:
    """The commands of the processes in a group that have not ended."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return [
        args[0]
        for pgid, stat, *args in rows
        if int(pgid) == leader and not stat.startswith("Z") and args
    ]


def gone(*leaders: int) -> bool:
    return not any(group(leader) for leader in leaders)


def test_children_of_predict_end_as_they_do_without_a_server(
    owners: Callable[..., Path],
) -> None:
    expected = [-signal.SIGTERM, -signal.SIGTERM, -signal.SIGINT, 7, "no other child"]
    with contextlib.closing(generator.load(owners())) as own:
        for what in ("end_children", "fork_in_thread"):
            assert own.predict([[what]])["predictions"] == [expected], what


def test_what_a_worker_has_started_ends_with_it(owners: Callable[..., Path]) -> None:
    with serving(owners(predict_timeout_seconds=2, max_batch_size=1)) as running:
        [worker] = running.workers()
        ask(running, "leave")
        with running.client() as client:
            assert client.post(PREDICT, json=told("end", 3)).status_code == 503
            until(lambda: gone(worker), "the child of a worker that ended has ended")
            until(running.ready, "another takes its place")
            worker = ask(running, "pid")
            assert client.post(PREDICT, json=told("leave_deaf_and_sleep")).status_code == 504
            until(lambda: gone(worker), "the children of a worker that hung have ended")
            until(running.ready, "another takes its place")
            worker = ask(running, "pid")
            ask(running, "leave")
            assert len(group(worker)) > 1
    assert gone(worker), "the child of a worker has outlived the server's ordered end"


@pytest.mark.sweep
def test_workers_do_not_end_at_the_signals_that_a_terminal_sends(
    owners: Callable[..., Path],
) -> None:
    with serving(owners()) as running:
        [worker] = running.workers()
        for number in (signal.SIGINT, signal.SIGTERM):
            subprocess.run(["kill", f"-{number.value}", str(worker)], check=True)
        assert ask(running, "pid") == worker


@pytest.mark.sweep
def test_a_worker_that_somebody_stopped_is_not_ready_until_it_goes_on(
    owners: Callable[..., Path],
) -> None:
    with serving(owners()) as running, ThreadPoolExecutor(1) as thread:
        [worker] = running.workers()
        os.kill(worker, signal.SIGSTOP)
        until(lambda: not running.ready(), "it is not ready")
        answer = thread.submit(ask, running, "pid")
        until(lambda: running.metric("scaffold_queue_length") == 1, "a request waits")
        os.kill(worker, signal.SIGCONT)
        assert answer.result() == worker
        until(running.ready, "it is ready again")
        os.kill(worker, signal.SIGSTOP)
        until(lambda: not running.ready(), "it is not ready")
        os.kill(worker, signal.SIGKILL)
        until(running.ready, "another one takes its place")
        assert ask(running, "pid") != worker
        assert running.metric("scaffold_worker_restarts_total", reason="died") == 1


BUSY = ["spin", "hold", "spin_in_threads", "leave_and_hold", "leave_deaf_and_sleep"]


def test_nothing_outlives_a_server_that_is_killed(owners: Callable[..., Path]) -> None:
    with serving(owners(max_batch_size=1), WORKERS=str(len(BUSY) + 1)) as running:
        workers = running.workers()
        assert len(workers) == len(BUSY) + 1  # one has nothing to do
        threads = [begin(running, what) for what in BUSY]
        until(
            lambda: sum("sleep" in args for pid in workers for args in group(pid)) == 3,
            "what is to be left is there",
        )
        until(lambda: running.metric("scaffold_queue_length") == len(BUSY), "all are at work")
        running.process.kill()
        running.process.wait()
        for thread in threads:
            thread.join()
        until(lambda: gone(*workers), "all have ended")


@pytest.mark.parametrize("what", ["leave_and_hold", "leave_deaf_and_sleep"])
def test_nothing_outlives_a_server_that_is_killed_while_it_loads(
    owners: Callable[..., Path], tmp_path: Path, what: str
) -> None:
    directory = owners()
    (directory / "src" / "data" / "load").write_text(what)
    process = launch(directory, free_port(), tmp_path / "log")
    running = Running("", process, tmp_path / "log", 0)
    try:
        until(lambda: any("sleep" in args for pid in running.workers() for args in group(pid)), "")
        [worker] = running.workers()
        process.kill()
        process.wait()
        until(lambda: gone(worker), "the worker and its child have ended")
    finally:
        end(process)


NOTEBOOK = f"""
import os, signal, subprocess, sys, threading, time
sys.path.insert(0, {str(ROOT)!r})
import generator
scaffold = generator.load(sys.argv[1])
with scaffold.serve(port=0) as server:
    print(server.process.pid, scaffold.predict([["pid"]])["predictions"][0], flush=True)
    kept_open = os.fork()  # as multiprocessing does, and it stays for a while
    if not kept_open:
        time.sleep(1000)
    print(kept_open, flush=True)
    scaffold.predict([["leave_and_hold"]])
"""


def test_nothing_outlives_a_notebook_that_is_killed(owners: Callable[..., Path]) -> None:
    command = [sys.executable, "-c", NOTEBOOK, str(owners())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as notebook:
        assert notebook.stdout is not None
        server, worker = map(int, notebook.stdout.readline().split())
        fork = int(notebook.stdout.readline())
        try:
            until(lambda: any("sleep" in args for args in group(worker)), "the worker is busy")
            serving_process = Running("", notebook, Path(), 0)
            children = [pid for pid in serving_process.workers() if pid != worker]
            notebook.kill()
            notebook.wait()
            until(lambda: gone(server, worker, *children), "the server and the workers have ended")
        finally:
            subprocess.run(["kill", "-9", str(fork)], check=True)


def test_a_scaffold_that_nobody_closed_leaves_nothing(owners: Callable[..., Path]) -> None:
    own = generator.load(owners())
    worker = own.predict([["pid"]])["predictions"][0]
    with pytest.warns(ResourceWarning):
        del own
        until(lambda: gone(worker), "the worker has ended")
