// Process plugins as they read it: by the layout tables alone, in another language, and by the tool
// of Cap'n Proto itself.

import { describe, expect, test } from "bun:test";
import { chmodSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { encodePluginEvent, encodePluginInit } from "../../src/wire/plugin.ts";
import { tempDir } from "../support/temp.ts";
import { deliverAll, emissionOf, emissionsOf, never, python, startHarness } from "./processes.ts";

const withoutPython = python === null;
const withoutCapnp = Bun.which("capnp") === null;
const hex = (bytes: Uint8Array) =>
  Buffer.from(bytes)
    .toString("hex")
    .replace(/(.{16})(?=.)/g, "$1 ");

describe("the messages", () => {
  test("begin with an init of exactly these bytes", () => {
    const identity = { name: "dbx_search", version: "1.0.0", target: "linux-x86_64" };
    expect(hex(encodePluginInit(identity))).toBe(
      "000000000b000000 0000000001000100 0000000000000000 0000000000000300 " +
        "090000005a000000 0d00000032000000 0d0000006a000000 6462785f73656172 " +
        "6368000000000000 312e302e30000000 6c696e75782d7838 365f363400000000",
    );
  });

  test("have one segment, also where they are large", async () => {
    const big = canonicalize(JSON.stringify({ text: "x".repeat(3_000_000) }));
    const { record, sequence } = emissionOf(1);
    const bytes = encodePluginEvent({
      ...{
        record: { ...record, payload: big },
        sequence,
        state: big,
        archived: true,
        schema: "{}",
      },
    });
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect(view.getUint32(0, true)).toBe(0);
    expect(8 + 8 * view.getUint32(4, true)).toBe(bytes.length);
  });

  test.skipIf(withoutCapnp)("are read by the tool, by the schema [needs capnp]", async () => {
    const { record, sequence } = emissionOf(7);
    const state = canonicalize('{"a":"é😀","b":{"x":[1,2]},"c":""}');
    const event = encodePluginEvent({ record, sequence, state, archived: true, schema: null });
    const init = encodePluginInit({ name: "n", version: "1", target: "t" });
    const child = Bun.spawn(
      ["capnp", "decode", "--short", "capnp/plugin.capnp", "PluginEnvelope"],
      {
        cwd: root,
        stdin: new Blob([Buffer.concat([init, event])]),
        stdout: "pipe",
        stderr: "inherit",
      },
    );
    const [first, second] = (await child.stdout.text()).split("\n");
    expect(first).toBe('(message = (init = (pluginName = "n", version = "1", target = "t")))');
    for (const part of [
      'event = (sequence = 7, aggregateType = "patient", aggregateId = "p-1"',
      "createdAtEpochMicros = 1733073763512345",
      'payloadJson = "{\\"n\\":7}"',
      "stateVersion = 3, stateArchived = true",
      '(key = "a", value = "é😀"), (key = "b", value = "{\\"x\\":[1,2]}"), (key = "c", value = "")',
      'schemaJson = ""',
    ]) {
      expect(second).toContain(part);
    }
  });
});

const states = [
  "{}",
  '{"":"empty","a":"é😀\\n\\"","b":{"x":[1,2.50e3]},"n":"9007199254740993","z":[]}',
  '{"\ue000":"later in UTF-16","😀":"earlier there"}',
];

test.skipIf(withoutPython)(
  "a plugin in another language sees each event as it was recorded [needs python3]",
  async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["plain"], {
      config: { env: { SEARCH_CLUSTER: "https://example.com" } },
    });
    const emissions = states.flatMap((state, at) => [
      emissionOf(3 * at, { state: canonicalize(state), archived: at === 1 }),
      emissionOf(3 * at + 1, { payload: "text\u0000with é😀", schema: '{"type":"object"}' }),
      emissionOf(3 * at + 2, {
        record: {
          aggregate_type: "日本",
          payload: canonicalize("123456789012345678901234567890.5"),
          metadata: {
            event_id: "00000000-0000-7000-8000-0000000000ff",
            created_at: "1969-12-31T23:59:59.999999Z",
            issued_by: null,
            note: "a note",
          },
        },
      }),
    ]);
    expect(await deliverAll(run.emitter, emissions)).toEqual([]);
    await run.until(() => run.sequences().length === emissions.length);
    await run.emitter.close();

    const [started, init, ...rest] = run.lines();
    expect(init).toEqual({
      init: { pluginName: "search", version: "1.0.0", target: run.target, transport: null },
    });
    expect(started?.cwd).toBe(realpathSync(run.install_dir));
    const { LC_CTYPE: _, ...env } = started?.env ?? {};
    const usual = ["HOME", "LANG", "PATH", "TMPDIR", "TZ"].filter(
      (name) => process.env[name] !== undefined,
    );
    expect(Object.keys(env).sort()).toEqual([...usual, "SEARCH_CLUSTER"].sort());
    expect(rest.pop()).toEqual({ ended: true });
    const expected = await Promise.all(
      emissions.map(async ({ record, sequence, state, schema }) => {
        const read = await state();
        const { event_id, created_at } = record.metadata;
        const members = Object.entries(JSON.parse(read.state) as Record<string, unknown>);
        return {
          event: {
            sequence,
            ...{ aggregateType: record.aggregate_type, aggregateId: record.aggregate_id },
            ...{ eventType: record.event_type, eventVersion: record.version, eventId: event_id },
            createdAtEpochMicros: created_at.startsWith("1969") ? -1 : 1_733_073_763_512_345,
            payloadJson: record.payload,
            metadataJson: JSON.stringify(record.metadata),
            ...{ hash: record.hash, merkleRoot: record.merkle_root },
            ...{ stateVersion: record.version, stateArchived: read.archived },
            stateMerkleRoot: record.merkle_root,
            stateEntries: members
              .map(([key, value]) => [
                key,
                typeof value === "string" ? value : JSON.stringify(value).replace("2500", "2500"),
              ])
              .sort(([a = ""], [b = ""]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
            schemaJson: schema() ?? "",
            extensionsJson: null,
          },
        };
      }),
    );
    expect(rest as unknown[]).toEqual(expected);
  },
);

test.skipIf(withoutPython)(
  "thousands of events and large ones arrive in order, in one process [needs python3]",
  async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["plain"]);
    const emissions = [
      ...emissionsOf(0, 2_000),
      ...emissionsOf(2_000, 3, { payload: { text: "y".repeat(4_000_000) } }),
      ...emissionsOf(2_003, 500),
    ];
    const began = performance.now();
    expect(await deliverAll(run.emitter, emissions)).toEqual([]);
    await run.until(() => run.sequences().length >= emissions.length);
    const ms = performance.now() - began;
    process.stdout.write(`${emissions.length} events in ${ms.toFixed(0)} ms\n`);
    expect(run.sequences()).toEqual(emissions.map(({ sequence }) => sequence));
    expect(run.starts()).toBe(1);
  },
);

