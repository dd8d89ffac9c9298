"""Damaged checkpoints are found by their checksum; the one before is used, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import Compared, models_of

from distilled_experts.errors import RunFolderError
from distilled_experts.experiments.checkpoints import read_checkpoint, write_checkpoint

STATE = {"weights": torch.arange(6.0).reshape(2, 3), "epoch": torch.tensor(3), "none": torch.empty(0)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "checkpoint.safetensors"
    write_checkpoint(path, "dense", STATE)
    return path


def test_what_was_saved_is_read_and_other_stacks_have_none(saved: Path, tmp_path: Path) -> None:
    read = read_checkpoint(saved, "dense")
    assert read is not None
    assert read.keys() == STATE.keys()
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)
    assert read_checkpoint(saved, "mixture") is read_checkpoint(tmp_path / "none", "dense") is None


@given(data=st.data())
def test_every_flipped_bit_and_every_cut_is_found(saved: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    harmed = saved.with_name("harmed.safetensors")
    harmed.write_bytes(content)
    with pytest.raises(RunFolderError, match="is damaged"):
        read_checkpoint(harmed, "dense")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip_a_bit, cut, lambda path: path.write_bytes(b"")], ids=["flipped", "cut", "empty"])
def test_the_checkpoint_before_a_damaged_one_is_used(
    harm: Callable[[Path], None], interrupted: Path, compared: Compared, whole: list[dict[str, object]]
) -> None:
    harm(interrupted / "checkpoint.safetensors")
    epochs: list[int] = []
    with pytest.warns(UserWarning, match=r"checkpoint\.safetensors' is damaged.*saved before it"):
        compared(interrupted, resume=True, progress=lambda name, done, total: epochs.append(done))
    assert epochs[0] == 3  # two epochs had been done in the one before
    assert models_of(interrupted) == whole


def test_without_a_good_checkpoint_the_stack_is_trained_anew(
    interrupted: Path, compared: Compared, whole: list[dict[str, object]]
) -> None:
    for path in interrupted.glob("checkpoint*"):
        cut(path)
    epochs: list[int] = []
    with pytest.warns(UserWarning, match="is damaged") as told:
        compared(interrupted, resume=True, progress=lambda name, done, total: epochs.append(done))
    assert len(told) == 2
    assert epochs[0] == 1
    assert models_of(interrupted) == whole


def test_the_command_says_it_in_one_line(
    interrupted: Path, mode: Callable[..., tuple[object, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_a_bit(interrupted / "checkpoint.safetensors")
    small = ["--seeds", 2, "--epochs", 4, "--hidden", 8, "--alpha", "0,0.1", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.filters", [])
        status, out, err = mode("compare", "wine", *small, "--out", interrupted, "--continue")
    assert (status, out.count("\n"), err.count("\n")) == (0, 1, 1)
    assert err.startswith("mode: ")
    assert "is damaged" in err
