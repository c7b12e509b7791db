"""The parts of scripts/derive-kinds, in the order they are used: facts, models, walk, weigh, conflicts, table, measure."""
