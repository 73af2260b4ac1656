"""The command line: `python -m generator`, or `scaffold` where it is installed."""

import argparse
import contextlib
import json
import os
import select
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import layout
from .arguments import spelled
from .completion import SHELLS, script
from .create import new as new_scaffold
from .create_from import make
from .errors import ScaffoldError, ServingError
from .hooks import NATIVE, ONNX, names
from .options import Parser
from .rendering.render import DISTRIBUTION, own_version
from .rows import samples
from .running.container import uses_buildkit
from .running.headers import parsed_fields
from .running.verification import CURRENT, ENVIRONMENTS
from .scaffold import load
from .writing.prepare import PYTHON_VERSIONS

FORMATS = ("export", "safetensors", "skops", "pickle")  # a framework has some of these
# What the template knows. Another one may know more: it checks its answers itself.
SERVERS = ("kserve", "standalone", "kfserving")
PLATFORMS = (
    "kubernetes",
    "kserve",
    "compose",
    "ray",
    "sagemaker",
    "vertex",
    "azureml",
    "cloudrun",
)
CIS = ("none", "github", "gitlab")
EPILOG = """\
examples:
  {program} new model.joblib test_rfc --trust-file
  {program} predict test_rfc '[[0, 0, 0, 0]]'
  {program} serve test_rfc --port 8080
  {program} verify test_rfc --environment isolated
  {program} lock test_rfc
  {program} update test_rfc --pretend
  docker build -f test_rfc/sklearn-server.Dockerfile test_rfc -t test_rfc
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, or 1 after an error on one line."""
    made = parser()
    options = made.parse_args(arguments)
    try:
        with spelled(made.spelling):
            options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_cut_off(sys.stdout.fileno()):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again
        return 128 + signal.SIGPIPE
    except ScaffoldError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _is_cut_off(output: int) -> bool:
    """Whether nobody reads the output any more: `head` ends when it has enough."""
    poll = select.poll()
    poll.register(output, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _program() -> str:
    """What was called, as its user writes it."""
    return "scaffold" if Path(sys.argv[0]).stem == "scaffold" else "python -m generator"


def parser() -> Parser:
    """The parser of every command."""
    made = Parser(
        prog=_program(),
        description="Turn a trained model into a directory of plain files that serves it,"
        " and use such a directory.",
        epilog=EPILOG.format(program=_program()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"{DISTRIBUTION} {own_version()}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    made.commands = commands.choices
    _add_new(commands)
    _add_init(commands)
    _add_predict(commands)
    _add_serve(commands)
    _add_verify(commands)
    _add_lock(commands)
    _add_update(commands)
    _add_completion(commands)
    return made


def _add_new(commands: Any) -> None:
    new = commands.add_parser(
        "new",
        help="make a scaffold of a model from a file, a directory or a registry",
        description="Load the model in SOURCE and write a scaffold that serves it into DIRECTORY."
        " Loading a model can run code from its file: name only a file that you trust. A Keras file"
        " without lambdas, a skops file of scikit-learn's own and one of XGBoost, LightGBM or"
        " CatBoost run none; for most others you are asked, or pass --trust-file.",
    )
    new.add_argument(
        "source",
        is_path=True,
        metavar="SOURCE",
        help="a file: .keras and .h5 of Keras's, .pt, .pth and .pt2 of PyTorch's, .skops, .ubj"
        " and .json of XGBoost's, .txt of LightGBM's, .cbm of CatBoost's, any other as joblib or"
        " pickle saves it; an MLflow model, as a directory or as an address, such as"
        " models:/NAME/1 or runs:/ID/model; a directory of TensorFlow's SavedModel, or with"
        " MLServer's model-settings.json; or the name of a repository of Hugging Face's",
    )
    new.add_argument(
        "--trust-file",
        dest="trust",
        action="store_true",
        help="run the code in SOURCE without asking",
    )
    _add_making(new)
    new.add_argument(
        "--version",
        metavar="TEXT",
        help="the model's version, which clients are told (digits of its file's SHA-256)",
    )
    new.add_argument(
        "--sample",
        dest="sample_input",
        is_path=True,
        metavar="ROWS",
        help="rows to verify the scaffold on: JSON, - for standard input, or a .csv, .parquet or"
        " .json file",
    )
    new.add_argument(
        "--code",
        is_path=True,
        metavar="PATH",
        action="append",
        help="a file or directory to copy into src/model/, beside the code that reads it",
    )
    new.add_argument(
        "--wheels",
        action="store_true",
        help="build a wheel of each project on this machine that the model needs (its code is"
        " copied)",
    )
    new.add_argument(
        "--framework",
        choices=names(),
        metavar="NAME",
        help=f"one of {', '.join(names())}; custom takes any object with a predict (detected)",
    )
    new.add_argument(
        "--method",
        metavar="NAME",
        action="append",
        help="the method of the model that answers, once for each: predict_proba, transform, ..."
        " (predict)",
    )
    new.add_argument(
        "--parameter",
        dest="parameters",
        metavar="NAME",
        action="append",
        help="a parameter of the method that a request may set, once for each",
    )
    new.add_argument(
        "--format",
        values=FORMATS,
        help="how the model is saved. export: a PyTorch module as a program of torch.export, with"
        " --sample; safetensors: its numbers; skops: a scikit-learn model. Loading these runs no"
        " code (as the framework does, or pickle)",
    )
    new.add_argument(
        "--engine",
        choices=(NATIVE, ONNX),
        help="onnx compiles a scikit-learn model for ONNX Runtime if it predicts the same (native)",
    )
    new.add_argument(
        "--change-signature",
        action="store_true",
        help="with --overwrite: the model may take other rows than the one in the scaffold there",
    )
    new.set_defaults(run=_new)


def _add_init(commands: Any) -> None:
    init = commands.add_parser(
        "init",
        help="make a scaffold without a model; you write load and predict",
        description="Write a scaffold without a model into DIRECTORY."
        f" Then write load and predict in {layout.INFERENCE_MODEL}.",
    )
    _add_making(init)
    init.set_defaults(run=_init)


def _add_making(parser: argparse.ArgumentParser) -> None:
    """The options of every command that makes a scaffold."""
    parser.add_argument(
        "target_directory",
        is_path=True,
        metavar="DIRECTORY",
        help="the directory to create; it must be empty or not exist",
    )
    parser.add_argument(
        "--name", help="the model's name, as in /v1/models/NAME:predict (SOURCE's, else model)"
    )
    parser.add_argument(
        "--image",
        help="the image's name in deploy/ and README.md (the model's name, or DIRECTORY where that"
        " is model)",
    )
    parser.add_argument(
        "--server",
        values=SERVERS,
        default="kserve",
        help="kserve, standalone for the same without KServe's SDK, or kfserving for clusters that"
        " still need it (kserve)",
    )
    parser.add_argument(
        "--platform",
        dest="platforms",
        metavar="NAME",
        values=PLATFORMS,
        action="append",
        help=f"where it will run, once for each: {', '.join(PLATFORMS)} (the first three)",
    )
    parser.add_argument(
        "--requirement",
        dest="requirements",
        metavar="LINE",
        action="append",
        help="a requirement to add or to replace, such as 'numpy==2.4.6'",
    )
    parser.add_argument(
        "--python-version",
        choices=PYTHON_VERSIONS,
        help="the version of Python that it runs on (the running one)",
    )
    parser.add_argument(
        "--data",
        is_path=True,
        metavar="PATH",
        action="append",
        help="a file or directory to copy into src/data/",
    )
    parser.add_argument(
        "--gpu",
        action=argparse.BooleanOptionalAction,
        help="whether it runs on an NVIDIA GPU (as the model does that is loaded)",
    )
    parser.add_argument(
        "--ci",
        values=CIS,
        help="what builds, verifies, scans, signs and pushes the image (none)",
    )
    _add_template(parser)
    parser.add_argument(
        "--ref", help="the template's tag, branch or commit (the generator's own version)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the model of the scaffold in DIRECTORY; replace DIRECTORY as a whole if it"
        " is not a scaffold",
    )


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="send a request through a scaffold's whole flow, without a server",
        description="Send rows, or a whole request, through the flow of the scaffold in DIRECTORY,"
        " and print the response.",
    )
    predict.add_argument("directory", is_path=True, metavar="DIRECTORY", help="a scaffold")
    predict.add_argument(
        "body", metavar="JSON", help='rows, or {"instances": rows, ...}; - reads standard input'
    )
    predict.add_argument(
        "--header",
        dest="headers",
        metavar="FIELD",
        action="append",
        help="a header field of the request, as in 'X-Tenant: a', for hooks that read it",
    )
    predict.set_defaults(run=_predict)


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve a scaffold without Docker",
        description="Serve the scaffold in DIRECTORY until Ctrl-C. If this environment has no"
        " KServe, one is created from server-requirements.txt, once, in the user's cache.",
    )
    serve.add_argument("directory", is_path=True, metavar="DIRECTORY", help="a scaffold")
    serve.add_argument(
        "--port", type=int, default=8080, help="the port to serve on; 0 takes a free one (8080)"
    )
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; 0.0.0.0 for every one (127.0.0.1)",
    )
    serve.add_argument(
        "--reload",
        action="store_true",
        help="load the model again when a file under src/ changes; if that fails, say why and go on"
        " with the last good one",
    )
    serve.set_defaults(run=_serve)


