// What an incremental backup needs of the one before it: hashes of its chunks and files. The rest
// of that backup is not looked at; whether it is whole shows when a chain is restored.

import { join } from "node:path";
import { readBackup } from "./read.ts";
import { createPlace } from "./unpack.ts";

export interface Base {
  readonly path: string;
  readonly id: string;
  /** Files that hold the hashes of a database's chunks, by its path in the backup. */
  readonly indexes: ReadonlyMap<string, string>;
  /** By path: hash, and whether it is executable. */
  readonly files: ReadonlyMap<string, string>;
}

export async function readBase(
  path: string,
  { passphrase, work }: { readonly passphrase: string | null; readonly work: string },
): Promise<Base> {
  const indexes = new Map<string, string>();
  const manifest = await readBackup(path, {
    ...{ passphrase, indexesOnly: true, read: () => undefined },
    placeOf: async ({ kind, path: of }) => {
      if (kind !== "index") return null;
      const file = join(work, `${indexes.size}.base`);
      indexes.set(of, file);
      return createPlace(file, { executable: false });
    },
  });
  const files = manifest.files.map(
    ({ path: name, sha256, executable }) => [name, `${sha256} ${executable}`] as const,
  );
  return { path, id: manifest.id, indexes, files: new Map(files) };
}
