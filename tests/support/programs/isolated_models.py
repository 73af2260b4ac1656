"""Makes a scaffold of a small model of one library. `python isolated_models.py LIBRARY DIRECTORY`.

That proves it: a worker which can import only what the scaffold requires has predicted the sample.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import generator

X = np.random.default_rng(0).random((40, 3))
Y = (X[:, 0] > 0.5).astype(int)
Made = tuple[Any, Any, dict[str, Any]]


def xgboost() -> Made:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=3).fit(X, Y), X, {}


def lightgbm() -> Made:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1).fit(X, Y), X, {}


def catboost() -> Made:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False)
    return model.fit(X, Y), X, {}


def imblearn() -> Made:
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.pipeline import make_pipeline
    from sklearn.linear_model import LogisticRegression

    return make_pipeline(RandomOverSampler(), LogisticRegression()).fit(X, Y), X, {}


def frame() -> Any:
    import pandas as pd

    return pd.DataFrame({"town": ["a", "b", "c", "a"] * 10, "size": X[:, 0]})


def category_encoders() -> Made:
    from category_encoders import TargetEncoder
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = frame()
    model = make_pipeline(TargetEncoder(cols=["town"]), LogisticRegression())
    return model.fit(rows, Y), rows, {}


def skrub() -> Made:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from skrub import TableVectorizer

    rows = frame()
    return make_pipeline(TableVectorizer(), LogisticRegression()).fit(rows, Y), rows, {}


class OLS:
    """A model of statsmodels: its results predict from an array."""

    def __init__(self) -> None:
        import statsmodels.api as sm

        self.results = sm.OLS(X[:, 0], sm.add_constant(X[:, 1:])).fit()

    def predict(self, rows: Any) -> Any:
        import statsmodels.api as sm

        return self.results.predict(sm.add_constant(np.asarray(rows), has_constant="add"))


def statsmodels() -> Made:
    return OLS(), X[:, 1:], {"framework": "custom"}


def transformers() -> Made:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    ids = np.arange(12).reshape(3, 4)
    sample = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return BertForSequenceClassification(config).eval(), sample, {}


if sys.argv[1:2] == ["lightning"]:
    import torch
    from lightning import LightningModule

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def forward(self, rows: Any) -> Any:
            return self.layer(rows)


def lightning() -> Made:
    return Net(), X.astype("float32"), {}


class Sentences:
    """A sentence transformer with random weights behind a predict."""

    def __init__(self) -> None:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import BoW, Dense

        words = BoW(vocab=["good", "bad", "film"])
        self.model = SentenceTransformer(modules=[words, Dense(3, 2)], device="cpu")

    def predict(self, rows: Any) -> Any:
        return self.model.encode(list(rows), show_progress_bar=False)


def sentence_transformers() -> Made:
    return Sentences(), ["good film", "bad film"], {"framework": "custom"}


def polars() -> Made:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression()).set_output(transform="polars")
    return model.fit(X, Y), X, {}


def pyarrow() -> Made:
    import pandas as pd
    from sklearn.linear_model import LogisticRegression

    rows = pd.DataFrame(X[:, :2], columns=["a", "b"]).astype("float64[pyarrow]")
    return LogisticRegression().fit(rows, Y), rows, {}


LIBRARIES: dict[str, Callable[[], Made]] = {
    made.__name__: made
    for made in (
        xgboost,
        lightgbm,
        catboost,
        imblearn,
        category_encoders,
        skrub,
        statsmodels,
        transformers,
        lightning,
        sentence_transformers,
        polars,
        pyarrow,
    )
}


def main() -> None:
    library, directory = sys.argv[1:]
    model, sample, settings = LIBRARIES[library]()
    generator.from_model(model, directory, sample_input=sample, **settings)


if __name__ == "__main__":
    main()
