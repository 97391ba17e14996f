// Tables and statements of plugins.db: who gets events, how far each is, and what failed. Positions
// and names, never a payload.

import type { Format } from "./connect.ts";

export const deliveriesFormat: Format = {
  // "dbx" and a P.
  application_id: 0x64627850,
  // A released entry never changes.
  migrations: [
    [
      `PRAGMA application_id = ${0x64627850}`,
      // `config` is JSON, or that sealed. `pending` and `dead` count the rows of the outbox.
      `CREATE TABLE plugin (
        plugin_id  INTEGER PRIMARY KEY,
        name       TEXT NOT NULL UNIQUE,
        enabled    INTEGER NOT NULL,
        config     TEXT NOT NULL,
        checkpoint INTEGER NOT NULL,
        sequence   INTEGER NOT NULL,
        dropped    INTEGER NOT NULL,
        pending    INTEGER NOT NULL,
        dead       INTEGER NOT NULL
      ) STRICT`,
      // `last_error` is a JSON string, or that sealed. `due` stands in the earliest pending row of
      // each aggregate and nowhere else: when that may be tried, empty for at once.
      `CREATE TABLE outbox (
        plugin_id       INTEGER NOT NULL,
        position        INTEGER NOT NULL,
        aggregate_type  TEXT NOT NULL,
        aggregate_id    TEXT NOT NULL,
        version         INTEGER NOT NULL,
        event_id        TEXT NOT NULL,
        event_type      TEXT NOT NULL,
        attempts        INTEGER NOT NULL,
        dead            INTEGER NOT NULL,
        next_attempt_at TEXT,
        last_error      TEXT,
        due             TEXT,
        PRIMARY KEY (plugin_id, position)
      ) STRICT, WITHOUT ROWID`,
      `CREATE INDEX outbox_by_state ON outbox (plugin_id, dead, position)`,
      `CREATE INDEX outbox_by_stream
        ON outbox (plugin_id, aggregate_type, aggregate_id, dead, position)`,
      `CREATE INDEX outbox_by_due ON outbox (plugin_id, due, position) WHERE due IS NOT NULL`,
      // One row for each aggregate that waits: what a new earliest one takes the place of.
      `CREATE UNIQUE INDEX outbox_first ON outbox (plugin_id, aggregate_type, aggregate_id)
        WHERE due IS NOT NULL`,
      `CREATE INDEX outbox_by_event ON outbox (event_id)`,
      `CREATE TRIGGER outbox_insert AFTER INSERT ON outbox BEGIN
        UPDATE plugin SET pending = pending + (NEW.dead = 0), dead = dead + NEW.dead
        WHERE plugin_id = NEW.plugin_id; END`,
      `CREATE TRIGGER outbox_delete AFTER DELETE ON outbox BEGIN
        UPDATE plugin SET pending = pending - (OLD.dead = 0), dead = dead - OLD.dead
        WHERE plugin_id = OLD.plugin_id; END`,
    ],
  ],
  page_bytes: 4096,
  cache_kib: 4 * 1024,
};

const pluginColumns = `
  SELECT plugin_id, name, enabled, config, checkpoint, sequence, dropped, pending, dead
  FROM plugin`;
export const readPlugins = `${pluginColumns} ORDER BY name`;
export const readPlugin = `${pluginColumns} WHERE name = ?`;

export const insertPlugin = `
  INSERT INTO plugin
    (name, enabled, config, checkpoint, sequence, dropped, pending, dead)
  VALUES (?, ?, ?, ?, 0, 0, 0, 0)`;
export const updatePlugin = `
  UPDATE plugin SET enabled = ?, config = ?, checkpoint = ? WHERE plugin_id = ?`;
export const deletePlugin = `DELETE FROM plugin WHERE plugin_id = ?`;

export const advancePlugin = `
  UPDATE plugin SET checkpoint = ?, sequence = sequence + ?, dropped = dropped + ?
  WHERE plugin_id = ?`;
export const countDropped = `UPDATE plugin SET dropped = dropped + ? WHERE plugin_id = ?`;

export const insertDelivery = `
  INSERT INTO outbox (plugin_id, position, aggregate_type, aggregate_id, version, event_id,
    event_type, attempts, dead, next_attempt_at, last_error, due)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)`;

export const readStreamAt = `
  SELECT aggregate_type, aggregate_id FROM outbox WHERE plugin_id = ? AND position = ?`;
export const deleteDelivery = `DELETE FROM outbox WHERE plugin_id = ? AND position = ?`;
/** A part at a time, so that others get their turns. */
export const deleteBeyond = `
  DELETE FROM outbox WHERE plugin_id = ?1 AND position IN (SELECT position FROM outbox
    WHERE plugin_id = ?1 AND position > ?2 ORDER BY position LIMIT ?3)`;
export const deleteDead = `
  DELETE FROM outbox WHERE plugin_id = ?1 AND position IN (
    SELECT position FROM outbox INDEXED BY outbox_by_state
    WHERE plugin_id = ?1 AND dead = 1 ORDER BY position LIMIT ?2)`;
