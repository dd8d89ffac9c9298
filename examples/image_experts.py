"""
What an expert's domain looks like
==================================

A small convolutional network ends in a mixture: its experts are classifiers of digits. The gate divides the images
among them, and each domain can be looked at.
"""

import matplotlib.pyplot as plt
import torch
from sklearn.model_selection import train_test_split

from distilled_experts.probing import probe
from distilled_experts.vision import build_model, load_images, train_model
from distilled_experts.vision.models import ModelSettings
from distilled_experts.vision.training import Samples, TrainingSettings

N_EXPERTS = 4

images = load_images("digits")
pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2) / 128 - 1
labels = torch.from_numpy(images.y)
rest, test = train_test_split(range(len(labels)), test_size=0.3, stratify=labels, random_state=0)

# %%
# Training
# --------
# ``build_model`` makes the networks of ``mode compare --task vision``, ``train_model`` trains one of them on the
# Trainer of Transformers and keeps the weights of its best epoch. The first 1,000 of these images are trained on, the
# others validate.

samples = Samples(pixels[rest], labels[rest], 1000)
settings = ModelSettings("conv-head", (8, 8, 1), 10, n_experts=N_EXPERTS, hidden=64, distance="mse")
model = build_model(settings, seed=0, alpha=0.03)
curves = train_model(model, samples, TrainingSettings(epochs=20, batch_size=32, padding=1), seed=0)
print("validation loss by epoch:", [round(loss, 3) for loss in curves.validation_loss])

# %%
# The experts alone
# -----------------
# Any torch module with a mixture in it can be probed, here on the images that training never saw.

record = probe(model, pixels[test], labels[test].numpy())
print(f"mixture {record.score:.3f}, experts on their own domains {record.own_domain:.3f}")

# %%
# The domains
# -----------
# A row an expert: its share of the test images, which digits they are, and the first twelve of them.

figure, grid = plt.subplots(N_EXPERTS, 13, figsize=(10, 3.6), width_ratios=[4] + 12 * [1], layout="constrained")
for expert, (bars, *places) in enumerate(grid):
    bars.bar(range(10), record.composition[expert], color="tab:blue")
    bars.set_ylabel(f"expert {expert}\n{record.shares[expert]:.0%}", rotation=0, ha="right", va="center")
    bars.set_xticks(range(10), labels=images.classes, fontsize=7)
    bars.set_yticks([])
    own = pixels[test][record.domains == expert][:12]
    for place in places:
        place.set_axis_off()
    for place, image in zip(places, own, strict=False):
        place.imshow(image[0].numpy(), cmap="gray_r")
plt.show()
