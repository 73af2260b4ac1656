"""Builds of the image: their layers, an index other than PyPI, and what ends one with one line."""

import base64
import contextlib
import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest

import generator
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.servers.containers import HARDENED, Engine, running, wait_until_ready

pytestmark = pytest.mark.docker

UV = re.compile(r'"(uv==[\d.]+)"')
USER, PASSWORD = "builder", "not-a-secret"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Scaffold:
    """A scaffold whose environments have few packages."""
    directory = tmp_path_factory.mktemp("small") / "sums"
    rows = [[1.0, 2.0], [3.0, 4.0]]
    made = generator.from_model(
        Sums(), directory, framework="custom", server="standalone", sample_input=rows
    )
    made.close()
    return made


def build(engine: Engine, scaffold: Scaffold, *options: str) -> "subprocess.CompletedProcess[str]":
    """`docker build` of a scaffold, whether it succeeds or not, with the output as lines."""
    command = " ".join([scaffold.docker_build_string, "--progress plain", *options])
    return subprocess.run(
        ["sh", "-c", f"{command} 2>&1"],
        env=engine.environ,
        capture_output=True,
        text=True,
        timeout=600,
    )


def refused(engine: Engine, scaffold: Scaffold, *options: str) -> list[str]:
    """The lines `error: ...` of a build that fails.

    An older BuildKit sometimes prints nothing of what a step wrote that failed at once.
    """
    for _ in range(3):
        done = build(engine, scaffold, *options)
        assert done.returncode != 0
        found = re.findall(r"^#\d+ (?:[\d.]+ )?(error: .*)$", done.stdout, re.MULTILINE)
        if found:
            break
    return list(dict.fromkeys(found))


Layer = dict[str, tuple[Any, ...]]
"""What a layer says of each of its files, by path."""


def files(engine: Engine, image: str, place: Path) -> dict[str, Layer]:
    """The layers of an image, in their order, by digest."""
    archive = place / "image.tar"
    engine("save", "--output", str(archive), image)
    digests = json.loads(engine("inspect", "--format", "{{json .RootFS.Layers}}", image))
    with tarfile.open(archive) as saved:
        [manifest] = json.loads(saved.extractfile("manifest.json").read())  # type: ignore[union-attr]
        return {
            digest: layer(saved.extractfile(name))
            for digest, name in zip(digests, manifest["Layers"], strict=True)
        }


def layer(content: Any) -> Layer:
    with tarfile.open(fileobj=content) as members:
        return {
            member.name: (
                *(member.mode, member.mtime, member.uid, member.gid, member.linkname, member.size),
                member.isfile() and hashlib.sha256(members.extractfile(member).read()).hexdigest(),  # type: ignore[union-attr]
            )
            for member in members
        }


def changes(first: dict[str, Layer], second: dict[str, Layer]) -> list[list[str]]:
    """The files of each layer that differ; some of them."""
    found = []
    for (digest, one), (other_digest, other) in zip(first.items(), second.items(), strict=True):
        if digest != other_digest:
            names = sorted({*one, *other})
            found.append([name for name in names if one.get(name) != other.get(name)][:20])
    return found


# ---- what ends a build ----


def test_a_base_image_with_another_python(engine: Engine, small: Scaffold) -> None:
    given = "--build-arg PYTHON_VERSION=3.12 --build-arg BASE_IMAGE=python:3.11-slim"
    assert refused(engine, small, given) == [
        "error: the base image python:3.11-slim has Python 3.11, the model's is 3.12"
    ]


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("python*", "no python"),
        ("bash", "no bash, which the health check needs: take one of Debian"),
    ],
)
def test_a_base_image_that_lacks_a_program(
    engine: Engine, small: Scaffold, program: str, fault: str
) -> None:
    base = f"test_base_{token_hex(4)}"
    lines = f"FROM python:3.11-slim\\nRUN rm /usr/local/bin/{program} /bin/{program} || true"
    engine.shell(f"printf '{lines}\\n' | docker build --quiet -t {base} -")
    (line,) = refused(engine, small, f"--build-arg BASE_IMAGE={base}")
    assert line.startswith(f"error: the base image {base} has {fault}")


def test_an_index_that_does_not_answer(engine: Engine, small: Scaffold) -> None:
    (line,) = refused(engine, small, "--build-arg INDEX_URL=http://127.0.0.1:9/simple")
    assert re.match(r"error: no uv [\d.]+ from http://127\.0\.0\.1:9/simple: it has none, ", line)


def test_a_servers_lock_that_does_not_fit(engine: Engine, small: Scaffold, tmp_path: Path) -> None:
    copy = Scaffold(shutil.copytree(small.directory, tmp_path / "copy"))
    lock = copy.directory / "server-requirements.txt"
    lock.write_text(f"h11==0.16.0 --hash=sha256:{'0' * 64}\n")
    (line,) = refused(engine, copy)
    assert line.startswith("error: server-requirements.txt cannot be installed: ")
    assert "h11" in line


