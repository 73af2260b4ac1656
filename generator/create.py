"""Makes scaffolds: of a model in memory, or without a model."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import layout
from .arguments import argument
from .data import copy_data, data_files
from .environment.installed import Environment
from .environment.pins import infer
from .errors import ScaffoldError, SettingError, TargetError
from .files import beside, plain_path
from .hooks import NATIVE, ONNX, by_name
from .hooks.objects.custom import Custom
from .owners import guarded
from .progress import step
from .rendering.render import chosen_source, render
from .running.runtime import Runtime
from .scaffold import Scaffold
from .writing.pages import write_pages
from .writing.prepare import (
    WORKER_NEEDS,
    Prepared,
    complete,
    kept_answering,
    prepare,
    recognised,
    served_python,
)
from .writing.replace import replace_model
from .writing.wheels import write_wheels


@guarded("the scaffold cannot be made", ScaffoldError)
def from_model(
    model: Any,
    target_directory: "str | os.PathLike[str] | None" = None,
    *,
    name: str = "model",
    version: str | None = None,
    image: str | None = None,
    sample_input: Any = None,
    requirements: Sequence[str] | None = None,
    wheels: bool = False,
    python_version: str | None = None,
    data: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
    code: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
    server: str = "kserve",
    platforms: Sequence[str] | None = None,
    gpu: bool | None = None,
    ci: str | None = None,
    framework: str | None = None,
    method: "str | Sequence[str] | None" = None,
    parameters: "Sequence[str] | Mapping[str, Any] | None" = None,
    format: str | None = None,
    engine: str | None = None,
    template: str | None = None,
    ref: str | None = None,
    overwrite: bool = False,
    change_signature: bool = False,
) -> Scaffold:
    """Write a scaffold that serves a trained model.

    Args:
        model: a fitted scikit-learn estimator with a `predict`, a Keras model that is built, a
            PyTorch module, scripted or not, a function, or any object that has a `predict`, or the
            `method` that you name, and can be pickled.
        target_directory: the directory to create; by default named after the model's class.
        name: the model's name, as in `/v1/models/NAME:predict`.
        version: what clients are told of which model answers, as in "1.10" or "2024-05-01": up to
            64 letters, digits, and ".", "_", "-" or "+"; by default the first 12 digits of the
            SHA-256 of the model's file.
        image: the image's name in `deploy/` and in the README, as in
            "registry.example.org/iris:1.0"; by default the model's name, or the directory's for
            a model that is called "model".
        sample_input: rows as the model's `predict` takes them, of shape [n, features], or a
            DataFrame, or a list, or a dict of arrays keyed by input name; or rows as a client
            would send them, in objects; or the path of a CSV, Parquet or JSON file of rows. They
            determine the dtypes, and the scaffold is verified on them: a worker in its own process
            must answer exactly what the model in memory predicts (Keras and PyTorch: to 1e-6 of the
            largest number). The pair is kept as the scaffold's smoke test.
        requirements: requirement lines (PEP 508). They are added to what is inferred, or replace
            the line of the same package. A package that was installed from a wheel on this machine
            brings that wheel, in `wheels/`; a line for it takes it from an index instead.
        wheels: whether a wheel is built of each project on this machine that the model needs, as
            one that is installed in editable mode. By default the code of the project is copied.
        python_version: "3.10" to "3.13"; by default the running version.
        data: a file or a directory, or several, to copy into `src/data/`.
        code: a file or a directory, or several, to copy into `src/model/`, beside the code of
            yours that reads or imports it. Only what is not found needs a name: the modules that
            your code imports, and the files in the directory of a package of yours that are not
            code (up to 64 MiB), travel with the model. A package in which you name something
            brings only what you name.
        server: the server that takes the requests: "kserve", "standalone" for the same without
            KServe's SDK, or "kfserving" (0.6.1) for clusters that still need it.
        platforms: where the scaffold will run, which decides what `deploy/` holds: any of
            "kubernetes", "kserve", "compose", "ray", "sagemaker", "vertex", "azureml" and
            "cloudrun"; by default the first three. With server "kfserving", "kserve" means
            KFServing.
        gpu: whether the model is served on an NVIDIA GPU: with the builds of its packages for CUDA
            in `requirements.txt`, and manifests that ask for a GPU. By default where it is now, as
            far as that is certain: a model that is on a GPU is served there. Without it the
            server's workers see no GPU.
        ci: what builds, verifies, scans, signs and pushes the image: "github" for GitHub Actions or
            "gitlab" for GitLab CI; by default nothing does.
        framework: a name in the README's table of frameworks; by default it is detected.
        method: the method of the model that answers, as in "predict_proba", "transform" or
            "kneighbors", or several: each prediction is then an object with their names. By default
            `predict`; of a model without one, `transform`, `kneighbors` or `score_samples`; of a
            function, the call itself. The README says which frameworks take one.
        parameters: the names of parameters of the method that a request may set under
            `parameters`, as in `["return_std"]`, or a dict of names to other defaults. All others
            are refused.
        format: "export" saves a PyTorch module as a program of `torch.export`, traced on
            `sample_input`, for any number of rows. Nothing is pickled, and no class of yours is
            needed. "safetensors" saves a module's numbers, and "skops" a model of scikit-learn:
            loading these runs no code. By default, and with "pickle", the model is pickled.
        engine: "onnx" compiles a scikit-learn model for ONNX Runtime into `src/model/model.onnx`,
            many times as fast on few rows. It needs skl2onnx and onnxruntime. The result is
            compared with the model on the sample and on random rows: labels must be equal, numbers
            within 1e-6 of the largest. If compiling fails or the result differs, the model itself
            is served, with a warning. "native", the default, is the model itself.
        template: the address of the template to render, as `copier copy` takes it; by default
            `SCAFFOLD_TEMPLATE` in the environment, else the template that the generator carries.
        ref: the template's tag, branch or commit; by default `SCAFFOLD_REF` in the environment,
            else the generator's own version.
        overwrite: whether a directory that is not empty may be written to. In a scaffold the model
            is replaced and your edits stay, as with `Scaffold.replace_model`. Any other directory
            is replaced as a whole.
        change_signature: with `overwrite`: whether the new model may take other rows than the one
            in the scaffold.

    Raises:
        ModelError: the object is not a trained model that can be served, or the scaffold predicts
            something else.
        SettingError: another argument has a value that is not allowed.
        RequirementError: something the model needs cannot be written as a requirement.
        TargetError: the directory cannot be written, or is not empty.
    """
    if target_directory is None:
        target_directory = _snake_case(type(model).__name__)
    target = plain_path(target_directory)
    if framework is None:
        framework = _implied(model, target, overwrite, engine)
    definition, model = recognised(model, framework, method, parameters)
    files, source = data_files(data, target), chosen_source(template, ref)
    made: dict[str, Any] = {"requirements": requirements, "python_version": python_version}
    made |= {"format": format, "engine": engine, "code": code, "wheels": wheels}
    made["version"] = version
    if overwrite and (target / layout.ANSWERS).exists():
        scaffold = Scaffold(target, model)
        facts = Runtime(target).config().model
        _check_unchanged(scaffold, name, image, server, platforms, template, ref, gpu, ci)
        with step(f"Replacing the model of {target}"):
            replace_model(
                target,
                scaffold.framework,
                definition.answering(model, *kept_answering(facts, method, parameters)),
                model,
                sample_input=sample_input,
                data={name: path.resolve() for name, path in files.items() if path.is_file()},
                change_signature=change_signature,
                **made,
            )
        return Scaffold(target, model)
    _check_free(target, overwrite)
    made["gpu"] = definition.takes_gpu(model, gpu)

    def make(prepared: Prepared) -> None:
        python, engine = prepared.python_version, prepared.engine
        answers = _answers(
            name, image, definition.name, python, server, platforms, engine, prepared.gpu, ci
        )
        with beside(target) as directory:
            with prepared.named() as needed:
                render({**answers, "requirements": needed.text()}, directory, source)
                prepared.write(directory, needed)
            copy_data(files, directory / layout.DATA)
            prepared.check(directory)
            write_pages(directory)

    with step(f"Making the scaffold {target}"):
        complete(prepare(definition, model, sample_input, **made), make)
    return Scaffold(target, model)


@guarded("the scaffold cannot be made", ScaffoldError)
def new(
    target_directory: "str | os.PathLike[str]",
    *,
    name: str = "model",
    image: str | None = None,
    requirements: Sequence[str] | None = None,
    python_version: str | None = None,
    data: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
    server: str = "kserve",
    platforms: Sequence[str] | None = None,
    gpu: bool = False,
    ci: str | None = None,
    template: str | None = None,
    ref: str | None = None,
    overwrite: bool = False,
) -> Scaffold:
    """Write a scaffold without a model. You write `load` and `predict`.

    They are in `src/server/inference_model.py`.

    Args:
        target_directory: the directory to create.
        name: the model's name, as in `/v1/models/NAME:predict`.
        image: the image's name in `deploy/` and in the README, as in
            "registry.example.org/iris:1.0"; by default the model's name, or the directory's for
            a model that is called "model".
        requirements: requirement lines (PEP 508) for what your code imports.
        python_version: "3.10" to "3.13"; by default the running version.
        data: a file or a directory, or several, to copy into `src/data/`.
        server: the server that takes the requests: "kserve", "standalone" for the same without
            KServe's SDK, or "kfserving" (0.6.1) for clusters that still need it.
        platforms: where the scaffold will run; see `from_model`.
        gpu: whether it runs on an NVIDIA GPU; see `from_model`. Name the builds for CUDA in
            `requirements`.
        ci: what builds, verifies, scans, signs and pushes the image; see `from_model`.
        template: the address of the template to render; see `from_model`.
        ref: the template's tag, branch or commit; see `from_model`.
        overwrite: whether a directory that is not empty may be replaced.

    Raises:
        SettingError, RequirementError, TargetError: as `from_model` does.
    """
    target = plain_path(target_directory)
    _check_free(target, overwrite)
    python = served_python(python_version)
    for_gpu = Custom().takes_gpu(None, gpu)
    answers = _answers(name, image, Custom.name, python, server, platforms, NATIVE, for_gpu, ci)
    files = data_files(data, target)
    source = chosen_source(template, ref)
    needed = infer({}, Environment(), always=WORKER_NEEDS, given=requirements or ())
    with beside(target) as directory:
        render({**answers, "requirements": needed.text()}, directory, source)
        write_wheels(directory, needed.wheels)
        copy_data(files, directory / layout.DATA)
    return Scaffold(target)


def _answers(
    name: str,
    image: str | None,
    framework: str,
    python_version: str,
    server: str,
    platforms: Sequence[str] | None,
    engine: str,
    gpu: bool,
    ci: str | None,
) -> dict[str, Any]:
    """Answers to the questions of `copier.yml`, except `requirements`."""
    answers: dict[str, Any] = {
        "model_name": name,
        "framework": framework,
        "engine": engine,
        "python_version": python_version,
        "gpu": gpu,
        "server": server,
    }
    if image is not None:
        answers["image"] = image
    if platforms is not None:
        answers["platforms"] = _checked_platforms(platforms)
    if ci is not None:
        answers["ci"] = ci
    return answers


def _checked_platforms(platforms: Any) -> list[str]:
    """The platforms as a list. The template checks their names."""
    listed = isinstance(platforms, Collection) and not isinstance(platforms, (str, bytes))
    if not listed or not all(isinstance(name, str) for name in platforms):
        raise SettingError(
            f'{argument("platforms")} {platforms!r}: write a list of names, as in ["kubernetes",'
            ' "ray"]'
        )
    return list(platforms)


def _check_unchanged(
    scaffold: Scaffold,
    name: str,
    image: str | None,
    server: str,
    platforms: Sequence[str] | None,
    template: str | None,
    ref: str | None,
    gpu: bool | None,
    ci: str | None,
) -> None:
    """Refuse arguments that a new model cannot change in a scaffold."""
    if name not in ("model", scaffold.name):
        raise SettingError(
            f"{argument('name')} {name!r}: the scaffold's is {scaffold.name!r};"
            " change model_name in its config.yaml"
        )
    if image is not None:
        raise SettingError(
            f"{argument('image')} {image!r}: the scaffold names its image in deploy/ already;"
            " change it there"
        )
    if server not in ("kserve", scaffold.server):
        raise SettingError(
            f"{argument('server')} {server!r}: the scaffold's is {scaffold.server!r};"
            " make another for another server"
        )
    if platforms is not None:
        raise SettingError(
            f"{argument('platforms')} {platforms!r}: the scaffold has its files in deploy/ already;"
            " change them there with `copier update --data 'platforms=[NAME, ...]'`"
        )
    if gpu is not None and gpu != scaffold.gpu:
        raise SettingError(
            f"{argument('gpu')} {gpu!r}: the scaffold's is {scaffold.gpu!r}; make another, or"
            f" change it there with `copier update --data gpu={str(gpu).lower()}`"
        )
    if ci is not None:
        raise SettingError(
            f"{argument('ci')} {ci!r}: a new model leaves the scaffold's files as they are;"
            " change it there with `copier update --data ci=NAME`"
        )
    for setting, value in (("template", template), ("ref", ref)):
        if value:
            raise SettingError(
                f"{argument(setting)} {value!r}: the scaffold has its template;"
                " an update brings another version of it"
            )


def _check_free(target: Path, overwrite: bool) -> None:
    """Refuse a target that cannot be written."""
    if reason := _occupied(target, overwrite):
        raise TargetError(f"{argument('target_directory')} {str(target)!r} {reason}")


def _snake_case(class_name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower()


def _occupied(target: Path, overwrite: bool) -> str | None:
    """Why the target cannot be written, and how to fix it; None if it can."""
    try:
        if target.exists() and not target.is_dir():
            return "is a file: name a directory that does not exist yet"
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            return f"holds something already: name another, or pass {argument('overwrite', True)}"
        if Path.cwd().is_relative_to(target.resolve()):
            return "is where you are: name a directory in it"
    except (OSError, ValueError) as error:
        return f"cannot be used: {getattr(error, 'strerror', error)}; name another"
    return None


def _implied(model: Any, target: Path, overwrite: bool, engine: str | None) -> str | None:
    """The framework that the other arguments ask for, where more than one takes the model.

    A scaffold keeps its own, and scikit-learn's hook has an engine that the libraries' hooks lack.
    """
    wanted = []
    if overwrite and (target / layout.ANSWERS).exists():
        wanted.append(Scaffold(target).framework)
    if engine == ONNX:
        wanted.append("sklearn")
    return next((name for name in wanted if by_name(name).recognises(model)), None)
