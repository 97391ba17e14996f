// The schemas in capnp/, the code made from them and the messages of both, held against the tool of
// Cap'n Proto itself.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generate, generatedPath, schemas } from "../../scripts/capnp.ts";
import { root } from "../../scripts/root.ts";
import { limits } from "../../src/model/limits.ts";
import { decodeCommand, encodeResult } from "../../src/wire/control.ts";
import { encodeRequest, frameOf } from "../support/capnp.ts";

const withoutCapnp = Bun.which("capnp") === null || Bun.which("capnpc") === null;

async function capnp(args: readonly string[], stdin: Uint8Array): Promise<Uint8Array> {
  const child = Bun.spawn(["capnp", ...args], {
    ...{ cwd: root, stdin: new Blob([new Uint8Array(stdin)]), stdout: "pipe", stderr: "pipe" },
  });
  const [stdout, stderr] = await Promise.all([child.stdout.bytes(), child.stderr.text()]);
  expect([await child.exited, stderr]).toEqual([0, ""]);
  return stdout;
}

const bounds = {
  words_max: limits.socket_request_bytes_max / 8,
  pointers_max: limits.capnp_pointers_max,
  depth_max: limits.capnp_depth_max,
  args_max: limits.socket_args_max,
};
const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const schema = "capnp/control.capnp";

describe("the schema of the control socket", () => {
  test.skipIf(withoutCapnp).each(schemas.map((name) => [name]))(
    "%s: its code is what the compiler makes of it [needs capnp]",
    async (name) => {
      const kept = readFileSync(join(root, generatedPath(name)), "utf8");
      // Otherwise: node_modules/.bin/bun scripts/capnp.ts
      expect(await generate(name)).toBe(kept);
    },
  );

  test.skipIf(withoutCapnp)(
    "requests that the tool writes are read, in one segment and in many [needs capnp]",
    async () => {
      const args = ["aggregate", "é😀", "", "x".repeat(5_000)];
      const text = `(args = ${JSON.stringify(args)}, token = "EVT-1")`;
      for (const flags of [[], ["--segment-size=1"], ["--segment-size=7"]]) {
        const bytes = await capnp(
          ["encode", ...flags, schema, "CliRequest"],
          new TextEncoder().encode(text),
        );
        const frame = frameOf(bytes);
        expect(frame.segments.length > 1).toBe(flags.length > 0);
        expect(decodeCommand(frame, bounds)).toEqual({ args, token: "EVT-1" });
      }
    },
  );

  test.skipIf(withoutCapnp)(
    "answers and requests that dbx writes are read by the tool [needs capnp]",
    async () => {
      const answer = encodeResult({ exit: -7, stdout: "é\n", stderr: "x".repeat(9_000) });
      const told = textOf(await capnp(["decode", "--short", schema, "CliResponse"], answer));
      expect(told).toBe(`(exitCode = -7, stdout = "é\\n", stderr = "${"x".repeat(9_000)}")\n`);
      const request = encodeRequest(["ls", "--json"], "t");
      expect(textOf(await capnp(["decode", "--short", schema, "CliRequest"], request))).toBe(
        '(args = ["ls", "--json"], token = "t")\n',
      );
    },
  );
});
