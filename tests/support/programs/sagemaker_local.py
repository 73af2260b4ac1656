"""SageMaker's SDK in local mode: it runs an image as SageMaker does, by Docker Compose.

    python sagemaker_local.py IMAGE PORT DIRECTORY '{"NAME": "VALUE"}' BODY

Runs in an environment that has sagemaker[local]. It waits for /ping, posts a body of CSV through
the SDK's endpoint and prints the answer. DIRECTORY gets what it writes.
"""

import json
import sys
import tarfile
from pathlib import Path

import boto3
from sagemaker.deserializers import JSONDeserializer
from sagemaker.local import LocalSession
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer

QUIET = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def main(image: str, port: str, directory: Path, environ: dict[str, str], body: str) -> None:
    session = LocalSession(boto3.Session("id", "secret", region_name="us-east-1"))
    session.sagemaker_config = QUIET
    session.config = {
        "local": {"local_code": True, "serving_port": int(port), "container_root": str(directory)}
    }
    archive = directory / "model.tar.gz"  # the SDK wants one; the model is in the image
    tarfile.open(archive, "w:gz").close()
    model = Model(
        image_uri=image,
        model_data=f"file://{archive}",
        role="arn:aws:iam::123456789012:role/serve",
        env=environ,
        sagemaker_session=session,
        predictor_cls=Predictor,
    )
    endpoint = model.deploy(
        1,
        "local",
        serializer=CSVSerializer("text/csv; header=absent"),
        deserializer=JSONDeserializer(),
    )
    try:
        print("\n" + json.dumps({"answer": endpoint.predict(body)}))  # the SDK prints dots
    finally:
        endpoint.delete_endpoint()


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]), json.loads(sys.argv[4]), sys.argv[5])
