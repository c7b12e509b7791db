-- What could not go in, and what could not be read.

-- Documents that the engine did not take in any form. A repeat after a crash meets its own row.
CREATE TABLE set_aside (
    index_name TEXT NOT NULL,      -- where it was meant to go
    id         TEXT NOT NULL,
    lane       TEXT NOT NULL,      -- key of the lane it was read from last
    reason     TEXT NOT NULL,
    document   TEXT NOT NULL,
    run        INTEGER NOT NULL,   -- the run that met it last: a later run that finishes the lane without it removes it
    at         INTEGER NOT NULL,   -- when
    PRIMARY KEY (index_name, id)
) STRICT;
CREATE INDEX set_aside_by_lane ON set_aside (lane);

-- Lanes that were read with errors. They are not done: each run tries them again.
CREATE TABLE failures (
    lane     TEXT NOT NULL PRIMARY KEY,
    name     TEXT NOT NULL,        -- for a person
    cause    TEXT NOT NULL,
    position INTEGER,              -- offset in bytes, where known
    records  INTEGER NOT NULL,     -- read before the error
    tries    INTEGER NOT NULL,
    at       INTEGER NOT NULL      -- when it failed last
) STRICT;
