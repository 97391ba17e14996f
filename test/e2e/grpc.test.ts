// gRPC as strangers use it: an unmodified client in Node and grpcurl, against dbx as it runs from
// the checkout and as one compiled file, over the port that it shares with HTTP.

import { describe, expect, test } from "bun:test";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../scripts/root.ts";
import { compiledDbx, compiledEnvironment } from "../support/compiled.ts";
import { dbx, readPid, startForeground } from "../support/cli.ts";
import { protoPath, type Loose } from "../support/grpc.ts";
import { blocksOf } from "../support/readme.ts";
import { tempDir } from "../support/temp.ts";

async function tokenOf(home: string): Promise<string> {
  const args = ["token", "generate", "--group", "admin", "--user", "jane", "--json"];
  const { stdout, stderr } = await dbx(args, { home });
  const token = /EVT-[\w-]+/.exec(stdout)?.[0];
  if (token === undefined) throw new Error(`no token in ${stdout}${stderr}`);
  return token;
}

async function outputOf(command: string[], cwd = root): Promise<string> {
  const child = Bun.spawn(command, { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(stderr);
  return stdout;
}

const askFromNode = async (port: number, token: string): Promise<Loose> =>
  JSON.parse(
    await outputOf([
      ...["node", join(root, "test/support/grpc-client.mjs")],
      ...[`127.0.0.1:${port}`, token, protoPath("dbx")],
    ]),
  );

function expectServed(answers: Loose): void {
  const payload = '{"exact":1234567890123456789.50,"number":0}';
  expect(answers).toMatchObject({
    health: { status: "ok" },
    event: {
      version: "1",
      position: "1",
      payload_json: payload,
      metadata: { issued_by: { user: "jane" } },
    },
    batch: 2,
    acknowledged: { acknowledged: "997", position: "1000" },
    refused: { code: 10, details: "node/n-1 is at version 1000, expected 7" },
    aggregate: { version: "1000", state: { exact: "1234567890123456789.50", number: "999" } },
    ...{ ordered: true, listed: 1, page: ["1", "2"], log: ["999", "1000"] },
  });
  expect(answers.verified).toEqual({
    ...{ merkle_root: answers.aggregate.merkle_root, version: "1000", erased: "0" },
  });
}

const withoutNode = Bun.which("node") === null;
const withoutGrpcurl = Bun.which("grpcurl") === null;

describe("an unmodified client of grpc-js in Node", () => {
  test.skipIf(withoutNode)(
    "uses every call of a running dbx [needs node]",
    async () => {
      using dir = tempDir();
      await using server = await startForeground({ home: dir.path });
      expectServed(await askFromNode(server.port, await tokenOf(dir.path)));
    },
    60_000,
  );

  test.skipIf(withoutNode)(
    "uses every call of the compiled file, away from its checkout [needs node]",
    async () => {
      using dir = tempDir();
      const file = join(dir.path, "dbx-elsewhere");
      copyFileSync(await compiledDbx(), file);
      const child = Bun.spawn([file, "start", "--foreground", "--port", "0"], {
        ...{ cwd: dir.path, env: compiledEnvironment(dir.path), stdin: "ignore" },
        ...{ stdout: "ignore", stderr: "pipe" },
      });
      try {
        let log = "";
        for await (const chunk of child.stderr) {
          log += new TextDecoder().decode(chunk);
          if (log.includes(" info ready ")) break;
        }
        expectServed(await askFromNode(readPid(dir.path).port, await tokenOf(dir.path)));
      } finally {
        child.kill("SIGKILL");
        await child.exited;
      }
    },
    120_000,
  );
});

describe("grpcurl", () => {
  test.skipIf(withoutGrpcurl)(
    "appends as the README says, lists services and describes them [needs grpcurl]",
    async () => {
      using dir = tempDir();
      await using server = await startForeground({ home: dir.path });
      const address = `127.0.0.1:${server.port}`;
      const plain = async (...args: string[]) => outputOf(["grpcurl", ...args]);
      const block = blocksOf(readFileSync(join(root, "README.md"), "utf8")).find(({ text }) =>
        text.startsWith("grpcurl "),
      );
      const line = String(block?.text).replace("127.0.0.1:7070", address);
      const token = await tokenOf(dir.path);
      const appended = await outputOf(["sh", "-c", line.replace("$EVENTDBX_TOKEN", token)]);
      expect(JSON.parse(appended).event).toMatchObject({
        ...{ aggregate_type: "patient", aggregate_id: "p-001", event_type: "patient-updated" },
        ...{ payload_json: '{"status":"inactive"}', position: "1" },
      });
      expect(await plain("-plaintext", address, "list")).toContain("eventdbx.api.EventService\n");
      expect(await plain("-plaintext", address, "describe", "dbx.api.Aggregate")).toContain(
        "map<string, string> state = 4;",
      );
      const health = await plain("-plaintext", address, "grpc.health.v1.Health/Check");
      expect(JSON.parse(health)).toEqual({ status: "SERVING" });
    },
    60_000,
  );
});
