"""`python -m hydragate.commands.reference`: renew what is generated from the code."""

from __future__ import annotations

from pathlib import Path

from ..observe.reference import render_metrics
from ..policy.load import schema_json
from ..policy.reference import render_signals, renew
from ..signals import all_signals


def generated(root: Path) -> dict[Path, str]:
    """Every generated file below the repository's `root`, with what it should say."""
    policy_page = root / "docs" / "reference" / "policy.md"
    return {
        root / "policies" / "schema.json": schema_json(),
        root / "docs" / "reference" / "signals.md": render_signals(all_signals()),
        root / "docs" / "reference" / "metrics.md": render_metrics(),
        policy_page: renew(policy_page.read_text()),
    }


def main() -> None:
    for path, text in generated(Path.cwd()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
