"""
A raw table, as it comes
========================

Categories, numbers and empty cells go into :class:`~distilled_experts.tabular.estimators.MoDEClassifier` as they are.
It is a scikit-learn estimator, so cross-validation, searches and pipelines work as usual.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from distilled_experts import MoDEClassifier

# %%
# The diabetes patients of scikit-learn, in their own units. To look like a table from practice, it gets ages in
# groups, letters for the sexes, and measurements that are missing here and there. Did the disease progress faster than
# in the median patient?

patients, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
patients["age"] = pd.cut(patients["age"], [0, 35, 50, 65, 100], labels=["to 35", "36 to 50", "51 to 65", "over 65"])
patients["sex"] = patients["sex"].map({1.0: "a", 2.0: "b"})
rng = np.random.default_rng(0)
for column in ("bmi", "bp", "s5"):
    patients[column] = patients[column].mask(rng.random(len(patients)) < 0.1)
faster = np.where(progression > progression.median(), "faster", "slower")
print(patients.head(), patients.dtypes, sep="\n\n")

# %%
# Numbers are standardised, missing ones filled and marked, and categories get a feature for each label. A row at
# prediction may have a label that training never saw.

X_train, X_test, y_train, y_test = train_test_split(patients, faster, stratify=faster, random_state=0)
classifier = MoDEClassifier(random_state=0).fit(X_train, y_train)
print(f"accuracy {classifier.score(X_test, y_test):.3f}, α = {classifier.alpha_}")

unseen = X_test.head(3).assign(sex="not stated", bmi=None)
print(pd.DataFrame(classifier.predict_proba(unseen), columns=classifier.classes_).round(2))

# %%
# A model that was trained with missing cells answers where many more are missing. Here cells of the test rows are
# emptied at random, five times; at 0.5 lies guessing.


def score_with_empty(share: float) -> float:
    return classifier.score(X_test.mask(rng.random(X_test.shape) < share), y_test)


shares = np.linspace(0, 0.9, 10)
ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")[1]
ax.plot(shares, [np.mean([score_with_empty(share) for _ in range(5)]) for share in shares], marker="o")
ax.axhline(0.5, color="gray", linestyle="--")
ax.set_xlabel("share of empty cells")
ax.set_ylabel("accuracy")
plt.show()

# %%
# In a pipeline the steps before it may add columns; cross-validation fits them anew in each fold.


def with_ratio(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(ratio=table["s1"] / table["s3"])


pipeline = make_pipeline(FunctionTransformer(with_ratio), MoDEClassifier(n_estimators=2, random_state=0))
scores = cross_val_score(pipeline, patients, faster, cv=3)
print("accuracy in three folds:", scores.round(3))

# %%
# A saved model is a folder of JSON and safetensors. Loading it runs no code from it.

with tempfile.TemporaryDirectory() as folder:
    classifier.save(f"{folder}/model")
    loaded = MoDEClassifier.load(f"{folder}/model")
print("the same predictions:", (loaded.predict(X_test) == classifier.predict(X_test)).all())
