-- Schema of the checkpoint file, version 1. Times are milliseconds since the Unix epoch, except in `coverage`.
-- A released file is never edited: a change of the schema is a new, numbered file in this directory.

-- Properties of the file: `target`, `created`, `cluster` (UUID) and `index_by` (period that each index covers).
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per run. A row without an end belongs to a run that is in progress or was killed.
CREATE TABLE runs (
    id                   INTEGER PRIMARY KEY,
    started              INTEGER NOT NULL,
    ended                INTEGER,
    exit_code            INTEGER,
    read                 INTEGER NOT NULL DEFAULT 0,  -- records: created + duplicates + dead_letters
    created              INTEGER NOT NULL DEFAULT 0,
    duplicates           INTEGER NOT NULL DEFAULT 0,
    dead_letters         INTEGER NOT NULL DEFAULT 0,
    partitions_loaded    INTEGER NOT NULL DEFAULT 0,
    partitions_skipped   INTEGER NOT NULL DEFAULT 0,
    partitions_failed    INTEGER NOT NULL DEFAULT 0,
    -- Dead letters of earlier runs that were sent again. They are not included in the numbers above.
    retried_created      INTEGER NOT NULL DEFAULT 0,
    retried_duplicates   INTEGER NOT NULL DEFAULT 0,
    retried_dead_letters INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The part of partition keys up to the last slash. Millions of files share few folders, so each is stored once.
CREATE TABLE folders (
    id   INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE
) STRICT;

-- Files and objects that are loaded: read to their end, with every document settled.
CREATE TABLE partitions (
    folder      INTEGER NOT NULL REFERENCES folders (id),
    name        TEXT NOT NULL,     -- the key after its last slash
    fingerprint TEXT NOT NULL,     -- changes when the content may have changed; defined by the source
    records     INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,  -- as stored (compressed)
    loaded      INTEGER NOT NULL,  -- time
    run         INTEGER NOT NULL,  -- the run that loaded it
    skipped     TEXT,              -- what it contains instead, if it contains no CloudTrail events
    PRIMARY KEY (folder, name)
) STRICT, WITHOUT ROWID;

-- Folders that receive no further inputs, and of which every input is loaded. One row replaces those of their partitions.
CREATE TABLE complete_folders (
    prefix       TEXT NOT NULL PRIMARY KEY,  -- the common prefix of the partition keys, including the last slash
    inputs       INTEGER NOT NULL,
    skipped      INTEGER NOT NULL,           -- inputs without CloudTrail events
    records      INTEGER NOT NULL,           -- of the other inputs
    bytes        INTEGER NOT NULL,           -- of the other inputs, as stored
    first_loaded INTEGER NOT NULL,           -- time
    last_loaded  INTEGER NOT NULL,           -- time
    -- The listing, to detect inputs that are added, replaced or restored later.
    digest       INTEGER NOT NULL,           -- sum of the hashes of names and fingerprints
    newest       INTEGER NOT NULL            -- modification time of the newest input, in seconds
) STRICT, WITHOUT ROWID;

-- What the skipped inputs of complete folders contain.
CREATE TABLE skipped_inputs (
    prefix  TEXT NOT NULL,         -- of the complete folder
    cause   TEXT NOT NULL,
    inputs  INTEGER NOT NULL,
    example TEXT NOT NULL,         -- key of one of them
    PRIMARY KEY (prefix, cause)
) STRICT, WITHOUT ROWID;

-- Partitions that could not be read. They are not loaded, and each run tries them again.
CREATE TABLE failed_partitions (
    partition_key TEXT NOT NULL PRIMARY KEY,
    name          TEXT NOT NULL,     -- as shown to the user
    cause         TEXT NOT NULL,
    position      INTEGER,           -- byte offset of the error, if known
    records       INTEGER NOT NULL,  -- read before the error
    attempts      INTEGER NOT NULL,
    failed        INTEGER NOT NULL   -- time of the last failure
) STRICT;

-- What is fetched from the event history: account, Region, category and filter.
CREATE TABLE series (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    records INTEGER NOT NULL       -- settled records; those that were fetched repeatedly are counted each time
) STRICT;

-- Seconds of the Unix epoch of which every event is loaded, as intervals that neither touch nor overlap.
CREATE TABLE coverage (
    series INTEGER NOT NULL REFERENCES series (id),
    final  INTEGER NOT NULL,       -- 1: late events can no longer arrive; 0: everything covered, including the final part
    since  INTEGER NOT NULL,       -- first second
    until  INTEGER NOT NULL,       -- last second
    PRIMARY KEY (series, final, since)
) STRICT, WITHOUT ROWID;

-- Documents that were rejected. A document that is rejected again replaces its row.
CREATE TABLE dead_letters (
    index_name     TEXT NOT NULL,     -- the index that it was sent to
    id             TEXT NOT NULL,     -- document id
    partition_key  TEXT NOT NULL,     -- the partition that it was read from last
    fingerprint    TEXT NOT NULL,     -- of the partition at that time
    run            INTEGER NOT NULL,  -- the run that read it last; a later run that loads the partition without it deletes it
    rejected       INTEGER NOT NULL,  -- time
    cause          TEXT NOT NULL,     -- content, index, pipeline or limit
    reason         TEXT NOT NULL,
    accepted       INTEGER,           -- time at which the user accepted it
    last_attempt   INTEGER NOT NULL,  -- the run that sent it last
    rejected_under TEXT NOT NULL,     -- version of program, rules and mapping that rejected its content, or '' if unknown
    content_kind   TEXT NOT NULL,     -- document (as it was sent) or record (as it was read)
    content        BLOB,              -- zstd or plain text; NULL if it is larger than the limit
    position       INTEGER,           -- of a record: offset in the uncompressed partition
    bytes          INTEGER,           -- of a record: length
    PRIMARY KEY (index_name, id)
) STRICT;
CREATE INDEX dead_letters_by_partition ON dead_letters (partition_key);

-- Indices that documents were loaded into, to detect that one is deleted, recreated or emptied.
CREATE TABLE indices (
    name          TEXT NOT NULL PRIMARY KEY,  -- as used in requests
    uuid          TEXT NOT NULL,              -- '' if unknown
    created_at    INTEGER NOT NULL,           -- creation date as reported by the cluster; preserved by snapshots
    created       INTEGER NOT NULL,           -- documents that were created in it
    duplicates    INTEGER NOT NULL,           -- documents that were already in it; counted each time they are sent
    documents     INTEGER                     -- documents in the index at the last comparison
) STRICT, WITHOUT ROWID;

-- Documents that are missing from an index. Loads are not complete until they are loaded again or the loss is accepted.
CREATE TABLE missing_documents (
    index_name    TEXT NOT NULL PRIMARY KEY,
    uuid          TEXT NOT NULL,              -- of the index that contained them
    created_at    INTEGER NOT NULL,           -- of the index that contained them
    reason        TEXT NOT NULL,              -- deleted, recreated or emptied
    documents     INTEGER NOT NULL,           -- number of missing documents
    expected      INTEGER NOT NULL,           -- documents that the index must contain to be complete again
    detected      INTEGER NOT NULL,           -- time
    accepted      INTEGER                     -- time at which the user accepted the loss
) STRICT, WITHOUT ROWID;

-- Fields that are in no shipped table. Later runs use the same kinds.
CREATE TABLE discovered_fields (
    path       TEXT NOT NULL PRIMARY KEY,
    kind       TEXT NOT NULL,
    origin     TEXT NOT NULL,      -- what determined the kind: the first value, or the engine's mapping
    discovered INTEGER NOT NULL    -- time
) STRICT, WITHOUT ROWID;
