-- Documents that are set aside are kept whole, compressed, so that they can be sent again.
CREATE TABLE set_aside_whole (
    index_name    TEXT NOT NULL,     -- where it was meant to go
    id            TEXT NOT NULL,
    lane          TEXT NOT NULL,     -- key of the lane it was read from last
    fingerprint   TEXT NOT NULL,     -- of the lane's content then
    run           INTEGER NOT NULL,  -- the run that read it last: a later one that finishes the lane without it removes it
    at            INTEGER NOT NULL,  -- when it was set aside
    cause         TEXT NOT NULL,     -- content, index, pipeline or limit
    reason        TEXT NOT NULL,
    accepted      INTEGER,           -- when a person said that it may stay out
    tried         INTEGER NOT NULL,  -- the run that sent it last
    refused_under TEXT NOT NULL,     -- program, rules and mapping that refused its content; empty: not known
    kept          TEXT NOT NULL,     -- what the content is: document (as it was sent), record (as it was read), or part
    content       BLOB,              -- zstd, or plain text; nothing if it is larger than what is kept
    position      INTEGER,           -- of a record: where it begins in its source, unpacked
    bytes         INTEGER,           -- of a record: how long it is
    PRIMARY KEY (index_name, id)
) STRICT;
-- Until now what was longer than 64 KiB was cut.
INSERT INTO set_aside_whole
    SELECT index_name, id, lane, fingerprint, run, at, cause, reason, NULL, run, '',
    CASE WHEN length(document) = 0 OR document LIKE '%…' THEN 'part' ELSE 'document' END,
    CAST(document AS BLOB), NULL, NULL FROM set_aside;
DROP TABLE set_aside;
ALTER TABLE set_aside_whole RENAME TO set_aside;
CREATE INDEX set_aside_by_lane ON set_aside (lane);

-- What became of documents that were set aside before and sent again; none of them is in the other numbers.
ALTER TABLE runs ADD COLUMN retried_created INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN retried_already_there INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN retried_set_aside INTEGER NOT NULL DEFAULT 0;
