-- Which indices the documents went to, so that one that is deleted, recreated or emptied later is noticed.
-- The cluster's UUID, and how documents are spread over indices, are in `meta` (`cluster`, `index_by`).

CREATE TABLE indices (
    name          TEXT NOT NULL PRIMARY KEY,  -- as documents were sent to it
    uuid          TEXT NOT NULL,              -- the engine's own name for it; '' where it is not told
    made          INTEGER NOT NULL,           -- when the engine made it; a snapshot keeps this
    created       INTEGER NOT NULL,           -- documents that were new in it
    already_there INTEGER NOT NULL,           -- documents that it held already; what came twice counts twice
    held          INTEGER                     -- documents that it held when the engine was asked last
) STRICT, WITHOUT ROWID;

-- Documents that were in an index and are there no more: nothing is called complete until they are loaded again, or
-- their loss is accepted.
CREATE TABLE missing (
    name      TEXT NOT NULL PRIMARY KEY,      -- of the index
    uuid      TEXT NOT NULL,                  -- of the index that held them
    made      INTEGER NOT NULL,               -- when that was made
    why       TEXT NOT NULL,                  -- deleted, recreated, emptied
    documents INTEGER NOT NULL,               -- how many are missing
    wanted    INTEGER NOT NULL,               -- how many the index must hold to be complete again
    found     INTEGER NOT NULL,               -- when it was noticed
    accepted  INTEGER                         -- when the user said that it stays so
) STRICT, WITHOUT ROWID;
