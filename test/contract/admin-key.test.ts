// The master key over HTTP: what it opens, by which header, what it is told where it is wrong, and
// that nobody but its owner ever reads it.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { limits } from "../../src/model/limits.ts";
import { operationsOf } from "../support/openapi.ts";
import { startTestServer, type Answer } from "../support/server.ts";
import { connectRaw, requestText } from "../support/server-raw.ts";
import { testConfig } from "../support/store.ts";

const key = "correct horse, bättery 🐎 staplè";
/** Cheap: what a real one costs is seen where it matters. */
const hashOf = (text: string) =>
  Bun.password.hash(text, { algorithm: "argon2id", memoryCost: 8, timeCost: 1 });

/** A server whose master key a test may change; `null` for none. */
async function startWithKey(first: string | null) {
  const adminOf = (hash: string | null) => ({
    ...{ enabled: false, bind_addr: "0.0.0.0" },
    ...(hash === null ? {} : { master_key_hash: hash }),
  });
  let hash = first === null ? null : await hashOf(first);
  const server = await startTestServer({
    config: { admin: adminOf(hash) },
    reload: async (directory) => testConfig(directory, { admin: adminOf(hash) }),
  });
  const change = async (next: string | null): Promise<void> => {
    hash = next === null ? null : await hashOf(next);
    const { json } = await server.ask("POST", "/admin/config/reload", { control: true });
    expect(json).toEqual({ applied: ["admin.master_key_hash"], restart: [] });
  };
  const figures = async (): Promise<Record<string, number>> =>
    (await server.ask("GET", "/admin/status", { control: true })).json.figures;
  return { ...server, change, figures };
}
type KeyServer = Awaited<ReturnType<typeof startWithKey>>;

/** As curl sends it: text in UTF-8, of which `fetch` takes each byte as a character. */
const bytesOf = (text: string): string => Buffer.from(text, "utf8").toString("latin1");
const byHeader = (text: string) => ({ "X-Admin-Key": bytesOf(text) });
const asBearer = (text: string) => ({ Authorization: `Bearer ${bytesOf(text)}` });
const unauthorized = { message: "unauthorized", code: "unauthenticated", details: {} };
/** What every wrong key is told, whether there is a right one or not. */
const notRight = { ...unauthorized, details: { hint: "this master key is not right" } };

const told = ({ status, headers, json }: Answer) => ({
  ...{ status, json },
  challenge: headers.get("www-authenticate"),
});
const refusal = { status: 401, json: notRight, challenge: "Bearer" };
/** Of who shows nothing. */
const lack = { ...refusal, json: unauthorized };

