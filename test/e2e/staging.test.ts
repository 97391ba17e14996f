// Staging as its users have it: queue, look, commit and discard by the command line, with the
// server running and with it stopped, and over REST.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, http, startForeground, type RunningServer } from "../support/cli.ts";
import { tempDir } from "../support/temp.ts";

const systemUser = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
const cli = { group: "cli", user: `cli:${systemUser}` };
const exact = '{"big":18446744073709551617,"long":0.1234567890123456789012345678901234567890}';
/** Pretty-printed JSON as one line; nothing in the values here has blanks. */
const squeezed = (text: string) => text.replace(/\s+/g, "");
/** Pretty-printed texts, one after the other, and the words behind them. */
function textsOf(stdout: string): { values: Record<string, unknown>[]; words: string } {
  const end = stdout.lastIndexOf("}\n") + 2;
  const texts = end === 1 ? [] : stdout.slice(0, end).split(/(?<=^\})\n/m);
  const values = texts.filter((text) => text !== "").map((text) => JSON.parse(text));
  return { values, words: stdout.slice(end === 1 ? 0 : end) };
}

for (const up of [true, false]) {
  describe(`with the server ${up ? "up" : "down"}`, () => {
    const dir = tempDir();
    const home = dir.path;
    let server: RunningServer | undefined;
    const run = (...args: string[]) => dbx(["aggregate", ...args], { home });
    const stage = (...args: string[]) => run("apply", "--stage", ...args);
    const path = join(home, ".eventdbx/staged_events.json");

    beforeAll(async () => {
      if (up) server = await startForeground({ home });
      else await run("create", "person", "p-0");
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    });

    test("an empty queue says so", async () => {
      const ran = async (...args: string[]) => (await run(...args)).stdout;
      expect(await ran("list", "--stage")).toBe("no staged events\n");
      expect(await ran("list", "--stage", "--json")).toBe("[]\n");
      expect(await ran("commit")).toBe("no staged events to commit\n");
      expect(await ran("commit", "--json")).toBe("[]\n");
      expect(await ran("discard", "--all")).toBe("no staged events\n");
    });

    test("an event is queued in the words of the README, and shown with what it will be", async () => {
      const words = ["--aggregate", "person", "--aggregate-id", "p-1", "--event", "added"];
      const plain = await stage(...words, "--field", "name=Jane Doe", "--note", "first");
      expect(plain).toEqual({ stdout: "event staged for later commit\n", stderr: "", code: 0 });
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const json = await stage("person", "p-1", "weighed", "--payload", exact, "--json");
      const staged = JSON.parse(json.stdout);
      expect(Object.keys(staged)).toEqual([
        ...["aggregate_type", "aggregate_id", "event_type", "payload", "note", "event_id"],
        ...["expected_version", "issued_by", "staged_at"],
      ]);
      expect(staged).toMatchObject({ expected_version: "any", issued_by: cli, note: null });
      expect(squeezed(json.stdout)).toContain(`"payload":${exact}`);

      const listed = await run("list", "--stage");
      const { values, words: end } = textsOf(listed.stdout);
      expect(values).toMatchObject([{ event_type: "added", note: "first" }, staged]);
      expect(end).toBe("");
      expect(squeezed(listed.stdout)).toContain(`"payload":${exact}`);
      const array = await run("list", "--stage", "--json");
      expect(JSON.parse(array.stdout)).toEqual(values);
      expect((await run("get", "person", "p-1")).code).toBe(3);
    });

    test("what would be refused is refused at once", async () => {
      const late = await stage("person", "p-1", "added", "--field", "a=b", "--expected-version=0");
      expect(late.stderr).toContain("person/p-1 is at version 2, expected 0 (version_conflict)");
      expect({ stdout: late.stdout, code: late.code }).toEqual({ stdout: "", code: 4 });
    });

    test("a commit prints the records, exact, and how many they are", async () => {
      const { stdout, stderr, code } = await run("commit");
      const { values, words } = textsOf(stdout);
      expect(values).toMatchObject([
        { event_type: "added", version: 1, metadata: { issued_by: cli, note: "first" } },
        { event_type: "weighed", version: 2 },
      ]);
      expect(squeezed(stdout)).toContain(`"payload":${exact}`);
      expect(words).toBe("committed 2 event(s)\n");
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      expect((await run("list", "--stage")).stdout).toBe("no staged events\n");
      await stage("person", "p-2", "added", "--payload", "1");
      expect(JSON.parse((await run("commit", "--json")).stdout)).toMatchObject([{ payload: 1 }]);
      expect((await run("verify", "--all")).code).toBe(0);
    });

    test("a refused commit names the event, which can then be discarded", async () => {
      const event_id = "45C3013E-9B95-4ED0-9AF9-1A465F81D3CF";
      const lower = event_id.toLowerCase();
      await stage("person", "p-3", "added", "--payload", "1");
      const wanted = ["--expected-version", "no_stream", "--event-id", event_id];
      await stage("person", "p-4", "added", "--payload", "2", ...wanted);
      await run("apply", "person", "p-4", "added", "--payload", "3");
      const refused = await run("commit");
      expect(refused.stderr).toStartWith(
        `error: staged event 1 (person/p-4 added, id ${lower}): person/p-4 is at version 1`,
      );
      expect({ stdout: refused.stdout, code: refused.code }).toEqual({ stdout: "", code: 4 });
      const discarded = await run("discard", "--event-id", event_id);
      const { values, words } = textsOf(discarded.stdout);
      expect(values).toMatchObject([{ event_id: lower, aggregate_id: "p-4" }]);
      expect(words).toBe("discarded 1 event(s)\n");
      expect((await run("discard", "--event-id", event_id)).code).toBe(3);
      const rest = JSON.parse((await run("discard", "--all", "--json")).stdout);
      expect(rest).toMatchObject([{ aggregate_id: "p-3" }]);
      for (const flags of [[], ["--all", "--event-id", event_id]]) {
        const wrong = await run("discard", ...flags);
        expect(wrong.stderr).toStartWith("error: give either --event-id or --all");
        expect(wrong.code).toBe(2);
      }
    });

    test("a file of EventDBX 1 is committed with its actors", async () => {
      const issued_by = { group: "cli", user: "cli:joe" };
      const entry = { aggregate: "person", aggregate_id: "p-5", event: "added", issued_by };
      writeFileSync(path, JSON.stringify([entry], null, 2));
      const [record] = JSON.parse((await run("commit", "--json")).stdout);
      expect(record).toMatchObject({ payload: null, metadata: { issued_by } });
    });
  });
}

