// A process that opens a store, appends one event, closes, and tells the outcome of each and
// whether the lock is free: for closing on a disk that is full.
//
//   bun fault-close.ts DIRECTORY inline|copier|both

import { canonicalOf } from "../../src/model/canonical.ts";
import { isLocked } from "../../src/storage/sqlite/lock.ts";
import { append, event, openWriting, threadsOf, transaction } from "./storage.ts";

const [directory = "", mode = "inline"] = process.argv.slice(2);

const storage = await openWriting(directory, { threads: threadsOf(mode) });
// Large enough for pages of its own, at the end of the file.
const payload = canonicalOf("x".repeat(100_000));
const last = event({ aggregate_type: "fault", aggregate_id: "last" }, { payload });
const { outcomes } = await append(storage, [transaction([last])]);
const closed = await storage.close().then(
  () => "closed",
  (error: unknown) => String(error),
);
process.stdout.write(
  JSON.stringify({ outcome: outcomes[0]?.kind, closed, locked: isLocked(directory) }),
);
process.exit(0);
