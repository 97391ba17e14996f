// Reading by command line, with the server up and down: conditions, moments, hidden things, and
// what a person reads who got one of them wrong.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openStore, root } from "../support/store.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { dbx, startForeground, type RunningServer } from "../support/cli.ts";
import { tempDir } from "../support/temp.ts";

/** Answers a token that is no admin's, and when each event was recorded. */
async function fill(data_dir: string): Promise<{ token: string; times: string[] }> {
  await using store = await openStore(data_dir);
  const times: string[] = [];
  for (const [type, id, payload] of [
    ["person", "p-1", { name: "Jane", age: 41 }],
    ["person", "p-1", { age: 42, address: { city: "Bern" } }],
    ["person", "p-2", { name: "Joe", ssn: "123-45" }],
    ["secret", "s-1", { name: "Jane" }],
  ] as const) {
    const record = await store.dbx.appendEvent(root, {
      ...{ aggregate_type: type, aggregate_id: id, event_type: "noted" },
      payload: canonicalOf(payload),
    });
    times.push(record.metadata.created_at);
  }
  await store.dbx.archiveAggregate(root, { aggregate_type: "person", aggregate_id: "p-2" });
  await store.dbx.createSnapshot(root, { aggregate_type: "person", aggregate_id: "p-1" });
  for (const aggregate of ["secret", "person"])
    await store.dbx.createSchema(root, { aggregate, events: ["noted"] });
  const hidden_field = { field: "ssn", hidden: true };
  await store.dbx.changeSchema(root, { aggregate: "person", hidden_field });
  await store.dbx.changeSchema(root, { aggregate: "secret", hidden: true });
  const { token } = await store.dbx.issueToken(root, { group: "app", user: "joe" });
  return { token, times };
}

