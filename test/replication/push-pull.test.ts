// `dbx push` and `dbx pull` as people use them: two nodes with homes of their own, commands in
// processes, and what both databases hold afterwards, read without dbx.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RunningServer } from "../support/cli.ts";
import { introduce, openHome, type Home } from "../support/homes.ts";
import { openStream } from "../support/sse.ts";

let here: Home;
let there: Home;
let server: RunningServer;
beforeAll(async () => {
  [here, there] = await Promise.all([openHome(), openHome()]);
  server = await there.start();
  await introduce(here, there, { port: server.socket_port });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  here[Symbol.dispose]();
  there[Symbol.dispose]();
});

const replayed = async (home: Home, type: string, id: string): Promise<unknown[]> => {
  const events: Record<string, unknown>[] = JSON.parse(
    await home.ok("aggregate", "replay", type, id, "--json"),
  );
  // Each node counts its own log.
  return events.map((event) => ({ ...event, position: null }));
};
const verified = (home: Home) => home.ok("aggregate", "verify", "--all");
const tokenOf = async (home: Home, ...args: string[]): Promise<string> =>
  JSON.parse(await home.ok("token", "generate", "--json", ...args)).token;

describe.each(["stopped", "running"])("with this node's server %s", (state) => {
  let own: RunningServer | null = null;
  beforeAll(async () => {
    if (state === "running") own = await here.start();
  });
  afterAll(async () => own?.[Symbol.asyncDispose]());

  test.each([
    ["push", "Pushed 3 event(s) to 'called'", "remote 'called' is up to date"],
    [
      ...["pull", "Pulled 3 event(s) from 'called'"],
      "local store already includes remote 'called' changes",
    ],
  ])("%s brings events over as they are, and once", async (command, done, nothing) => {
    const [type, other] = [`${command}-${state}`, `${command}-${state}-b`];
    const [from, to] = command === "push" ? [here, there] : [there, here];
    const jane = await tokenOf(from, "--group", "ward", "--user", "jane");
    await from.apply(
      [type, "1", { text: "é 😀", n: 1e20 }, "--note", "by hand", "--token", jane],
      [type, "1", [null, 0.5]],
      [other, "1", "alone"],
    );

    expect(await here.ok(command, "called")).toBe(
      `${done}\n  3 event(s) across 2 aggregate(s)\n    ${type}: 2 event(s)\n    ${other}: 1 event(s)\n`,
    );
    // Ids, times, actors, notes, salts, hashes and roots.
    expect(to.rows()).toEqual(from.rows());
    expect(to.rows(type)[0]).toMatchObject({ issued: "ward jane" });
    expect(to.rows(type)[0]?.body).toMatch(/^[0-9A-F]{32} by hand \{/);
    expect(await replayed(to, type, "1")).toEqual(await replayed(from, type, "1"));
    await verified(from);
    await verified(to);
    expect(await here.ok(command, "called")).toBe(`${nothing}\n`);
  });
});

describe("flags", () => {
  test("--dry-run counts and writes nothing, in words and in JSON", async () => {
    await here.apply(["dry", "1", 1]);
    await there.apply(["yrd", "1", 1]);
    const before = [here.rows(), there.rows()];
    const of = (type: string) => ["called", "--dry-run", "--aggregate", type];
    expect(await here.ok("push", ...of("dry"))).toStartWith("Push to remote 'called' (dry run)\n");
    expect(await here.ok("pull", ...of("yrd"))).toStartWith("Pull from remote 'called' (dry run)");
    expect(JSON.parse(await here.ok("push", ...of("dry"), "--json"))).toEqual({
      ...{ remote: "called", dry_run: true },
      events: {
        ...{ events: 1, aggregates: 1, flags: 0, types: { dry: 1 } },
        ahead: { count: 0, listed: [] },
      },
    });
    expect([here.rows(), there.rows()]).toEqual(before);
  });

  test("--json tells what was done, and what the other has more of", async () => {
    await here.apply(["json", "1", 1]);
    await there.apply(["json", "2", 1]);
    const args = ["called", "--json", "--aggregate", "json"];
    const ahead = { aggregate_type: "json", aggregate_id: "2" };
    expect(JSON.parse(await here.ok("push", ...args))).toMatchObject({
      ...{ remote: "called", dry_run: false },
      events: {
        ...{ events: 1, aggregates: 1, types: { json: 1 } },
        ahead: { count: 1, listed: [{ ...ahead, source_version: 0, target_version: 1 }] },
      },
    });
    const { stdout, stderr } = await here.run(["push", "called", "--aggregate", "json"]);
    expect(stdout).toBe("remote 'called' is up to date\n");
    expect(stderr).toBe("ahead: remote 'called' has json/2 at version 1, 0 here\n");
  });

  test("--aggregate and --aggregate-id take what they name, and no more", async () => {
    await here.apply(
      ...[["sel", "1", 1] as const, ["sel", "2", 1] as const, ["sel", "a:b", 1] as const],
      ...[["sel:x", "1", 1] as const, ["sel2", "1", 1] as const, ["sel3", "1", 1] as const],
    );
    const arrived = () =>
      there.rows("sel", "sel:x", "sel2", "sel3").map(({ aggregate }) => aggregate);
    const push = (...args: string[]) => here.ok("push", "called", ...args);

    await push("--aggregate", "absent");
    expect(arrived()).toEqual([]);
    await push("--aggregate-id", "sel:1", "--aggregate-id", "sel2:absent");
    expect(arrived()).toEqual(["sel/1"]);
    // The first of two colons parts, so both the id and the type may have one.
    await push("--aggregate-id", "sel::a:b", "--aggregate-id", "sel:x::1");
    expect(arrived()).toEqual(["sel/1", "sel/a:b", "sel:x/1"]);
    await push("--aggregate", "sel2", "--aggregate", "sel");
    expect(arrived()).toEqual(["sel/1", "sel/2", "sel/a:b", "sel2/1", "sel:x/1"]);
  });

  test("--batch-size says how many are written at a time", async () => {
    await here.apply(...[1, 2, 3, 4, 5].map((n) => ["batch", "1", n] as const));
    await here.ok("push", "called", "--aggregate", "batch", "--batch-size", "2");
    const trail: { details: { events: number } }[] = JSON.parse(
      await there.ok("audit", "--action", "events.import", "--json"),
    );
    expect(trail.slice(-3).map(({ details }) => details.events)).toEqual([2, 2, 1]);
    expect(there.rows("batch")).toEqual(here.rows("batch"));
  });

  test("--token acts for whom it was made for, on this side", async () => {
    await here.apply(["token", "1", 1]);
    const [weak, strong] = [
      await tokenOf(here, "--group", "app", "--user", "web"),
      await tokenOf(here, "--group", "admin", "--user", "jane"),
    ];
    for (const command of ["push", "pull"]) {
      expect(await here.refused(command, "called", "--token", weak)).toBe(
        "5 the token of group app lacks the grant admin (permission_denied)",
      );
    }
    expect(there.rows("token")).toEqual([]);
    await here.ok("push", "called", "--aggregate", "token", "--token", strong);
    expect(there.rows("token")).toEqual(here.rows("token"));
  });

  test.each([
    ["an id without a type", ["--aggregate-id", "none"], "must be in TYPE:ID or TYPE::ID format"],
    ["an empty type", ["--aggregate-id", ":1"], "has empty type or id"],
    ["an empty id", ["--aggregate-id", "a::"], "has empty type or id"],
    ["no events a batch", ["--batch-size", "0"], "must be an integer from 1 to 1000"],
    ["too many a batch", ["--batch-size", "1001"], "must be an integer from 1 to 1000"],
    ["half a schema", ["--schema-only", "--aggregate", "a"], "cannot be combined"],
    ["a name too many", ["another"], "another"],
  ])("%s is refused", async (_, args, words) => {
    // The two share their flags.
    const command = args.length % 2 === 0 ? "push" : "pull";
    const refusal = await here.refused(command, "called", ...args);
    expect(refusal).toStartWith("2 ");
    expect(refusal).toContain(words);
  });

  test("a remote that nobody has named is not found", async () => {
    expect(await here.refused("push", "nobody")).toBe(
      "3 no remote named 'nobody' is configured; see dbx remote ls (not_found)",
    );
  });
});

describe("schemas", () => {
  const names = ({ path }: Home): string[] =>
    Object.keys(JSON.parse(readFileSync(join(path, ".eventdbx/schemas.json"), "utf8")));

  test.each(["push", "pull"])("%s leaves them alone unless it is asked for them", async (way) => {
    const [from, to] = way === "push" ? [here, there] : [there, here];
    const [made, kept] = [`${way}-made`, `${way}-kept`];
    await from.ok("schema", "create", made, "--events", "noted,moved");
    await to.ok("schema", "create", kept, "--events", "noted");
    await from.apply([made, "1", {}]);
    const run = (...args: string[]) => here.run([way, "called", ...args]);

    await run("--aggregate", made);
    expect(to.rows(made)).toHaveLength(1);
    expect(names(to)).not.toContain(made);
    await from.apply([made, "2", {}]);
    expect((await run("--schema", "--dry-run")).stdout).toContain(`+ ${made} (2 event(s))`);
    expect(names(to)).not.toContain(made);
    const only = await run("--schema-only");
    expect(only.stdout).toContain(`  1 aggregate change(s)\n    + ${made} (2 event(s))\n`);
    expect(only.stderr).toContain(kept);
    expect(names(to)).toEqual(expect.arrayContaining([made, kept]));
    expect(to.rows(made)).toHaveLength(1);

    await from.ok("schema", "alter", made, "--snapshot-threshold", "7");
    const both = await run("--schema", "--json");
    expect(both.stderr).not.toContain("message");
    expect(JSON.parse(both.stdout)).toMatchObject({
      events: { types: { [made]: 1 } },
      schemas: { made: 1 },
    });
    expect(to.rows(made)).toHaveLength(2);
    expect(JSON.parse(await to.ok("schema", "show", made))).toMatchObject({
      snapshot_threshold: 7,
    });

    // Nobody is there who could be asked.
    // Whoever forgets that it is about schemas must not believe that they are gone.
    const alone = await run("--prune");
    expect([alone.code, alone.stdout]).toEqual([2, ""]);
    expect(alone.stderr).toContain("--prune is about schemas: it needs --schema or --schema-only");
    const asked = await run("--schema-only", "--prune");
    expect({ code: asked.code, stdout: asked.stdout }).toEqual({ code: 2, stdout: "" });
    expect(asked.stderr).toContain(`say --yes to do it`);
    expect(names(to)).toContain(kept);
    const pruned = await run("--schema-only", "--prune", "--yes");
    expect(pruned.stdout).toContain(`    - ${kept} (1 event(s))\n`);
    expect(names(to)).toEqual(names(from));
    expect((await run("--schema-only", "--prune")).stdout).toMatch(/already matches/);
  });
});

test("who follows the receiver's log sees what was replicated", async () => {
  const token = await tokenOf(there, "--group", "admin", "--user", "eve");
  const stream = await openStream({ port: server.port, token });
  await here.apply(...[1, 2, 3].map((n) => ["live", "1", n] as const));
  await here.ok("push", "called", "--aggregate", "live");
  const seen: unknown[] = [];
  for await (const { data } of stream.messages) {
    const event = data === null ? null : JSON.parse(data);
    if (event?.aggregate_type !== "live") continue;
    seen.push(event.payload);
    if (seen.length === 3) break;
  }
  stream.close();
  expect(seen).toEqual([1, 2, 3]);
});

test("a fork ends push and pull with nothing written on either side", async () => {
  await here.apply(["fork", "1", "common"]);
  await here.ok("push", "called");
  await here.apply(["fork", "1", "here"], ["a-fork", "only-here", 1]);
  await there.apply(["fork", "1", "there"], ["z-fork", "only-there", 1]);
  const before = [here.rows(), there.rows()];

  const words =
    "the nodes have two histories: fork/1 from version 2 on; nothing was changed on either";
  const forks = [{ aggregate_type: "fork", aggregate_id: "1", version: 2 }];
  const refuse = async (): Promise<void> => {
    for (const command of ["push", "pull"]) {
      const refusal = `4 ${words} (failed_precondition)`;
      expect(await here.refused(command, "called", "--dry-run")).toBe(refusal);
      expect(await here.refused(command, "called")).toBe(refusal);
      const { code, stderr } = await here.run([command, "called", "--json"]);
      expect(code).toBe(4);
      expect(JSON.parse(stderr)).toEqual({
        ...{ message: words, code: "failed_precondition" },
        details: { reason: "fork", count: 1, forks },
      });
    }
  };
  await refuse();
  {
    await using _ = await here.start();
    await refuse();
  }
  expect([here.rows(), there.rows()]).toEqual(before);

  // What is not forked can still be brought over.
  await here.ok("push", "called", "--aggregate", "a-fork");
  await here.ok("pull", "called", "--aggregate", "z-fork");
  expect(there.rows("a-fork", "z-fork")).toEqual(here.rows("a-fork", "z-fork"));
});
