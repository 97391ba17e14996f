// Delivers events to a process plugin until it is ended, as a server does; prints after each step
// how many have been delivered. In: data directory, the appender's file, the first event's number.

import { silentLog } from "../../src/log.ts";
import { createProcessEmitter } from "../../src/plugins/emitters/process.ts";
import { emissionsOf, never, quick } from "./processes.ts";

const [data_dir = "", path = "", from = "0"] = process.argv.slice(2);
const emitter = createProcessEmitter(
  {
    ...{ type: "process", name: "search", version: "1.0.0", args: [path], env: {} },
    working_dir: null,
  },
  { label: "finder", data_dir, env: process.env, log: silentLog },
  quick,
);
let running = true;
process.on("SIGTERM", () => (running = false));
for (let at = Number(from); running;) {
  const { delivered } = await emitter.deliver(emissionsOf(at, 50), never);
  at += delivered;
  process.stdout.write(`${at}\n`);
}
await emitter.close();
