// What is kept for the next process: never less than a socket can hold, and little more.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { limits } from "../../src/model/limits.ts";
import { silentLog } from "../../src/log.ts";
import { createBacklog, unreadBytes } from "../../src/plugins/emitters/process-backlog.ts";
import { startChild } from "../../src/plugins/emitters/process-child.ts";
import { emissionOf } from "./processes.ts";

const { record } = emissionOf(1);
const message = (sequence: number, size: number) => ({
  ...{ bytes: new Uint8Array(size), sequence, record },
});

describe("the backlog", () => {
  test("holds the last messages: enough for the socket, and one more at most", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 1_000 }), (all, unread_bytes) => {
        const backlog = createBacklog({ unread_bytes, resends_max: 3 });
        all.forEach((size, sequence) => backlog.add([message(sequence, size)]));
        const kept = backlog.all().map(({ sequence }) => sequence);
        // They are the last ones, without gaps.
        expect(kept).toEqual(all.map((_, at) => at).slice(-kept.length));
        const bytes = (from: number) => all.slice(from).reduce((sum, size) => sum + size, 0);
        const first = kept[0] ?? all.length;
        if (first > 0) expect(bytes(first)).toBeGreaterThanOrEqual(unread_bytes);
        expect(bytes(first + 1)).toBeLessThan(unread_bytes);
      }),
    );
  });

  test("lets go of what a process survived, and of what so many ended with", () => {
    const backlog = createBacklog({ unread_bytes: 1_000, resends_max: 3 });
    backlog.add([1, 2, 3].map((sequence) => message(sequence, 10)));
    const [first, second, third] = backlog.all();
    backlog.survived(first!);
    expect([backlog.failed(second!), backlog.failed(second!)]).toEqual([false, false]);
    expect(backlog.all()).toEqual([second!, third!]);
    expect(backlog.failed(second!)).toBe(true);
    expect(backlog.all()).toEqual([third!]);
  });
});

test.skipIf(process.platform !== "linux")("sockets that hold more are known [needs Linux]", () => {
  const held = Number(readFileSync("/proc/sys/net/core/wmem_default", "utf8"));
  expect(unreadBytes({ ...limits, plugin_process_unread_bytes: 1 })).toBe(2 * held);
  expect(unreadBytes({ ...limits, plugin_process_unread_bytes: 1e9 })).toBe(
    limits.plugin_process_unread_bytes_max,
  );
});

test.each([1, 100, 4_096, 65_536])(
  "a process that reads nothing is handed less than is kept, in pieces of %i bytes",
  async (size) => {
    const child = startChild(
      { path: "/bin/sleep", args: ["600"], env: {}, cwd: "/" },
      { log: silentLog, plugin: "deaf", bounds: { ...limits, plugin_process_stall_ms: 300 } },
    );
    const piece = new Uint8Array(size);
    const { signal } = new AbortController();
    let taken = 0;
    while ((await child.write(piece, signal)) === "done") taken += size;
    await child.kill();
    process.stdout.write(`pieces of ${size} bytes: ${taken} bytes\n`);
    expect(taken).toBeGreaterThan(0);
    expect(taken + size).toBeLessThan(unreadBytes(limits));
  },
);
