-- Schema of the checkpoint file, version 3: the state of sources that are followed. Times are milliseconds since the Unix epoch.

CREATE TABLE source_states (
    name           TEXT NOT NULL PRIMARY KEY,  -- the SOURCE argument, as in the summary of a run
    observed       INTEGER NOT NULL,           -- time at which the source was last asked for new events
    oldest_waiting INTEGER,                    -- time of the oldest message that waits; NULL if none does, or if it is unknown
    waiting        INTEGER,                    -- messages that wait
    in_flight      INTEGER,                    -- messages that were received and not deleted
    newest_event   INTEGER,                    -- time of the newest event that was found
    covered_until  INTEGER                     -- events up to this time are complete
) STRICT, WITHOUT ROWID;
