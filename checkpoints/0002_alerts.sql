-- Schema of the checkpoint file, version 2: the memory of alerts. Times are milliseconds since the Unix epoch; an event without a
-- time has 2305843009213693951. Keys are hashes of 16 bytes.

-- Rules that were evaluated. A rule with another name is another rule.
CREATE TABLE alert_rules (
    name          TEXT NOT NULL PRIMARY KEY,
    first_seen_by TEXT,                        -- the expressions of `first_seen`, as JSON; a change restarts the learning period
    learning_from INTEGER,                     -- the earliest event time that was evaluated; the learning period starts there
    alerts        INTEGER NOT NULL DEFAULT 0,  -- raised to be delivered
    recorded      INTEGER NOT NULL DEFAULT 0,  -- raised for events that were too old to be delivered
    last_alert    INTEGER                      -- time at which the last alert was raised
) STRICT, WITHOUT ROWID;

-- Events for which an alert was raised, so that none is raised again.
CREATE TABLE alerted_events (
    time       INTEGER NOT NULL,  -- of the event
    event_key  BLOB NOT NULL,     -- of rule and event id
    delivered  INTEGER NOT NULL,  -- 1: to be delivered; 0: recorded only, because it was too old
    PRIMARY KEY (time, event_key)
) STRICT, WITHOUT ROWID;

-- Times of alerts of rules with a window, which cover the events around them.
CREATE TABLE alert_windows (
    group_key  BLOB NOT NULL,     -- of rule and group
    time       INTEGER NOT NULL,  -- of the alert
    delivered  INTEGER NOT NULL,  -- as in `alerted_events`
    PRIMARY KEY (group_key, time)
) STRICT, WITHOUT ROWID;

-- Times of the events of rules with a threshold.
CREATE TABLE alert_counts (
    count_key  BLOB NOT NULL,     -- of rule, group and length of the window
    bucket     INTEGER NOT NULL,  -- time divided by the length of the window
    newest     INTEGER NOT NULL,  -- time of the newest event
    events     BLOB NOT NULL,     -- time and hash of each event, 8 bytes each
    PRIMARY KEY (count_key, bucket)
) STRICT, WITHOUT ROWID;

-- Combinations of values that rules with `first_seen` have met.
CREATE TABLE alert_combinations (
    combination_key BLOB NOT NULL,     -- of rule, expressions and values
    since           INTEGER NOT NULL,  -- time of the first of events that follow each other within the time of the rule
    until           INTEGER NOT NULL,  -- time of the last of them
    PRIMARY KEY (combination_key, since)
) STRICT, WITHOUT ROWID;

-- Number of rows of the tables above, which are bounded.
CREATE TABLE alert_sizes (
    name TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO alert_sizes (name, size)
VALUES ('alerted_events', 0), ('alert_windows', 0), ('alert_counts', 0), ('alert_combinations', 0);

-- Alerts with a delivery that is not made. The last delivery that is made deletes the row.
CREATE TABLE alerts (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL,     -- hash of rule, group and event
    rule    TEXT NOT NULL,
    raised  INTEGER NOT NULL,  -- time
    content BLOB NOT NULL      -- the alert and its event: zstd; empty if the user accepted that it is not delivered
) STRICT;

-- Deliveries that are not made: of each alert, one for each action.
CREATE TABLE alert_deliveries (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they are made within a group
    alert         INTEGER NOT NULL REFERENCES alerts (number),
    action        TEXT NOT NULL,
    state         TEXT NOT NULL CHECK (state IN ('pending', 'sending', 'dead')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    first_attempt INTEGER,  -- time
    last_attempt  INTEGER,  -- time
    cause         TEXT,     -- of the last failed attempt
    accepted      INTEGER   -- time at which the user accepted the dead letter
) STRICT;
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (alert);
CREATE INDEX alert_deliveries_to_make ON alert_deliveries (action, number) WHERE state <> 'dead';

-- What was delivered by each action.
CREATE TABLE alert_actions (
    name           TEXT NOT NULL PRIMARY KEY,
    delivered      INTEGER NOT NULL,
    last_delivered INTEGER NOT NULL  -- time
) STRICT, WITHOUT ROWID;
