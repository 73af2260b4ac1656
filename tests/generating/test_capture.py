"""A model's own code is captured: from real scripts, packages, projects and notebooks."""

import contextlib
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import generator
from generator.capture.captured import SESSION_CODE, Captured
from support.session.cases import first

ROOT = Path(__file__).resolve().parents[2]
ROWS = [[0.1, 0.2], [0.9, 0.4]]

SCALING = """
    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin

    from . import helpers
    from .. import names

    try:
        import nothing_such
    except ImportError:
        nothing_such = None


    class Scale(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.n_features_in_ = 2
            return self

        def transform(self, X):
            from late import OFFSET

            return helpers.scale(np.asarray(X)) + OFFSET
"""
PACKAGE = {
    "owner/__init__.py": "",
    "owner/names.py": "NAMES = ['a', 'b']",
    "owner/unused.py": "import not_installed_either",
    "owner/features/__init__.py": "from .scaling import Scale",
    "owner/features/scaling.py": SCALING,
    "owner/features/helpers.py": """
        from scipy.special import expit


        def scale(X):
            return expit(X)
    """,
    "late.py": "OFFSET = 0.5",
}
COPIED = {path for path in PACKAGE if "unused" not in path}

TRAIN = """
    import sys

    import numpy as np
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    import generator

    X, y = np.random.default_rng(0).random((20, 2)), np.arange(20.0)


    def train(*steps, **settings):
        model = make_pipeline(*steps, LinearRegression()).fit(X, y)
        generator.from_model(model, "made", sample_input=X, **settings).close()
        print(model.predict(np.array([[0.1, 0.2], [0.9, 0.4]])).tolist())
"""

CAPTURE = """
import sys, types, threading

from generator.capture.pickle_references import definitions, references
from generator.capture.collect import capture
from generator.environment.installed import Environment


def capture_all(model):
    captured = capture(definitions(model), Environment())
    with captured.renamed():
        references(model)
"""
STEP = "class Step:\n    def go(self):\n        return 1\n"


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(textwrap.dedent(text).lstrip())


def run(
    directory: Path, *command: str, path: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run Python in the directory. Only it can import what is there and in `path`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *path)))}
    return subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def made(directory: Path, *command: str, path: tuple[Path, ...] = ()) -> Path:
    """The scaffold that a process made. It predicts here, where the process's files are unknown."""
    done = run(directory, *command, path=path)
    assert done.returncode == 0, done.stderr
    expected = json.loads(done.stdout.splitlines()[-1])
    with contextlib.closing(generator.load(directory / "made")) as scaffold:
        assert scaffold.predict(ROWS) == {"predictions": expected}
    return directory / "made"


def code(scaffold: Path) -> set[str]:
    """The files of captured code in a scaffold."""
    directory = scaffold / "src" / "model"
    files = {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    }
    return {file for file in files if "__pycache__" not in file} - {"__init__.py", "model.joblib"}


def pins(scaffold: Path) -> dict[str, str]:
    """Distribution name to the reason for it."""
    lines = [
        line for line in (scaffold / "requirements.txt").read_text().splitlines() if "==" in line
    ]
    return {line.partition("==")[0]: line.partition("  # ")[2] for line in lines}


# Files


@pytest.mark.sweep
def test_a_package_with_relative_imports_is_copied_with_its_path(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            **PACKAGE,
            "train.py": f"{TRAIN}\n    from owner.features import Scale\n\n    train(Scale())",
        },
    )
    scaffold = made(tmp_path, "train.py")
    assert code(scaffold) == COPIED
    for file in COPIED:
        assert (scaffold / "src" / "model" / file).read_text() == (tmp_path / file).read_text()
    assert pins(scaffold)["scipy"] == "imported by owner/features/helpers.py"


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["PEP 610", "setup.py develop"])
def test_an_editable_project_is_copied(tmp_path: Path, kind: str) -> None:
    project, site = tmp_path / "project", tmp_path / "site"
    metadata = "Metadata-Version: 2.1\nName: owner-project\nVersion: 1.0\n"
    origin = json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}})
    installed = {
        "owner_project-1.0.dist-info/METADATA": metadata,
        "owner_project-1.0.dist-info/direct_url.json": origin,
    }
    write(project, {f"src/{name}": text for name, text in PACKAGE.items()})
    if kind == "PEP 610":
        write(site, installed)
    else:
        write(project, {"src/owner_project.egg-info/PKG-INFO": metadata})
    write(
        tmp_path,
        {"train.py": f"{TRAIN}\n    from owner.features import Scale\n\n    train(Scale())"},
    )
    scaffold = made(tmp_path, "train.py", path=(site, project / "src"))
    assert code(scaffold) == COPIED
    assert "owner-project" not in pins(scaffold)


