// One install in a process of its own, for tests that kill it or give it an environment. In: one
// JSON argument. Out: the record, or the error's code and message.

import { installBundle } from "../../src/plugins/install.ts";
import { takeLock } from "../../src/storage/sqlite/lock.ts";
import { realSystem } from "../../src/system.ts";

const { data_dir, ...request } = JSON.parse(process.argv[2] ?? "{}");
const outcome = await installBundle(
  {
    name: "search",
    version: "1.0.0",
    bin: undefined,
    checksum: undefined,
    force: false,
    ...request,
  },
  {
    data_dir,
    now: realSystem.now,
    lock: (directory) => takeLock({ directory, lock_wait_ms: 5_000 }),
    progress: () => {},
    idle_ms_max: 30_000,
    signal: new AbortController().signal,
  },
).catch(({ code, message }) => ({ code, message }));
process.stdout.write(JSON.stringify(outcome));
