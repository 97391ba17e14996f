// A process that opens a store, says so through a file name the tracer sees, appends one event,
// says so again, and tells the outcome. It ends without closing, like a crash right after the
// answer.
//
//   bun fault-append.ts DIRECTORY inline|copier|both

import { existsSync } from "node:fs";
import { join } from "node:path";
import { DbxError } from "../../src/model/error.ts";
import { append, event, openWriting, threadsOf, transaction } from "./storage.ts";

const [directory = "", mode = "inline"] = process.argv.slice(2);
const key = { aggregate_type: "fault", aggregate_id: "one" };

const appendOne = (): Promise<string> =>
  append(storage, [transaction([event(key)])]).then(
    ({ outcomes }) => outcomes[0]?.kind ?? "nothing",
    (error: unknown) => (error instanceof DbxError ? error.code : String(error)),
  );

const storage = await openWriting(directory, { threads: threadsOf(mode) });
// Asking for a file that is not there is a system call like the others, so the trace shows the
// order.
existsSync(join(directory, "begin"));
const outcome = await appendOne();
existsSync(join(directory, "answer"));
const again = await appendOne();
process.stdout.write(JSON.stringify({ outcome, again }));
process.exit(0);
