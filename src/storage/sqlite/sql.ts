// Every table, migration and statement. Nothing else in dbx knows SQL.

/** "dbx" and a 1, in the file's header: tells a dbx database from any other SQLite file. */
export const applicationId = 0x64627801;

/**
 * One list of statements per format, from 1 on; `user_version` holds the last one applied. A
 * released entry never changes: a directory of any release must open for ever.
 *
 * `event` rows never change and never leave; `body` rows may move to the archive, which a row of
 * `archive` marks, or one day be erased. Triggers refuse everything else, also from other programs:
 * `INSERT OR REPLACE` deletes without asking the DELETE trigger unless `recursive_triggers` is on, so
 * INSERT over a key is refused too.
 */
export const migrations: readonly (readonly string[])[] = [
  [
    `PRAGMA application_id = ${0x64627801}`,
    `CREATE TABLE stream (
      stream_id      INTEGER PRIMARY KEY,
      aggregate_type TEXT NOT NULL,
      aggregate_id   TEXT NOT NULL,
      version        INTEGER NOT NULL,
      archived       INTEGER NOT NULL,
      updated_at     TEXT NOT NULL,
      frontier       BLOB NOT NULL,
      positions      BLOB NOT NULL,
      state          TEXT NOT NULL
    ) STRICT`,
    `CREATE UNIQUE INDEX stream_by_key ON stream (aggregate_type, aggregate_id)`,
    `CREATE TABLE event (
      position       INTEGER PRIMARY KEY,
      stream_id      INTEGER NOT NULL,
      version        INTEGER NOT NULL,
      event_id       BLOB NOT NULL,
      event_type     TEXT NOT NULL,
      created_at     TEXT NOT NULL,
      issued_group   TEXT,
      issued_user    TEXT,
      content_digest BLOB NOT NULL,
      hash           BLOB NOT NULL,
      merkle_root    BLOB NOT NULL
    ) STRICT`,
    `CREATE UNIQUE INDEX event_by_id ON event (event_id)`,
    `CREATE TABLE run (
      stream_id INTEGER NOT NULL,
      run       INTEGER NOT NULL,
      positions BLOB NOT NULL,
      PRIMARY KEY (stream_id, run)
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE body (
      position INTEGER PRIMARY KEY,
      salt     BLOB NOT NULL,
      note     TEXT,
      payload  TEXT NOT NULL
    ) STRICT`,
    `CREATE TABLE snapshot (
      stream_id   INTEGER NOT NULL,
      version     INTEGER NOT NULL,
      state       TEXT NOT NULL,
      merkle_root BLOB NOT NULL,
      created_at  TEXT NOT NULL,
      comment     TEXT,
      PRIMARY KEY (stream_id, version)
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE token_use (
      token_id   TEXT PRIMARY KEY,
      writes     INTEGER NOT NULL,
      expires_at TEXT,
      term       TEXT NOT NULL
    ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE log (
      one      INTEGER PRIMARY KEY CHECK (one = 1),
      size     INTEGER NOT NULL,
      frontier BLOB NOT NULL,
      streams  INTEGER NOT NULL,
      keys     BLOB NOT NULL
    ) STRICT`,
    `INSERT INTO log (one, size, frontier, streams, keys) VALUES (1, 0, x'', 0, zeroblob(32))`,
    `CREATE TRIGGER event_update BEFORE UPDATE ON event
      BEGIN SELECT RAISE(ABORT, 'an event never changes'); END`,
    `CREATE TRIGGER event_delete BEFORE DELETE ON event
      BEGIN SELECT RAISE(ABORT, 'an event is never deleted'); END`,
    `CREATE TRIGGER event_insert BEFORE INSERT ON event
      WHEN NEW.position <= (SELECT max(position) FROM event)
        OR EXISTS (SELECT 1 FROM event WHERE event_id = NEW.event_id)
      BEGIN SELECT RAISE(ABORT, 'an event is never replaced'); END`,
    `CREATE TRIGGER body_update BEFORE UPDATE ON body
      BEGIN SELECT RAISE(ABORT, 'the body of an event never changes'); END`,
    `CREATE TRIGGER body_delete BEFORE DELETE ON body
      BEGIN SELECT RAISE(ABORT, 'the body of an event is never deleted'); END`,
    `CREATE TRIGGER body_insert BEFORE INSERT ON body
      WHEN EXISTS (SELECT 1 FROM body WHERE position = NEW.position)
      BEGIN SELECT RAISE(ABORT, 'the body of an event is never replaced'); END`,
    `CREATE TRIGGER run_update BEFORE UPDATE ON run
      BEGIN SELECT RAISE(ABORT, 'the positions of a stream never change'); END`,
    `CREATE TRIGGER run_delete BEFORE DELETE ON run
      BEGIN SELECT RAISE(ABORT, 'the positions of a stream are never deleted'); END`,
    `CREATE TRIGGER run_insert BEFORE INSERT ON run
      WHEN EXISTS (SELECT 1 FROM run WHERE stream_id = NEW.stream_id AND run = NEW.run)
      BEGIN SELECT RAISE(ABORT, 'the positions of a stream are never replaced'); END`,
    `CREATE TRIGGER stream_delete BEFORE DELETE ON stream WHEN OLD.version > 0
      BEGIN SELECT RAISE(ABORT, 'a stream with events is never deleted'); END`,
    `CREATE TRIGGER stream_rename BEFORE UPDATE OF stream_id, aggregate_type, aggregate_id ON stream
      BEGIN SELECT RAISE(ABORT, 'a stream keeps its key'); END`,
  ],
  [
    // What is done to a stream as a whole. `hash` chains the entries; see audit.ts.
    `CREATE TABLE audit (
      entry          INTEGER PRIMARY KEY,
      at             TEXT NOT NULL,
      issued_group   TEXT,
      issued_user    TEXT,
      action         TEXT NOT NULL,
      aggregate_type TEXT NOT NULL,
      aggregate_id   TEXT NOT NULL,
      comment        TEXT,
      hash           BLOB NOT NULL
    ) STRICT`,
    // Where the trail ends: beside `log`, whose row every commit rewrites.
    `CREATE TABLE trail (
      one     INTEGER PRIMARY KEY CHECK (one = 1),
      entries INTEGER NOT NULL,
      removed INTEGER NOT NULL,
      hash    BLOB NOT NULL
    ) STRICT`,
    `INSERT INTO trail (one, entries, removed, hash) VALUES (1, 0, 0, zeroblob(32))`,
    // A stream that is archived, or on its way: bodies and snapshots of its versions 1 to `versions`
    // are in archive.db. `pending` is 'archive' or 'restore' while a move is not finished.
    `CREATE TABLE archive (
      stream_id INTEGER PRIMARY KEY,
      versions  INTEGER NOT NULL,
      pending   TEXT
    ) STRICT`,
    `CREATE TRIGGER audit_update BEFORE UPDATE ON audit
      BEGIN SELECT RAISE(ABORT, 'an entry of the audit trail never changes'); END`,
    `CREATE TRIGGER audit_delete BEFORE DELETE ON audit
      BEGIN SELECT RAISE(ABORT, 'an entry of the audit trail is never deleted'); END`,
    `CREATE TRIGGER audit_insert BEFORE INSERT ON audit
      WHEN NEW.entry <= (SELECT max(entry) FROM audit)
      BEGIN SELECT RAISE(ABORT, 'an entry of the audit trail is never replaced'); END`,
    `DROP TRIGGER body_delete`,
    `CREATE TRIGGER body_delete BEFORE DELETE ON body
      WHEN NOT EXISTS (SELECT 1 FROM event JOIN archive ON archive.stream_id = event.stream_id
        WHERE event.position = OLD.position AND event.version <= archive.versions)
      BEGIN SELECT RAISE(ABORT, 'the body of an event is never deleted'); END`,
  ],
];

