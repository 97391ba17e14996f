// Tokens over a real store, with a clock of the test's own: what they allow, when they end, and
// that no value is ever kept.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { call } from "../../src/api/call.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { manualClock, openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const event = (n = 0) => ({
  aggregate_type: "patient",
  aggregate_id: `p-${n}`,
  event_type: "patient-added",
  payload: canonicalize("{}"),
});

const append = (store: TestStore, token: string, n = 0) =>
  outcome(async () => store.dbx.appendEvent(store.authenticate(token), event(n)));

/** "accepted", or the message of the refusal. */
async function outcome(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "accepted";
  } catch (error) {
    if (error instanceof DbxError) return error.message;
    throw error;
  }
}

describe("what is kept", () => {
  test("only a hash: the value stands in no file, and the file is for its owner alone", async () => {
    using dir = tempDir();
    let value = "";
    {
      await using store = await openStore(dir.path);
      ({ token: value } = await store.dbx.issueToken(root, { group: "admin", user: "jane" }));
      expect(value).toMatch(/^EVT-[0-9a-f]{64}$/);
      expect(await append(store, value)).toBe("accepted");
      const [shown] = await store.dbx.listTokens(root, {});
      expect(value.startsWith(shown?.prefix ?? "?")).toBe(true);
      expect(JSON.stringify(shown)).not.toContain(value.slice(12));
    }
    expect(statSync(join(dir.path, "tokens.json")).mode & 0o777).toBe(0o600);
    const secret = value.slice(12);
    const files = readdirSync(dir.path, { recursive: true, encoding: "utf8" }).filter((name) =>
      statSync(join(dir.path, name)).isFile(),
    );
    expect(files).toContain("tokens.json");
    for (const name of files)
      expect(readFileSync(join(dir.path, name), "latin1")).not.toContain(secret);
  });

  test("tokens, uses and limits survive a restart", async () => {
    using dir = tempDir();
    let value = "";
    {
      await using store = await openStore(dir.path);
      ({ token: value } = await store.dbx.issueToken(root, { group: "app", user: "a", limit: 3 }));
      expect(await append(store, value, 1)).toBe("accepted");
      expect(await append(store, value, 2)).toBe("accepted");
    }
    await using store = await openStore(dir.path);
    expect((await store.dbx.listTokens(root, {}))[0]).toMatchObject({
      limit: 3,
      remaining_writes: 1,
      status: "active",
    });
    expect(await append(store, value, 3)).toBe("accepted");
    expect(await append(store, value, 4)).toBe("token write limit reached");
  });

  test("an unreadable tokens.json stops the start; it never means that there are no tokens", async () => {
    for (const text of ["", "{", "{}", '[{"id":1}]']) {
      using dir = tempDir();
      await Bun.write(join(dir.path, "tokens.json"), text);
      const message = await outcome(async () => (await openStore(dir.path)).close());
      expect(message).toContain("tokens.json cannot be read");
      expect(readFileSync(join(dir.path, "tokens.json"), "utf8")).toBe(text);
    }
  });
});

describe("write limits", () => {
  test("exact under concurrency: as many events as the limit says, not one more", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token } = await store.dbx.issueToken(root, { group: "app", user: "a", limit: 37 });
    const results = await Promise.all(
      Array.from({ length: 200 }, (_, n) => append(store, token, n)),
    );
    expect(results.filter((result) => result === "accepted")).toHaveLength(37);
    expect((await store.dbx.serverStatus(root, {})).position).toBe(37);
  });

  test("a refresh sets the allowance anew and keeps the value", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token, id } = await store.dbx.issueToken(root, { group: "app", user: "a", limit: 1 });
    expect(await append(store, token, 1)).toBe("accepted");
    expect(await append(store, token, 2)).toBe("token write limit reached");
    expect(await store.dbx.refreshToken(root, { token: id, limit: 2 })).toMatchObject({
      limit: 2,
      remaining_writes: 2,
    });
    expect(await append(store, token, 3)).toBe("accepted");
    expect(await append(store, token, 4)).toBe("accepted");
    expect(await append(store, token, 5)).toBe("token write limit reached");
    expect(await outcome(() => store.dbx.refreshToken(root, { token: id }))).toContain(
      "needs a new expiration",
    );
  });

  test("reading is never charged, and repetitions and refusals are not", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token } = await store.dbx.issueToken(root, { group: "app", user: "a", limit: 2 });
    const actor = store.authenticate(token);
    const event_id = "00000000-0000-4000-8000-000000000001";
    await store.dbx.appendEvent(actor, { ...event(), event_id });
    await store.dbx.appendEvent(actor, { ...event(), event_id });
    expect(
      await outcome(() => store.dbx.appendEvent(actor, { ...event(), expected_version: 9 })),
    ).toContain("expected 9");
    await store.dbx.readLog(actor, {});
    expect((await store.dbx.listTokens(root, {}))[0]?.remaining_writes).toBe(1);
  });
});

