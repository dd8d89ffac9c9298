"""Augmentation against loops over images, and what must not change."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.vision.augmentation import augment, crop, flip


def images(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@given(padding=st.integers(1, 3), height=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_crop_is_a_window_of_the_padded_image(padding, height, width, seed):
    x = images(6, 2, height, width)
    shifts = torch.randint(2 * padding + 1, (6, 2), generator=torch.Generator().manual_seed(seed))
    padded = F.pad(x, (padding,) * 4)
    windows = [
        one[:, row : row + height, column : column + width]
        for one, (row, column) in zip(padded, shifts.tolist(), strict=True)
    ]
    assert torch.equal(crop(x, padding, shifts), torch.stack(windows))


def test_the_middle_shift_changes_nothing():
    x = images(3, 1, 4, 4)
    assert torch.equal(crop(x, 2, torch.full((3, 2), 2)), x)


def test_chosen_images_are_mirrored():
    x, chosen = images(4, 3, 2, 5), torch.tensor([True, False, True, False])
    expected = torch.stack([one.flip(-1) if mirrored else one for one, mirrored in zip(x, chosen, strict=True)])
    assert torch.equal(flip(x, chosen), expected)


def test_the_seed_decides_and_images_stay_themselves():
    x = torch.arange(1, 51.0).reshape(50, 1, 1, 1).expand(-1, 1, 4, 4)

    def run(seed: int) -> torch.Tensor:
        return augment(x, padding=1, mirrored=True, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert torch.equal(run(0).amax((1, 2, 3)), x[:, 0, 0, 0])


def test_without_padding_and_mirroring_nothing_happens():
    x = images(3, 1, 4, 4)
    assert augment(x, padding=0, mirrored=False, generator=torch.Generator()) is x
