"""The modules of scripts/derive-kinds, from the bottom up: facts, models, walk, weigh, conflicts, table, measure."""
