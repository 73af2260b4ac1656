"""`python -m generator`: its output and its exit status, in a process of its own or in this one."""

import io
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import joblib
import pytest

import generator
from generator import ServingError
from generator.cli import main
from generator.scaffold import Scaffold
from support.rendering.checkouts import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ENVIRON = os.environ | {"PYTHONPATH": str(ROOT)}
COMMAND = [sys.executable, "-m", "generator"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python -m generator ARGUMENTS` in tmp_path."""

    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=ENVIRON,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def model_file(forest: Any, tmp_path: Path) -> Path:
    joblib.dump(forest, tmp_path / "model.joblib")
    return tmp_path / "model.joblib"


@pytest.fixture
def call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Does the same in this process: in its own, each command imports what its model needs."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> "subprocess.CompletedProcess[str]":
        try:
            status = main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, status, printed.out, printed.err)

    return call


OWNED = """
import pickle

import numpy as np


class Sums:
    def predict(self, rows):
        return np.asarray(rows).sum(axis=1)


def save():
    with open("model.pkl", "wb") as file:
        pickle.dump(Sums(), file)
"""


FAILING = """
    def predict(self, request):
        raise LookupError("no rows")
"""


def failed(done: "subprocess.CompletedProcess[str]") -> str:
    """The error of a command: one line on standard error, after its progress."""
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "Traceback" not in done.stderr
    *progress, line = done.stderr.splitlines()
    assert line.startswith("error: ") and not any(
        earlier.startswith("error: ") for earlier in progress
    )
    return line.removeprefix("error: ")


# ---- help ----


def test_help(run: Run) -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "new",
        "init",
        "predict",
        "serve",
        "verify",
        "python -m generator new model.joblib test_rfc --trust-file",
        "docker build -f",
    ):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "new",
            [
                "--name",
                "--requirement",
                "--python-version",
                "--data",
                "--sample",
                "--overwrite",
                "--trust-file",
                "you trust",
            ],
        ),
        (
            "init",
            [
                "--name",
                "--requirement",
                "--python-version",
                "--data",
                "--overwrite",
                "load and predict",
            ],
        ),
        ("verify", ["--environment", "current,isolated,docker", "--tolerance", "smoke test"]),
        ("predict", ["DIRECTORY", "JSON", "standard input"]),
        ("serve", ["--port", "Ctrl-C"]),
    ],
)
def test_help_of_a_command(command: str, options: list[str], call: Run) -> None:
    done = call(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(option in " ".join(done.stdout.split()) for option in options)


def test_version(call: Run) -> None:
    assert call("--version").stdout == f"scaffold-generator {generator.__version__}\n"


def test_the_installed_command_is_named_and_finds_modules_here(tmp_path: Path) -> None:
    """As an installer writes it: a script in a directory of its own."""
    script = tmp_path / "bin" / "scaffold"
    script.parent.mkdir()
    script.write_text("import sys\nfrom generator.__main__ import main\nsys.exit(main())\n")
    (tmp_path / "owned.py").write_text(OWNED)
    subprocess.run([sys.executable, "-c", "import owned; owned.save()"], cwd=tmp_path, check=True)

    def scaffold(*arguments: str) -> str:
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "\n  scaffold serve test_rfc" in scaffold("--help")
    made = scaffold("new", "model.pkl", "made", "--trust-file", "--sample", "[[1, 2]]")
    assert "\n  scaffold serve made\n" in made
    assert scaffold("predict", "made", "[[1, 2]]") == '{"predictions": [3]}\n'


def test_a_reader_that_has_enough_is_no_error(sums: Scaffold) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND, "predict", str(sums.directory), "[[1, 2, 3, 4]]"]
    done = subprocess.run(command, env=ENVIRON, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_in_a_directory_that_has_been_removed(tmp_path: Path) -> None:
    script = "import os, shutil; os.chdir('gone'); os.rmdir('../gone');"
    script += "from generator.__main__ import main; main()"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"], cwd=tmp_path, env=ENVIRON, capture_output=True
    )
    assert (done.stdout[:18], done.stderr) == (b"scaffold-generator", b"")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["new"], ["serve", "rfc", "--port", "x"], ["predict", "rfc"]]
)
def test_usage_errors(arguments: list[str], call: Run) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m generator") and "error: " in done.stderr


# ---- new ----


def test_new(run: Run, model_file: Path, tmp_path: Path, forest: Any) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    done = run(
        *[
            "new",
            "model.joblib",
            "--trust-file",
            "with space",
            "--name",
            "iris",
            "--python-version",
            "3.12",
            "--data",
            "notes.txt",
        ],
        *["--requirement", "numpy>=1.22", "--requirement", "requests", "--sample", "-"],
        stdin="[[0, 0, 0, 0], [6, 3, 5, 2]]",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "loading model.joblib",
        "writing a scaffold of it to with space",
    ]
    assert "with space is ready" in done.stdout
    assert "docker build -f 'with space/sklearn-server.Dockerfile' 'with space'" in done.stdout
    made = tmp_path / "with space"
    assert generator.load(made).name == "iris"
    assert (made / "src" / "data" / "notes.txt").read_text() == "kept"
    lines = (made / "requirements.txt").read_text().splitlines()
    assert {"numpy>=1.22  # given by you", "requests  # given by you"} <= set(lines)
    assert "ARG PYTHON_VERSION=3.12" in (made / "sklearn-server.Dockerfile").read_text()
    proof = json.loads((made / "smoke-test.json").read_text())
    assert proof["response"]["predictions"] == forest.predict([[0, 0, 0, 0], [6, 3, 5, 2]]).tolist()


@pytest.mark.sweep
def test_the_commands_that_new_prints_are_quoted(
    run: Run, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "client"
    client.write_text("#!/bin/sh\necho Docker version 20.10.24+dfsg1, build 297e128\n")
    client.chmod(0o700)
    monkeypatch.setitem(ENVIRON, "DOCKER", str(client))
    monkeypatch.setitem(ENVIRON, "DOCKER_BUILDKIT", "")
    done = run("new", "--trust-file", "model.joblib", "it's $HOME")
    assert "\n  DOCKER_BUILDKIT=1 docker build -f 'it'\"'\"'s $HOME/sklearn-" in done.stdout
    (serve,) = re.findall(r"python -m generator serve (.*)", done.stdout)
    named = subprocess.run(
        ["sh", "-c", f"printf %s {serve}"], capture_output=True, text=True, check=True
    )
    assert named.stdout == "it's $HOME"


@pytest.mark.sweep
def test_new_overwrites_only_with_its_option(call: Run, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "rfc").mkdir()
    (tmp_path / "rfc" / "mine.txt").write_text("mine")
    assert "'rfc' holds something already" in failed(
        call("new", "--trust-file", "model.joblib", "rfc")
    )
    assert [path.name for path in (tmp_path / "rfc").iterdir()] == ["mine.txt"]
    assert call("new", "--trust-file", "model.joblib", "rfc", "--overwrite").returncode == 0
    assert (tmp_path / "rfc" / "config.yaml").exists() and not (
        tmp_path / "rfc" / "mine.txt"
    ).exists()


def test_new_refuses(call: Run, model_file: Path, tmp_path: Path) -> None:
    """Errors before the model is loaded, or soon after."""
    (tmp_path / "text.joblib").write_text("this is no pickle\nat all")
    joblib.dump({"model": 1}, tmp_path / "dict.joblib")
    for arguments, message in [
        (["missing.joblib", "rfc"], "SOURCE 'missing.joblib' does not exist"),
        (
            ["text.joblib", "rfc"],
            "SOURCE 'text.joblib' does not hold a model that joblib or pickle can load: ",
        ),
        ([".", "rfc"], "SOURCE '.' is a directory that holds no model: known are an MLflow model"),
        (["dict.joblib", "rfc"], "model is a dict, whose framework is not known"),
        (["model.joblib", "rfc", "--name", "a b"], "error: --name: 'a b' is not a model name"),
        (["model.joblib", "rfc", "--server", "x"], "error: --server: "),
        (["model.joblib", "rfc", "--method", "x"], "error: --method 'x': RandomForest"),
        (["model.joblib", "rfc", "--parameter", "x"], "error: --parameter: 'x' is no parameter"),
        (["model.joblib", "rfc", "--format", "x"], "error: --format 'x' is none of sklearn's"),
        (["model.joblib", "rfc", "--gpu"], "error: --gpu: sklearn predicts on no GPU"),
        (["model.joblib", "rfc", "--version", "a b"], "error: --version 'a b': must be"),
        (["model.joblib", "rfc", "--code", "x"], "error: --code names 'x', which does not exist"),
        (["model.joblib", "rfc", "--data", "x"], "error: --data names 'x', which does not exist"),
        (["model.joblib", "rfc", "--requirement", "?"], "error: --requirement: '?' is not a req"),
        (["model.joblib", "rfc", "--template", "x"], "name it as --template, or in SCAFFOLD_TEMP"),
        (["model.joblib", "."], "error: DIRECTORY '.' holds something already: name another, or"),
        (["model.joblib", "."], "or pass --overwrite"),
        (["model.joblib", "rfc", "--sample", "[[1,"], "'[[1,' is not JSON"),
        (["model.joblib", "rfc", "--sample", "[[1, 2]]"], "error: --sample has shape [1, 2]"),
        (
            ["model.joblib", "rfc", "--sample", "rows.csv"],
            "error: --sample 'rows.csv' cannot be read",
        ),
    ]:
        assert message in "error: " + failed(call("new", "--trust-file", *arguments))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dict.joblib",
        "model.joblib",
        "text.joblib",
    ]


def test_new_names_the_module_that_a_model_needs(call: Run, tmp_path: Path) -> None:
    (tmp_path / "model.pickle").write_bytes(b"cno_such_module\nThing\n.")
    message = failed(call("new", "--trust-file", "model.pickle", "rfc"))
    assert message == (
        "SOURCE 'model.pickle' needs the module 'no_such_module': install what it was made with"
    )


def test_new_calls_no_text_a_module(call: Run, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import numpy as np\nprint(np.pi)\n")
    message = failed(call("new", "--trust-file", "train.py", "rfc"))
    assert message.startswith("SOURCE 'train.py' does not hold a model that joblib or pickle can")


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_new_reads_the_files_of_pytorch(call: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(2, 1)
    torch.save(module, tmp_path / "module.pt")
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    (tmp_path / "broken.pt").write_text("nothing of torch's")
    done = call(
        "new", "module.pt", "linear", *["--trust-file", "--sample", "[[1,2]]", "--format", "export"]
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "linear" / "src" / "model" / "model.pt2").exists()
    assert "model is a state_dict or a checkpoint" in failed(call("new", "weights.pth", "no"))
    assert "SOURCE 'broken.pt' does not hold a model that pytorch can load: " in failed(
        call("new", "--trust-file", "broken.pt", "no")
    )


# Keras 3.15 with numpy 2.4 warns.
@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_new_reads_the_files_of_keras(call: Run, tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "net.keras")
    done = call("new", "net.keras", "net", "--name", "net")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "net" / "keras-server.Dockerfile").exists()


class Writes:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.write_text, (Path("ran"), "")


@pytest.mark.parametrize("ending", ["pickle", "joblib", "pt"])
def test_new_runs_no_code_of_a_file_that_is_not_trusted(
    call: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    if ending == "pt":
        pytest.importorskip("torch").save(Writes(), tmp_path / "model.pt")
    else:
        joblib.dump(Writes(), tmp_path / f"model.{ending}")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    message = failed(call("new", f"model.{ending}", "rfc"))
    assert "runs the code in it" in message and "--trust-file" in message
    assert not (tmp_path / "ran").exists()
    call("new", f"model.{ending}", "rfc", "--trust-file")
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("answer", "runs"), [("y", True), ("yes", True), ("n", False), ("", False)]
)
def test_new_asks_at_a_terminal(
    call: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, runs: bool
) -> None:
    joblib.dump(Writes(), tmp_path / "model.joblib")
    ours, terminal = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    with open(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = call("new", "model.joblib", "rfc")
    os.close(ours)
    assert done.returncode == 1 and "runs the code in it. Do you know" in done.stderr
    assert ("nothing was loaded" in done.stderr) == (not runs)
    assert (tmp_path / "ran").exists() == runs


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_new_asks_for_a_lambda_in_a_keras_file(
    call: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keras = pytest.importorskip("keras")
    layers = [keras.Input((2,)), keras.layers.Lambda(lambda rows: rows * 2)]
    keras.Sequential(layers).save(tmp_path / "net.keras")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert "runs the code in it" in failed(call("new", "net.keras", "net"))


# ---- init ----


def test_init(call: Run, tmp_path: Path) -> None:
    done = call("init", "mine", "--name", "words", "--requirement", "rich")
    assert (done.returncode, done.stderr) == (0, "")
    assert "write load and predict in mine/src/server/inference_model.py" in done.stdout
    assert generator.load(tmp_path / "mine").name == "words"
    assert "'mine' holds something already" in failed(call("init", "mine"))


# ---- verify ----


def test_verify(run: Run, call: Run, sums: Scaffold, tmp_path: Path) -> None:
    shutil.copytree(sums.directory, tmp_path / "rfc")
    done = run("verify", "rfc")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "rfc predicts what it should: 2 predictions, equal to the last bit\n"
    recorded = tmp_path / "rfc" / "smoke-test.json"
    recorded.write_text(recorded.read_text().replace('"predictions": [6.0', '"predictions": [7.0'))
    message = failed(call("verify", "rfc"))
    assert message == "rfc does not predict what it did: predictions[0] should be 7.0, it is 6.0"
    assert call("verify", "rfc", "--tolerance", "0.1").returncode == 0
    recorded.unlink()
    assert "smoke-test.json is missing: make the scaffold with a --sample" in failed(
        call("verify", "rfc")
    )


# ---- predict ----


def test_predict(run: Run, sums: Scaffold) -> None:
    done = run("predict", str(sums.directory), "[[1, 2, 3, 4]]")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", '{"predictions": [10.0]}\n')


def test_predict_reads_standard_input(run: Run, scaffold: Scaffold) -> None:
    request = json.dumps({"instances": [[0, 0, 0, 0]], "probabilities": True})
    done = run("predict", str(scaffold.directory), "-", stdin=request)
    response = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert response["predictions"] == [0] and len(response["probabilities"][0]) == 3


def test_predict_refuses(call: Run, sums: Scaffold, tmp_path: Path) -> None:
    directory = str(sums.directory)
    for arguments, message in [
        (["nowhere", "[[0]]"], "'nowhere' is not a directory: name one that holds a scaffold"),
        ([".", "[[0]]"], "is not a scaffold"),
        ([directory, "[[0"], "'[[0' is not JSON"),
        (
            [directory, "[[0, 0]]"],
            "400: instances[0]: the model takes 4 values a row, this one has 2",
        ),
        ([directory, "3"], '400: "instances" must be a list of rows, it is the number 3'),
        (
            [directory, '"text"'],
            "400: \"instances\" must be a list of rows, it is the string 'text'",
        ),
        ([directory, "{}"], '400: "instances" is missing'),
    ]:
        assert message in failed(call("predict", *arguments))


# ---- serve ----


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ready(process: "subprocess.Popen[str]", url: str) -> None:
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        try:
            if httpx.get(url, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} did not become ready")


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_serve_until_a_signal(sent: signal.Signals, status: int, sums: Scaffold, port: int) -> None:
    command = [*COMMAND, "serve", str(sums.directory), "--port", str(port)]
    environ = {**ENVIRON, "AIP_HTTP_PORT": "9"}  # of a platform: --port says more
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        ready(process, f"{url}/v1/models/model")
        body = {"instances": [[1, 2, 3, 4]]}
        answer = httpx.post(
            f"{url}/v1/models/model:predict", json=body, timeout=30, trust_env=False
        )
        assert answer.json() == {"predictions": [10]}
        assert process.stderr is not None
        # The command itself asks the server whether it is ready.
        printed = process.stderr.readline() + process.stderr.readline()
        process.send_signal(sent)
        output, log = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, output) == (status, "")
    told = f"open {url}/ in a browser, POST to {url}/v1/models/model:predict, read {url}/docs"
    assert f"{told}, stop with Ctrl-C" in printed
    assert "Traceback" not in log and "error: " not in log
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)), "the server is still running"


@pytest.mark.sweep
def test_serve_shows_a_traceback_at_a_terminal(sums: Scaffold, port: int, tmp_path: Path) -> None:
    directory = tmp_path / "sums"
    shutil.copytree(sums.directory, directory)
    edited = directory / "src" / "server" / "inference_model.py"
    edited.write_text(edited.read_text().replace("def predict(", "def predicted(") + FAILING)
    ours, terminal = pty.openpty()
    command = [*COMMAND, "serve", str(directory), "--port", str(port)]
    process = subprocess.Popen(command, env=ENVIRON, stderr=terminal)
    os.close(terminal)
    url = f"http://127.0.0.1:{port}/v1/models/model"
    try:
        ready(process, url)
        answer = httpx.post(f"{url}:predict", json={"instances": [[1]]}, trust_env=False)
        request_id = re.search(r"request id ([\w-]+)", answer.text)
        assert answer.status_code == 500 and request_id
        first = f"ERROR, request id {request_id[1]}: predict failed: LookupError: no rows\r\n"
        printed = ""  # a warm-up may have failed before
        while "\r\nLookupError: no rows\r\n" not in printed.partition(first)[2]:
            printed += os.read(ours, 4096).decode()
    finally:
        process.terminate()
        process.wait()
        os.close(ours)
    lines = printed.partition(first)[2].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert any(line.startswith(f'  File "{edited}", line ') for line in lines)


@pytest.mark.sweep
def test_serve_refuses_a_port_in_use(run: Run, sums: Scaffold) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        number = taken.getsockname()[1]
        message = failed(run("serve", str(sums.directory), "--port", str(number)))
    assert message == (
        f"port {number} cannot be taken on 127.0.0.1: Address already in use; pass another --port"
        " (0 takes a free one), or another --host"
    )
    wrong = failed(run("serve", str(sums.directory), "--host", "192.0.2.1"))
    assert wrong.startswith("port 8080 cannot be taken on 192.0.2.1: Cannot assign requested")
    assert "port 70000 cannot be taken" in failed(
        run("serve", str(sums.directory), "--port", "70000")
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a lock")
def test_a_port_that_only_the_server_finds_taken_is_told_of_as_serve_takes_it(
    run: Run, sums: Scaffold
) -> None:
    """Another server has bound it, and does not listen yet."""
    with socket.socket() as taken, socket.socket(socket.AF_UNIX) as lock:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        lock.bind(f"\0scaffold server at 127.0.0.1:{number}")
        message = failed(run("serve", str(sums.directory), "--port", str(number)))
        with (
            pytest.raises(ServingError, match=r"; pass another port \(0 takes"),
            sums.serve(port=number),
        ):
            pass
    assert message == (
        f"the server did not start: port {number} cannot be taken on 127.0.0.1: Address already in"
        " use; pass another --port (0 takes a free one), or another --host"
    )


def test_serve_refuses_a_scaffold_without_its_model(
    run: Run, sums: Scaffold, tmp_path: Path
) -> None:
    shutil.copytree(sums.directory, tmp_path / "rfc")
    (tmp_path / "rfc" / "src" / "model" / "model.pickle").unlink()
    message = failed(run("serve", "rfc", "--port", "0"))
    assert message.startswith(
        "the server did not start: src/model/model.pickle is missing: write the model there"
    )


def test_serve_refuses_a_directory_that_does_not_exist(run: Run) -> None:
    assert "'nowhere' is not a directory" in failed(run("serve", "nowhere"))
