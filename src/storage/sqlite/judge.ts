// A data directory that nobody uses, judged without its key: what the log says of itself, the tree
// over its leaves, its pages and rows. What payloads say is for `verify`, which needs the key.

import type { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { dataCorrupted } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { emptyFrontier, growFrontierBy, rootOf } from "../../model/merkle.ts";
import type { Position } from "../../model/stream.ts";
import { checkDatabase } from "./check.ts";
import { connectReader, readOne } from "./connect.ts";
import { translated } from "./failure.ts";
import { mainFormat } from "./migrations.ts";
import { databaseName } from "./open.ts";
import { toLogTail, type LogRow } from "./rows.ts";
import { readLeaves, readLogRow } from "./sql.ts";
import { readSealing } from "./sql-sealing.ts";

/** What the log says of itself, and whether payloads are under a key. */
export interface Facts {
  readonly position: Position;
  /** Hex. */
  readonly log_root: string;
  readonly sealing: "none" | "partly" | "all";
}

export function factsOf(get: (sql: string) => Record<string, unknown> | undefined | null): Facts {
  const row = get(readLogRow) as LogRow | undefined | null;
  if (row === undefined || row === null) throw dataCorrupted("the row of the log is missing");
  const { frontier } = toLogTail(row);
  const sealing = get(readSealing);
  return {
    position: frontier.size,
    log_root: rootOf(frontier).toHex(),
    sealing:
      sealing === undefined || sealing === null
        ? "none"
        : sealing["pending"] === "encrypt"
          ? "partly"
          : "all",
  };
}

export interface Judged extends Facts {
  /** As sentences; none when sound. */
  readonly faults: readonly string[];
}

/**
 * What needs no key: facts as they are written, the tree over all leaves compared with them, pages,
 * indexes, orphans, the trail, marks and blocks of the archive.
 */
export function judgeDirectory(directory: string): Judged {
  const path = join(directory, databaseName);
  const database = existsSync(path) ? connectReader(path, mainFormat)?.database : undefined;
  if (database === undefined) throw dataCorrupted(`there is no database in ${path}`, { path });
  try {
    return translated("check the database", () => {
      const facts = factsOf((sql) => readOne<Record<string, unknown>>(database, sql));
      const counted = treeOf(database);
      const faults = checkDatabase(database, { path, limit: limits.verify_faults_max });
      const isTree = counted.size === facts.position && counted.log_root === facts.log_root;
      const wrong = `the log says ${facts.position} events with root ${facts.log_root}, and its leaves give ${counted.size} with ${counted.log_root}`;
      return { ...facts, faults: isTree ? faults : [wrong, ...faults] };
    });
  } finally {
    database.close();
  }
}

function treeOf(database: Database) {
  using page = database.prepare<{ position: number; hash: Uint8Array }, [number, number]>(
    readLeaves,
  );
  let frontier = emptyFrontier;
  for (;;) {
    const leaves = page.all(frontier.size, limits.scan_rows_max);
    if (leaves.length === 0) return { size: frontier.size, log_root: rootOf(frontier).toHex() };
    const gap = leaves.findIndex(({ position }, at) => position !== frontier.size + at + 1);
    if (gap !== -1) {
      throw dataCorrupted("the log has a gap", { position: frontier.size + gap + 1 });
    }
    frontier = growFrontierBy(
      frontier,
      leaves.map(({ hash }) => hash),
    );
  }
}

export const readFacts = (directory: string): Facts => {
  const path = join(directory, databaseName);
  const database = connectReader(path, mainFormat)?.database;
  if (database === undefined) throw dataCorrupted(`there is no database in ${path}`, { path });
  try {
    return factsOf((sql) => readOne<Record<string, unknown>>(database, sql));
  } finally {
    database.close();
  }
};