describe("life and end", () => {
  test("an expired token says so every time, and a refresh brings it back", async () => {
    using dir = tempDir();
    const clock = manualClock();
    await using store = await openStore(dir.path, { system: { now: clock.now } });
    const { token, expires_at } = await store.dbx.issueToken(root, {
      group: "app",
      user: "a",
      expiration_secs: 60,
    });
    expect(expires_at).toBe("2026-01-01T00:01:00.000000Z");
    clock.advance(59);
    expect(await append(store, token)).toBe("accepted");
    clock.advance(1);
    expect(await append(store, token)).toBe("token has expired");
    expect(await append(store, token)).toBe("token has expired");
    expect((await store.dbx.listTokens(root, {}))[0]?.status).toBe("expired");
    await store.dbx.refreshToken(root, { token, expiration_secs: 10 });
    expect(await append(store, token)).toBe("accepted");
  });

  test("revocation holds at once, for appends that already wait too, and by value or id", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token } = await store.dbx.issueToken(root, { group: "app", user: "a" });
    const other = await store.dbx.issueToken(root, { group: "app", user: "b" });
    const actor = store.authenticate(token);
    await store.dbx.revokeToken(root, { token });
    // The actor was accepted before; the append reaches its commit after the revocation.
    expect(await outcome(() => store.dbx.appendEvent(actor, event()))).toBe(
      "token not found or inactive",
    );
    expect(await append(store, token)).toBe("token not found or inactive");
    expect(await outcome(() => store.dbx.revokeToken(root, { token }))).toBe(
      "token not found or inactive",
    );
    expect(await outcome(() => store.dbx.refreshToken(root, { token, limit: 1 }))).toBe(
      "token not found or inactive",
    );
    expect(await append(store, other.token)).toBe("accepted");
    await store.dbx.revokeToken(root, { token: other.id });
    expect(await append(store, other.token)).toBe("token not found or inactive");
    const statuses = (await store.dbx.listTokens(root, {})).map(({ status }) => status);
    expect(statuses).toEqual(["revoked", "revoked"]);
  });

  test("keep-alive: each use extends the expiry by its span, reads too, across restarts", async () => {
    using dir = tempDir();
    const clock = manualClock();
    const system = { now: clock.now };
    let token = "";
    {
      await using store = await openStore(dir.path, { system });
      ({ token } = await store.dbx.issueToken(root, {
        group: "app",
        user: "a",
        expiration_secs: 100,
        keep_alive: true,
      }));
      for (let use = 0; use < 5; use++) {
        clock.advance(90);
        await store.dbx.readLog(store.authenticate(token), {});
      }
      clock.advance(90);
      expect(await append(store, token)).toBe("accepted");
    }
    clock.advance(95);
    {
      await using store = await openStore(dir.path, { system });
      expect(await append(store, token)).toBe("accepted");
      clock.advance(100);
      expect(await append(store, token)).toBe("token has expired");
      // A refresh begins a new term: what keep-alive had moved before no longer counts.
      await store.dbx.refreshToken(root, { token, expiration_secs: 10 });
      clock.advance(10);
      expect(await append(store, token)).toBe("token has expired");
    }
  });

  test("keep-alive needs a span to extend by", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const input = { group: "app", user: "a", keep_alive: true };
    expect(await outcome(() => store.dbx.issueToken(root, input))).toContain("needs an expiration");
  });

  test("keep-alive in a store that is open for reading moves nothing and fails nothing", async () => {
    using dir = tempDir();
    let token = "";
    {
      await using store = await openStore(dir.path);
      const input = { group: "app", user: "a", expiration_secs: 100, keep_alive: true };
      ({ token } = await store.dbx.issueToken(root, input));
    }
    const reading = await openStore(dir.path, { access: "read" });
    expect(await reading.dbx.readLog(reading.authenticate(token), {})).toEqual([]);
    await reading.close();
  });

  test("what is no token is refused", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const { token } = await store.dbx.issueToken(root, { group: "app", user: "a" });
    const last = token.at(-1) === "0" ? "1" : "0";
    for (const wrong of [
      "",
      "EVT-",
      "EVT-0",
      token.slice(0, -1),
      token.slice(0, -1) + last,
      `${token}0`,
      token.toUpperCase(),
    ]) {
      expect(await append(store, wrong)).toBe("token not found or inactive");
    }
  });

  test("a session of the command line is an actor of its own, for a minute after its last use, and is in no list", async () => {
    using dir = tempDir();
    const clock = manualClock();
    await using store = await openStore(dir.path, { system: { now: clock.now } });
    const session = store.openSession("jane");
    expect(store.authenticate(session.token)).toEqual({
      group: "cli",
      user: "cli:jane",
      grants: ["read", "append", "admin"],
      scope: null,
      token_id: null,
    });
    expect(await store.dbx.listTokens(root, {})).toEqual([]);
    clock.advance(59);
    expect(await append(store, session.token)).toBe("accepted");
    clock.advance(59);
    expect(await append(store, session.token)).toBe("accepted");
    clock.advance(60);
    expect(await append(store, session.token)).toBe("token has expired");
  });
});

describe("grants", () => {
  test.each([
    ["this machine's command line", { group: "cli", user: "cli:root" }],
    ["the master key", { group: "master-key", user: "master-key" }],
  ])("no token looks like %s", async (_whom, input) => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    expect(await outcome(() => store.dbx.issueToken(root, input))).toContain("take another");
    expect(await store.dbx.listTokens(root, {})).toEqual([]);
  });

  test("group admin may do everything, another group reads and appends", async () => {
    using dir = tempDir();
    await using store = await openStore(dir.path);
    const tokenOf = async (group: string) =>
      (await store.dbx.issueToken(root, { group, user: "u" })).token;
    const may = (
      token: string,
      operation: "appendEvent" | "readLog" | "listTokens",
      input: unknown,
    ) =>
      outcome(async () => call(store.dbx, { operation, input, actor: store.authenticate(token) }));
    const [admin, app] = [await tokenOf("admin"), await tokenOf("app")];
    for (const token of [admin, app]) {
      expect(await may(token, "appendEvent", event())).toBe("accepted");
      expect(await may(token, "readLog", {})).toBe("accepted");
    }
    expect(await may(admin, "listTokens", {})).toBe("accepted");
    expect(await may(app, "listTokens", {})).toBe("the token of group app lacks the grant admin");
  });
});
