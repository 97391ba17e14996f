// The secret by which this machine's command line is known to a running server: whoever can read
// the file may do everything, as he could with the data directory itself.

import { join } from "node:path";
import { failedPrecondition } from "../model/error.ts";
import { readDocument, replaceDocument } from "../storage/documents.ts";

const keyBytes = 32;

/** The 32 bytes of `<data_dir>/machine.key`, or null where there is no such file. */
export async function readMachineKey(data_dir: string): Promise<Uint8Array | null> {
  const path = join(data_dir, "machine.key");
  const text = await readDocument(path);
  if (text === null) return null;
  if (/^[0-9a-f]{64}\n?$/.test(text)) return Uint8Array.fromHex(text.trim());
  throw failedPrecondition(
    `${path} does not hold ${keyBytes} bytes in hex; delete it and start dbx again`,
    { path },
  );
}

/** As `readMachineKey`, but makes the file (mode 0600) where it is missing. */
export async function ensureMachineKey(
  data_dir: string,
  random: (bytes: number) => Uint8Array,
): Promise<Uint8Array> {
  const known = await readMachineKey(data_dir);
  if (known !== null) return known;
  const key = random(keyBytes);
  await replaceDocument(join(data_dir, "machine.key"), `${key.toHex()}\n`, { mode: 0o600 });
  return key;
}
