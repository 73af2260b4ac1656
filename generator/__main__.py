"""The command line: `python -m generator`, or `scaffold` where it is installed."""

import argparse
import contextlib
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import ScaffoldError, ServingError, from_model, load

EPILOG = """\
examples:
  python -m generator new model.joblib test_rfc
  python -m generator predict test_rfc '[[0, 0, 0, 0]]'
  python -m generator serve test_rfc --port 8080
  docker build -f test_rfc/sklearn-server.Dockerfile test_rfc -t test_rfc
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, or 1 after an error on one line."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except ScaffoldError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generator",
        description="Turn a trained model into a directory of plain files that serves it, and use such a directory.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_new(commands)
    _add_predict(commands)
    _add_serve(commands)
    return parser


def _add_new(commands: Any) -> None:
    new = commands.add_parser(
        "new",
        help="make a scaffold of a model that was saved with joblib or pickle",
        description="Load MODEL_FILE and write a scaffold that serves the model into DIRECTORY. Loading a pickle runs"
        " code from it: name only a file that you trust.",
    )
    new.add_argument("model_file", metavar="MODEL_FILE", type=Path, help="the model, saved with joblib.dump or pickle")
    new.add_argument("directory", metavar="DIRECTORY", help="the directory to make; it must not hold anything yet")
    new.add_argument("--name", default="model", help="the model's name, as in /v1/models/NAME:predict (model)")
    new.add_argument(
        "--requirement",
        metavar="LINE",
        action="append",
        help="a requirement to add or to replace, such as 'numpy==2.4.6'",
    )
    new.add_argument("--python-version", metavar="X.Y", help="3.10 to 3.13; by default the running one")
    new.add_argument("--data", metavar="PATH", action="append", help="a file or directory to copy into src/data/")
    new.add_argument("--sample", metavar="JSON", help="rows to prove the scaffold on: JSON, or - for standard input")
    new.add_argument("--overwrite", action="store_true", help="replace DIRECTORY where it holds something")
    new.set_defaults(run=_new)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser(
        "predict",
        help="send a request through a scaffold's whole flow, without a server",
        description="Send rows, or a whole request, through the flow of the scaffold in DIRECTORY, print the response.",
    )
    predict.add_argument("directory", metavar="DIRECTORY", help="a scaffold")
    predict.add_argument("body", metavar="JSON", help='rows, or {"instances": rows, ...}; - reads standard input')
    predict.set_defaults(run=_predict)


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve a scaffold without Docker",
        description="Serve the scaffold in DIRECTORY until Ctrl-C. Where this environment has no KServe, one that has"
        " is made once from the scaffold's server-requirements.txt, in the user's cache.",
    )
    serve.add_argument("directory", metavar="DIRECTORY", help="a scaffold")
    serve.add_argument("--port", type=int, default=8080, help="the port to serve on; 0 takes a free one (8080)")
    serve.set_defaults(run=_serve)


def _new(options: argparse.Namespace) -> None:
    print(f"loading {options.model_file}", file=sys.stderr)
    model = _load_model(options.model_file)
    print(f"writing a scaffold of it to {options.directory}", file=sys.stderr)
    scaffold = from_model(
        model,
        options.directory,
        name=options.name,
        requirements=options.requirement,
        python_version=options.python_version,
        data=options.data,
        sample_input=None if options.sample is None else _json(options.sample),
        overwrite=options.overwrite,
    )
    print(f"{scaffold.directory} is ready. Try:\n")
    print(f"  python -m generator serve {shlex.quote(str(scaffold.directory))}")
    print(f"  {scaffold.docker_build_string}")


def _predict(options: argparse.Namespace) -> None:
    body = _json(options.body)
    with contextlib.closing(load(options.directory)) as scaffold:
        print(json.dumps(scaffold.predict(body)))


def _serve(options: argparse.Namespace) -> None:
    scaffold = load(options.directory)
    signal.signal(signal.SIGTERM, _end)  # else the server would go on without this process
    print("starting the server", file=sys.stderr)
    with scaffold.serve(options.port) as server:
        print(f"POST to {server.predict_url}, read {server.url}/docs, stop with Ctrl-C", file=sys.stderr)
        status = server.process.wait()
    if status:
        raise ServingError(f"the server ended with exit status {status}; its last lines say why")


def _end(number: int, _: Any) -> None:
    sys.exit(128 + number)


def _load_model(path: Path) -> Any:
    try:
        import joblib

        return joblib.load(path)
    except FileNotFoundError:
        raise ScaffoldError(f"MODEL_FILE {str(path)!r} does not exist") from None
    except ModuleNotFoundError as error:
        raise ScaffoldError(
            f"MODEL_FILE {str(path)!r} needs the module {error.name!r}: install what it was made with"
        ) from error
    except Exception as error:
        raise ScaffoldError(
            f"MODEL_FILE {str(path)!r} holds no model that joblib or pickle can load: {error}"
        ) from error


def _json(text: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise ScaffoldError(f"{text[:60]!r} is not JSON: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
