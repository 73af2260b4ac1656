"""The part of Kubernetes that replaces containers: a controller, a kubelet and a service.

Probes, grace and the numbers of the rolling update are read from the manifest.
"""

import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml

from support.servers.containers import HARDENED, Container, Engine, running
from support.servers.running import PATIENCE, free_port, until

# Seconds until the proxies know of a change. A container that is told to end does not wait for it.
ENDPOINTS_LAG = 1.0
ONE_TRY = "proxy_next_upstream off; proxy_connect_timeout 3s;"


@dataclass(frozen=True)
class Probe:
    """One probe of a container; the defaults are Kubernetes's."""

    path: str
    port: int
    period: float = 10
    timeout: float = 1
    failures: int = 3

    def succeeds(self, address: str) -> bool:
        connection = HTTPConnection(address, self.port, timeout=self.timeout)
        try:
            connection.request("GET", self.path)
            return 200 <= connection.getresponse().status < 400
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@dataclass(frozen=True)
class Manifest:
    """What `deploy/kubernetes.yaml` says of replacing containers."""

    replicas: int
    surge: int
    unavailable: int
    grace: int
    before_stop: list[str]
    port: int
    startup: Probe
    readiness: Probe
    liveness: Probe

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        kinds = {
            document["kind"]: document["spec"] for document in yaml.safe_load_all(file.read_text())
        }
        rolling = kinds["Deployment"]["strategy"]["rollingUpdate"]
        pod = kinds["Deployment"]["template"]["spec"]
        (container,) = pod["containers"]
        hooks = container["lifecycle"]
        assert hooks.keys() == {"preStop"} and hooks["preStop"].keys() == {"exec"}, "not imitated"
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        (target,) = [
            port["targetPort"] for port in kinds["Service"]["ports"] if port["name"] == "http"
        ]
        return cls(
            replicas=kinds["HorizontalPodAutoscaler"]["minReplicas"],
            surge=rolling["maxSurge"],
            unavailable=rolling["maxUnavailable"],
            grace=pod["terminationGracePeriodSeconds"],
            before_stop=hooks["preStop"]["exec"]["command"],
            port=ports[target],
            startup=_probe(container["startupProbe"], ports),
            readiness=_probe(container["readinessProbe"], ports),
            liveness=_probe(container["livenessProbe"], ports),
        )


def _probe(written: dict[str, Any], ports: dict[str, int]) -> Probe:
    names = {"periodSeconds": "period", "timeoutSeconds": "timeout", "failureThreshold": "failures"}
    asked = written["httpGet"]
    assert written.keys() <= {*names, "httpGet"} and asked.keys() == {"path", "port"}, (
        f"not imitated: {written}"
    )
    numbers = {ours: written[theirs] for theirs, ours in names.items() if theirs in written}
    return Probe(asked["path"], ports[asked["port"]], **numbers)


class Pod:
    """A container, probed and ended as the kubelet does it."""

    def __init__(
        self, container: Container, manifest: Manifest, changed: Callable[[], None]
    ) -> None:
        self.container = container
        self.address = container.address
        self.ready = self.terminating = False
        self.fault: str | None = None  # for which the kubelet would have killed it
        self._manifest = manifest
        self._changed = changed
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._begin(manifest.startup, self._started)

    def leave(self) -> None:
        """Be taken out of the service, which does not wait for the container's end."""
        self.terminating = True
        self._changed()

    def end(self) -> None:
        """End the container after its hook, which does not wait until it is out of the service;
        kill it after its grace."""
        engine, name, start = self.container.engine, self.container.name, time.monotonic()
        if self._manifest.before_stop:
            engine("exec", name, *self._manifest.before_stop, timeout=self._manifest.grace)
        left = round(self._manifest.grace - (time.monotonic() - start))
        engine("stop", "--time", str(left), name, timeout=PATIENCE * 2)
        self.forget()

    def forget(self) -> None:
        """Probe it no more."""
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _begin(self, probe: Probe, report: Callable[[bool], bool]) -> None:
        thread = threading.Thread(target=self._watch, args=(probe, report))
        self._threads.append(thread)
        thread.start()

    def _watch(self, probe: Probe, report: Callable[[bool], bool]) -> None:
        """Ask at the probe's period. Report each success, and as many failures as are allowed."""
        failed = 0
        while not self._ended.is_set():
            succeeded = probe.succeeds(self.address)
            failed = 0 if succeeded else failed + 1
            if (succeeded or failed >= probe.failures) and not report(succeeded):
                return
            self._ended.wait(probe.period)

    def _started(self, succeeded: bool) -> bool:
        if succeeded:
            self._begin(self._manifest.readiness, self._is_ready)
            self._begin(self._manifest.liveness, self._is_alive)
        else:
            self.fault = "it did not start"
        return False

    def _is_ready(self, succeeded: bool) -> bool:
        if self.ready != succeeded:
            self.ready = succeeded
            self._changed()
        return True

    def _is_alive(self, succeeded: bool) -> bool:
        if not succeeded and not self.terminating:
            self.fault = "it was not alive"
        return True


