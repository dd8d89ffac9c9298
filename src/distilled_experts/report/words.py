"""The words of a report: names of measures, one-line findings. Shared by terminal, page and notebook."""

from __future__ import annotations

from distilled_experts.report import formats
from distilled_experts.report.formats import clean, counted, fixed, probability, signed, strength
from distilled_experts.report.records import alpha_counts, arms_of, has_interval
from distilled_experts.report.values import Number, Record, finite, known

ARM_NAMES = {"dense": "dense", "moe": "MoE", "mode": "MoDE", "model": "this model"}
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "bleu": "BLEU",
}


def arm_name(arm: str, alpha: Number = None) -> str:
    """Name an arm, with the α of a MoDE that does not leave it to each seed.

    Examples
    --------
    >>> arm_name("mode", 0.03), arm_name("moe", 0.03), arm_name("mode")
    ('MoDE, α = 0.03', 'MoE', 'MoDE')
    """
    name = ARM_NAMES[arm]
    return f"{name}, α = {strength(alpha)}" if arm == "mode" and alpha is not None else name


def metric_name(record: Record) -> str:
    """Name the score; a loss whose sign was turned says so."""
    name = str(record.get("metric", "score"))
    words = METRIC_NAMES.get(name, clean(name).replace("_", " "))
    return f"negated {words}" if record.get("negated") else words


def score_name(record: Record) -> str:
    """Name the score that probing uses, whatever the metric: accuracy, or R² in regression."""
    return "R²" if record.get("task") == "regression" else "accuracy"


def own_domain_name(record: Record) -> str:
    """Name the measure of an expert alone on its own domain (accuracy, or R² in regression)."""
    return f"{score_name(record)} on own domain"


def swept_name(record: Record, measure: str) -> str:
    """Name one of the measures of a sweep."""
    names = {
        "score": f"test {metric_name(record)}",
        "own_domain": own_domain_name(record),
        "similarity": "similarity of the experts (CKA)",
        "narrow_vision": "narrow-vision index",
    }
    return names[measure]


def loss_name(record: Record) -> str:
    """Name the loss that tells how sure the experts are."""
    return "perplexity" if record.get("task") == "language" else "log loss"


def loss_places(record: Record) -> int:
    """Return the number of decimals in which that loss is shown."""
    return 2 if record.get("task") == "language" else 3


def subset_name(record: Record) -> str:
    """Name one of the subsets of the samples that narrow vision tells apart."""
    if record.get("task") == "language":
        return "class of tokens"
    usual = "cluster of the inputs" if record.get("task") == "regression" else "class"
    return clean(record.get("subset_kind") or usual)


def sample_name(record: Record) -> str:
    """Name one of the samples that were probed."""
    return "token" if record.get("task") == "language" else "sample"


def gate_name(record: Record) -> str:
    """Describe the gate, with the number of experts that a sparse one activates."""
    top_k = record.get("top_k")
    return f"{record.get('gate', 'dense')} gate" + (f", top {top_k}" if top_k else "")


def places(record: Record) -> int:
    """Return the number of decimals in which all scores of the record are shown."""
    if record.get("kind") == "sweep":
        entries = list(record.get("cells") or ())
    else:
        entries = [record["arms"][arm] for arm in arms_of(record)]
    return formats.decimals([entry.get("mean") for entry in entries], [entry.get("se") for entry in entries])


def heading(record: Record) -> str:
    """Name the data of a record, or say what was probed."""
    return clean(record.get("data") or "Probed model")


def setting(record: Record) -> list[str]:
    """Return the facts that head every report, in short."""
    experts = record.get("experts")
    number, noun = (record["samples"], sample_name(record)) if "samples" in record else (record.get("seeds", 1), "seed")
    facts = [str(record.get("task", "")), metric_name(record), counted(number, noun)]
    if isinstance(experts, int):
        facts.append(counted(experts, "expert"))
    layers = record.get("layers") or ()
    if len(layers) > 1:
        facts.append(f"mixture {clean(record['layer'])}, one of {len(layers)}")
    facts += [gate_name(record)] if "gate" in record else []
    return [fact for fact in (*facts, clean(record.get("split") or "")) if fact]


