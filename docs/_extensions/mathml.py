"""Formulas as MathML, which browsers draw themselves: no script from elsewhere has to be loaded."""

from docutils import nodes
from docutils.utils.math import MathError, unichar2tex
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError


def write_formula(translator, node) -> None:
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext().translate(unichar2tex.uni2tex_table), as_block=block)
    except MathError as error:
        raise ExtensionError(f"formula {node.astext()!r}: {error}") from error
    # One that is wider than the page is scrolled, by keyboard too.
    translator.body.append(f'<div class="formula" tabindex="0">{formula}</div>\n' if block else formula)
    raise nodes.SkipNode


def setup(app) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
