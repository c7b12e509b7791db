-- What kind of cause keeps a document out: content, index, pipeline or limit. Until now each was refused for its content.
ALTER TABLE set_aside ADD COLUMN cause TEXT NOT NULL DEFAULT 'content';
