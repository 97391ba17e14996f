// Tables and statements of archive.db, the long-term storage: bodies in compressed blocks, and
// snapshots. What it holds of a stream, and whether it counts, says the main file.

import type { Format } from "./connect.ts";

export const archiveFormat: Format = {
  // "dbx" and an A.
  application_id: 0x64627841,
  // A released entry never changes.
  migrations: [
    [
      `PRAGMA application_id = ${0x64627841}`,
      // `bodies` is what blocks.ts makes of versions `first` to `last`. `digest` covers the row.
      `CREATE TABLE block (
        stream_id INTEGER NOT NULL,
        first     INTEGER NOT NULL,
        last      INTEGER NOT NULL,
        bodies    BLOB NOT NULL,
        digest    BLOB NOT NULL,
        PRIMARY KEY (stream_id, first)
      ) STRICT`,
      `CREATE TABLE snapshot (
        stream_id   INTEGER NOT NULL,
        version     INTEGER NOT NULL,
        state       BLOB NOT NULL,
        merkle_root BLOB NOT NULL,
        created_at  TEXT NOT NULL,
        comment     TEXT,
        digest      BLOB NOT NULL,
        PRIMARY KEY (stream_id, version)
      ) STRICT`,
      // The marked path: what lies above these versions is in the main file and may go from here.
      // Empty but within a transaction.
      `CREATE TABLE release (
        stream_id INTEGER PRIMARY KEY,
        versions  INTEGER NOT NULL
      ) STRICT`,
      `CREATE TRIGGER block_update BEFORE UPDATE ON block
        BEGIN SELECT RAISE(ABORT, 'an archived block never changes'); END`,
      `CREATE TRIGGER block_delete BEFORE DELETE ON block
        WHEN NOT EXISTS (SELECT 1 FROM release
          WHERE release.stream_id = OLD.stream_id AND OLD.first > versions)
        BEGIN SELECT RAISE(ABORT, 'an archived block is never deleted'); END`,
      `CREATE TRIGGER block_insert BEFORE INSERT ON block
        WHEN EXISTS (SELECT 1 FROM block
          WHERE stream_id = NEW.stream_id AND first = NEW.first)
        BEGIN SELECT RAISE(ABORT, 'an archived block is never replaced'); END`,
      `CREATE TRIGGER snapshot_update BEFORE UPDATE ON snapshot
        BEGIN SELECT RAISE(ABORT, 'an archived snapshot never changes'); END`,
      `CREATE TRIGGER snapshot_delete BEFORE DELETE ON snapshot
        WHEN NOT EXISTS (SELECT 1 FROM release
          WHERE release.stream_id = OLD.stream_id AND OLD.version > versions)
        BEGIN SELECT RAISE(ABORT, 'an archived snapshot is never deleted'); END`,
      `CREATE TRIGGER snapshot_insert BEFORE INSERT ON snapshot
        WHEN EXISTS (SELECT 1 FROM snapshot
          WHERE stream_id = NEW.stream_id AND version = NEW.version)
        BEGIN SELECT RAISE(ABORT, 'an archived snapshot is never replaced'); END`,
    ],
  ],
  page_bytes: 4096,
  cache_kib: 4 * 1024,
};

export const insertBlock = `
  INSERT INTO block (stream_id, first, last, bodies, digest) VALUES (?, ?, ?, ?, ?)`;

/** The block that holds a version, if any does. */
export const readBlock = `
  SELECT stream_id, first, last, bodies, digest FROM block
  WHERE stream_id = ? AND first <= ? ORDER BY first DESC LIMIT 1`;

export const readBlockRows = `
  SELECT stream_id, first, last, bodies, digest FROM block WHERE stream_id = ? ORDER BY first`;

export const readBlockRange = `
  SELECT first, last FROM block WHERE stream_id = ? AND first <= ? ORDER BY first DESC LIMIT 1`;

export const readBlocks = `SELECT first, last FROM block WHERE stream_id = ? ORDER BY first`;

export const insertArchivedSnapshot = `
  INSERT INTO snapshot (stream_id, version, state, merkle_root, created_at, comment, digest)
  VALUES (?, ?, ?, ?, ?, ?, ?)`;

export const readArchivedSnapshots = `
  SELECT stream_id, version, state, merkle_root, created_at, comment, digest FROM snapshot
  WHERE stream_id = ? AND version > ? AND version <= ? ORDER BY version`;

export const readArchivedSnapshotBefore = `
  SELECT stream_id, version, state, merkle_root, created_at, comment, digest FROM snapshot
  WHERE stream_id = ? AND version > ? AND version <= ? ORDER BY version DESC LIMIT 1`;

export const readArchivedSnapshotVersions = `
  SELECT min(version) AS first, max(version) AS last FROM snapshot WHERE stream_id = ?`;

export const insertRelease = `INSERT INTO release (stream_id, versions) VALUES (?, ?)`;
export const deleteReleasedBlocks = `DELETE FROM block WHERE stream_id = ? AND first > ?`;
export const deleteReleasedSnapshots = `DELETE FROM snapshot WHERE stream_id = ? AND version > ?`;
export const deleteRelease = `DELETE FROM release`;

export const readStreamsKept = `
  SELECT stream_id FROM block UNION SELECT stream_id FROM snapshot ORDER BY stream_id`;

/** Changes when another connection has changed the file. */
export const readDataVersion = `PRAGMA data_version`;