def _add_verify(commands: Any) -> None:
    verify = commands.add_parser(
        "verify",
        help="check that a scaffold still predicts what its smoke test records",
        description="Send the request of the smoke test in DIRECTORY through the whole flow, and"
        " compare the predictions with the recorded ones. A scaffold that was made with a sample"
        " has a smoke test.",
    )
    verify.add_argument("directory", is_path=True, metavar="DIRECTORY", help="a scaffold")
    verify.add_argument(
        "--environment",
        choices=ENVIRONMENTS,
        default=CURRENT,
        help="current: this one; isolated: one made from its requirements; docker: a container of"
        " the image (current)",
    )
    verify.add_argument(
        "--tolerance",
        metavar="FRACTION",
        type=float,
        help="how far a number may differ, as a fraction of the largest"
        " (1e-6 for keras and pytorch, else 0)",
    )
    verify.set_defaults(run=_verify)


def _add_lock(commands: Any) -> None:
    lock = commands.add_parser(
        "lock",
        help="lock the packages of a scaffold, with hashes: its image is built from these",
        description=f"Write {layout.LOCK} into DIRECTORY: everything that {layout.REQUIREMENTS}"
        " needs, each package at one version, with the hashes of its files. It needs uv, which asks"
        f" an index. Versions that were locked before stay where {layout.REQUIREMENTS} allows them:"
        " remove the file first to have the newest.",
    )
    lock.add_argument("directory", is_path=True, metavar="DIRECTORY", help="a scaffold")
    lock.set_defaults(run=_lock)


