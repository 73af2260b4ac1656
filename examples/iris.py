"""The first tutorial: train on iris, make a scaffold, serve it, send a request.

`make demo` runs it.
"""

import json
import shutil
import urllib.request
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import generator

TARGET = Path("demo") / "test_rfc"
BODY = b'{"instances": [[0,0,0,0]]}'


def main() -> None:
    """Run the tutorial and print its progress."""
    print("Training a random forest on iris", flush=True)
    iris = load_iris()
    rfc_model = RandomForestClassifier()
    rfc_model.fit(iris["data"], iris["target"])

    print(f"Writing its scaffold to {TARGET}/ and checking its predictions", flush=True)
    shutil.rmtree(TARGET, ignore_errors=True)  # from an earlier run
    scaffold = generator.from_model(rfc_model, target_directory=TARGET, sample_input=iris["data"])
    print(f"  scaffold.predict([[0, 0, 0, 0]])  ->  {scaffold.predict([[0, 0, 0, 0]])}", flush=True)
    scaffold.close()

    print("Serving it here, without Docker", flush=True)
    with scaffold.serve(port=0) as server:
        url = server.predict_url
        print(f"  curl -H 'Content-Type: application/json' -d '{BODY.decode()}' -X POST {url}")
        answer = post(url)
        print(f"  ->  {json.dumps(answer)}", flush=True)
        expected = rfc_model.predict([[0, 0, 0, 0]]).tolist()
        if answer != {"predictions": expected}:
            raise SystemExit(
                f"the server answers {answer}, the model in memory predicts {expected}"
            )

    print("The same in a container:")
    print(f"  {scaffold.docker_build_string} -t test_rfc")
    print("  docker run --rm -p 8080:8080 -t test_rfc")


def post(url: str) -> dict[str, list[int]]:
    """Send the tutorial's request and return the answer."""
    request = urllib.request.Request(url, BODY, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer: dict[str, list[int]] = json.load(response)
        return answer


if __name__ == "__main__":
    main()
