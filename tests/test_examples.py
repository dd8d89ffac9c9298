"""The examples are listed and in the form of the gallery, which runs them; the method in one file is the library's."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distilled_experts.layers import MixtureOfExperts
from distilled_experts.probing import probe

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
D_IN, D_OUT, HIDDEN, N_EXPERTS = 7, 3, 6, 5


def test_the_list_has_every_example_once() -> None:
    listed = re.findall(r"\[(\w+\.py)\]\((\w+\.py)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert all(name == target for name, target in listed)
    assert sorted(name for name, _ in listed) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_a_title_and_cells(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    title = re.match(r'"""\n(.+)\n(=+)\n\n', text)
    assert title
    assert len(title[1]) == len(title[2])
    assert text.count("\n# %%\n# ") >= 2
    assert '__name__ == "__main__"' not in text


def test_the_method_in_one_file_is_short_and_stands_alone() -> None:
    text = (FOLDER / "method_in_one_file.py").read_text(encoding="utf-8")
    assert "distilled_experts" not in text
    code = [line for line in text.split('"""', 2)[2].splitlines() if line and not line.startswith("#")]
    assert len(code) <= 80


@pytest.fixture(scope="module")
def method() -> dict[str, Any]:
    """What the method in one file defines, and what it printed when it ran."""
    printed = io.StringIO()
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(printed):
        return runpy.run_path(str(FOLDER / "method_in_one_file.py")) | {"printed": printed.getvalue()}


def flat_and_layer(method: dict[str, Any], top_k: int) -> tuple[nn.Module, MixtureOfExperts]:
    """The mixture of the file, and that of the library with the same weights."""
    with torch.random.fork_rng(devices=[]):
        flat = method["Mixture"](D_IN, D_OUT, hidden=HIDDEN, n_experts=N_EXPERTS, top_k=top_k).double()
    layer = MixtureOfExperts(
        D_IN,
        D_OUT,
        hidden=HIDDEN,
        n_experts=N_EXPERTS,
        top_k=None if top_k == N_EXPERTS else top_k,
        dtype=torch.float64,
    )
    layer.load_state_dict({name: weight.detach() for name, weight in stacked(flat, lambda weight: weight).items()})
    return flat, layer


def stacked(flat: Any, part: Any) -> dict[str, Tensor]:
    """A part of each parameter of the file's mixture, such as its gradient, under the library's names."""
    ups, downs = [expert[0] for expert in flat.experts], [expert[2] for expert in flat.experts]
    return {
        "gate.weight": part(flat.gate.weight),
        "gate.bias": part(flat.gate.bias),
        "experts.up": torch.stack([part(up.weight) for up in ups]),
        "experts.up_bias": torch.stack([part(up.bias) for up in ups]),
        "experts.down": torch.stack([part(down.weight) for down in downs]),
        "experts.down_bias": torch.stack([part(down.bias) for down in downs]),
    }


@pytest.mark.parametrize("top_k", [2, 3, N_EXPERTS])
def test_the_method_in_one_file_is_that_of_the_library(method: dict[str, Any], top_k: int) -> None:
    flat, layer = flat_and_layer(method, top_k)
    generator = torch.Generator().manual_seed(top_k)
    x = torch.randn(11, D_IN, generator=generator, dtype=torch.float64)
    upstream = torch.randn(11, D_OUT, generator=generator, dtype=torch.float64)
    output, distillation = flat(x)
    out = layer(x)
    torch.testing.assert_close(output, out.output, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(distillation, out.distillation_loss, rtol=1e-12, atol=1e-12)
    ((output * upstream).sum() + 0.3 * distillation).backward()
    ((out.output * upstream).sum() + 0.3 * out.distillation_loss).backward()
    gradients = stacked(flat, lambda weight: weight.grad)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("top_k", [2, N_EXPERTS])
def test_its_accuracies_are_those_of_probing(method: dict[str, Any], top_k: int) -> None:
    flat, layer = flat_and_layer(method, top_k)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, D_IN, generator=generator, dtype=torch.float64)
    y = torch.randint(D_OUT, (200,), generator=generator)
    mixture, each, own = method["accuracies"](flat, x, y)
    record = probe(layer.eval(), x, y.numpy())
    assert mixture == pytest.approx(record.score, abs=1e-12)
    assert own == pytest.approx(record.own_domain, abs=1e-12)
    assert each == pytest.approx(record.own_domain_by_expert.tolist(), abs=1e-12, nan_ok=True)


def test_its_experts_gain_from_distillation(method: dict[str, Any]) -> None:
    plain, distilled = re.findall(r"own domains ([\d.]+):", method["printed"])
    assert float(distilled) > float(plain) + 0.02
