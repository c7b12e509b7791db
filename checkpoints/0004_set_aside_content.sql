-- What the lane's content was when a document of it was set aside: only a run that reads the same content, and
-- does not set the document aside, has put it in. A file that was overwritten holds it no more.
ALTER TABLE set_aside ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
