"""What bad inputs are given to: readers of data and models, and the command.

A target is made in a folder of its own, with the valid inputs that are to be harmed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import yaml
from fuzzing_inputs import ODD, changed, changed_arrays, harmed, tables, texts
from hypothesis import strategies as st
from safetensors.numpy import load, save

from distilled_experts import MoDEClassifier, MoDERegressor
from distilled_experts.cli import cli
from distilled_experts.endings import ended
from distilled_experts.errors import DistilledExpertsError, TrainingError
from distilled_experts.experiments import runner, trained
from distilled_experts.experiments.checkpoints import read_checkpoint, write_checkpoint
from distilled_experts.experiments.configuration import read_configuration
from distilled_experts.experiments.data import load_table
from distilled_experts.experiments.models import load_model
from distilled_experts.experiments.streaming import ParquetTable
from distilled_experts.translation.reading import read_pairs
from distilled_experts.vision.archives import read_archive


class Target(NamedTuple):
    """Inputs, and what takes one of them; it fails unless it raises an error of the package or of bad usage."""

    inputs: st.SearchStrategy[Any]
    take: Callable[[Any], object]


FRAME = pd.DataFrame(
    {
        "age": [20.5, None, 31, 44, 52.25, 61] * 5,
        "city": ["Ulm", "Bonn", "Köln", "=1+1", "?", "Ulm"] * 5,
        "since": ["2020-01-01", "2021-05-06", None, "2022-02-02", "2020-01-09", "2021-12-31"] * 5,
        "paid": [True, False] * 15,
        "target": ["yes", "no", "no"] * 10,
    }
)
FAST = {"hidden": 4, "max_iter": 2, "n_estimators": 1, "random_state": 0}


def written(folder: Path, name: str, take: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Take bytes as the content of a file."""
    path = folder / name

    def run(content: bytes) -> object:
        path.write_bytes(content)
        return take(path)

    return run


def table_target(folder: Path, ending: str, valid: list[bytes], others: st.SearchStrategy[bytes]) -> Target:
    take = written(folder, f"input{ending}", lambda path: load_table(str(path)))
    return Target(st.one_of(harmed(valid), others), take)


def csv(folder: Path) -> Target:
    content = FRAME.to_csv(index=False)
    valid = [content.encode(), content.replace(",", ";").replace(".", ",").encode(), FRAME.to_csv(sep="\t").encode()]
    return table_target(folder, ".csv", valid, tables())


def csv_gz(folder: Path) -> Target:
    valid = [gzip.compress(FRAME.to_csv(index=False).encode(), mtime=0), FRAME.to_csv(index=False).encode()]
    return table_target(folder, ".csv.gz", valid, tables().map(gzip.compress))


def parquet(folder: Path) -> Target:
    valid = []
    for options in ({"compression": None}, {"compression": "snappy"}, {"index": True, "compression": "zstd"}):
        buffer = io.BytesIO()
        FRAME.astype({"city": "category"}).to_parquet(buffer, **options)
        valid.append(buffer.getvalue())

    def take(path: Path) -> object:
        """Batch by batch, then whole."""
        return [*ParquetTable(path).batches(), load_table(str(path))]

    return Target(harmed(valid), written(folder, "input.parquet", take))


def archive(folder: Path) -> Target:
    images, labels = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(6, 8, 8), np.array([0, 1] * 3)
    valid = []
    for write in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        write(buffer, X=images, y=labels, Xt=images[:2], yt=labels[:2], classes=np.array(["cat", "dog"]))
        valid.append(buffer.getvalue())
    return Target(harmed(valid), written(folder, "input.npz", lambda path: read_archive(path, "input")))


def pairs(folder: Path) -> Target:
    lines = [{"translation": {"en": f"{n} dogs", "de": f"{n} Hunde"}} for n in range(9)]
    valid = {
        ".tsv": "en\tde\n" + "".join(f"{n} dogs\t{n} Hunde\n" for n in range(9)),
        ".jsonl": "".join(json.dumps(line) + "\n" for line in lines),
    }
    packed = {f"{ending}.gz": gzip.compress(text.encode(), mtime=0) for ending, text in valid.items()}
    inputs = {ending: text.encode() for ending, text in valid.items()} | packed

    def take(named: tuple[str, bytes]) -> object:
        return written(folder, f"input{named[0]}", lambda path: read_pairs(path, None))(named[1])

    contents = [st.tuples(st.just(ending), harmed([content])) for ending, content in inputs.items()]
    lists = st.lists(st.one_of(st.sampled_from(ODD), changed(lines[0])), max_size=5)
    objects = st.tuples(st.just(".jsonl"), lists.map(lambda items: "\n".join(map(json.dumps, items)).encode()))
    return Target(st.one_of(*contents, objects), take)


