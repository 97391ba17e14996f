// The quick start of the README, with the server running and with it stopped: start, token, append
// by command line and by HTTP, read back, verify.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { tempDir } from "../support/temp.ts";
import { dbx, http, startForeground, type RunningServer } from "../support/cli.ts";

const exact =
  '{"big":18446744073709551617,"long":0.1234567890123456789012345678901234567890,"list":[9007199254740993]}';
const exactCanonical =
  '{"big":18446744073709551617,"list":[9007199254740993],"long":0.1234567890123456789012345678901234567890}';
/** Who runs this, by the user database; the environment of `dbx` here claims to be `tester`. */
const systemUser = Bun.spawnSync(["id", "-un"]).stdout.toString().trim();
/** Pretty-printed JSON as one line; nothing in the values here has blanks. */
const squeezed = (text: string) => text.replace(/\s+/g, "");

for (const up of [true, false]) {
  describe(`with the server ${up ? "up" : "down"}`, () => {
    const dir = tempDir();
    const home = dir.path;
    let server: RunningServer | undefined;
    const run = (args: readonly string[], env = {}) => dbx(args, { home, env });

    beforeAll(async () => {
      if (up) server = await startForeground({ home });
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    });

    test("an event goes in by words and fields, and the record comes out", async () => {
      const { stdout, stderr, code } = await run([
        ...["aggregate", "apply", "person", "p-002", "patient-added"],
        ...["--field", "name=Jane Doe", "--field", "status=active", "--note", "first visit"],
      ]);
      const record = JSON.parse(stdout);
      expect(record).toMatchObject({
        aggregate_type: "person",
        aggregate_id: "p-002",
        event_type: "patient-added",
        payload: { name: "Jane Doe", status: "active" },
        metadata: { issued_by: { group: "cli", user: `cli:${systemUser}` }, note: "first visit" },
        version: 1,
        position: 1,
      });
      expect(record.metadata.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
      expect(Object.keys(record.metadata)).toEqual(["event_id", "created_at", "issued_by", "note"]);
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    });

    test("flags say the same, and may be mixed with words", async () => {
      const ran = await run([
        ...["aggregate", "apply", "--aggregate", "person", "p-002", "--event", "patient-updated"],
        ...["--field", "status=inactive=yes"],
      ]);
      expect(JSON.parse(ran.stdout)).toMatchObject({
        aggregate_id: "p-002",
        event_type: "patient-updated",
        payload: { status: "inactive=yes" },
        version: 2,
      });
    });

    test("long numbers come back as they were written", async () => {
      const key = ["measure", "m 1/ä"];
      const put = await run(["aggregate", "apply", ...key, "measured", "--payload", exact]);
      expect(squeezed(put.stdout)).toContain(`"payload":${exactCanonical}`);
      const replayed = await run(["aggregate", "replay", ...key, "--json"]);
      expect(squeezed(replayed.stdout)).toContain(`"payload":${exactCanonical}`);
      const got = await run(["aggregate", "get", ...key]);
      expect(squeezed(got.stdout)).toContain('"big":"18446744073709551617"');
      expect(squeezed(got.stdout)).toContain('"list":[9007199254740993]');
    });

    test("a payload may come from a file or from stdin", async () => {
      await Bun.write(`${home}/event.json`, '{ "from" : "file" }');
      const file = await run([
        "aggregate",
        "apply",
        "doc",
        "d1",
        "made",
        "--payload",
        "@event.json",
      ]);
      expect(JSON.parse(file.stdout).payload).toEqual({ from: "file" });
      const piped = await dbx(["aggregate", "apply", "doc", "d1", "made", "--payload", "-"], {
        home,
        stdin: '{"from":"stdin"}',
      });
      expect(JSON.parse(piped.stdout)).toMatchObject({ payload: { from: "stdin" }, version: 2 });
    });

    test("a token is issued, and what it may not do it may not do here either", async () => {
      const issued = await run([
        ...["token", "generate", "--group", "app", "--user", "jane", "--limit", "1", "--json"],
      ]);
      const { token, id } = JSON.parse(issued.stdout);
      expect(token).toMatch(/^EVT-[0-9a-f]{64}$/);
      const put = ["aggregate", "apply", "order", "o1", "placed", "--payload={}"];
      const first = await run(put, { EVENTDBX_TOKEN: token });
      expect(JSON.parse(first.stdout).metadata.issued_by).toEqual({ group: "app", user: "jane" });
      const second = await run([...put, "--token", token]);
      expect({ ...second, stderr: second.stderr.split("\n")[0] }).toEqual({
        stdout: "",
        stderr: expect.stringMatching(/^error: .*limit.* \(permission_denied\)$/),
        code: 5,
      });
      expect((await run(["token", "list"], { EVENTDBX_TOKEN: token })).code).toBe(5);
      const revoked = await run(["token", "revoke", id]);
      expect(revoked).toEqual({ stdout: `token ${id} revoked\n`, stderr: "", code: 0 });
      const third = await run(["aggregate", "list", "--token", token]);
      expect({ code: third.code, stdout: third.stdout }).toEqual({ code: 5, stdout: "" });
    });

    test("a list names every aggregate, a page at a time", async () => {
      const first = await run(["aggregate", "list", "--take", "2"]);
      expect(first.stdout).toMatch(
        /^aggregate_type=doc aggregate_id=d1 version=2 merkle_root=[0-9a-f]{64} archived=false\n/,
      );
      expect(first.stdout).toContain('aggregate_type=measure aggregate_id="m 1/ä" version=1 ');
      const cursor = /^more: --cursor (\S+)$/m.exec(first.stderr)?.[1] ?? "";
      const rest = await run(["aggregate", "list", "--cursor", cursor, "--json"]);
      const ids = JSON.parse(rest.stdout).map((one: { aggregate_id: string }) => one.aggregate_id);
      expect(ids).toEqual(["o1", "p-002"]);
      expect(rest.stderr).toBe("");
    });

    test("the state of an earlier version, with its events", async () => {
      const now = await run(["aggregate", "get", "person", "p-002", "--include-events"]);
      expect(JSON.parse(now.stdout)).toMatchObject({
        state: { name: "Jane Doe", status: "inactive=yes" },
        version: 2,
        events: [{ version: 1 }, { version: 2 }],
      });
      const past = await run(["aggregate", "get", "person", "p-002", "--version", "1"]);
      const [event] = JSON.parse(now.stdout).events;
      expect(JSON.parse(past.stdout)).toEqual({
        aggregate_id: "p-002",
        aggregate_type: "person",
        archived: false,
        merkle_root: event.merkle_root,
        state: { name: "Jane Doe", status: "active" },
        version: 1,
      });
    });

    test("an expectation that does not hold is a conflict that says what to look at", async () => {
      const rename = ["aggregate", "apply", "person", "p-002", "renamed", "--payload={}"];
      const put = [...rename, "--expected-version"];
      expect(await run([...put, "1"])).toEqual({
        stdout: "",
        stderr:
          "error: person/p-002 is at version 2, expected 1 (version_conflict)\n" +
          "       hint:  dbx aggregate get --aggregate person --aggregate-id p-002\n",
        code: 4,
      });
      const asJson = await run([...put, "no_stream", "--json"]);
      expect(JSON.parse(asJson.stderr)).toMatchObject({
        code: "version_conflict",
        details: { actual: 2, expected: "no_stream" },
      });
    });

    test("the same event id appends once", async () => {
      const put = ["aggregate", "apply", "once", "1", "made", "--event-id"];
      const id = "45C3013E-9B95-4ED0-9AF9-1A465F81D3CF";
      const first = await run([...put, id, "--field", "a=1"]);
      expect(await run([...put, id, "--field", "a=1"])).toEqual(first);
      expect(JSON.parse(first.stdout).metadata.event_id).toBe(id.toLowerCase());
      const other = await run([...put, id, "--field", "a=2"]);
      expect(other.stderr).toContain("(already_exists)");
      expect(other.code).toBe(4);
    });

    test("an empty aggregate can be made, once", async () => {
      const made = await run(["aggregate", "create", "empty", "e1"]);
      expect(JSON.parse(made.stdout)).toMatchObject({ version: 0, state: {} });
      const again = await run(["aggregate", "create", "empty", "e1"]);
      expect({ code: again.code, stdout: again.stdout }).toEqual({ code: 4, stdout: "" });
      expect(again.stderr).toContain("(already_exists)");
    });

    test("everything verifies", async () => {
      const one = await run(["aggregate", "verify", "--aggregate", "person", "p-002"]);
      const got = await run(["aggregate", "get", "person", "p-002"]);
      const { merkle_root } = JSON.parse(got.stdout);
      expect(one.stdout).toBe(
        `aggregate_type=person aggregate_id=p-002 version=2 merkle_root=${merkle_root}\n`,
      );
      const all = await run(["aggregate", "verify", "--all", "--json"]);
      expect(JSON.parse(all.stdout)).toMatchObject({ aggregates: 6, position: 7 });
      expect(all.code).toBe(0);
    });

    test("what is not there is not found", async () => {
      for (const verb of ["get", "replay", "verify"]) {
        const { stdout, stderr, code } = await run(["aggregate", verb, "person", "nobody"]);
        expect(stdout).toBe("");
        expect(stderr).toStartWith("error: aggregate not found (not_found)\n");
        expect(code).toBe(3);
      }
    });

    if (up) {
      test("HTTP and the command line see the same store", async () => {
        const { stdout } = await run(["token", "generate", "--group", "admin", "--user", "jane"]);
        const token = /^token=(\S+) /.exec(stdout)?.[1] ?? "";
        const port = server?.port ?? 0;
        const put = await http(port, "/v1/events", {
          token,
          body: `{"aggregate_type":"web","aggregate_id":"w1","event_type":"made","payload":${exact}}`,
        });
        expect(put.status).toBe(200);
        const got = await run(["aggregate", "replay", "web", "w1", "--json"]);
        expect(squeezed(got.stdout)).toBe(`[${put.text}]`);
        expect((await http(port, "/v1/aggregates")).status).toBe(401);
      });
    }
  });
}
