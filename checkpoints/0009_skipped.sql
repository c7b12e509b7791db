-- Inputs that were read to their end and hold no CloudTrail are told apart from those that were loaded.

-- 1: it holds no CloudTrail.
ALTER TABLE lanes ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;

-- How many of the inputs hold none; records and bytes are those of the others.
ALTER TABLE closed ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;

ALTER TABLE runs ADD COLUMN lanes_skipped INTEGER NOT NULL DEFAULT 0;

-- Until now a damaged log file counted as done. What gave no record is read once more, and is told apart then.
DELETE FROM lanes WHERE records = 0;