def _add_update(commands: Any) -> None:
    update = commands.add_parser(
        "update",
        help="merge a later version of the template into a scaffold",
        description="Merge a later version of the template into the scaffold in DIRECTORY,"
        " which must be committed to git. Your edits, the model and the data stay."
        " Where both sides changed the same lines, the file holds both.",
    )
    update.add_argument("directory", is_path=True, metavar="DIRECTORY", help="a scaffold")
    update.add_argument(
        "--to", metavar="VERSION", help="the template's version, such as 1.2.0 (the latest)"
    )
    update.add_argument(
        "--pretend", action="store_true", help="change nothing, only print what would change"
    )
    _add_template(update)
    update.set_defaults(run=_update)


def _add_completion(commands: Any) -> None:
    completion = commands.add_parser(
        "completion",
        help="print a script that lets a shell complete this command",
        description="Print a script that lets a shell complete `scaffold`, its options and their"
        " values. Its first lines say where it goes.",
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")
    completion.set_defaults(run=_completion)


def _add_template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--template",
        is_path=True,
        metavar="ADDRESS",
        help="where the template is, as copier takes it (the generator's own)",
    )


def _new(options: argparse.Namespace) -> None:
    sample = None
    if options.sample_input is not None:
        sample = _sample(options.sample_input)
    print(f"loading {options.source}", file=sys.stderr)
    making = {
        "sample_input": sample,
        "version": options.version,
        "framework": options.framework,
        "code": options.code,
        "wheels": options.wheels,
        "method": options.method and _one_or_all(options.method),
        "parameters": options.parameters,
        "format": options.format,
        "engine": options.engine,
        "change_signature": options.change_signature,
        **_making(options),
    }
    scaffold = make(
        options.source,
        options.target_directory,
        lambda: _ask_for_trust(options.source, options.trust),
        making,
        loaded=lambda: print(
            f"writing a scaffold of it to {options.target_directory}", file=sys.stderr
        ),
    )
    print(f"{scaffold.directory} is ready. Try:\n")
    print(f"  {_program()} serve {_shell_path(scaffold.directory)}")
    buildkit = "" if uses_buildkit() else "DOCKER_BUILDKIT=1 "
    print(f"  {buildkit}{scaffold.docker_build_string}")


