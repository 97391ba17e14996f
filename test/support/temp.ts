// A directory of the test's own, removed when its scope ends: `using dir = tempDir();`

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TempDir extends Disposable {
  readonly path: string;
}

export function tempDir(parent: string = tmpdir()): TempDir {
  const path = mkdtempSync(join(parent, "dbx-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
