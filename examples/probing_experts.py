"""
What does each expert know?
===========================

Expert probing sends every row to one expert alone, and asks who is right where. Two classifiers on the same rows: a
plain mixture, and one whose experts learn from each other.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from distilled_experts import MoDEClassifier
from distilled_experts.report import figures

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)

records = {}
for name, alpha in {"MoE": 0.0, "MoDE": 0.03}.items():
    classifier = MoDEClassifier(alpha=alpha, n_estimators=1, n_bins=0, max_iter=60, random_state=0)
    records[name] = classifier.fit(X_train, y_train).probe(X_test, y_test)

# %%
# Who is right where
# ------------------
# The *domain* of an expert is the rows on which the gate gives it the largest weight. Row: the expert that answers
# alone. Column: the domain. The diagonal is each expert on its own domain.

panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")[1]
for ax, (name, record) in zip(panels, records.items(), strict=True):
    figures.expert_domain_matrix(record, [ax])
    ax.set_title(name)
plt.show()

# %%
# In numbers
# ----------
# *Own domain*: the share of rows whose dominating expert is right alone. *Routing accuracy*: of the rows that some
# expert gets right, the share on which the dominating one is right. *Oracle*: the share that some expert gets right.
# The brackets are 95 % intervals from a bootstrap over the rows.

for name, record in records.items():
    print(name)
    for measure in ("score", "own_domain", "routing_accuracy", "oracle"):
        interval = record.intervals[measure]
        print(f"  {measure:<17} {getattr(record, measure):.3f} [{interval.low:.3f}, {interval.high:.3f}]")

# %%
# Why answers are wrong
# ---------------------
# A wrong answer is a *gate error* (some expert is right, the dominating one is not), an *expert error* (no expert is
# right) or a *combination error* (the dominating expert is right, the weighted sum is not).

for name, record in records.items():
    print(f"{name:<5}", ", ".join(f"{kind.replace('_', ' ')} {share:.3f}" for kind, share in record.errors.items()))

# %%
# How alike the experts are
# -------------------------
# The price of distillation: experts that answer alike have nothing left to choose from. CKA compares their outputs.

for name, record in records.items():
    print(f"{name:<5} mean CKA {record.similarity.mean_cka:.2f}, equal answers {record.similarity.mean_agreement:.2f}")