@pytest.mark.sweep
def test_what_a_given_line_provides_is_not_copied(tmp_path: Path) -> None:
    project = tmp_path / "project"
    line = "owner @ git+https://git.example/owner@1f0c"
    settings = f"requirements=[{line!r}]"
    train = f"{TRAIN}\n    from owner.features import Scale\n\n    train(Scale(), {settings})"
    write(project, PACKAGE)
    write(tmp_path, {"train.py": train})
    done = run(tmp_path, "train.py", path=(project,))
    assert done.returncode == 0, done.stderr
    assert code(tmp_path / "made") == set()
    assert f"{line}  # given by you" in (tmp_path / "made" / "requirements.txt").read_text()


def test_a_distribution_from_a_local_archive_is_not_copied(tmp_path: Path) -> None:
    origin = json.dumps({"url": "file:///steps-1.0-py3-none-any.whl", "archive_info": {}})
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: steps\nVersion: 1.0\n",
        "RECORD": "steps.py,,\n",
    }
    installed = {**metadata, "direct_url.json": origin}
    write(
        tmp_path / "site", {f"steps-1.0.dist-info/{name}": text for name, text in installed.items()}
    )
    write(tmp_path / "site", {"steps.py": STEP})
    print_files = "import steps\nprint(capture(definitions(steps.Step()), Environment()).files)"
    write(tmp_path, {"train.py": f"{CAPTURE}\n{print_files}"})
    assert run(tmp_path, "train.py", path=(tmp_path / "site",)).stdout == "{}\n"


# The session

SCRIPT = (
    TRAIN
    + """
    import functools
    from sklearn import base as b
    from late import OFFSET, Late

    FACTORS = {"a": 2.0}  # a literal
    data = np.zeros(3)


    class Base(b.TransformerMixin, b.BaseEstimator):
        class Inner:
            def __init__(self, value):
                self.value = value

        def fit(self, data, y=None):
            self.n_features_in_ = 2
            self.inner_ = Base.Inner(1.0)
            return self


    def doubled(function):
        @functools.wraps(function)
        def wrapper(data):
            return function(data) * FACTORS["a"]

        return wrapper


    class Scale(Base):
        def transform(self, data):
            return shifted(np.asarray(data)) * np.linalg.norm([self.inner_.value])  # kept


    @doubled
    def shifted(data):
        return data + OFFSET + Late.value


    def unused():
        return data


    if __name__ == "__main__":
        train(Scale(), FunctionTransformer(shifted))
        assert Scale.__module__ == Base.Inner.__module__ == "__main__"
        assert "session_code" not in sys.modules
"""
)


def test_definitions_of_a_script_are_written_as_source(tmp_path: Path) -> None:
    write(
        tmp_path, {"late.py": "OFFSET = 0.5\n\n\nclass Late:\n    value = 1.0", "train.py": SCRIPT}
    )
    scaffold = made(tmp_path, "train.py")
    assert code(scaffold) == {"session_code.py", "late.py"}
    text = (scaffold / "src" / "model" / "session_code.py").read_text()
    assert text.startswith('"""Code of the model, defined in train.py and copied')
    assert "from late import Late, OFFSET\n" in text
    assert "# kept" in text and "FACTORS = {'a': 2.0}" in text
    assert "unused" not in text and "data =" not in text


