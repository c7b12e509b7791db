-- Schema of the checkpoint file, version 4: alerts whose state several processes share.

-- Time at which the receiver acknowledged the delivery, if the shared state does not know it yet.
ALTER TABLE alert_deliveries ADD COLUMN acknowledged INTEGER;

-- An alert that is decided about again is stored once.
CREATE INDEX alerts_by_id ON alerts (id);
