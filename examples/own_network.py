"""
A layer in a network of your own
================================

A network learns a photograph: two coordinates in, three colours out. Its middle is a sparse mixture of experts, and
since every sample is a place in the picture, one can see which expert works where.
"""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from distilled_experts.layers import MixtureOfExperts, MoEOutput

# %%
# The network
# -----------
# The layer returns a record: the output, the losses that belong to it, and the routing. So nothing is hidden in the
# module, and the losses are added where you see them.


class Picture(nn.Module):
    def __init__(self, waves: Tensor) -> None:
        super().__init__()
        self.register_buffer("waves", waves)
        self.mixture = MixtureOfExperts(2 * waves.shape[1], 64, hidden=64, n_experts=8, top_k=2, distance="relative")
        self.colours = nn.Linear(64, 3)

    def forward(self, places: Tensor) -> tuple[Tensor, MoEOutput]:
        angles = places @ self.waves
        out = self.mixture(torch.cat([angles.sin(), angles.cos()], -1))
        return self.colours(out.output.relu()).sigmoid(), out


# %%
# Data: every fourth pixel of a photograph that comes with scikit-learn.

photograph = torch.from_numpy(load_sample_image("flower.jpg")[::4, ::4] / 255).float()
height, width, _ = photograph.shape
places = torch.cartesian_prod(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width))
colours = photograph.reshape(-1, 3)

# %%
# Training
# --------
# Three terms: the task, mutual distillation with strength α, and a loss that keeps all experts in use.

torch.manual_seed(0)
model = Picture(torch.randn(2, 32) * 6)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
ALPHA, BALANCE = 0.001, 0.01

for step in range(600):
    rows = torch.randint(len(places), (2048,))
    predicted, out = model(places[rows])
    task = F.mse_loss(predicted, colours[rows])
    loss = task + ALPHA * out.distillation_loss + BALANCE * out.balance_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 150 == 149:
        parts = f"task {task:.4f}, distillation {out.distillation_loss:.3f}, balance {out.balance_loss:.3f}"
        print(f"step {step + 1}: {parts}")

# %%
# Who works where
# ---------------
# In evaluation there is no distillation loss: the layer computes what a plain mixture would. ``routing.indices`` has
# the active experts in order of falling score, so the first column is the dominating expert.

with torch.no_grad():
    predicted, out = model.eval()(places)
domains = out.routing.indices[:, 0].reshape(height, width)

panels = plt.subplots(1, 3, figsize=(11, 2.8), layout="constrained")[1]
panels[0].imshow(photograph.numpy())
panels[0].set_title("photograph")
panels[1].imshow(predicted.reshape(height, width, 3).numpy())
panels[1].set_title("as the network sees it")
panels[2].imshow(domains.numpy(), cmap="tab10", vmin=0, vmax=9, interpolation="nearest")
panels[2].set_title("dominating expert")
for ax in panels:
    ax.set_axis_off()
plt.show()

print("shares of the domains:", (domains.flatten().bincount(minlength=8) / domains.numel()).numpy().round(2))