CELLS = [
    """
    from __future__ import annotations

    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin
    """,
    """
    class Base(TransformerMixin, BaseEstimator):
        pass
    """,
    """
    class Scale(Base):
        def fit(self, X: NotHere, y=None):
            return self

        def transform(self, X):
            return X
    """,
    """
    class Scale(Base):
        def fit(self, X: NotHere, y=None):
            self.n_features_in_ = 2
            return self

        def transform(self, X):
            return np.asarray(X) * FACTOR
    """,
    "FACTOR = 3",
    "class Scale(Base: never ran",
]
NOTEBOOK = """
    import codeop, linecache, sys, types

    compile = codeop.Compile()  # as IPython does, it remembers imports from __future__
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    for number, source in enumerate(__import__("json").load(open("cells.json"))):
        name = f"/tmp/ipykernel_1/{number}.py"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            exec(compile(source, name, "exec"), vars(main))
        except SyntaxError as error:
            print(error)
"""


@pytest.mark.sweep
def test_definitions_of_a_notebook_are_written_as_source(tmp_path: Path) -> None:
    cells = [textwrap.dedent(cell) for cell in (*CELLS, TRAIN, "train(Scale())")]
    write(tmp_path, {"cells.json": json.dumps(cells), "kernel.py": NOTEBOOK})
    scaffold = made(tmp_path, "kernel.py")
    text = (scaffold / "src" / "model" / "session_code.py").read_text()
    assert "defined in a notebook or an interactive session" in text
    assert text.count("class Scale") == 1 and "FACTOR = 3" in text
    assert "from __future__ import annotations\n" in text


@pytest.mark.sweep
@pytest.mark.skipif(importlib.util.find_spec("IPython") is None, reason="IPython is not installed")
def test_definitions_in_ipython_are_written_as_source(tmp_path: Path) -> None:
    cells = [textwrap.dedent(cell) for cell in (*CELLS, TRAIN, "train(Scale())")]
    driver = """
        import json
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance()
        for cell in json.load(open("cells.json")):
            shell.run_cell(cell, store_history=True)
    """
    write(tmp_path, {"cells.json": json.dumps(cells), "kernel.py": driver})
    scaffold = made(tmp_path, "kernel.py")
    assert code(scaffold) == {"session_code.py"}


@pytest.mark.sweep
def test_a_module_run_with_m_imports_from_its_own_package(tmp_path: Path) -> None:
    train = (
        TRAIN
        + """
    from .encoder import ENCODER, encode


    def scaled(X):
        return encode(ENCODER.transform(X))


    train(FunctionTransformer(scaled))
    """
    )
    encoder = """
    from sklearn.preprocessing import StandardScaler

    ENCODER = StandardScaler().fit([[0.0, 1.0], [1.0, 3.0]])


    def encode(X):
        return X * 2
    """
    write(
        tmp_path,
        {"owner/__init__.py": "", "owner/train.py": train, "owner/encoder.py": encoder},
    )
    scaffold = made(tmp_path, "-m", "owner.train")
    assert code(scaffold) == {"session_code.py", "owner/__init__.py", "owner/encoder.py"}


GENERATING = """
    import generator
    import numpy as np
    from generator import from_model
    from generator.scaffold import Scaffold
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer


    class Scale(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.n_features_in_ = 2
            return self

        def transform(self, X):
            return np.asarray(X) * 3

        def export(self) -> "Scaffold | None":
            return generator.load("made")


    def made(model, X) -> generator.Scaffold | None:
        return from_model(model, "made", sample_input=X)


    def main():
        X, y = np.random.default_rng(0).random((20, 2)), np.arange(20.0)
        step = FunctionTransformer(lambda X: (X, from_model, generator)[0])
        model = make_pipeline(Scale(), step, LinearRegression()).fit(X, y)
        made(model, X).close()
        print(model.predict(np.array([[0.1, 0.2], [0.9, 0.4]])).tolist())
"""


@pytest.mark.sweep
def test_the_generator_itself_never_travels(tmp_path: Path) -> None:
    write(tmp_path, {"train.py": GENERATING})
    scaffold = made(tmp_path, "-c", "import train; train.main()")
    absent = {f"generator/{name}__init__.py" for name in ("", "create/", "scaffold/")}
    by_value = {"pickled_code.py", "pickled_code.pickle"}
    assert code(scaffold) == {"train.py", *absent, *by_value}
    assert "scaffold-generator" not in pins(scaffold)


