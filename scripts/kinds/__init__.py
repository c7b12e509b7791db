"""The parts of scripts/derive-kinds, in the order they are used: models, walk, conflicts, table, measure."""