export const busyTimeout = (ms: number): string => `PRAGMA busy_timeout = ${ms}`;
export const readApplicationId = `PRAGMA application_id`;
export const readFormat = `PRAGMA user_version`;
/** Pragmas take no parameters; the number is an index of `migrations`. */
export const writeFormat = (format: number): string => `PRAGMA user_version = ${format}`;
/** What SQLite made for itself (statistics, automatic indexes) is not ours. */
export const readSchema = `
  SELECT type, name, sql FROM sqlite_schema
  WHERE name NOT LIKE 'sqlite|_%' ESCAPE '|' ORDER BY name`;
export const countTables = `SELECT count(*) AS count FROM sqlite_schema`;
export const sqliteVersion = `SELECT sqlite_version() AS version`;

export const readSynchronous = `PRAGMA synchronous`;
/** 2 is FULL, 1 is NORMAL. */
export const writeSynchronous = (level: number): string => `PRAGMA synchronous = ${level}`;

export const begin = `BEGIN IMMEDIATE`;
export const commit = `COMMIT`;
export const rollback = `ROLLBACK`;

export const insertEvent = `
  INSERT INTO event (position, stream_id, version, event_id, event_type, created_at, issued_group,
    issued_user, content_digest, hash, merkle_root)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export const insertBody = `INSERT INTO body (position, salt, note, payload) VALUES (?, ?, ?, ?)`;

export const insertStream = `
  INSERT INTO stream (stream_id, aggregate_type, aggregate_id, version, archived, updated_at,
    frontier, positions, state)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export const insertRun = `INSERT INTO run (stream_id, run, positions) VALUES (?, ?, ?)`;

