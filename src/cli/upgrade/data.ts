// Whether another version can open the database that is here. It would refuse a newer format
// instead of harming it, but then the database is down: so it is said before.

import { failedPrecondition } from "../../model/error.ts";
import { formatOnDisk } from "../../storage/sqlite/format.ts";
import type { Manifest } from "./checksums.ts";

export function requireReadable(
  data_dir: string,
  { tag, manifest }: { readonly tag: string; readonly manifest: Manifest | null },
): void {
  const format = formatOnDisk(data_dir);
  if (format === null) return;
  if (manifest === null) {
    throw failedPrecondition(
      `${tag} does not say which data directories it opens, as releases before 2.0 do not, and they ` +
        `open none of dbx 2; ${data_dir} is one, in format ${format}`,
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
