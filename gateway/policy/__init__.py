"""From YAML to `model.Policy`: read with line numbers, check everything, compile to closures."""
