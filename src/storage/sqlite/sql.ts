// The statements on the main file, and the pragmas. Its tables are in migrations.ts, keys are in
// sql-sealing.ts; archive.db has both in sql-archive.ts. Nothing else in dbx knows SQL.

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

/** What comes back; the same row, if a foreign program has put it there, is left as it is. */
export const returnBody = `
  INSERT INTO body (position, salt, note, payload) SELECT ?1, ?2, ?3, ?4
  WHERE NOT EXISTS (SELECT 1 FROM body
    WHERE position = ?1 AND salt IS ?2 AND note IS ?3 AND payload IS ?4)`;
export const returnSnapshot = `
  INSERT INTO snapshot (stream_id, version, state, sealed, merkle_root, created_at, comment)
  SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
  WHERE NOT EXISTS (SELECT 1 FROM snapshot
    WHERE stream_id = ?1 AND version = ?2 AND state IS ?3 AND merkle_root IS ?5
      AND created_at IS ?6 AND comment IS ?7)`;

export const insertStream = `
  INSERT INTO stream (stream_id, aggregate_type, aggregate_id, version, archived, erased,
    updated_at, frontier, positions, state, sealed)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

export const insertImport = `INSERT INTO import (first, last) VALUES (?, ?)`;
/** Imports never overlap, so the one that begins at or before a position is the last such row. */
export const readImports = `
  SELECT first, last FROM import
  WHERE first >= coalesce((SELECT max(first) FROM import WHERE first <= ?1), 0)
    AND first <= ?2 AND last >= ?1
  ORDER BY first`;

export const insertRun = `INSERT INTO run (stream_id, run, positions) VALUES (?, ?, ?)`;

export const updateStream = `
  UPDATE stream SET
    version = ?, archived = ?, erased = ?, updated_at = ?, frontier = ?, positions = ?, state = ?,
    sealed = ?
  WHERE stream_id = ?`;

export const insertSnapshot = `
  INSERT INTO snapshot (stream_id, version, state, sealed, merkle_root, created_at, comment)
  VALUES (?, ?, ?, ?, ?, ?, ?)`;

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
    comment, subject, details, hash)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** The old count in the condition, as with the log. */
export const updateTrail = `
  UPDATE trail SET entries = ?, removed = ?, hash = ? WHERE one = 1 AND entries = ?`;

export const readTrailRow = `SELECT entries, removed, hash FROM trail WHERE one = 1`;

export const readAuditPage = `
  SELECT entry, at, issued_group, issued_user, action, aggregate_type, aggregate_id, comment,
    subject, details, hash
  FROM audit WHERE entry > ? ORDER BY entry LIMIT ?`;
export const readAuditPageBack = `
  SELECT entry, at, issued_group, issued_user, action, aggregate_type, aggregate_id, comment,
    subject, details, hash
  FROM audit WHERE entry < ? ORDER BY entry DESC LIMIT ?`;

/** The move begins, or turns round. */
export const beginMove = `
  INSERT INTO archive (stream_id, versions, pending) VALUES (?, 0, ?)
  ON CONFLICT (stream_id) DO UPDATE SET pending = excluded.pending`;
export const endArchiving = `UPDATE archive SET pending = NULL WHERE stream_id = ?`;
export const endRestoring = `DELETE FROM archive WHERE stream_id = ? AND versions = 0`;
/** The old count in the condition, as with the log. */
export const countMoved = `
  UPDATE archive SET versions = ? WHERE stream_id = ? AND versions = ? AND pending = ?`;
/** The parameter is a JSON array of positions. */
export const deleteBodies = `DELETE FROM body WHERE position IN (SELECT value FROM json_each(?))`;
export const deleteSnapshots = `
  DELETE FROM snapshot WHERE stream_id = ? AND version > ? AND version <= ?`;
/** What is archived of a stream, or on its way. */
export const readMove = `
  SELECT archive.stream_id, archive.versions, archive.pending, stream.version,
    stream.aggregate_type, stream.aggregate_id
  FROM archive JOIN stream ON stream.stream_id = archive.stream_id
  WHERE archive.stream_id = ?`;
export const readPendingMoves = `
  SELECT stream_id FROM archive WHERE pending IS NOT NULL ORDER BY stream_id`;
export const readArchived = `SELECT versions, pending FROM archive WHERE stream_id = ?`;
export const readArchivedStreams = `
  SELECT stream_id FROM archive WHERE versions > 0 ORDER BY stream_id`;
export const anyArchived = `SELECT EXISTS (SELECT 1 FROM archive WHERE versions > 0) AS found`;
/** Which stream it is, and how much of it is in the archive. */
export const readPlace = `
  SELECT stream.stream_id, stream.erased, coalesce(archive.versions, 0) AS versions
  FROM stream LEFT JOIN archive ON archive.stream_id = stream.stream_id
  WHERE stream.aggregate_type = ? AND stream.aggregate_id = ?`;

export const forgetMove = `DELETE FROM archive WHERE stream_id = ?`;

export const readLogRow = `SELECT size, frontier, streams, keys FROM log WHERE one = 1`;

/** LEFT JOIN: an event whose stream or body is missing must be reported, not passed over. */
const eventColumns = `
  SELECT event.position, stream.aggregate_type, stream.aggregate_id, event.version, event.event_id,
    event.event_type, event.created_at, event.issued_group, event.issued_user, body.payload,
    body.note, body.salt, sealed_body.sealed, stream.erased, event.content_digest, event.hash,
    event.merkle_root, event.stream_id
  FROM event
  LEFT JOIN stream ON stream.stream_id = event.stream_id
  LEFT JOIN body ON body.position = event.position
  LEFT JOIN sealed_body ON sealed_body.position = event.position`;

export const readLogPage = `${eventColumns}
  WHERE event.position > ? ORDER BY event.position LIMIT ?`;

export const readLeaves = `
  SELECT position, hash FROM event WHERE position > ? ORDER BY position LIMIT ?`;

/** The parameter is a JSON array of positions, ascending. */
export const readEventsAt = `${eventColumns}
  WHERE event.position IN (SELECT value FROM json_each(?)) ORDER BY event.position`;

export const readRun = `SELECT positions FROM run WHERE stream_id = ? AND run = ?`;

export const readEventById = `${eventColumns} WHERE event.event_id = ?`;
/** Most ids that are asked for are new, and this finds that out five times as fast (measured). */
export const findEventById = `SELECT position FROM event WHERE event_id = ?`;

const headColumns = `
  SELECT stream_id, aggregate_type, aggregate_id, version, archived, erased, updated_at, frontier,
    positions, state, sealed
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
  SELECT stream.aggregate_type, stream.aggregate_id, snapshot.stream_id, snapshot.version,
    snapshot.state, snapshot.sealed, snapshot.merkle_root, snapshot.created_at, snapshot.comment
  FROM stream JOIN snapshot ON snapshot.stream_id = stream.stream_id
    AND snapshot.version > stream.erased
  WHERE stream.aggregate_type = ? AND stream.aggregate_id = ? AND snapshot.version > ?
  ORDER BY snapshot.version LIMIT ?`;

export const readSnapshotBefore = `
  SELECT stream.aggregate_type, stream.aggregate_id, snapshot.stream_id, snapshot.version,
    snapshot.state, snapshot.sealed, snapshot.merkle_root, snapshot.created_at, snapshot.comment
  FROM stream JOIN snapshot ON snapshot.stream_id = stream.stream_id
    AND snapshot.version > stream.erased
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
  `PRAGMA integrity_check(sealed_body)`,
  `PRAGMA integrity_check(data_key)`,
  `PRAGMA integrity_check(sealing)`,
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
    WHERE NOT EXISTS (SELECT 1 FROM body WHERE body.position = event.position)
      AND NOT EXISTS (SELECT 1 FROM sealed_body WHERE sealed_body.position = event.position)
      AND NOT EXISTS (SELECT 1 FROM archive WHERE archive.stream_id = event.stream_id
        AND archive.versions >= event.version)
      AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.stream_id = event.stream_id
        AND stream.erased >= event.version) LIMIT ?`,
  `SELECT 'sealed body ' || position || ' has no event' AS fault FROM sealed_body
    WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.position = sealed_body.position) LIMIT ?`,
  `SELECT 'body ' || position || ' is there in clear and sealed' AS fault
    FROM body JOIN sealed_body USING (position) LIMIT ?`,
  `SELECT 'body ' || position || ' is in clear, but the store is encrypted' AS fault
    FROM body, sealing WHERE pending IS NOT 'encrypt' LIMIT ?`,
  `SELECT 'the state of stream ' || stream_id || ' is in clear and sealed, or neither' AS fault
    FROM stream WHERE (state = '') <> (sealed IS NOT NULL) LIMIT ?`,
  `SELECT 'the snapshot at version ' || version || ' of stream ' || stream_id
      || ' is in clear and sealed, or neither' AS fault
    FROM snapshot WHERE (state = '') <> (sealed IS NOT NULL) LIMIT ?`,
  `SELECT 'stream ' || stream_id || ' has something sealed, but no key' AS fault
    FROM stream WHERE sealed IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM data_key WHERE data_key.stream_id = stream.stream_id)
    LIMIT ?`,
  `SELECT 'the data key ' || stream_id || ' belongs to nothing' AS fault FROM data_key
    WHERE NOT EXISTS (SELECT 1 FROM stream WHERE stream.stream_id = data_key.stream_id)
      AND (stream_id <> 0 OR NOT EXISTS (SELECT 1 FROM sealing)) LIMIT ?`,
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
  `SELECT 'stream ' || aggregate_type || '/' || aggregate_id || ' is archived, or is not, '
      || 'against what the archive says' AS fault
    FROM stream LEFT JOIN archive ON archive.stream_id = stream.stream_id
    WHERE archived <> (archive.stream_id IS NOT NULL) LIMIT ?`,
  `SELECT 'stream ' || stream_id || ' has ' || versions || ' archived versions, which does not fit'
      AS fault
    FROM archive LEFT JOIN stream USING (stream_id)
    WHERE stream.stream_id IS NULL OR versions NOT BETWEEN 0 AND version
      OR CASE WHEN pending IS NULL THEN versions <> version
        -- One that was erased while it was archived has the event of that besides.
        AND NOT (versions <= erased AND version = erased + 1)
        ELSE pending NOT IN ('archive', 'restore') END LIMIT ?`,
  `SELECT 'body ' || event.position || ' is in the archive, too' AS fault
    FROM event JOIN archive ON archive.stream_id = event.stream_id
      LEFT JOIN body ON body.position = event.position
      LEFT JOIN sealed_body ON sealed_body.position = event.position
    WHERE archive.pending IS NULL AND event.version <= archive.versions
      AND coalesce(body.position, sealed_body.position) IS NOT NULL LIMIT ?`,
  `SELECT 'the row of the log is missing' AS fault WHERE NOT EXISTS (SELECT 1 FROM log) LIMIT ?`,
];

export const readPageSize = `PRAGMA page_size`;
export const readPageCount = `PRAGMA page_count`;

/** Held for as long as the process may write; see open.ts. */
export const lockBegin = `BEGIN EXCLUSIVE`;
/** Needs a shared lock, so it fails while somebody holds the exclusive one. */
export const lockProbe = `SELECT count(*) AS count FROM sqlite_schema`;

/** Changes whenever another connection has committed. */
export const readDataVersion = `PRAGMA data_version`;
/** A read transaction; what it sees is settled by its first read. */
export const beginReading = `BEGIN`;