def test_names_are_restored_after_a_failure() -> None:
    class Step:
        pass

    name = Step.__qualname__
    captured = Captured(names=[(Step, SESSION_CODE, "Step")])
    with pytest.raises(ZeroDivisionError), captured.renamed():
        assert pickle.dumps(Step) == pickle.dumps(sys.modules[SESSION_CODE].Step)
        assert Step.__module__ == SESSION_CODE
        1 / 0  # noqa: B018
    assert (Step.__module__, Step.__qualname__, sys.modules.get(SESSION_CODE)) == (
        __name__,
        name,
        None,
    )


# What the session has changed

STEPS = """
    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin

    calls = []
    unit = 1.0


    def helper(X):
        return X


    class Base(TransformerMixin, BaseEstimator):
        K = 2
        gone = None

        def fit(self, X, y=None):
            self.n_features_in_ = 2
            return self


    class Shift(Base):
        def transform(self, X):
            factor = 3 if hasattr(self, "gone") else 1
            return (helper(np.asarray(X)) * unit + self.K) * factor


    class Other(Base):
        pass


    class Same(Base):
        def transform(self, X):
            calls.append(1)
            return X


    def scaled(X, by=1.0):
        return X * by
"""
CHANGED = """
    import functools
    from sklearn.base import BaseEstimator, TransformerMixin
    import steps


    class Mine(TransformerMixin, BaseEstimator):
        K = 2

        def fit(self, X, y=None):
            self.n_features_in_ = 2
            return self


    class Sub(Mine):
        pass


    def add_to(cls):
        def add(function):
            setattr(cls, function.__name__, function)
            return function

        return add


    Mine.K = 5


    @add_to(Mine)
    def transform(self, X):
        return np.asarray(X) ** self.K


    @add_to(steps.Other)
    def transform(self, X):
        return np.sqrt(np.asarray(X)) * self.K


    original = steps.Shift.transform


    @functools.wraps(original)
    def timed(self, X):
        return original(self, X) * 2


    steps.Shift.transform = timed
    steps.Base.K = 7
    del steps.Base.gone
    steps.unit = 0.5
    steps.helper = lambda X: X**2
    steps.scaled.__defaults__ = (4.0,)
    train(Sub(), steps.Other(), steps.Shift(), steps.Same(), FunctionTransformer(steps.scaled))
"""


@pytest.mark.sweep
def test_what_the_session_changed_is_served_as_it_is_now(tmp_path: Path) -> None:
    write(tmp_path, {"steps.py": STEPS, "train.py": TRAIN + CHANGED})
    scaffold = made(tmp_path, "train.py")
    files = {"session_code.py", "steps.py", "changed_code.py", "changed_code.pickle"}
    assert code(scaffold) == {*files, "pickled_code.py", "pickled_code.pickle"}
    text = (scaffold / "src" / "model" / "steps.py").read_text()
    assert text.startswith((tmp_path / "steps.py").read_text())
    assert text.endswith("import changed_code  # noqa: E402\n")


# By value


@pytest.mark.sweep
def test_what_source_cannot_rebuild_is_pickled_by_value(tmp_path: Path) -> None:
    steps = """
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.preprocessing import StandardScaler
    from late import OFFSET
    import late

    scaler = StandardScaler().fit(X)
    exec("def squared(X): return np.square(X) + late.OFFSET")


    class Scale(TransformerMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.n_features_in_ = 2
            return self

        def transform(self, X):
            return plus(scaler.transform(X))


    def plus(X):
        return X + OFFSET


    factor = 2
    train(Scale(), FunctionTransformer(lambda X: plus(X) * factor), FunctionTransformer(squared))
    """
    write(tmp_path, {"late.py": "OFFSET = 0.5", "train.py": TRAIN + steps})
    scaffold = made(tmp_path, "train.py")
    assert code(scaffold) == {
        "session_code.py",
        "late.py",
        "pickled_code.py",
        "pickled_code.pickle",
    }
    assert "def plus" in (scaffold / "src" / "model" / "session_code.py").read_text()
    assert pins(scaffold)["cloudpickle"] == "imported by pickled_code.pickle"