test.skipIf(withoutPython || process.platform !== "linux")(
  "a process has three descriptors, and no other of dbx's [needs python3 and Linux]",
  async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, ["plain"]);
    run.emitter.start?.();
    await run.until(() => run.starts() === 1);
    const fds = run.lines()[0]?.fds ?? [];
    // Its own file besides.
    expect(fds).toEqual(["0", "1", "2", "3"]);
  },
);

describe("an event that is too large for the stream", () => {
  test.skipIf(withoutPython)(
    "fails alone, and those before it arrive [needs python3]",
    async () => {
      using dir = tempDir();
      await using run = await startHarness(dir.path, ["plain"]);
      const huge = canonicalize(
        JSON.stringify({ text: "z".repeat(limits.plugin_message_bytes_max) }),
      );
      const answer = await run.emitter.deliver(
        [emissionOf(1), emissionOf(2, { state: huge }), emissionOf(3)],
        never,
      );
      expect(answer.delivered).toBe(1);
      expect(answer.fault).toMatchObject({ reached: true });
      expect(answer.fault?.message).toContain("is larger than 67108864 bytes");
      expect(await deliverAll(run.emitter, [emissionOf(4)])).toEqual([]);
      await run.until(() => run.sequences().length === 2);
      expect(run.sequences()).toEqual([1, 4]);
    },
  );
});

describe("whether deliveries can be expected", () => {
  const program = "#!/bin/sh\nexec cat >/dev/null\n";
  const refusal = (run: { emitter: { check: (signal: AbortSignal) => Promise<void> } }) =>
    run.emitter.check(never).then(
      () => null,
      (error: Error) => error.message,
    );

  test("is so where the program is installed and may be run", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, [], { program });
    expect(await refusal(run)).toBe(null);
    expect(run.log()).toBe("");
  });

  test("is not so where it is not installed", async () => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, [], { program, config: { version: "9.9.9" } });
    expect(await refusal(run)).toBe(
      `plugin 'search' version 9.9.9 is not installed for target ${run.target}; ` +
        "run `dbx plugin install` first",
    );
    const answer = await run.emitter.deliver([emissionOf(1)], never);
    expect(answer).toMatchObject({ delivered: 0, fault: { reached: false } });
    expect(answer.fault?.message).toContain("is not installed");
  });

  const modes: [number, string, RegExp][] = [
    [0o644, "search", /search is not executable/],
    [0o757, "search", /can be written by everybody/],
    [0o757, ".", /can be written by everybody/],
  ];
  test.each(modes)("is not so with mode %o of %s", async (mode, name, message) => {
    using dir = tempDir();
    await using run = await startHarness(dir.path, [], { program });
    chmodSync(join(run.install_dir, name), mode);
    expect(await refusal(run)).toMatch(message);
  });

  test("is not so where its working directory is missing", async () => {
    using dir = tempDir();
    const config = { working_dir: join(dir.path, "missing") };
    await using run = await startHarness(dir.path, [], { program, config });
    expect(await refusal(run)).toContain("missing cannot be looked at (ENOENT)");
  });
});
