"""The command ``mode``: options in, records and pages out. The work is done by `experiments` and `tabular`.

Nothing heavy is imported before a command runs, so that ``mode --help`` answers at once.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from distilled_experts import __version__
from distilled_experts.endings import ended
from distilled_experts.errors import TrainingError
from distilled_experts.reproduction.command import reproduce

if TYPE_CHECKING:
    from distilled_experts.experiments.compare import Run
    from distilled_experts.experiments.data import Table
    from distilled_experts.experiments.records import Record
    from distilled_experts.experiments.runner import Progress

__all__ = ["cli", "main"]

Decorator = Callable[[Any], Any]


def _options(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, listed in help in this order."""

    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _read_config(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Make the values of a YAML file the defaults of this command's options."""
    if value is not None:
        from distilled_experts.experiments.configuration import read_configuration

        names = [p.name for p in context.command.params if p.name and p.name != "config"]
        context.default_map = read_configuration(value, names)


def _choice(name: str, *choices: str, default: str, text: str) -> Decorator:
    return click.option(name, type=click.Choice(choices), default=default, show_default=True, help=text)


_TABLE = _options(
    click.argument("data"),
    click.option("--target", metavar="COLUMN", help="Column to predict; default: the data set's own, or 'target'."),
    click.option(
        "--data-dir", metavar="DIR", envvar="DISTILLED_EXPERTS_DATA", help="Folder searched for data by name."
    ),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)
_TABLE_TASKS, _TRAINED_TASKS = ("classification", "regression"), ("vision", "translation")
_DATA = _options(
    _TABLE,
    click.option("--task", type=click.Choice(_TABLE_TASKS), help="Default: from the target."),
)
_TRAINED_OPTIONS = ("model", "rows", "flip", "pair", "jobs")
_TRAINED = _options(
    click.option("--task", type=click.Choice((*_TABLE_TASKS, *_TRAINED_TASKS)), help="Default: from a table's target."),
    click.option("--model", help="Images: conv-head, conv-experts or vit. Sentence pairs: marian or nllb-moe."),
    click.option("--rows", type=int, help="Images used at most, default 12000; sentence pairs to train on."),
    click.option("--flip/--no-flip", default=None, help="Mirror images in training; default: pictures, not digits."),
    click.option("--pair", metavar="SOURCE-TARGET", help="Languages of sentence pairs, such as en-de."),
    click.option("--jobs", type=int, default=1, show_default=True, help="Models trained side by side."),
)
_MODEL = _options(
    _choice("--gate", "dense", "sparse", default="dense", text="All experts for every row, or the best few."),
    click.option("--top-k", type=int, help="Experts that a sparse gate activates per row; default 2."),
    click.option("--hidden", type=int, default=64, show_default=True, help="Hidden units of each expert."),
    _choice("--distance", "mse", "relative", "kl", "cosine", default="mse", text="Between expert and teacher."),
    _choice("--teacher", "mean", "gate", "peers", "leave_one_out", default="mean", text="What experts learn from."),
    click.option(
        "--epochs",
        type=int,
        help="Epochs at most; default 200, images 20, translation 10, `mode fit` 40 to 200 by the rows.",
    ),
    click.option(
        "--patience",
        type=int,
        help="Epochs without a better validation loss that end a model; default 20, of `mode fit` 30.",
    ),
    click.option("--lr", type=float, help="Learning rate of Adam; default 0.003, images 0.002."),
    click.option(
        "--batch-size", type=int, help="Rows in a step, about; default 128, images 64, translation 1,250 tokens."
    ),
    click.option("--device", default="cpu", show_default=True, help="cpu, or an accelerator that torch finds."),
    click.option(
        "--config",
        metavar="FILE.yaml",
        callback=_read_config,
        is_eager=True,
        expose_value=False,
        help="Values for these options; those on the command line win.",
    ),
)
_STUDY = _options(
    click.option(
        "--seeds", type=int, default=10, show_default="10, of tables", help="Each a new split and new weights."
    ),
    click.option(
        "--metric",
        type=click.Choice(["accuracy", "balanced_accuracy", "roc_auc", "log_loss", "r2", "mae", "rmse"]),
        help="Default: accuracy, or r2 for numbers.",
    ),
    click.option("--test", metavar="FILE", help="Test rows of your own, the same for every seed."),
    click.option("--groups", metavar="COLUMN", help="Rows of a group stay on one side of every split."),
    click.option("--time", metavar="COLUMN", help="Test rows come after training rows in this column."),
    click.option("--out", metavar="DIR", help="Folder for the run; default: runs/NAME-TIME."),
    click.option("--continue", "resume", is_flag=True, help="Take up an unfinished run of the same specification."),
    click.option("--force", is_flag=True, help="Replace the run that the folder holds."),
    click.option("--cluster", metavar="ADDRESS", help="Workers of a cluster train: dask://HOST:PORT, or ray."),
    click.option("--quiet", is_flag=True, help="No progress bar, and the answer in one sentence."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(version)s")
def cli() -> None:
    """Find out whether mutual distillation among the experts of a mixture helps on your data."""


@cli.command(no_args_is_help=True)
@_TABLE
@_TRAINED
@click.option("--experts", type=int, default=4, show_default=True, help="Number of experts.")
@click.option(
    "--alpha",
    default="auto",
    show_default=True,
    help="Strength of distillation: a number, a list to choose from per seed on validation rows, or auto.",
)
@click.option("--explain", is_flag=True, help="Also study the experts under one frozen gate, and what they look at.")
@_MODEL
@_STUDY
def compare(**options: Any) -> None:
    """Compare a dense network, a mixture of experts, and the mixture with mutual distillation.

    DATA is a CSV, CSV.gz or Parquet file, or the name of a data set, such as digits. With --task vision it is a folder
    of class folders with images, an .npz file, or a name: digits, mnist, fashion-mnist, cifar10, cifar100. With --task
    translation it is a TSV or JSON lines file of sentence pairs, a folder of such files, or a name: multi30k, opus100.
    """
    from distilled_experts.report import compare_renderable

    shown = {key: options.pop(key) for key in ("quiet", "as_json")}
    compared = _compare_trained if options["task"] in _TRAINED_TASKS else _compare_tables
    with _progress(shown["quiet"]) as progress:
        record = compared(options, progress)
    _show(record, compare_renderable, **shown)


def _compare_tables(options: dict[str, Any], progress: Progress | None) -> Record:
    from distilled_experts.experiments.compare import run_comparison
    from distilled_experts.experiments.studies import refuse_options

    refused = {name: options[name] for name in _given() if name in _TRAINED_OPTIONS}
    refuse_options(refused, f"with --task {' or '.join(_TRAINED_TASKS)}")
    run = _prepare_run({name: value for name, value in options.items() if name not in _TRAINED_OPTIONS})
    return run_comparison(run, progress)


def _compare_trained(options: dict[str, Any], progress: Progress | None) -> Record:
    from distilled_experts.experiments.studies import compare_trained

    of_run = {name: options[name] for name in ("task", "data", "out", "resume", "force", "jobs", "cluster")}
    given = {name: options[name] for name in _given() if name in options and name not in {*of_run, "debug"}}
    return compare_trained(**of_run, options=given, progress=progress)


def _given() -> list[str]:
    """Options that the command line, a configuration file or the environment names."""
    context = click.get_current_context()
    return [name for name in context.params if context.get_parameter_source(name) != ParameterSource.DEFAULT]


@cli.command(no_args_is_help=True)
@_DATA
@click.option("--alpha", default="0,0.001,0.01,0.1,1,10,100", show_default=True, help="Strengths of distillation.")
@click.option("--experts", default="2,4,8,16", show_default=True, help="Numbers of experts.")
@_MODEL
@_STUDY
def sweep(**options: Any) -> None:
    """Score mixtures with each number of experts and each strength of distillation.

    DATA is a CSV, CSV.gz or Parquet file, or the name of a data set, such as digits.
    """
    from distilled_experts.experiments.compare import run_sweep
    from distilled_experts.experiments.configuration import parse_counts
    from distilled_experts.report import sweep_renderable

    shown = {key: options.pop(key) for key in ("quiet", "as_json")}
    counts = parse_counts("experts", options["experts"])
    run = _prepare_run(options | {"experts": counts[0]})
    with _progress(shown["quiet"]) as progress:
        record = run_sweep(run, counts, progress)
    _show(record, sweep_renderable, **shown)


@cli.command(no_args_is_help=True)
@_DATA
@click.option("--experts", type=int, default=4, show_default=True, help="Number of experts.")
@click.option("--alpha", default="auto", show_default=True, help="Strength of distillation: a number, or auto.")
@_MODEL
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of weights, batches and validation rows.")
@click.option("--out", metavar="DIR", required=True, help="Folder for the model.")
@click.option("--force", is_flag=True, help="Replace the model that the folder holds.")
def fit(**options: Any) -> None:
    """Train a distilled mixture on all rows of DATA and save it for `mode predict`.

    DATA is a CSV, CSV.gz or Parquet file, or the name of a data set. A Parquet file may be larger than memory.
    """
    from distilled_experts.experiments.models import fit_model, load_rows

    options.pop("debug")
    rows = load_rows(options.pop("data"), **{name: options.pop(name) for name in ("target", "data_dir", "task")})
    path = fit_model(rows, options.pop("out"), force=options.pop("force"), **options)
    click.echo(f"saved to {path}", err=True)


@cli.command(no_args_is_help=True)
@click.argument("model")
@click.argument("data")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def predict(model: str, data: str, debug: bool) -> None:
    """Predict the rows of the file DATA with a saved MODEL, as CSV on standard output, some rows at a time.

    The column "prediction" comes first, then for classes one column "probability_CLASS" each.
    """
    from distilled_experts.experiments.models import predict_file

    for number, rows in enumerate(predict_file(model, data)):
        rows.to_csv(sys.stdout, index=False, header=number == 0)


@cli.command(no_args_is_help=True)
@click.argument("model")
@_TABLE
@click.option(
    "--subsets",
    metavar="KIND",
    help="What narrow vision tells apart: clusters, target, or a column of DATA; default: classes, or clusters.",
)
@click.option("--report", metavar="PLACE", help="Write a page to FILE.html, or page and figures into a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as one JSON object.")
def probe(**options: Any) -> None:
    """Probe the experts of a saved MODEL on rows of DATA that it was not trained on.

    DATA is a CSV, CSV.gz or Parquet file, or the name of a data set, such as digits.
    """
    from distilled_experts.experiments.probed import probe_table, write_probe
    from distilled_experts.report import probe_renderable

    place, as_json = options.pop("report"), options.pop("as_json")
    options.pop("debug")
    record = probe_table(**options)
    if place is not None:
        click.echo(f"page written to {write_probe(record, place)}", err=True)
    _show(record, probe_renderable, quiet=False, as_json=as_json)


cli.add_command(reproduce)


def _load(options: dict[str, Any]) -> Table:
    """The table that the options name; what only describes it is taken out of them."""
    from distilled_experts.experiments.data import load_table

    options.pop("debug")
    place = {key: options.pop(key, None) for key in ("target", "data_dir", "groups", "time", "task")}
    return load_table(options.pop("data"), **place)


def _prepare_run(options: dict[str, Any]) -> Run:
    from distilled_experts.experiments.compare import Run, resolve
    from distilled_experts.experiments.given import load_test_rows
    from distilled_experts.experiments.records import choose_folder
    from distilled_experts.experiments.scheduling import Workers

    test_file, out, workers = options.pop("test"), options.pop("out"), Workers(cluster=options.pop("cluster"))
    modes = {key: options.pop(key) for key in ("resume", "force")}
    left_out = (options["groups"], options["time"])
    table = _load(options)
    test = None if test_file is None else load_test_rows(test_file, table, left_out)
    specification = resolve(table, test, **options)
    return Run(table, test, specification, choose_folder(out, specification, modes["resume"]), **modes, workers=workers)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    """A progress bar on standard error, where a person is watching."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                for task in tasks.values():
                    bar.remove_task(task)
                tasks.clear()
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        yield update


def _show(record: dict[str, Any], rendered: Callable[[dict[str, Any]], Any], *, quiet: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(record, indent=1, allow_nan=False))
    elif quiet:
        click.echo(record["sentence"])
    else:
        from rich.console import Console

        Console().print(rendered(record))
    _fail_for_models(record)


def _fail_for_models(record: dict[str, Any]) -> None:
    """End with a failure where the record of a run lacks models."""
    from distilled_experts.experiments.failures import failure_sentence

    failure = failure_sentence(record)
    if failure is not None:
        raise TrainingError(failure)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit with 0 when done, 1 on failure, 2 on bad usage or input, with one line that says why."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know α shows a mark in its place instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    status, line = ended(
        lambda: cli.main(arguments, prog_name="mode", standalone_mode=False), traced="--debug" in arguments
    )
    if line is not None:
        click.echo(f"mode: {line}", err=True)
    sys.exit(status)
