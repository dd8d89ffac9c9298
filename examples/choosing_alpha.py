"""
How strong? Choosing α
======================

α says how strongly the experts learn from each other: too little changes nothing, too much makes them all alike. The
estimators choose it on rows that they hold out; a comparison shows the whole range on test rows.
"""

import textwrap

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from distilled_experts import MoDEClassifier, compare
from distilled_experts.report import figures

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

# %%
# One fit, several strengths
# --------------------------
# All strengths of the list start from the same weights and see the same rows. ``alpha_path_`` has the loss of each on
# held-out rows; the lowest one is taken. Zero, the plain mixture, should always be in the list.

grid = [0, 0.01, 0.1, 1, 10]
classifier = MoDEClassifier(alpha=grid, n_bins=0, n_estimators=2, random_state=0).fit(X_train, y_train)
for alpha, loss in classifier.alpha_path_.items():
    print(f"α = {alpha:<5} held-out loss {loss:.4f}", "<- taken" if alpha == classifier.alpha_ else "")
print(f"test accuracy {classifier.score(X_test, y_test):.4f}")

# %%
# One split says little: strengths whose losses are this close may change places on the next one.
#
# The whole range, over several seeds
# -----------------------------------
# :func:`~distilled_experts.experiments.compare.compare` takes the list as a grid, too, and records the test score at
# every α. In a small table the experts have seen too little each, and it shows what too large an α does.

record = compare(X[:600], y[:600], name="digits, 600 rows", alpha=[0, 0.01, 0.1, 1, 10, 100], seeds=5, epochs=60)
panels = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")[1]
figures.score_against_alpha(record, panels[0])
figures.own_domain_against_alpha(record, panels[1])
plt.show()

# %%
# Left the mixture, right every expert alone on its own domain. Below each α stands how many of the seeds chose it on
# their validation rows. For several numbers of experts at once there is ``mode sweep digits --experts 2,4,8``.

print(textwrap.fill(record["sentence"]))
