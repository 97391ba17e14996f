// Whether another version can open the database that is here. It would refuse a newer format
// instead of harming it, but then the database is down: so it is said before.

import { failedPrecondition } from "../../model/error.ts";
import { formatOnDisk } from "../../storage/sqlite/format.ts";
import type { Manifest } from "./checksums.ts";
import { isOlder } from "./tag.ts";

/** In: the version that is to be, and the one that is. */
export function requireReadable(
  data_dir: string,
  to: {
    readonly tag: string;
    readonly version: string;
    readonly from: string;
    readonly manifest: Manifest | null;
  },
): void {
  const { tag, version, from, manifest } = to;
  const format = formatOnDisk(data_dir);
  if (format === null) return;
  if (manifest === null) {
    // Every later version opens the directories of all before it.
    if (!isOlder(version, from)) return;
    throw failedPrecondition(
      `${tag} does not say which data directories it opens, and releases before 2.0 open none of ` +
        `dbx 2; ${data_dir} is one, in format ${format}`,
      { tag, data_dir, format },
    );
  }
  const { data_format: known } = manifest;
  if (known >= format) return;
  throw failedPrecondition(
    `${tag} knows data directories up to format ${known}, and ${data_dir} is in format ${format}; ` +
      "restore a backup that was made with that version into another directory instead",
    { tag, data_dir, format, known },
  );
}
