"""A Ray cluster of two nodes on this machine, for as long as standard input is open.

    python ray_cluster.py DASHBOARD_PORT AGENT_PORT

Runs in an environment that has Ray, and prints a JSON object a line. The first has the ids of the
nodes. Each line `kill` on standard input ends the second node. Its answer has two times: when the
node's processes were killed, and when all were gone.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 4, "object_store_memory": 80 * 2**20}


def main(dashboard_port: int, agent_port: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory:
        os.environ["RAY_TMPDIR"] = (
            directory  # for the note, too, which cluster is the machine's current one
        )
        head = {
            **NODE,
            "include_dashboard": True,
            "dashboard_port": dashboard_port,
            "dashboard_agent_listen_port": agent_port,
        }
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            other = cluster.add_node(**NODE)
            say(nodes=[cluster.head_node.node_id, other.node_id])
            for line in sys.stdin:
                if line.strip() == "kill":
                    say(**kill(cluster, other))
        finally:
            started = descendants([os.getpid()])
            cluster.shutdown()
            end(started)


def kill(cluster: Cluster, node: Any) -> dict[str, float]:
    """End all of a node's processes, as the loss of its machine does."""
    processes = descendants(
        [info.process.pid for infos in node.all_processes.values() for info in infos]
    )
    at = time.monotonic()
    end(processes)
    gone = time.monotonic()
    cluster.remove_node(node, allow_graceful=False)
    return {"at": at, "gone": gone}


def end(processes: list[tuple[int, str]]) -> None:
    for process in processes:
        if alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process[0], signal.SIGKILL)
    while any(alive(process) for process in processes):
        time.sleep(0.005)


def descendants(roots: list[int]) -> list[tuple[int, str]]:
    """Processes and what they have started, each with the time of its start: ids are used again."""
    children: dict[int, list[int]] = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and (status := stat(int(directory.name))):
            children.setdefault(int(status[1]), []).append(int(directory.name))
    found, left = [], list(roots)
    while left:
        pid = left.pop()
        left += children.get(pid, [])
        if pid != os.getpid() and (status := stat(pid)):
            found.append((pid, status[19]))
    return found


def alive(process: tuple[int, str]) -> bool:
    """Whether a thread of it is left, the first or another: until then its sockets are open."""
    pid, start = process
    status = stat(pid)
    if status is None or status[19] != start:
        return False
    with contextlib.suppress(OSError):
        threads = [stat(pid, f"/task/{thread}") for thread in os.listdir(f"/proc/{pid}/task")]
        return any(thread is not None and thread[0] not in "ZX" for thread in threads)
    return False


def stat(pid: int, thread: str = "") -> list[str] | None:
    """State, parent and so on: the fields of proc(5) from the third on; None for no process."""
    try:
        return Path(f"/proc/{pid}{thread}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