test("REST stages and commits, each token for itself, and the one that commits pays", async () => {
  using dir = tempDir();
  const home = dir.path;
  await using server = await startForeground({ home });
  const tokenOf = async (...flags: string[]) => {
    const args = ["token", "generate", "--json", ...flags];
    return JSON.parse((await dbx(args, { home })).stdout).token as string;
  };
  const nurse = await tokenOf("--group", "nurse", "--user", "jane");
  const clerk = await tokenOf("--group", "clerk", "--user", "joe", "--limit", "1");
  const ask = (path: string, token: string, body?: string) =>
    http(server.port, `/v1/staged${path}`, { token, ...(body === undefined ? {} : { body }) });
  const event = (n: number) =>
    `{"aggregate_type":"person","aggregate_id":"p-${n}","event_type":"added","payload":{"n":${n}.10000000000000000000001}}`;

  for (const n of [1, 2]) expect((await ask("", nurse, event(n))).status).toBe(201);
  expect((await ask("", "EVT-none")).status).toBe(401);
  expect((await ask("/commit", clerk, "{}")).status).toBe(403);
  const listed = JSON.parse((await ask("", clerk)).text);
  expect(listed).toHaveLength(2);
  const { event_id } = listed[0];
  expect((await ask("/discard", nurse, JSON.stringify({ event_id }))).status).toBe(200);
  const committed = await ask("/commit", clerk, "{}");
  expect(committed.status).toBe(200);
  expect(committed.text).toContain('"payload":{"n":2.10000000000000000000001}');
  expect(JSON.parse(committed.text)[0].metadata).toMatchObject({
    event_id: listed[1].event_id,
    issued_by: { group: "nurse", user: "jane" },
  });
  expect((await ask("", clerk)).text).toBe("[]");
}, 30_000);