def _shell_path(directory: Path) -> str:
    """A directory for a shell, as no command's option."""
    path = str(directory)
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _one_or_all(names: list[str]) -> str | list[str]:
    if len(names) == 1:
        return names[0]
    return names


def _init(options: argparse.Namespace) -> None:
    making = {**_making(options), "gpu": bool(options.gpu)}
    directory = new_scaffold(options.target_directory, **making).directory
    print(
        f"{directory} is ready for your model:"
        f" write load and predict in {directory}/{layout.INFERENCE_MODEL}"
    )


def _making(options: argparse.Namespace) -> dict[str, Any]:
    named = {"name": options.name} if options.name else {}
    return {
        **named,
        "image": options.image,
        "server": options.server,
        "platforms": options.platforms,
        "gpu": options.gpu,
        "ci": options.ci,
        "requirements": options.requirements,
        "python_version": options.python_version,
        "data": options.data,
        "template": options.template,
        "ref": options.ref,
        "overwrite": options.overwrite,
    }


def _verify(options: argparse.Namespace) -> None:
    with contextlib.closing(load(options.directory)) as scaffold:
        verification = scaffold.verify(environment=options.environment, tolerance=options.tolerance)
    if not verification:
        raise ScaffoldError(f"{options.directory} does not predict what it did: {verification}")
    print(f"{options.directory} predicts what it should: {verification}")


def _lock(options: argparse.Namespace) -> None:
    print(f"{load(options.directory).lock()} is written: the image is built from it")


def _update(options: argparse.Namespace) -> None:
    result = load(options.directory).update(
        options.to, pretend=options.pretend, template=options.template
    )
    print(result)
    if result.conflicts and not options.pretend:
        names = ", ".join(result.conflicts)
        raise ScaffoldError(
            f"{names}: your lines and the template's are both there, between conflict markers:"
            " choose, then commit"
        )


def _completion(options: argparse.Namespace) -> None:
    print(script(parser(), options.shell), end="")


def _predict(options: argparse.Namespace) -> None:
    body, headers = _json(options.body), parsed_fields(options.headers or ())
    with contextlib.closing(load(options.directory)) as scaffold:
        print(json.dumps(scaffold.predict(body, headers=headers)))


def _serve(options: argparse.Namespace) -> None:
    scaffold = load(options.directory)
    signal.signal(signal.SIGTERM, _end)  # else the server would go on without this process
    print("starting the server", file=sys.stderr)
    with scaffold.serve(options.port, options.host, reload=options.reload) as server:
        page = f"open {server.page_url} in a browser, " if server.page_url else ""
        told = f"{page}POST to {server.predict_url}, read {server.url}/docs, stop with Ctrl-C"
        print(told, file=sys.stderr)
        status = server.process.wait()
    if status:
        raise ServingError(f"the server ended with exit status {status}; its last lines say why")


def _end(number: int, _: Any) -> None:
    sys.exit(128 + number)


def _ask_for_trust(source: str, trusted: bool) -> None:
    """Ask whether the code in a source may run, where somebody is there to answer.

    Raises:
        ScaffoldError: it may not.
    """
    if trusted:
        return
    what = f"loading SOURCE {source!r} runs the code in it"
    if not sys.stdin.isatty():
        raise ScaffoldError(f"{what}: pass --trust-file if you know where it comes from")
    print(f"{what}. Do you know where it comes from? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ScaffoldError(f"{what}, and was not trusted: nothing was loaded")


def _sample(text: str) -> Any:
    if samples.is_file(text):
        return samples.read(text)
    return _json(text)


def _json(text: str) -> Any:
    if text == "-":
        text = sys.stdin.read()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ScaffoldError(f"{text[:60]!r} is not JSON: {error}") from error