/** Pending or dead ones; without asking for one of the two, the index would not help. */
export const deleteStream = `
  DELETE FROM outbox WHERE plugin_id = ?1 AND position IN (
    SELECT position FROM outbox INDEXED BY outbox_by_stream
    WHERE plugin_id = ?1 AND aggregate_type = ?2 AND aggregate_id = ?3 AND dead = ?4
      AND position < ?5
    ORDER BY position LIMIT ?6)`;

/** By name, because without statistics SQLite would take the index that has the whole lane. */
export const clearFirst = `
  UPDATE outbox INDEXED BY outbox_first SET due = NULL
  WHERE plugin_id = ? AND aggregate_type = ? AND aggregate_id = ? AND due IS NOT NULL`;
export const markFirst = `
  UPDATE outbox SET due = coalesce(next_attempt_at, '')
  WHERE plugin_id = ?1 AND position = (
    SELECT position FROM outbox INDEXED BY outbox_by_stream
    WHERE plugin_id = ?1 AND aggregate_type = ?2 AND aggregate_id = ?3 AND dead = 0
    ORDER BY position LIMIT 1)`;

const deliveryColumns = `
  SELECT position, aggregate_type, aggregate_id, version, event_id, event_type, attempts, dead,
    next_attempt_at, last_error
  FROM outbox`;

export const readFirsts = `${deliveryColumns} INDEXED BY outbox_by_due
  WHERE plugin_id = ? AND due IS NOT NULL AND due <= ? ORDER BY due, position LIMIT ?`;
/** Behind the first of an aggregate. */
export const readLane = `${deliveryColumns} INDEXED BY outbox_by_stream
  WHERE plugin_id = ? AND aggregate_type = ? AND aggregate_id = ? AND dead = 0 AND position > ?
  ORDER BY position LIMIT ?`;
export const readNextDue = `
  SELECT due FROM outbox INDEXED BY outbox_by_due
  WHERE plugin_id = ? AND due IS NOT NULL ORDER BY due LIMIT 1`;
export const isWaiting = `
  SELECT EXISTS (SELECT 1 FROM outbox INDEXED BY outbox_by_stream
    WHERE plugin_id = ? AND aggregate_type = ? AND aggregate_id = ? AND dead = 0) AS found`;

export const readOutboxPage = `${deliveryColumns}
  WHERE plugin_id = ? AND position > ? ORDER BY position LIMIT ?`;
export const readOutboxOfState = `${deliveryColumns} INDEXED BY outbox_by_state
  WHERE plugin_id = ? AND dead = ? AND position > ? ORDER BY position LIMIT ?`;
/** An id stands in at most one row of a plugin, but for what another log has left behind. */
export const readOutboxOfEvent = `${deliveryColumns} INDEXED BY outbox_by_event
  WHERE event_id = ? AND plugin_id = ? AND position > ? ORDER BY position LIMIT ?`;

/** Sealed text begins with a letter, JSON with a brace or a quotation mark. */
export const readPlainPlugins = `${pluginColumns} WHERE config LIKE '{%'`;
export const updateConfig = `UPDATE plugin SET config = ? WHERE plugin_id = ?`;
export const readPlainErrors = `
  SELECT position, last_error FROM outbox
  WHERE plugin_id = ? AND position > ? AND last_error LIKE '"%' ORDER BY position LIMIT ?`;
export const updateError = `UPDATE outbox SET last_error = ? WHERE plugin_id = ? AND position = ?`;

/** Rows of nobody, beyond their plugin's checkpoint, or dead with a time. */
export const checkOutbox = `
  SELECT outbox.position, plugin.name,
    CASE WHEN plugin.plugin_id IS NULL THEN 'belongs to no plugin'
      WHEN outbox.position > plugin.checkpoint THEN 'is beyond the checkpoint'
      ELSE 'is dead and has a time' END AS fault
  FROM outbox LEFT JOIN plugin ON plugin.plugin_id = outbox.plugin_id
  WHERE plugin.plugin_id IS NULL OR outbox.position > plugin.checkpoint
    OR (outbox.dead = 1 AND (outbox.next_attempt_at IS NOT NULL OR outbox.due IS NOT NULL))
  LIMIT ?`;
export const checkCounts = `
  SELECT name FROM plugin
  WHERE pending <> (SELECT count(*) FROM outbox
      WHERE outbox.plugin_id = plugin.plugin_id AND outbox.dead = 0)
    OR dead <> (SELECT count(*) FROM outbox
      WHERE outbox.plugin_id = plugin.plugin_id AND outbox.dead = 1)
  LIMIT ?`;
/** Aggregates whose earliest pending row is not the one that is marked. */
export const checkFirsts = `
  SELECT plugin_id, aggregate_type, aggregate_id FROM outbox WHERE dead = 0
  GROUP BY plugin_id, aggregate_type, aggregate_id
  HAVING min(position) IS NOT min(CASE WHEN due IS NOT NULL THEN position END)
  LIMIT ?`;
