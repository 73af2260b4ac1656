"""The tutorial "Extending a Scaffold": a Keras model with a scikit-learn scaler, on Auto MPG data.

Needs tensorflow (or tensorflow-cpu), scikit-learn and vega_datasets. The data is part of
vega_datasets, so the tutorial needs no network.
"""

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import keras
import numpy as np
from keras import layers
from sklearn import preprocessing
from vega_datasets import data

import generator

TARGET = Path("demo") / "test_keras"
FEATURES = [
    "Cylinders",
    "Displacement",
    "Horsepower",
    "Weight_in_lbs",
    "Acceleration",
    "Model_Year",
]
LOAD_SCALER = '        self._scaler = joblib.load("data/scaler.joblib")\n'
EDITS = {
    "import numpy as np\n": "import joblib\nimport numpy as np\n",
    "        backend = ": LOAD_SCALER + "        backend = ",
    'self._signature.inputs(request["instances"])': (
        'self._scaler.transform(self._signature.inputs(request["instances"]))'
    ),
}


def main() -> None:
    """Run the tutorial and print its progress."""
    print("Training a feed forward network on the scaled features of 314 automobiles", flush=True)
    train_features, train_labels, test_features = split(data.cars())
    scaler = preprocessing.StandardScaler().fit(train_features)
    model = train(scaler.transform(train_features), train_labels)

    print(f"Writing its scaffold to {TARGET}/", flush=True)
    shutil.rmtree(TARGET, ignore_errors=True)  # from an earlier run
    scaffold = generator.from_model(model, target_directory=TARGET)

    print("Adding the scaler to src/data/, requirements.txt and inference_model.py", flush=True)
    joblib.dump(scaler, TARGET / "src" / "data" / "scaler.joblib")
    with (TARGET / "requirements.txt").open("a") as requirements:
        for name in ("joblib", "scikit-learn"):
            requirements.write(f"{name}=={metadata.version(name)}  # the scaler in src/data/\n")
    edit(TARGET / "src" / "server" / "inference_model.py")

    print("Predicting with the scaffold and with the pipeline in memory", flush=True)
    expected = np.asarray(model(scaler.transform(test_features), training=False))
    verification = scaffold.verify(test_features, expected=expected)
    scaffold.close()
    if not verification:
        raise SystemExit(
            f"the scaffold's predictions differ from the pipeline's: {verification.difference}"
        )
    served, in_memory = verification.served[0][0], expected[0, 0]
    print(f"  the first automobile: {served:.4f} miles per gallon, in memory {in_memory:.4f}")
    print(f"  {verification}")

    print("The same in a container:")
    print(f"  {scaffold.docker_build_string} -t test_keras")
    print("  docker run --rm -p 8080:8080 -t test_keras")
    print(
        "  curl -H 'Content-Type: application/json' -d '{\"instances\": [[0,0,0,0,0,0]]}'", end=" "
    )
    print("-X POST http://localhost:8080/v1/models/model:predict")


def split(cars: Any) -> tuple[Any, Any, Any]:
    """Split the data.

    Returns:
        Training features of shape [n, 6], training labels of shape [n], and test features of shape
        [m, 6].
    """
    dataset = cars.assign(Model_Year=cars["Year"].dt.year - 1900).dropna()
    train_dataset = dataset.sample(frac=0.8, random_state=0)
    test_dataset = dataset.drop(train_dataset.index)
    labels = train_dataset["Miles_per_Gallon"].to_numpy()
    return train_dataset[FEATURES].to_numpy(float), labels, test_dataset[FEATURES].to_numpy(float)


def train(features: Any, labels: Any) -> Any:
    """Train the tutorial's network on features of shape [n, 6] and labels of shape [n]."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Dense(units=8), layers.Dense(units=1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.1), loss="mean_absolute_error")
    model.fit(features, labels, epochs=100, verbose=0, validation_split=0.2)
    return model


def edit(path: Path) -> None:
    """Make the tutorial's edits. Each text to replace must occur exactly once."""
    text = path.read_text()
    for old, new in EDITS.items():
        if len(re.findall(re.escape(old), text)) != 1:
            raise SystemExit(
                f"{path} must hold {old.strip()!r} exactly once: update EDITS in this tutorial"
            )
        text = text.replace(old, new)
    path.write_text(text)


if __name__ == "__main__":
    main()