for (const up of [true, false]) {
  describe(`with the server ${up ? "up" : "down"}`, () => {
    const dir = tempDir();
    const home = dir.path;
    let server: RunningServer | undefined;
    let token = "";
    let first = "";
    const run = (args: readonly string[]) => dbx(["aggregate", ...args], { home });
    const listed = async (...flags: string[]) => {
      const { stdout, stderr, code } = await run(["list", ...flags]);
      expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
      return [...stdout.matchAll(/^aggregate_type=\S+ aggregate_id=(\S+) /gm)].map(([, id]) => id);
    };

    beforeAll(async () => {
      const filled = await fill(`${home}/.eventdbx`);
      ({ token } = filled);
      first = filled.times[0] ?? "";
      if (up) server = await startForeground({ home });
    });
    afterAll(async () => {
      await server?.[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    });

    test("a list by type, flag, condition and instant", async () => {
      expect(await listed()).toEqual(["p-1", "p-2"]);
      expect(await listed("--type", "person", "--archived")).toEqual(["p-2"]);
      expect(await listed("--no-archived")).toEqual(["p-1"]);
      expect(await listed("--filter", "name = 'Jane' AND address.city = \"Bern\"")).toEqual([
        "p-1",
      ]);
      expect(await listed("--filter", "NOT EXISTS name")).toEqual([]);
      expect(await listed("--filter", "age = 42", "--at", first)).toEqual([]);
      expect(await listed("--filter", "age = 41", "--at", first)).toEqual(["p-1"]);
      expect(await listed("--at", "1970-01-01T00:00:00Z")).toEqual([]);
    });

    test("a page says on stderr how to get the next, and with --json a program can read it", async () => {
      const hidden = ["list", "--include-hidden", "--take", "2"];
      const [line = "", end] = (await run(hidden)).stderr.split("\n");
      expect([line, end]).toEqual([expect.stringMatching(/^more: --cursor [\w-]+$/), ""]);
      const page = await run([...hidden, "--json"]);
      expect(JSON.parse(page.stdout)).toHaveLength(2);
      const { next_cursor } = JSON.parse(page.stderr);
      expect(line).toBe(`more: --cursor ${next_cursor}`);
      const last = await run([...hidden, "--json", "--cursor", next_cursor]);
      expect(JSON.parse(last.stdout)).toHaveLength(1);
      expect(last.stderr).toBe("");
    });

    test("and so does a page of the audit trail", async () => {
      const audit = (...flags: string[]) => dbx(["audit", ...flags], { home });
      const first = await audit("--take", "1");
      expect(first.stdout).toStartWith("entry=1 ");
      expect(first.stderr).toBe("more: --after 1\n");
      expect(JSON.parse((await audit("--take", "1", "--json")).stderr)).toEqual({ next_after: 1 });
      for (const flags of [["--after", "1"], [], ["--after", "2"], ["--take", "0"]])
        expect(await audit(...flags)).toMatchObject({ stderr: "", code: 0 });
    });

    test("the audit trail by what was done, to what, by whom and when, either way round", async () => {
      const audit = async (...flags: string[]) => {
        const { stdout, stderr, code } = await dbx(["audit", "--json", ...flags], { home });
        if (code !== 0) return stderr;
        const entries: { entry: number }[] = JSON.parse(stdout);
        return [entries.map(({ entry }) => entry), stderr === "" ? null : JSON.parse(stderr)];
      };
      const within = (...flags: string[]) => audit("--before", "8", ...flags);
      expect(await within()).toEqual([[1, 2, 3, 4, 5, 6, 7], null]);
      expect(await within("--reverse")).toEqual([[7, 6, 5, 4, 3, 2, 1], null]);
      expect(await within("--reverse", "--take", "2")).toEqual([[7, 6], { next_before: 6 }]);
      expect(await audit("--reverse", "--before", "2")).toEqual([[1], null]);
      expect(await within("--action", "archive", "--group", "cli")).toEqual([[1], null]);
      expect(await within("--action", "schema", "--take", "3")).toEqual([
        [3, 4, 5],
        { next_after: 5 },
      ]);
      expect(await within("--action", "schema", "--take", "4")).toEqual([[3, 4, 5, 6], null]);
      expect(await within("--action", "schema", "--subject", "person")).toEqual([[4, 5], null]);
      expect(await within("--aggregate", "person", "--aggregate-id", "p-1")).toEqual([[2], null]);
      expect(await audit("--user", "nobody")).toEqual([[], null]);
      expect(await within("--since", "2020-01-01T00:00:00+01:00", "--take", "1")).toEqual([
        [1],
        { next_after: 1 },
      ]);
      expect(await audit("--until", "2020-01-01T00:00:00Z")).toEqual([[], null]);
      expect(await audit("--since", "yesterday")).toContain("must be an instant with its zone");
      expect(await audit("--action", "tokens")).toContain(
        "must be one of: create, snapshot, archive",
      );
      expect(await audit("--aggregate-id", "p-2")).toContain("only together with");
    });

    test("a state at a version or an instant, with the events up to it", async () => {
      const then = await run(["get", "person", "p-1", "--at", first, "--include-events"]);
      expect(JSON.parse(then.stdout)).toMatchObject({
        version: 1,
        state: { name: "Jane", age: "41" },
        events: [{ version: 1, metadata: { created_at: first } }],
      });
      expect(JSON.parse(then.stdout).events).toHaveLength(1);
      const same = await run(["get", "person", "p-1", "--version", "1", "--include-events"]);
      expect(same).toEqual(then);
      const none = await run(["get", "person", "p-1", "--version", "0", "--include-events"]);
      expect(JSON.parse(none.stdout)).toMatchObject({ version: 0, state: {}, events: [] });
    });

    test("what is hidden is shown to whoever asks for it and may", async () => {
      const hidden = ["--include-hidden"];
      expect(await listed(...hidden)).toEqual(["p-1", "p-2", "s-1"]);
      expect(await listed("--filter", "EXISTS ssn")).toEqual([]);
      expect(await listed("--filter", "EXISTS ssn", ...hidden)).toEqual(["p-2"]);
      for (const args of [
        ["get", "person", "p-2", "--include-events"],
        ["replay", "person", "p-2"],
      ]) {
        expect((await run(args)).stdout).not.toContain("123-45");
        expect((await run([...args, ...hidden])).stdout).toContain("123-45");
        const refused = await run([...args, ...hidden, "--token", token]);
        expect(refused.stderr).toContain("needs the grant admin (permission_denied)\n");
        expect({ stdout: refused.stdout, code: refused.code }).toEqual({ stdout: "", code: 5 });
      }
      for (const verb of ["get", "replay", "verify"]) {
        const gone = await run([verb, "secret", "s-1"]);
        expect(gone.stderr).toStartWith("error: aggregate not found (not_found)\n");
        expect((await run([verb, "secret", "s-1", ...hidden])).code).toBe(0);
      }
    });

    test("a mistake is told in the words of the command", async () => {
      const mistakes: [string[], number, string][] = [
        [
          ["list", "--filter", "name = Jane"],
          2,
          "--filter at character 8: expected a string, a number, true, false or null; " +
            'strings stand in quotes, found "Jane" (invalid_argument)\n',
        ],
        [["list", "--at", "yesterday"], 2, "--at must be an instant with its zone, such as "],
        [
          ["get", "person", "p-1", "--at", first, "--version", "1"],
          2,
          "--at and --version name two",
        ],
        [["get", "person", "p-1", "--version", "3"], 3, "person/p-1 has no version 3; it is at "],
        [["get", "person", "p-1", "--at", "1970-01-01T00:00:00Z"], 3, "aggregate not found"],
        [
          ["discard", "--event-id", "45c3013e-9b95-4ed0-9af9-1a465f81d3cf"],
          3,
          "there is no staged event 45c3013e-9b95-4ed0-9af9-1a465f81d3cf (not_found)\n" +
            "       hint:  dbx aggregate list --stage\n",
        ],
        [
          ["archive", "person", "p-1", "--token", token],
          5,
          "the token of group app lacks the grant admin (permission_denied)\n",
        ],
        [["list", "--archived", "--no-archived"], 2, "--no-archived contradicts --archived"],
      ];
      for (const [args, code, words] of mistakes) {
        const ran = await run(args);
        expect(ran.stderr).toStartWith(`error: ${words}`);
        expect({ stdout: ran.stdout, code: ran.code }).toEqual({ stdout: "", code });
      }
    });

    test("a list asked for in as many characters as there may be is answered", async () => {
      const part = `name = '${"é".repeat(1_361)}'`;
      const filter = `${part} AND a=1 `;
      const most = ["--filter", filter, "--type", "😀".repeat(256), "--cursor", "A".repeat(4_096)];
      const places = [
        "--skip",
        String(2 ** 53 - 1),
        "--take",
        String(2 ** 53 - 1),
        "--no-archived",
      ];
      const at = ["--at", "～".repeat(64), "--include-hidden"];
      const refused = await run(["list", ...most, ...places, ...at]);
      expect(refused.stderr).toStartWith("error: --at must be an instant with its zone, such as ");
      expect(new URLSearchParams({ filter }).toString()).toHaveLength("filter=".length + 8_192);
      const longer = await run(["list", "--filter", `${filter} `]);
      expect(longer.stderr).toStartWith(
        "error: --filter must have at most 8192 characters percent-encoded, but has 8193 ",
      );
    });

    test("staged events are listed in the place of aggregates", async () => {
      const staged = await run(["apply", "person", "p-1", "noted", "--field", "a=1", "--stage"]);
      expect(staged.code).toBe(0);
      const { stdout, code } = await run(["list", "--stage"]);
      expect(JSON.parse(stdout)).toMatchObject({ aggregate_id: "p-1", payload: { a: "1" } });
      expect(code).toBe(0);
      expect(await listed()).toEqual(["p-1", "p-2"]);
    });
  });
}
