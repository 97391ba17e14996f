// The cursor of a list: the key of the last row, so that the next page starts right behind it
// whatever was added before. Opaque to clients; base64url of a JSON pair.

import { invalidArgument } from "../model/error.ts";
import type { StreamKey } from "../model/stream.ts";

export const writeCursor = (key: StreamKey): string =>
  Buffer.from(JSON.stringify([key.aggregate_type, key.aggregate_id])).toString("base64url");

/** Throws `invalid_argument` for anything that `writeCursor` did not make. */
export function readCursor(cursor: string): StreamKey {
  let pair: unknown;
  try {
    pair = JSON.parse(Buffer.from(cursor, "base64url").toString());
  } catch {
    // The next check refuses what is no JSON as well.
  }
  const [aggregate_type, aggregate_id]: unknown[] =
    Array.isArray(pair) && pair.length === 2 ? pair : [];
  if (typeof aggregate_type !== "string" || typeof aggregate_id !== "string") {
    throw invalidArgument("cursor is not one that dbx gave out", { path: "/cursor" });
  }
  return { aggregate_type, aggregate_id };
}
