-- Stretches of time that are covered, and days of a bucket that are done as a whole.

-- No source ever went on in the middle of a lane: a stretch of time is covered second by second.
DROP TABLE positions;

-- What is fetched, whatever the time: account, Region, category, filter.
CREATE TABLE series (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    records INTEGER NOT NULL       -- read and safe; what was fetched twice counts twice
) STRICT;

-- Seconds of the Unix epoch of which every event is safe, as intervals that neither touch nor overlap.
CREATE TABLE coverage (
    series INTEGER NOT NULL REFERENCES series (id),
    sure   INTEGER NOT NULL,       -- 1: no late event is to be expected there; 0: all, also what is surely covered
    since  INTEGER NOT NULL,       -- first second
    until  INTEGER NOT NULL,       -- last second
    PRIMARY KEY (series, sure, since)
) STRICT, WITHOUT ROWID;

-- The run that finished a lane; 0 in what was written before that was kept.
ALTER TABLE lanes ADD COLUMN run INTEGER NOT NULL DEFAULT 0;

-- Folders that get no further lanes and whose lanes are all done: one row instead of theirs.
CREATE TABLE closed (
    prefix     TEXT NOT NULL PRIMARY KEY,  -- the lanes' common key, with its last slash
    inputs     INTEGER NOT NULL,           -- lanes that it had
    records    INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    first_done INTEGER NOT NULL,           -- when
    last_done  INTEGER NOT NULL            -- when
) STRICT, WITHOUT ROWID;