class Proxy:
    """nginx, which passes connections on as they are and tries each container once."""

    def __init__(self, nginx: str, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        self._module = stream_module(nginx)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [nginx, "-p", str(directory), "-c", "nginx.conf", "-e", "error.log"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def lead_to(self, addresses: list[str]) -> None:
        """Send new connections to these from now on; those there are stay where they are."""
        with self._lock:
            written = self._directory / "written.conf"
            written.write_text(self._configuration(addresses))
            written.replace(self._directory / "nginx.conf")
            if self._process is None:
                process = self._process = subprocess.Popen(self._command)
                taking_signals = self._directory / "nginx.pid"
                until(
                    lambda: taking_signals.exists() or process.poll() is not None,
                    "nginx takes signals",
                )
                assert process.poll() is None, (self._directory / "error.log").read_text()
            else:
                self._process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.terminate()
                self._process.wait(PATIENCE)

    def _configuration(self, addresses: list[str]) -> str:
        servers = " ".join(f"server {address} max_fails=0;" for address in addresses)
        return (
            f"{self._module}\ndaemon off;\nworker_processes 1;\npid nginx.pid;\n"
            "error_log error.log;\nevents {}\n"
            f"stream {{\n  upstream pods {{ {servers} }}\n"
            f"  server {{ listen 127.0.0.1:{self._port}; proxy_pass pods; {ONE_TRY} }}\n}}\n"
        )


def stream_module(nginx: str) -> str:
    """The line that loads nginx's module for plain TCP; empty where that is built in."""
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    directory = re.search(r"--modules-path=(\S+)", built)
    module = Path(directory[1] if directory else "") / "ngx_stream_module.so"
    if module.is_file():
        return f"load_module {module};"
    if re.search(r"--with-stream(\s|$)", built):
        return ""
    raise FileNotFoundError(module)


def find_nginx() -> str | None:
    """nginx with its module for plain TCP; it is not on every user's path."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    try:
        return nginx if nginx and stream_module(nginx) is not None else None
    except FileNotFoundError:
        return None


@dataclass
class Deployment:
    """Replicas of an image behind a proxy."""

    engine: Engine
    image: str
    manifest: Manifest
    proxy: Proxy
    pods: list[Pod] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _timers: list[threading.Timer] = field(default_factory=list)

    def start(self, replicas: int, *options: str) -> None:
        """Start containers and wait until the proxy leads to them."""
        for _ in range(replicas):
            self._add(options)
        self._wait_until(lambda: all(pod.ready for pod in self.pods))
        time.sleep(ENDPOINTS_LAG)

    def replace(self, *options: str) -> list[Pod]:
        """Replace all containers as a rolling update does; the old ones, which have ended."""
        old, new = self.pods, list[Pod]()
        ending: list[Future[None]] = []
        replicas = len(old)
        with ThreadPoolExecutor(replicas) as threads:

            def step() -> bool:
                live = [pod for pod in self.pods if not pod.terminating]
                if len(new) < replicas and len(live) < replicas + self.manifest.surge:
                    new.append(self._add(options))
                spare = sum(pod.ready for pod in live) - (replicas - self.manifest.unavailable)
                leaving = [pod for pod in old if not pod.terminating]
                if spare > 0 and leaving:
                    leaving[0].leave()
                    ending.append(threads.submit(leaving[0].end))
                return not leaving and all(future.done() for future in ending)

            self._wait_until(step, replicas * PATIENCE)
        for future in ending:
            future.result()
        self.pods = new
        return old

    def close(self) -> None:
        for pod in self.pods:
            pod.forget()
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self.proxy.end()
        self._stack.close()

    def _add(self, options: tuple[str, ...]) -> Pod:
        container = self._stack.enter_context(running(self.engine, self.image, *HARDENED, *options))
        pod = Pod(container, self.manifest, self._changed)
        self.pods = [*self.pods, pod]
        return pod

    def _changed(self) -> None:
        """The proxies learn of it later, and what is so by then."""
        timer = threading.Timer(ENDPOINTS_LAG, self._lead)
        self._timers.append(timer)
        timer.start()

    def _lead(self) -> None:
        ready = [
            f"{pod.address}:{self.manifest.port}"
            for pod in self.pods
            if pod.ready and not pod.terminating
        ]
        if ready:
            self.proxy.lead_to(ready)

    def _wait_until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            faults = [f"{pod.fault}: {pod.container.log}" for pod in self.pods if pod.fault]
            assert not faults, faults
            assert time.monotonic() < deadline, [pod.container.log for pod in self.pods]
            time.sleep(0.05)


@contextmanager
def deployed(
    engine: Engine, image: str, manifest: Manifest, nginx: str, directory: Path
) -> Iterator[Deployment]:
    """Nothing yet, behind a proxy on a free port; whatever there is goes at the end."""
    deployment = Deployment(engine, image, manifest, Proxy(nginx, directory, free_port()))
    try:
        yield deployment
    finally:
        deployment.close()