def configuration(folder: Path) -> Target:
    valid = {"seeds": 3, "alpha": [0, 0.1], "gate": "sparse", "top-k": 2, "target": "y", "quiet": True}
    nested = b"a: &a [x, x]\nb: &b [*a, *a]\nseeds: [*b, *b]\n? [1, 2]\n: !!binary aGk=\n<<: {epochs: 2020-01-01}\n"
    inputs = st.one_of(
        harmed([yaml.safe_dump(valid).encode(), nested, b"%YAML 1.1\n---\nlr: 0.1\nhidden: 0x10\nepochs: 1:30\n"]),
        changed(valid).map(lambda value: json.dumps(value).encode()),
    )
    names = [parameter.name for parameter in cli.commands["compare"].params]
    return Target(inputs, written(folder, "input.yaml", lambda path: read_configuration(str(path), names)))


def checkpoint(folder: Path) -> Target:
    write_checkpoint(folder / "valid", "dense", {"a": torch.arange(12.0).reshape(3, 4), "epoch": torch.tensor(3)})
    take = written(folder, "input", lambda path: read_checkpoint(path, "dense"))
    return Target(harmed([(folder / "valid").read_bytes()]), take)


def model(folder: Path) -> Target:
    """Models of strangers: harmed files, and whole ones with checksums that are right and contents that are not."""
    X, seeds = FRAME.drop(columns="target"), []
    for kind, y in ((MoDEClassifier, FRAME["target"]), (MoDERegressor, FRAME["age"].fillna(0))):
        kind(**FAST, n_bins=4, early_stopping=True).fit(X, y).save(folder / "valid", overwrite=True)
        seeds.append([(folder / "valid" / name).read_bytes() for name in ("model.json", "weights.safetensors")])

    def take(parts: tuple[bytes, bytes]) -> object:
        (folder / "input").mkdir(exist_ok=True)
        for name, content in zip(("model.json", "weights.safetensors"), parts, strict=True):
            (folder / "input" / name).write_bytes(content)
        return load_model(folder / "input").predict(X)

    ways = []
    for described, weights in seeds:
        body = json.loads(described)
        ways += [
            st.tuples(harmed([described]), st.just(weights)),
            st.tuples(st.just(described), harmed([weights])),
            changed(body).map(lambda body, weights=weights: signed(body, weights)),
            harmed([weights]).map(lambda weights, body=body: signed(body, weights)),
            changed_arrays(load(weights)).map(lambda arrays, body=body: signed(body, save(arrays))),
        ]
    return Target(st.one_of(ways), take)


def signed(body: dict[str, Any], weights: bytes) -> tuple[bytes, bytes]:
    """A model whose checksums are right: they tell accidents, not intent."""
    body = {key: value for key, value in body.items() if key != "sha256"}
    body["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps(body | {"sha256": digest}).encode(), weights


def command(folder: Path) -> Target:
    """The command with any arguments; what would be trained is not, and nothing is replaced on purpose."""
    FRAME.to_csv(folder / "table.csv", index=False)
    MoDEClassifier(**FAST).fit(FRAME.drop(columns="target"), FRAME["target"]).save(folder / "model", overwrite=True)
    runner.run_parallel = runner.StackedTraining.run = trained.run_cells = _stop
    places = [folder / name for name in ("table.csv", "model", "missing.csv", "", "table.csv/x", "new")]
    words = [*map(str, places), "wine", "digits", "0", "2", "-1", "nan", "a,b", "1e9"]
    values = st.one_of(st.sampled_from(words), texts.map(lambda text: text.replace("\0", "")))
    return Target(arguments(values), _invoke)


def arguments(values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """A command, its arguments, and options with values."""
    skipped = {"force", "cluster", "help", "data_dir"}

    def of(name: str) -> st.SearchStrategy[list[str]]:
        options = [p.opts[0] for p in cli.commands[name].params if p.opts[0].startswith("-") and p.name not in skipped]
        option = st.tuples(st.sampled_from([*options, "--nonsense"]), values).map(list)
        parts = st.lists(st.one_of(option, values.map(lambda value: [value])), max_size=4)
        return parts.map(lambda parts: [name, *(word for part in parts for word in part)])

    return st.one_of(*map(of, ("compare", "sweep", "fit", "predict", "probe")), st.lists(values, max_size=3))


def _invoke(given: list[str]) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        status, line = ended(lambda: cli.main(given, prog_name="mode", standalone_mode=False), traced=False)
    assert "--debug shows where" not in (line or ""), line
    assert "Traceback" not in said.getvalue(), said.getvalue()
    if status:
        raise DistilledExpertsError(line)


def _stop(*arguments: object, **options: object) -> None:
    raise TrainingError("nothing is trained here")


TARGETS: dict[str, tuple[Callable[[Path], Target], int]] = {
    "CSV": (csv, 24_000),
    "CSV.gz": (csv_gz, 12_000),
    "Parquet": (parquet, 14_000),
    "image archive": (archive, 14_000),
    "sentence pairs": (pairs, 14_000),
    "configuration": (configuration, 12_000),
    "checkpoint": (checkpoint, 8_000),
    "model folder": (model, 14_000),
    "command line": (command, 14_000),
}
"""How each target is made, and how many inputs it is given for the record."""