# ---- the layers ----


@pytest.mark.sweep
def test_two_builds_of_the_same_files_make_the_same_layers(
    engine: Engine, small: Scaffold, tmp_path: Path
) -> None:
    """Whenever the files were written: a checkout gives them the time of the day."""
    copy = Scaffold(shutil.copytree(small.directory, tmp_path / "copy", copy_function=shutil.copy))
    names = [f"test_twice_{token_hex(4)}" for _ in range(2)]
    for scaffold, name in zip((small, copy), names, strict=True):
        done = build(engine, scaffold, f"--no-cache -t {name}")
        assert done.returncode == 0, done.stdout[-3000:]
    first, second = (files(engine, name, tmp_path) for name in names)
    assert changes(first, second) == []
    with (copy.directory / "src" / "server" / "inference_model.py").open("a") as file:
        file.write("# an edit\n")
    assert build(engine, copy, f"--no-cache -t {names[1]}").returncode == 0
    edited = files(engine, names[1], tmp_path)
    assert changes(first, edited) == [["app/server/inference_model.py"]]


# ---- an index of one's own, with a password ----


def project(file: str) -> str:
    """The project that a wheel, or its metadata when it is installed, belongs to."""
    return re.sub(r"[-_.]+", "-", file.split("-")[0]).lower()


@dataclass
class Index:
    """An index of packages, which wants a password.

    Attributes:
        url: of its pages.
        taken: the wheels that were fetched from it.
    """

    url: str
    taken: set[str] = field(default_factory=set)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Answers as PEP 503 has it, for a directory of wheels."""

    taken: set[str]

    def do_GET(self) -> None:
        given = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        if self.headers.get("Authorization") != given:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.end_headers()
        elif self.path.startswith("/simple/"):
            self._page(self.path.removeprefix("/simple/").strip("/"))
        else:
            self.taken.add(self.path.rpartition("/")[2])
            super().do_GET()

    def _page(self, name: str) -> None:
        wheels = [
            path.name for path in Path(self.directory).glob("*.whl") if project(path.name) == name
        ]
        self.send_response(200 if wheels else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write("".join(f'<a href="/{wheel}">{wheel}</a>\n' for wheel in wheels).encode())

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def index(small: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index with what the scaffold's image needs, and nothing else."""
    wheels = tmp_path_factory.mktemp("wheels")
    dockerfile = (small.directory / small.dockerfile).read_text()
    (uv,) = UV.findall(dockerfile)
    for needed in (
        ["-r", str(small.directory / "requirements.txt")],
        [uv],
        [*("-r", str(small.directory / "server-requirements.txt")), "--no-deps"],
    ):
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
        subprocess.run([*fetch, "--only-binary", ":all:", *needed], check=True)
    taken: set[str] = set()
    handler = type("Wheels", (Handler,), {"taken": taken})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(wheels))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Index(f"http://127.0.0.1:{server.server_port}/simple", taken)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.sweep
def test_a_build_from_an_index_with_a_password_alone(
    engine: Engine, small: Scaffold, index: Index, tmp_path: Path
) -> None:
    """A machine that reaches no other: its packages come from there, and the password stays out."""
    given = f"--network host --build-arg INDEX_URL={index.url}"
    (line,) = refused(engine, small, given)
    assert f"from {index.url}: " in line
    assert "wants a password (--secret id=netrc,src=" in line

    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    name = f"test_index_{token_hex(4)}"
    done = build(engine, small, f"{given} --secret id=netrc,src={netrc} -t {name}")
    assert done.returncode == 0, done.stdout[-3000:]
    listed = engine("run", "--rm", "--entrypoint", "find", name, "/opt", "-name", "*.dist-info")
    installed = {project(Path(line).name) for line in listed.splitlines()}
    assert {"numpy", "msgpack", "orjson", "grpcio"} <= installed
    assert installed | {"uv"} == {project(wheel) for wheel in index.taken}
    with running(engine, name, *HARDENED) as container:
        wait_until_ready(container.url)
        answer = httpx.post(
            f"{container.url}/v1/models/model:predict", json={"instances": [[1, 2]]}
        )
        assert answer.json() == {"predictions": [3.0]}
    history = engine("history", "--no-trunc", name)
    assert PASSWORD not in history
    with contextlib.ExitStack() as stack:
        saved = tmp_path / "image.tar"
        stack.callback(saved.unlink, missing_ok=True)
        engine("save", "--output", str(saved), name, timeout=300)
        assert PASSWORD.encode() not in saved.read_bytes()
