"""What runs the examples of a page fails where a page is wrong."""

import subprocess
from pathlib import Path

import pytest

from support.documentation.commands import Failure
from support.documentation.pages import run_page
from support.documentation.session import PythonSession

PAGE = """
# A page

```python
import os
number = 1
print("on port 8080:", os.listdir())
class Doubled:
    def predict(self, rows): return [2 * row for row in rows]
```

```text
on port 8080: []
```

```python
print(number + 1)
```

What follows some prose is no output:

```text
3
```

```python
from pathlib import Path
Path("edited.py").write_text("def first():\\n    return 1\\n\\nprint(first())\\n")
```

```diff
--- edited.py
+++ edited.py
@@ the first function
 def first():
-    return 1
+    number = 2
+    return number

@@ its use
-print(first())
+print("now", first())
```

```console
$ python edited.py
now 2
$ mkdir inner && cd inner
$ ls .. | sort
edited.py
inner
$ echo one; \\
  echo two 2>&1
one
...
$ pip install scaffold-generator "pytest>=1"
$ pip install -e .
```

```console
$ scaffold --version
scaffold-generator ...
```

<!-- skip: next "it needs a cluster" -->

```python
raise SystemExit
```

```text
printed by no one
```

```commandline
kubectl get pods
```
"""


def run(tmp_path: Path, text: str) -> None:
    page, directory = tmp_path / "page.md", tmp_path / "directory"
    page.write_text(text)
    directory.mkdir()
    run_page(page, directory)


def test_a_page_that_is_right(tmp_path: Path) -> None:
    run(tmp_path, PAGE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", r"line 5: - 2\n\+ 1"),
        ("```python\nprint(1)\n```\n```text\n1\n1\n```\n", "line 4: "),
        ("```python\nvalue = (\n```\n", "SyntaxError"),
        ("```python\n1 / 0\n```\n", 'File "<page.md, line 1>", line 1'),
        ("```python\ninput()\n```\n```python\n1\n```\n", "EOFError"),
        ("```python\nimport os; os._exit(1)\n```\n", "Python ended"),
        ("```console\n$ echo 1\n2\n```\n", r"\$ echo 1\n- 2\n\+ 1"),
        ("```console\n$ false | cat\n```\n", "exit status 1"),
        ("1. A list\n\n   ```console\n   $ echo 1\n   2\n   ```\n", r"- 2\n\+ 1"),
        ("```console\n$ true\n$ ls nothing\n```\n", "exit status 2"),
        ("```console\necho 1\n```\n", "begins with a line"),
        ("```console\n$ python -m http.server_is_not_here --serve\n```\n", "exit status 1"),
        ("```console\n$ pip install no-such-package\n```\n", "no-such-package is not installed"),
        ("```diff\n--- a\n+++ b\n@@\n-a\n```\n", "a diff begins with"),
        ('```python title="a.py"\nprint(1)\n```\n', "would not be run"),
        ("```bash\nls\n```\n", "```bash would not be run"),
        ("~~~python\n1 / 0\n~~~\n", "ZeroDivisionError"),
    ],
)
def test_a_page_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Failure, match=message):
        run(tmp_path, text)


def test_an_edit_of_other_lines(tmp_path: Path) -> None:
    made = '```python\nopen("a", "w").write("x\\nx\\n")\n```\n'
    with pytest.raises(Failure, match="holds these lines 2 times"):
        run(tmp_path, f"{made}```diff\n--- a\n+++ a\n@@\n-x\n+y\n```\n")


def test_a_server_and_its_children_end_with_the_page(tmp_path: Path) -> None:
    server = (
        "import http.server, subprocess, sys\n"
        "class Answer(http.server.SimpleHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "        self.wfile.write(b'served')\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "print('serving on 8080, child', child.pid, flush=True)\n"
        "open('child', 'w').write(str(child.pid))\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Answer).serve_forever()\n"
    )
    page = (
        f"```python\nopen('inference_server.py', 'w').write({server!r})\n```\n"
        "```console\n$ python inference_server.py 8080\nserving on 8080, child ...\n```\n"
        "```console\n$ curl http://localhost:8080/\nserved\n$ python inference_server.py 8080\n"
        "$ curl http://127.0.0.1:8080\nserved\n```\n"
    )
    run(tmp_path, page)
    child = (tmp_path / "directory" / "child").read_text()
    listed = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True)
    assert listed.stdout.strip()[:1] in ("", "Z")


def test_a_class_of_the_page_has_its_source(tmp_path: Path) -> None:
    session = PythonSession(tmp_path, {})
    try:
        session.run("<a>", "class Doubled:\n    def predict(self, rows): return rows\n")
        printed, failure = session.run(
            "<b>", "import inspect; print(inspect.getsource(Doubled.predict))"
        )
    finally:
        session.close()
    assert (printed.strip(), failure) == ("def predict(self, rows): return rows", None)
