// dbx with a process plugin, in a process that can be killed. It appends batches and prints each
// record once it is acknowledged. In: data directory, the appender's file.

import { call } from "../../src/api/call.ts";
import { openStore, root } from "../support/store.ts";

const [data_dir = "", path = ""] = process.argv.slice(2);
const store = await openStore(data_dir, { plugins: true, env: process.env });
const ask = (operation: Parameters<typeof call>[1]["operation"], input: object) =>
  call(store.dbx, { operation, input, actor: root });
const config = {
  ...{ type: "process", name: "search", version: "1.0.0", args: [path], env: {} },
  working_dir: null,
};
await ask("putPlugin", { name: "finder", config });

let running = true;
process.on("SIGTERM", () => (running = false));
for (let at = 0; running; at++) {
  const events = Array.from({ length: 1 + (at % 7) }, (_, index) => ({
    aggregate_type: "patient",
    aggregate_id: `p-${(at + index) % 5}`,
    event_type: "patient-updated",
    payload: JSON.stringify({ at, index, text: "x".repeat((at * 37) % 2_000) }),
  }));
  for (const record of (await ask("appendEvents", { events })) as object[]) {
    process.stdout.write(`${JSON.stringify(record)}\n`);
  }
}
await store.close();
