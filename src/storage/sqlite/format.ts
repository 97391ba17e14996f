// Which format a data directory is in, for whoever must know before any dbx opens it.

import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { formatOf } from "./connect.ts";
import { translated } from "./failure.ts";

/** Null where there is no database. Changes nothing, and works beside a server. */
export function formatOnDisk(directory: string): number | null {
  const path = join(directory, "dbx.db");
  if (!existsSync(path)) return null;
  return translated(`look at ${path}`, () => {
    using database = new Database(path, { readonly: true });
    return formatOf(database);
  });
}