def interval(difference: Record | None, digits: int) -> str:
    """Write the 95 % interval of a difference, a dash where one seed gives none."""
    ends = difference or {}
    if not has_interval(ends):
        return formats.MISSING
    return f"{signed(ends.get('low'), digits)} to {signed(ends.get('high'), digits)}"


def difference_line(difference: Record | None, digits: int) -> str:
    """Write a difference with its interval and p, or say why these are missing."""
    if not difference or finite(difference.get("mean")) is None:
        return "not measured"
    mean = signed(difference["mean"], digits)
    if not has_interval(difference):
        return f"{mean} (one seed: no interval)"
    return f"{mean}, 95 % interval {interval(difference, digits)}, {probability(difference.get('p'))}"


def measure_line(measure: Record | None, digits: int = 4) -> str:
    """Write a measure of one model with its 95 % interval.

    Examples
    --------
    >>> measure_line({"value": 0.9, "low": 0.85, "high": 0.94}, 2)
    '0.90 (0.85 to 0.94)'
    """
    ends = span_line(measure, digits)
    text = fixed((measure or {}).get("value"), digits)
    return f"{text} ({ends})" if ends else text


def span_line(measure: Record | None, digits: int = 4) -> str:
    """Write the ends of a measure's interval, nothing where it has none."""
    low, high = (finite((measure or {}).get(end)) for end in ("low", "high"))
    return "" if low is None or high is None else f"{fixed(low, digits)} to {fixed(high, digits)}"


def detectable_line(difference: Record | None, digits: int) -> str:
    """Write the smallest difference that these seeds could have shown, a dash where it is unknown."""
    detectable = finite((difference or {}).get("detectable"))
    return formats.MISSING if detectable is None else f"differences of {fixed(detectable, digits)} or more"


def alpha_line(record: Record) -> str:
    """Write the chosen α, each with its number of seeds.

    Examples
    --------
    >>> alpha_line({"alpha": [0.03, 0.1, 0.03]})
    '0.03 (2 seeds), 0.1 (1)'
    """
    counts = alpha_counts(record)
    if not counts:
        return formats.MISSING
    (first, seeds), *others = counts
    head = f"{strength(first)} ({counted(seeds, 'seed')})"
    return ", ".join([head, *(f"{strength(alpha)} ({number})" for alpha, number in others)])


def step_line(record: Record, alpha: float) -> str:
    """Write an α that a comparison trained, and how many of its seeds chose it.

    Examples
    --------
    >>> step_line({"alpha": [0.03, 0.1, 0.03]}, 0.03), step_line({"alpha": [0.1]}, 0)
    ('α = 0.03, chosen by 2 of 3 seeds', 'α = 0, plain MoE, chosen by no seed')
    """
    chosen, seeds = dict(alpha_counts(record)).get(alpha, 0), len(record.get("alpha") or ())
    name = f"α = {strength(alpha)}" + ("" if alpha else ", plain MoE")
    who = f"{chosen} of {counted(seeds, 'seed')}" if chosen else "no seed"
    return f"{name}, chosen by {who}"


def best_cell(record: Record) -> Record | None:
    """Return the cell of a sweep with the highest mean score."""
    cells = [cell for cell in record.get("cells") or () if finite(cell.get("mean")) is not None]
    return max(cells, key=lambda cell: float(cell["mean"]), default=None)


def best_cell_line(record: Record) -> str:
    """Name the best cell of a sweep; it was picked on the test rows, and the line says so."""
    cell = best_cell(record)
    if cell is None:
        return "no score was measured"
    where = f"{counted(int(cell['experts']), 'expert')}, α = {strength(cell['alpha'])}"
    score = formats.with_error(cell["mean"], cell.get("se"), places(record))
    return f"{where}: {score} (picked on the test rows, so optimistic)"


def span(values: list[Number], digits: int) -> str:
    """Write the range of the known values."""
    numbers = known(values)
    if not numbers:
        return formats.MISSING
    low, high = fixed(min(numbers), digits), fixed(max(numbers), digits)
    return low if low == high else f"{low} to {high}"
