"""``python -m distilled_experts``: the command ``mode``."""

from distilled_experts.cli import main

if __name__ == "__main__":
    main()
