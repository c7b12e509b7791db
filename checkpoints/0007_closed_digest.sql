-- What the listing of a closed folder looked like, so that an input that is added, replaced or restored later is seen.
-- NULL in what was closed before this was kept: such a folder is read again once.
ALTER TABLE closed ADD COLUMN digest INTEGER;  -- sum of the hashes of names and fingerprints
ALTER TABLE closed ADD COLUMN newest INTEGER;  -- last change of the newest input, in seconds
