"""
The whole method in one file
============================

A mixture of experts whose experts learn from each other, in plain PyTorch: gate, experts, mixture, mutual
distillation, training, and every expert alone. Nothing is imported from this package; a test holds that both compute
the same.

Shapes: N samples, E experts, k of them active, D outputs.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

# %%
# The mixture
# -----------
# The gate scores all experts for each sample. The k best are active on it, and their outputs are added up with the
# softmax of their scores. With k = E the gate is dense.


class Mixture(nn.Module):
    def __init__(self, d_in: int, d_out: int, *, hidden: int, n_experts: int, top_k: int) -> None:
        super().__init__()
        self.gate = nn.Linear(d_in, n_experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(d_in, hidden), nn.ReLU(), nn.Linear(hidden, d_out)) for _ in range(n_experts)
        )
        self.top_k = top_k

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        best_Nk, indices_Nk = self.gate(x).topk(self.top_k)
        weights_Nk = best_Nk.softmax(-1)
        outputs_NED = torch.stack([expert(x) for expert in self.experts], 1)
        active_NkD = outputs_NED.take_along_dim(indices_Nk[..., None], 1)
        return (weights_Nk[..., None] * active_NkD).sum(1), mutual_distillation(active_NkD)


# %%
# Mutual distillation
# -------------------
# Each active expert is pulled towards the plain mean of the active experts. This line is all that MoDE adds to a
# mixture of experts.


def mutual_distillation(active_NkD: Tensor) -> Tensor:
    return (active_NkD - active_NkD.mean(1, keepdim=True)).square().mean()


# %%
# Training
# --------
# The loss of the task plus α times that of distillation. With α = 0 this is a plain mixture of experts.


def train(model: Mixture, x: Tensor, y: Tensor, alpha: float, epochs: int = 40) -> Mixture:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            output, distillation = model(x[rows])
            loss = F.cross_entropy(output, y[rows]) + alpha * distillation
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


# %%
# Every expert alone
# ------------------
# The domain of an expert is the samples on which it has the largest weight. How often is it right there, alone?


@torch.no_grad()
def accuracies(model: Mixture, x: Tensor, y: Tensor) -> tuple[float, list[float], float]:
    """Of the mixture, of each expert alone on its own domain, and of all domains together."""
    domains = model.gate(x).argmax(-1)
    right_NE = torch.stack([expert(x).argmax(-1) == y for expert in model.experts], 1).double()
    each = [float(right_NE[domains == i, i].mean()) for i in range(len(model.experts))]
    own = right_NE.take_along_dim(domains[:, None], 1).mean()
    return float((model(x)[0].argmax(-1) == y).double().mean()), each, float(own)


# %%
# With and without
# ----------------
# Handwritten digits, four experts, the same initial weights and batches in both runs. The experts gain a lot. The
# mixture does not, on this split: its weighted sum had already made up for what each of them does not know.

X, labels = load_digits(return_X_y=True)
x = torch.tensor(X / 16, dtype=torch.float32)
y = torch.tensor(labels)
train_rows, test_rows = train_test_split(range(len(y)), test_size=0.3, random_state=0, stratify=labels)

for alpha in (0.0, 0.03):
    torch.manual_seed(0)
    model = Mixture(64, 10, hidden=64, n_experts=4, top_k=4)
    train(model, x[train_rows], y[train_rows], alpha)
    mixture, each, own = accuracies(model, x[test_rows], y[test_rows])
    alone = " ".join(f"{accuracy:.3f}" for accuracy in each)
    print(f"α = {alpha:<4}  mixture {mixture:.3f}  experts on their own domains {own:.3f}: {alone}")