export const updateStream = `
  UPDATE stream SET
    version = ?, archived = ?, updated_at = ?, frontier = ?, positions = ?, state = ?
  WHERE stream_id = ?`;

export const insertSnapshot = `
  INSERT INTO snapshot (stream_id, version, state, merkle_root, created_at, comment)
  VALUES (?, ?, ?, ?, ?, ?)`;

export const writeTokenUse = `
  INSERT INTO token_use (token_id, writes, expires_at, term) VALUES (?, ?, ?, ?)
  ON CONFLICT (token_id) DO UPDATE SET
    writes = excluded.writes, expires_at = excluded.expires_at, term = excluded.term`;

/**
 * The old size in the condition: a log that somebody else has grown is noticed, not overwritten.
 */
export const updateLog = `
  UPDATE log SET size = ?, frontier = ?, streams = ?, keys = ?
  WHERE one = 1 AND size = ? AND streams = ?`;

/** Stream ids are never given twice: as many were given as there are streams and were removed. */
export const lastStreamId = `
  SELECT max((SELECT coalesce(max(stream_id), 0) FROM stream), log.streams + trail.removed)
    AS stream_id
  FROM log, trail`;

export const deleteStream = `DELETE FROM stream WHERE stream_id = ? AND version = 0`;

export const flagStream = `UPDATE stream SET archived = ? WHERE stream_id = ?`;

/** A second one at a version gives its comment alone. */
export const keepSnapshot = `${insertSnapshot}
  ON CONFLICT (stream_id, version) DO UPDATE SET comment = excluded.comment`;