describe("a server with a master key", () => {
  let server: KeyServer;
  // Each test has all of the tries, and no key is known yet.
  beforeEach(async () => {
    server = await startWithKey(key);
  });
  afterEach(() => server[Symbol.asyncDispose]());
  const ask = (headers: Record<string, string>, path = "/admin/tokens") =>
    server.ask("GET", path, { token: null, headers });

  test.each([
    ["X-Admin-Key", byHeader(key)],
    ["X-Admin-Key, with blanks around it", { "X-Admin-Key": `  ${bytesOf(key)}\t` }],
    ["a bearer", asBearer(key)],
    ["a bearer in small letters", { authorization: `bearer   ${bytesOf(key)} ` }],
    ["a bearer where X-Admin-Key is blank", { "X-Admin-Key": " ", ...asBearer(key) }],
    ["X-Admin-Key beside a wrong bearer", { ...byHeader(key), ...asBearer("wrong") }],
    ["X-Admin-Key beside a token of nobody", { ...byHeader(key), ...asBearer("EVT-0") }],
  ])("is administered with it as %s", async (_how, headers) => {
    expect((await ask(headers)).json).toMatchObject([{ user: "jane" }]);
    const path = "/admin/nothing";
    expect(await ask(headers, path)).toMatchObject({
      ...{ status: 404, json: { message: "no such path", details: { path } } },
    });
    // Once it was checked; then it was known.
    expect(await server.figures()).toMatchObject({ admin_key_checks: 1, admin_key_accepted: 2 });
  });

  test.each([
    ["wrong", byHeader("wrong"), refusal],
    ["wrong as a bearer", asBearer("wrong"), refusal],
    ["longer", byHeader(`${key}!`), refusal],
    ["in other letters", byHeader(key.toUpperCase()), refusal],
    ["in another encoding", { "X-Admin-Key": key.replace("🐎", "") }, refusal],
    ["blank", { "X-Admin-Key": "  " }, lack],
    ["blank as a bearer", { Authorization: "Bearer  " }, lack],
    ["missing", {}, lack],
    ["right behind another scheme", { Authorization: `Basic ${bytesOf(key)}` }, lack],
    ["given twice", { "X-Admin-Key": `${bytesOf(key)}, ${bytesOf(key)}` }, refusal],
    [
      "its own hash",
      byHeader("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"),
      refusal,
    ],
  ])("refuses one that is %s", async (_how, headers, wanted) => {
    expect(told(await ask(headers))).toEqual(wanted);
    expect(told(await ask(headers, "/admin/nothing"))).toEqual(wanted);
  });

  test("refuses a wrong one beside a token that is right, and still takes the token", async () => {
    const token = asBearer(server.token);
    expect(told(await ask({ ...byHeader("wrong"), ...token }))).toEqual(refusal);
    expect((await ask(token)).status).toBe(200);
    expect((await ask({ "X-Admin-Key": "", ...token })).status).toBe(200);
    // Elsewhere it opens nothing, and whether it is right is not told.
    const outside = [];
    for (const headers of [byHeader(key), byHeader("wrong"), asBearer(key), asBearer("wrong")]) {
      outside.push((await ask(headers, "/v1/aggregates")).json.details);
      outside.push((await ask(headers, "/v1/events/stream")).json.details);
      const body = JSON.stringify({ query: "{ __typename }" });
      const over = { token: null, headers, body };
      const { json } = await server.ask("POST", "/graphql", over);
      outside.push(json.details ?? json.errors[0].extensions.details);
    }
    const hint = "a token is wanted here (EVT-...): a master key opens paths below /admin/ only";
    expect(outside).toEqual(Array.from({ length: 12 }, () => ({ hint })));
    expect(await server.figures()).toMatchObject({ admin_key_checks: 1 });
    // It is for /admin/ alone: elsewhere the header says nothing, right or wrong.
    for (const each of [byHeader(key), byHeader("wrong")]) {
      expect((await ask({ ...each, ...token }, "/v1/aggregates")).status).toBe(200);
    }
  });

  test("opens with it what /openapi.json says, and nothing else", async () => {
    const { json } = await server.ask("GET", "/openapi.json");
    const schemes = json.components.securitySchemes;
    expect(schemes.master_key).toMatchObject({ type: "apiKey", in: "header", name: "X-Admin-Key" });
    const described = operationsOf(json).map(({ method, path, security }) => {
      const takesKey = security?.some((each) => "master_key" in each) === true;
      return { method, path, opens: takesKey || security?.length === 0 };
    });
    const undescribed = [
      { method: "POST", path: "/graphql", opens: false },
      { method: "GET", path: "/v1/nothing", opens: false },
    ];
    expect(described.filter(({ opens }) => opens).length).toBeGreaterThan(10);
    for (const { method, path, opens } of [...described, ...undescribed]) {
      // No operation takes it, so that nothing is done.
      const body = method === "GET" ? {} : { body: { nonsense: 1 } };
      for (const headers of [byHeader(key), asBearer(key)]) {
        const { status } = await server.ask(method, path, { token: null, headers, ...body });
        expect([method, path, status !== 401]).toEqual([method, path, opens]);
      }
    }
  });

  test("does not take it on the listener of the command line", async () => {
    for (const headers of [byHeader(key), asBearer(key)]) {
      const answer = await server.ask("GET", "/admin/tokens", {
        ...{ token: null, headers, control: true },
      });
      expect(answer.status).toBe(401);
    }
    expect((await server.figures()).admin_key_checks).toBe(0);
  });

  test("does not let it exchange the data key: that is for this machine alone", async () => {
    const body = { data_encryption_key: Buffer.alloc(32, 1).toString("base64") };
    const options = { token: null, headers: byHeader(key), body };
    const { status, json } = await server.ask("POST", "/admin/key/rotate", options);
    expect([status, json.code]).toEqual([403, "permission_denied"]);
  });

  test("writes down what it did, under a name that no token can have", async () => {
    const headers = byHeader(key);
    const post = (body: object) =>
      server.ask("POST", "/admin/tokens", { token: null, headers, body });
    const { json: issued, status } = await post({ group: "admin", user: "far" });
    expect(status).toBe(201);
    expect((await server.ask("GET", "/admin/status", { token: issued.token })).status).toBe(200);
    expect((await ask(headers, "/admin/audit")).json.at(-1)).toMatchObject({
      action: "token.issue",
      subject: issued.id,
      issued_by: { group: "master-key", user: "master-key" },
    });
    const reserved = await post({ group: "master-key", user: "far" });
    expect([reserved.status, reserved.json.message]).toEqual([
      400,
      "the group master-key is the master key's own; take another",
    ]);
  });

  test("tries few wrong keys, says when to come back, and lets the right one through", async () => {
    expect((await ask(byHeader(key))).status).toBe(200);
    const started = performance.now();
    // Lost paths are no way around it.
    const paths = ["/admin/tokens", "/admin/nothing"];
    const guesses = Array.from({ length: 200 }, (_, count) =>
      ask(byHeader(`guess ${count}`), paths[count % 2]),
    );
    const answers = await Promise.all(guesses);
    // Of those that came at once most were told that others wait already.
    while (answers.at(-1)?.json.details.retry_after_ms === undefined) {
      answers.push(await ask(byHeader("one more guess")));
    }
    const triesMost =
      limits.admin_key_tries_max + (performance.now() - started) / limits.admin_key_try_ms;
    const refused = answers.filter(({ status }) => status === 401).length;
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 429]));
    expect(refused).toBeGreaterThanOrEqual(limits.admin_key_tries_max);

    const last = answers.at(-1);
    const retry_after_ms = Number(last?.json.details.retry_after_ms);
    expect(last?.json).toEqual({
      message: "too many wrong master keys; try again later",
      code: "overloaded",
      details: { retry_after_ms },
    });
    expect(retry_after_ms).toBeGreaterThan(0);
    expect(retry_after_ms).toBeLessThanOrEqual(limits.admin_key_try_ms);
    expect(last?.headers.get("retry-after")).toBe(String(Math.ceil(retry_after_ms / 1_000)));

    const before = await server.figures();
    expect(before.admin_key_checks).toBeLessThanOrEqual(1 + triesMost);
    expect(before.admin_key_refused).toBe(refused);
    expect(before.admin_key_throttled).toBe(answers.length - refused);
    expect((await ask(byHeader(key))).status).toBe(200);
    expect((await ask(asBearer(server.token))).status).toBe(200);
    const after = await server.figures();
    expect(after.admin_key_checks).toBe(before.admin_key_checks);
  });

  test("takes many requests with the right key at once, and checks it once", async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(byHeader(key))));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(await server.figures()).toMatchObject({ admin_key_checks: 1, admin_key_accepted: 100 });
  });

  test("follows another key at once, and none", async () => {
    expect((await ask(byHeader(key))).status).toBe(200);
    await server.change("another");
    expect(told(await ask(byHeader(key)))).toEqual(refusal);
    expect((await ask(byHeader("another"))).status).toBe(200);
    await server.change(null);
    expect(told(await ask(byHeader("another")))).toEqual(refusal);
    await server.change(key);
    expect((await ask(byHeader(key))).status).toBe(200);
  });

  const issuing = JSON.stringify({ group: "app", user: "slow" });
  /** All of the request but the last byte of its body. */
  const requestWith = (text: string) =>
    requestText("POST", "/admin/tokens", { headers: byHeader(text), body: issuing });

  test("looks at the key again when a body was held back", async () => {
    using connection = await connectRaw(server.port);
    const whole = Buffer.from(requestWith(key), "latin1");
    for (const isReplaced of [false, true]) {
      connection.write(whole.subarray(0, -1));
      while ((await server.figures()).admin_key_accepted !== (isReplaced ? 3 : 1));
      if (isReplaced) await server.change("another");
      connection.write(whole.subarray(-1));
      expect((await connection.read()).status).toBe(isReplaced ? 401 : 201);
    }
    const { json } = await server.ask("GET", "/admin/tokens");
    expect(json.filter(({ user }: { user: string }) => user === "slow")).toHaveLength(1);
  });

  test("reads nothing of a body before the key was found right", async () => {
    using connection = await connectRaw(server.port);
    connection.write(Buffer.from(requestWith("wrong"), "latin1").subarray(0, -1));
    expect((await connection.read()).status).toBe(401);
  });

  test("keeps the key to itself: neither log nor answers have it", async () => {
    const answers = [
      await ask(byHeader(key)),
      await ask(byHeader(`${key} wrong`)),
      await ask(asBearer(`${key} wrong`), `/admin/nothing`),
      await server.ask("POST", "/admin/tokens", {
        ...{ token: null, headers: byHeader(key), body: "{" },
      }),
      await server.ask("GET", "/admin/status"),
      await server.ask("GET", "/admin/audit"),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 401, 400, 200, 200]);
    const written = [
      ...server.lines,
      ...answers.flatMap(({ text, headers }) => [text, ...headers.values()]),
    ].join("\n");
    expect(written).toContain(" warn master key refused configured=true tried=2 throttled=0\n");
    for (const secret of ["horse", "staple", "argon2"]) expect(written).not.toContain(secret);
  });
});

test("a server without a master key answers as one with another key, after the same work", async () => {
  await using server = await startWithKey(null);
  for (const [headers, wanted] of [
    [byHeader(key), refusal],
    [asBearer(key), refusal],
    [{ "X-Admin-Key": "" }, lack],
  ] as const) {
    const answer = await server.ask("GET", "/admin/tokens", { token: null, headers });
    expect(told(answer)).toEqual(wanted);
  }
  expect(await server.figures()).toMatchObject({ admin_key_checks: 2, admin_key_refused: 2 });
  // A hash that cannot be computed would be an error there.
  const lines = server.lines.filter((line) => line.includes("master key"));
  expect(lines.map((line) => line.slice(line.indexOf(" ")))).toEqual([
    " warn master key refused configured=false tried=1 throttled=0\n",
    " warn master key refused configured=false tried=2 throttled=0\n",
  ]);
});
