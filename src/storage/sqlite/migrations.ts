// The tables of the main file, format by format.

import type { Format } from "./connect.ts";

/**
 * One list of statements per format, from 1 on; `user_version` holds the last one applied. A
 * released entry never changes: a directory of any release must open for ever.
 *
 * `event` rows never change and never leave; `body` rows may move to the archive, which a row of
 * `archive` marks, or one day be erased. Triggers refuse everything else, also from other
 * programs: `INSERT OR REPLACE` deletes without asking the DELETE trigger unless
 * `recursive_triggers` is on, so INSERT over a key is refused too.
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
    // A stream that is archived, or on its way: bodies and snapshots of its versions up to
    // `versions` are in archive.db. `pending` is 'archive' or 'restore' until a move is finished.
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
  [
    // Entries about something that is no stream: their names of streams are empty.
    `ALTER TABLE audit ADD COLUMN subject TEXT`,
    `ALTER TABLE audit ADD COLUMN details TEXT`,
    // Bodies of the versions up to `erased` cannot be read any more, wherever they lie.
    `ALTER TABLE stream ADD COLUMN erased INTEGER NOT NULL DEFAULT 0`,
    // Where there is one, 'state' is empty; see seal.ts for what is in it.
    `ALTER TABLE stream ADD COLUMN sealed BLOB`,
    `ALTER TABLE snapshot ADD COLUMN sealed BLOB`,
    // A body is here or in 'body'.
    `CREATE TABLE sealed_body (
      position INTEGER PRIMARY KEY,
      sealed   BLOB NOT NULL
    ) STRICT`,
    // One key for each stream, and under 0 that of the vault, wrapped by the data encryption key
    // of this number.
    `CREATE TABLE data_key (
      stream_id INTEGER PRIMARY KEY,
      dek       INTEGER NOT NULL,
      wrapped   BLOB NOT NULL
    ) STRICT`,
    // The row of an encrypted store. 'pending' is 'encrypt' as long as something older is in clear,
    // 'rotate' as long as some keys are wrapped by the data encryption key before; then each of
    // the two is here, wrapped by the other, and the store opens with either.
    `CREATE TABLE sealing (
      one     INTEGER PRIMARY KEY CHECK (one = 1),
      dek     INTEGER NOT NULL,
      pending TEXT,
      before  BLOB,
      after   BLOB
    ) STRICT`,
    `DROP TRIGGER body_delete`,
    `CREATE TRIGGER body_delete BEFORE DELETE ON body
      WHEN NOT EXISTS (SELECT 1 FROM event JOIN archive ON archive.stream_id = event.stream_id
        WHERE event.position = OLD.position AND event.version <= archive.versions)
      AND NOT EXISTS (SELECT 1 FROM sealed_body WHERE sealed_body.position = OLD.position)
      BEGIN SELECT RAISE(ABORT, 'the body of an event is never deleted'); END`,
    `CREATE TRIGGER sealed_body_update BEFORE UPDATE ON sealed_body
      BEGIN SELECT RAISE(ABORT, 'the body of an event never changes'); END`,
    `CREATE TRIGGER sealed_body_delete BEFORE DELETE ON sealed_body
      WHEN NOT EXISTS (SELECT 1 FROM event JOIN archive ON archive.stream_id = event.stream_id
        WHERE event.position = OLD.position AND event.version <= archive.versions)
      AND NOT EXISTS (SELECT 1 FROM event JOIN stream ON stream.stream_id = event.stream_id
        WHERE event.position = OLD.position AND event.version <= stream.erased)
      BEGIN SELECT RAISE(ABORT, 'the body of an event is never deleted'); END`,
    `CREATE TRIGGER sealed_body_insert BEFORE INSERT ON sealed_body
      WHEN EXISTS (SELECT 1 FROM sealed_body WHERE position = NEW.position)
      BEGIN SELECT RAISE(ABORT, 'the body of an event is never replaced'); END`,
    `CREATE TRIGGER stream_erased BEFORE UPDATE OF erased ON stream
      WHEN NEW.erased < OLD.erased
      BEGIN SELECT RAISE(ABORT, 'what is erased stays erased'); END`,
  ],
  [
    // Positions whose events came from another node, from the first to the last of each import: a
    // row for each import, because a column would cost every append.
    `CREATE TABLE import (
      first INTEGER PRIMARY KEY,
      last  INTEGER NOT NULL
    ) STRICT`,
  ],
];

/** "dbx" and a 1, in the file's header: tells a dbx database from any other SQLite file. */
export const mainFormat: Format = {
  application_id: 0x64627801,
  migrations,
  // Half the bytes of the usual 4096 into the log, fewer overflow pages than 1024 would need.
  page_bytes: 2048,
  // Holds the inner pages of every index of some million events.
  cache_kib: 64 * 1024,
};
