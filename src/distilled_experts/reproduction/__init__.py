"""What the paper shows, piece by piece: the runs, their records, and tables, figures and verdicts made of them.

The source is Xie et al., MoDE: A Mixture-of-Experts Model with Mutual Distillation among the Experts, AAAI 2024,
arXiv 2402.00893, of which only the abstract, the captions of the figures and summaries were at hand. Nothing but
`making` needs a tensor library: tables and figures are functions of records.
"""