def test_code_by_value_needs_the_running_python(tmp_path: Path) -> None:
    other = "3.10" if sys.version_info[:2] != (3, 10) else "3.11"
    step = "FunctionTransformer(lambda X: X)"
    write(tmp_path, {"train.py": f"{TRAIN}\n    train({step}, python_version={other!r})"})
    done = run(tmp_path, "train.py")
    assert (
        f"SettingError: python_version '{other}' is not the running 3.{sys.version_info[1]}"
        in done.stderr
    )
    assert (
        "(<lambda>): define that in a module of your own, or leave python_version out"
        in done.stderr
    )
    assert not (tmp_path / "made").exists()


# What cannot be captured

# What is wrong -> the files beside the script, the script, and how the error begins or goes on
REFUSED = {
    "an open file": (
        {},
        """
        class Step: pass
        step = Step()
        step.file = open(__file__)
        capture_all([step])
        """,
        "the model cannot be pickled: model[0].file: cannot pickle ",
    ),
    "a lock": (
        {},
        """
        class Step: pass
        step = Step()
        step.lock = threading.Lock()
        capture_all([lambda: 1, step])
        """,
        "the model cannot be pickled: model[1].lock: cannot pickle '_thread.lock' object: "
        "leave it out",
    ),
    "an open file in a lambda": (
        {},
        """
        file = open(__file__)
        capture_all(lambda: file.read())
        """,
        "__main__.<lambda> cannot be pickled by value: <_io.TextIOWrapper name=",
    ),
    "a lock in a function": (
        {},
        """
        lock = threading.Lock()
        def step():
            return lock
        capture_all(step)
        """,
        "__main__.step cannot be pickled by value: cannot pickle '_thread.lock' object: "
        "define it in a module of your own",
    ),
    "a class from type()": (
        {},
        """
        Step = type('Step', (), {})
        capture_all(Step())
        """,
        "__main__.Step is a dynamically made class, which has no source: "
        "define it with a class statement",
    ),
    "a class in a function": (
        {},
        """
        def make():
            class Step: pass
            return Step
        capture_all(make()())
        """,
        "__main__.make.<locals>.Step is a dynamically made class, which its module does not hold "
        "under that name",
    ),
    "two classes of one name": (
        {},
        """
        class Step: pass
        step = Step()
        class Step: pass
        capture_all([step, Step()])
        """,
        "two different classes are called __main__.Step: the model's own, and the one that its "
        "module holds now",
    ),
    "a module that was imported again": (
        {"steps.py": STEP},
        """
        import steps
        step = steps.Step()
        del sys.modules['steps']
        import steps
        capture_all(step)
        """,
        "two different classes are called steps.Step",
    ),
    "a method that changed in its file": (
        {"steps.py": STEP, "later.py": STEP.replace("1", "2") + "# longer\n"},
        """
        import os, steps
        os.replace('later.py', 'steps.py')
        capture_all(steps.Step())
        """,
        "changed since it was imported: Step.go in the running process differs from the file; "
        "restart the session",
    ),
    "a constant that changed in its file": (
        {"steps.py": f"FACTOR = 2\n{STEP}", "later.py": f"FACTOR = 3\n{STEP}"},
        """
        import os, steps
        os.replace('later.py', 'steps.py')
        capture_all(steps.Step())
        """,
        "changed since it was imported: FACTOR in the running process",
    ),
    "a script that changed": (
        {},
        """
        class Step:
            def go(self):
                return 1

        text = open(__file__).read()
        open(__file__, 'w').write(text.replace('return 1', 'return 2'))
        capture_all(Step())
        """,
        "train.py changed since it defined __main__.Step: run it again",
    ),
    "cells that changed": (
        {},
        """
        import linecache

        def run_cell(name, source):
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)
            exec(compile(source, name, 'exec'), globals())

        run_cell('<first>', 'class Step: go = lambda self: 1')
        run_cell('<second>', 'def stop(self): pass\\nstop.__qualname__ = "Step.stop"')
        Step.stop = stop
        linecache.cache['<first>'] = (4, None, ['pass'], '<first>')
        capture_all(Step())
        """,
        "<first>, <second> changed since it defined __main__.Step: run it again",
    ),
    "an import of a module without a file": (
        {"steps.py": f"import made_here\n{STEP}"},
        """
        sys.modules['made_here'] = types.ModuleType('made_here')
        import steps
        capture_all(steps.Step())
        """,
        "steps.py: no file is found for made_here of 'import made_here', an import that can work "
        "in the running process only",
    ),
    "an import of nothing": (
        {"steps.py": STEP.replace("return 1", "from nowhere import x")},
        """
        import steps
        capture_all(steps.Step())
        """,
        "steps.py: no file is found for nowhere of 'from nowhere import x'",
    ),
    "an extension module": (
        {"steps.py": STEP.replace("return 1", "import fast"), f"fast{EXTENSION_SUFFIXES[0]}": ""},
        """
        import steps
        capture_all(steps.Step())
        """,
        f"fast{EXTENSION_SUFFIXES[0]}) is not Python source and belongs to no installed "
        "distribution, so it runs on this machine only",
    ),
    "a class of a module without a file": (
        {},
        """
        module = sys.modules['made'] = types.ModuleType('made')
        exec('class Step: pass', vars(module))
        capture_all(module.Step())
        """,
        "module made exists in the running process only: put its code into a file",
    ),
    "an object of the generator's": (
        {},
        """
        import generator
        capture_all([generator.ModelError("x")])
        """,
        "the model holds generator.errors.ModelError, the generator's own: leave it out of it",
    ),
    "code of the session's in an installed class": (
        {},
        """
        from sklearn.preprocessing import StandardScaler

        def transform(self, X):
            return X
        StandardScaler.transform = transform
        capture_all(StandardScaler())
        """,
        "sklearn.preprocessing._data.StandardScaler.transform is not its package's own code but "
        "__main__.transform, which was put there",
    ),
    "a function of an installed module that the session replaced": (
        {},
        """
        from sklearn.preprocessing import StandardScaler, _data
        _data.check_array = lambda X: X
        capture_all(StandardScaler())
        """,
        "sklearn.preprocessing._data.check_array is not its package's own code but "
        "__main__.<lambda>",
    ),
    "a name that the scaffold uses": (
        {"common.py": STEP},
        """
        import common
        capture_all(common.Step())
        """,
        "cannot be copied: common is a name that the scaffold itself uses; rename your module",
    ),
    "a name of the standard library": (
        {"queue.py": STEP},
        """
        sys.modules.pop('queue', None)
        sys.path.insert(0, '.')
        import queue
        capture_all(queue.Step())
        """,
        "cannot be copied: queue is a module of the standard library; rename your module",
    ),
    "a name of an installed package": (
        {"joblib.py": STEP},
        """
        import joblib
        capture_all(joblib.Step())
        """,
        "cannot be copied: joblib is also installed, at ",
    ),
}


@pytest.mark.parametrize(
    ("files", "script", "error"), first(8, REFUSED.values()), ids=list(REFUSED)
)
def test_what_cannot_be_captured_is_an_error_with_a_fix(
    tmp_path: Path, files: dict[str, str], script: str, error: str
) -> None:
    write(tmp_path, {**files, "train.py": CAPTURE + textwrap.dedent(script)})
    done = run(tmp_path, "train.py")
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("generator.errors.ModelError: "), done.stderr
    assert error in last


@pytest.mark.sweep
def test_a_module_imported_by_a_computed_name_fails_in_a_clean_process(tmp_path: Path) -> None:
    steps = """
    import importlib


    def step(X):
        return X + importlib.import_module('la' + 'te').OFFSET
    """
    train = f"{TRAIN}\n    from steps import step\n\n    train(FunctionTransformer(step))"
    write(tmp_path, {"late.py": "OFFSET = 0.5", "steps.py": steps, "train.py": train})
    done = run(tmp_path, "train.py", path=(tmp_path,))
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith(
        "generator.errors.ModelError: the scaffold would not predict elsewhere: "
    )
    assert "No module named 'late'" in last
    assert not (tmp_path / "made").exists()
