"""The seed's simple tutorial: train on iris, make a scaffold, serve it, post to it. `make demo` runs this."""

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
    """Run the tutorial, saying what it does while it does it."""
    print("Training a random forest on iris", flush=True)
    iris = load_iris()
    rfc_model = RandomForestClassifier()
    rfc_model.fit(iris["data"], iris["target"])

    print(
        f"Writing a scaffold of it to {TARGET}/, and proving that it predicts what the model does",
        flush=True,
    )
    shutil.rmtree(TARGET, ignore_errors=True)  # of an earlier run
    scaffold = generator.from_model(rfc_model, target_directory=TARGET, sample_input=iris["data"])
    print(f"  scaffold.predict([[0, 0, 0, 0]])  ->  {scaffold.predict([[0, 0, 0, 0]])}", flush=True)
    scaffold.close()

    print("Serving it here, without Docker", flush=True)
    with scaffold.serve(port=0) as server:
        answer = post(server.predict_url)
        print(
            f"  curl -H 'Content-Type: application/json' -d '{BODY.decode()}' -X POST {server.predict_url}"
        )
        print(f"  ->  {json.dumps(answer)}", flush=True)
        expected = rfc_model.predict([[0, 0, 0, 0]]).tolist()
        if answer != {"predictions": expected}:
            raise SystemExit(f"the model in memory predicts {expected}")

    print("The same in a container:")
    print(f"  {scaffold.docker_build_string} -t test_rfc")
    print("  docker run --rm -p 8080:8080 -t test_rfc")


def post(url: str) -> dict[str, list[int]]:
    """The server's answer to the seed's body."""
    request = urllib.request.Request(url, BODY, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        answer: dict[str, list[int]] = json.load(response)
        return answer


if __name__ == "__main__":
    main()