export const insertAudit = `
  INSERT INTO audit (entry, at, issued_group, issued_user, action, aggregate_type, aggregate_id,
    comment, hash)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** The old count in the condition, as with the log. */
export const updateTrail = `
  UPDATE trail SET entries = ?, removed = ?, hash = ? WHERE one = 1 AND entries = ?`;

export const readTrailRow = `SELECT entries, removed, hash FROM trail WHERE one = 1`;

export const readAuditPage = `
  SELECT entry, at, issued_group, issued_user, action, aggregate_type, aggregate_id, comment, hash
  FROM audit WHERE entry > ? ORDER BY entry LIMIT ?`;

/** The move begins, or turns round. */
export const beginMove = `
  INSERT INTO archive (stream_id, versions, pending) VALUES (?, 0, ?)
  ON CONFLICT (stream_id) DO UPDATE SET pending = excluded.pending`;
export const endArchiving = `UPDATE archive SET pending = NULL WHERE stream_id = ?`;
export const endRestoring = `DELETE FROM archive WHERE stream_id = ? AND versions = 0`;
export const forgetMove = `DELETE FROM archive WHERE stream_id = ?`;

export const readLogRow = `SELECT size, frontier, streams, keys FROM log WHERE one = 1`;

/** LEFT JOIN: an event whose stream or body is missing must be reported, not passed over. */
const eventColumns = `
  SELECT event.position, stream.aggregate_type, stream.aggregate_id, event.version, event.event_id,
    event.event_type, event.created_at, event.issued_group, event.issued_user, body.payload,
    body.note, body.salt, event.content_digest, event.hash, event.merkle_root, event.stream_id
  FROM event
  LEFT JOIN stream ON stream.stream_id = event.stream_id
  LEFT JOIN body ON body.position = event.position`;

export const readLogPage = `${eventColumns}
  WHERE event.position > ? ORDER BY event.position LIMIT ?`;

/** The parameter is a JSON array of positions, ascending. */
export const readEventsAt = `${eventColumns}
  WHERE event.position IN (SELECT value FROM json_each(?)) ORDER BY event.position`;

export const readRun = `SELECT positions FROM run WHERE stream_id = ? AND run = ?`;

export const readEventById = `${eventColumns} WHERE event.event_id = ?`;

const headColumns = `
  SELECT stream_id, aggregate_type, aggregate_id, version, archived, updated_at, frontier,
    positions, state
  FROM stream`;

export const readHead = `${headColumns} WHERE aggregate_type = ? AND aggregate_id = ?`;

export const readHeadsPage = `${headColumns}
  WHERE (aggregate_type, aggregate_id) > (?, ?)
  ORDER BY aggregate_type, aggregate_id LIMIT ? OFFSET ?`;

/** Those of one type. */
export const readHeadsPageOf = `${headColumns}
  WHERE aggregate_type = ? AND aggregate_id > ?
  ORDER BY aggregate_id LIMIT ? OFFSET ?`;

export const readSnapshotPage = `
  SELECT stream.aggregate_type, stream.aggregate_id, snapshot.version, snapshot.state,
    snapshot.merkle_root, snapshot.created_at, snapshot.comment
  FROM stream JOIN snapshot ON snapshot.stream_id = stream.stream_id
  WHERE stream.aggregate_type = ? AND stream.aggregate_id = ? AND snapshot.version > ?
  ORDER BY snapshot.version LIMIT ?`;

export const readSnapshotBefore = `
  SELECT stream.aggregate_type, stream.aggregate_id, snapshot.version, snapshot.state,
    snapshot.merkle_root, snapshot.created_at, snapshot.comment
  FROM stream JOIN snapshot ON snapshot.stream_id = stream.stream_id
  WHERE stream.aggregate_type = ? AND stream.aggregate_id = ? AND snapshot.version <= ?
  ORDER BY snapshot.version DESC LIMIT 1`;

export const readTokenUse = `
  SELECT token_id, writes, expires_at, term FROM token_use WHERE token_id = ?`;

/** Tells how many frames the log has and how many are copied; SQLite 3.51 and later. */
export const checkpointNothing = `PRAGMA wal_checkpoint(NOOP)`;
export const checkpointPassive = `PRAGMA wal_checkpoint(PASSIVE)`;
/** Copies all, waits for readers to leave the log, and lets the next write begin it anew. */
export const checkpointRestart = `PRAGMA wal_checkpoint(RESTART)`;
export const checkpointTruncate = `PRAGMA wal_checkpoint(TRUNCATE)`;

/** Damaged pages and indexes that disagree with their tables; the limit is a number of ours. */
export const integrityCheck = (limit: number): string => `PRAGMA integrity_check(${limit})`;

/** The same for one table and its indexes at a time. */
export const tableChecks: readonly string[] = [
  `PRAGMA integrity_check(sqlite_schema)`,
  `PRAGMA integrity_check(stream)`,
  `PRAGMA integrity_check(event)`,
  `PRAGMA integrity_check(run)`,
  `PRAGMA integrity_check(body)`,
  `PRAGMA integrity_check(snapshot)`,
  `PRAGMA integrity_check(token_use)`,
  `PRAGMA integrity_check(log)`,
  `PRAGMA integrity_check(audit)`,
  `PRAGMA integrity_check(trail)`,
  `PRAGMA integrity_check(archive)`,
];

/** Rows that belong to nothing, one sentence each. `?` is the most sentences wanted. */
export const orphanChecks: readonly string[] = [
  `SELECT 'event ' || position || ' has no body' AS fault FROM event
    WHERE NOT EXISTS (SELECT 1 FROM body WHERE body.position = event.position) LIMIT ?`,
  `SELECT 'body ' || position || ' has no event' AS fault FROM body
    WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.position = body.position) LIMIT ?`,
  `SELECT 'event ' || position || ' has no stream' AS fault FROM event
    WHERE NOT EXISTS (SELECT 1 FROM stream WHERE stream.stream_id = event.stream_id) LIMIT ?`,
  `SELECT 'snapshot at version ' || version || ' of stream ' || stream_id
      || ' has no event' AS fault
    FROM snapshot WHERE version < 1 OR NOT EXISTS (SELECT 1 FROM stream
      WHERE stream.stream_id = snapshot.stream_id AND stream.version >= snapshot.version) LIMIT ?`,
  `SELECT 'stream ' || aggregate_type || '/' || aggregate_id || ' is at version ' || version
      || ', but its positions are not those of so many events' AS fault
    FROM stream WHERE length(positions) <> 8 * (version % 64)
      OR version / 64 <> (SELECT count(*) FROM run WHERE run.stream_id = stream.stream_id) LIMIT ?`,
  `SELECT 'run ' || run || ' of stream ' || stream_id || ' is out of place' AS fault
    FROM run WHERE length(positions) <> 8 * 64 OR run < 0
      OR NOT EXISTS (SELECT 1 FROM stream
        WHERE stream.stream_id = run.stream_id AND run.run < stream.version / 64) LIMIT ?`,
  `SELECT 'the log counts ' || size || ' events, but its streams '
      || (SELECT coalesce(sum(version), 0) FROM stream) AS fault
    FROM log WHERE size <> (SELECT coalesce(sum(version), 0) FROM stream) LIMIT ?`,
  `SELECT 'the log counts ' || size || ' events, but there are '
      || (SELECT count(*) FROM event) AS fault
    FROM log WHERE size <> (SELECT count(*) FROM event) LIMIT ?`,
  `SELECT 'the log counts ' || streams || ' streams, but there are '
      || (SELECT count(*) FROM stream) AS fault
    FROM log WHERE streams <> (SELECT count(*) FROM stream) LIMIT ?`,
  `SELECT 'stream ' || aggregate_type || '/' || aggregate_id || ' has number ' || stream_id
      || ', which no stream was given' AS fault
    FROM stream WHERE stream_id < 1
      OR stream_id > (SELECT streams + removed FROM log, trail) LIMIT ?`,
  `SELECT 'the row of the log is missing' AS fault WHERE NOT EXISTS (SELECT 1 FROM log) LIMIT ?`,
];

export const readPageSize = `PRAGMA page_size`;

/** Held for as long as the process may write; see open.ts. */
export const lockBegin = `BEGIN EXCLUSIVE`;
/** Needs a shared lock, so it fails while somebody holds the exclusive one. */
export const lockProbe = `SELECT count(*) AS count FROM sqlite_schema`;
