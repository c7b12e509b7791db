-- What was run, and what was learned on the way.

-- One row a run. A row without an end is a run that is going on, or that was killed.
CREATE TABLE runs (
    id            INTEGER PRIMARY KEY,
    started       INTEGER NOT NULL,
    ended         INTEGER,
    exit_code     INTEGER,
    read          INTEGER NOT NULL DEFAULT 0,  -- records
    created       INTEGER NOT NULL DEFAULT 0,
    already_there INTEGER NOT NULL DEFAULT 0,
    set_aside     INTEGER NOT NULL DEFAULT 0,
    lanes_done    INTEGER NOT NULL DEFAULT 0,
    lanes_failed  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Kinds of fields that no table knew: later runs obey them.
CREATE TABLE decisions (
    path    TEXT NOT NULL PRIMARY KEY,
    kind    TEXT NOT NULL,
    why     TEXT NOT NULL,         -- met first, or the engine's answer
    decided INTEGER NOT NULL       -- when
) STRICT, WITHOUT ROWID;
