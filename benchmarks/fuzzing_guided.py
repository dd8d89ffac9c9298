"""The loader of models, given inputs that coverage leads to code they have not reached yet.

    pip install atheris
    python benchmarks/fuzzing_guided.py --write    # 20,000 inputs: benchmarks/results/fuzzing_guided.json

The inputs are made by the same rules as those of `fuzzing.py`, from bytes that Atheris chooses. An input that ends in
anything but a model or a refusal in one line ends the program, with the input.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

RECORD = Path(__file__).parent / "results" / "fuzzing_guided.json"
INPUTS = 20_000
LONGEST, SEEDS = 4096, 50


def fuzz(n_inputs: int) -> None:
    """Try so many inputs in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["distilled_experts.tabular", "distilled_experts.experiments.models"]):
        from fuzzing import ending_of
        from fuzzing_targets import model
    from hypothesis import HealthCheck, given, settings

    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp())
    target, corpus = model(folder), folder / "corpus"
    # Few bytes are no input: it begins with many.
    corpus.mkdir()
    for number, content in enumerate(np.random.default_rng(0).bytes(LONGEST) for _ in range(SEEDS)):
        (corpus / str(number)).write_bytes(content)

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def check(value: object) -> None:
        ending = ending_of(target, value)
        assert ending in ("accepted", "refused"), ending

    options = [f"-atheris_runs={n_inputs}", "-timeout=5", f"-max_len={LONGEST}", "-len_control=0", "-seed=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], check.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        fuzz(arguments.inputs)
    start = time.perf_counter()
    command = [sys.executable, __file__, "--here", "--inputs", str(arguments.inputs)]
    # Atheris ends its process, so that only its parent can tell what came of it.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stderr[-2000:])
    if done.returncode:
        sys.exit(done.returncode)
    versions = {name: importlib.metadata.version(name) for name in ("atheris", "hypothesis")}
    record = {"inputs": arguments.inputs, "failed": 0, "seconds": round(time.perf_counter() - start), **versions}
    print(json.dumps(record))
    if arguments.write:
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
