-- What is read to its end and safe in the engine, and how far the rest is.
-- Times are milliseconds since 1970 in UTC everywhere.

-- What this file is about: the target it belongs to, and when it was made.
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The part of a lane's key up to its last slash. Millions of files share few folders, so each is stored once.
CREATE TABLE folders (
    id   INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE
) STRICT;

-- Lanes that are done: read to the end, every document settled.
CREATE TABLE lanes (
    folder      INTEGER NOT NULL REFERENCES folders (id),
    name        TEXT NOT NULL,     -- the key behind its last slash
    fingerprint TEXT NOT NULL,     -- as the source gave it
    records     INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    done        INTEGER NOT NULL,  -- when
    PRIMARY KEY (folder, name)
) STRICT, WITHOUT ROWID;

-- Lanes that are not done and whose source can go on in the middle.
CREATE TABLE positions (
    lane        TEXT NOT NULL PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    position    TEXT NOT NULL,     -- understood by the source only
    moved       INTEGER NOT NULL   -- when
) STRICT, WITHOUT ROWID;
