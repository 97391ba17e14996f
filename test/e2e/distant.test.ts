// `--url`: commands against a server elsewhere. That every command answers there as it does here is
// test/e2e/situations; this is who is asked, what is refused, and that a token goes to nobody else.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground, type RunningServer } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { makePair, type MadePair } from "../support/tls.ts";

let dir: TempDir;
let here: string;
let plain: RunningServer;
let secure: RunningServer;
let pair: MadePair;
let token: string;
let secureToken: string;

beforeAll(async () => {
  dir = tempDir();
  const homes = ["here", "plain", "secure"].map((name) => join(dir.path, name));
  for (const home of homes) mkdirSync(join(home, ".eventdbx"), { recursive: true });
  const [mine = "", plainHome = "", secureHome = ""] = homes;
  here = mine;
  pair = await makePair(dir.path, "elsewhere");
  await Bun.write(
    join(secureHome, ".eventdbx/config.toml"),
    `[tls]\ncert = ${JSON.stringify(pair.cert)}\nkey = ${JSON.stringify(pair.key)}\n`,
  );
  plain = await startForeground({ home: plainHome });
  secure = await startForeground({ home: secureHome });
  token = await issue(plainHome);
  secureToken = await issue(secureHome);
}, 60_000);
afterAll(async () => {
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});

async function issue(home: string): Promise<string> {
  const args = ["token", "generate", "--group", "admin", "--user", "far", "--json"];
  return String(JSON.parse((await dbx(args, { home })).stdout).token);
}

const run = (args: readonly string[], env: Record<string, string> = {}) =>
  dbx(args, { home: here, env });
const at = ({ port }: { port: number }, scheme = "http") => `${scheme}://127.0.0.1:${port}`;

describe("a server elsewhere", () => {
  test("records who acts there, by flag or by environment, wherever the flag stands", async () => {
    const apply = ["aggregate", "apply", "ward", "w-1", "opened", "--field", "beds=3"];
    const first = await run(["--url", at(plain), ...apply, "--token", token]);
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(first.stdout).metadata.issued_by).toEqual({ group: "admin", user: "far" });
    const env = { EVENTDBX_URL: at(plain), EVENTDBX_TOKEN: token };
    const second = await run(apply, env);
    expect(JSON.parse(second.stdout)).toMatchObject({ version: 2 });
    const listed = await run(["aggregate", "list", `--url=${at(plain)}`], {
      EVENTDBX_TOKEN: token,
    });
    expect(listed.stdout).toContain("aggregate_type=ward aggregate_id=w-1 version=2");
  });

  test("is asked over TLS with its own authority, which has to be named", async () => {
    const list = ["token", "list", "--url", at(secure, "https")];
    const env = { EVENTDBX_TOKEN: secureToken };
    const trusted = await run([...list, "--ca-file", pair.cert], env);
    expect({ code: trusted.code, stderr: trusted.stderr }).toEqual({ code: 0, stderr: "" });
    expect(trusted.stdout).toContain("group=admin user=far");
    const strange = await run(list, env);
    expect(strange.code).toBe(4);
    expect(strange.stderr).toContain(
      "name its authority, or the certificate itself, with --ca-file",
    );
    expect(strange.stderr).not.toContain("dbx status");
    const other = await makePair(dir.path, "another");
    expect((await run([...list, "--ca-file", other.cert], env)).code).toBe(4);
  });

  test("tells its status, and nothing of this machine", async () => {
    const env = { EVENTDBX_TOKEN: token };
    const status = await run(["status", "--url", at(plain)], env);
    expect(status.stdout).toMatch(
      /^dbx is running at http:\/\/127\.0\.0\.1:\d+ — restrict=default\n {2}version: /,
    );
    const asJson = JSON.parse((await run(["status", "--url", at(plain), "--json"], env)).stdout);
    expect(asJson).toMatchObject({ running: true, url: at(plain), restrict: "default" });
    expect(asJson).not.toHaveProperty("pid");
    const near = await run(["status"], env);
    expect({ code: near.code, stdout: near.stdout }).toEqual({
      code: 3,
      stdout: "dbx is not running\n",
    });
  });

  test("is no matter for commands that act on this machine", async () => {
    const install = ["plugin", "install", "p", "1.0.0", "--source", "p.zip"];
    for (const words of [
      ["start"],
      ["stop"],
      ["restart"],
      ["destroy", "--yes"],
      ["config"],
      install,
    ]) {
      const name = words === install ? "plugin install" : words[0];
      const refusal = `dbx ${name} acts on the machine it runs on, so it takes no`;
      const asked = await run([...words, "--url", at(plain)]);
      expect({ words, code: asked.code }).toEqual({ words, code: 2 });
      expect(asked.stderr).toContain(`${refusal} --url`);
      const named = await run(words, { EVENTDBX_URL: at(plain) });
      expect({ words, code: named.code, stdout: named.stdout }).toEqual({
        ...{ words, code: 2, stdout: "" },
      });
      const remedy = `EVENTDBX_URL names ${at(plain)}; unset it to act on this machine`;
      expect(named.stderr).toContain(`${refusal} EVENTDBX_URL; ${remedy}`);
    }
    // Blank counts as absent.
    const stop = await run(["stop"], { EVENTDBX_URL: " " });
    expect({ code: stop.code, stdout: stop.stdout }).toEqual({
      code: 0,
      stdout: "dbx is not running\n",
    });
    expect((await fetch(`${at(plain)}/health`)).status).toBe(200);
  });

  test("keeps its key to itself", async () => {
    const body = JSON.stringify({ data_encryption_key: Buffer.alloc(32, 1).toString("base64") });
    const asked = await fetch(`${at(plain)}/admin/key/rotate`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body,
    });
    expect(asked.status).toBe(403);
  });
});

describe("a token", () => {
  test("has to be there before anybody is asked", async () => {
    const asked = await run(["aggregate", "list", "--url", at(plain)]);
    expect(asked.code).toBe(5);
    expect(asked.stderr).toContain("asks for a token: give --token, or set EVENTDBX_TOKEN");
    // These have no --token, or one that is about another token.
    for (const words of [["status"], ["token", "list"], ["token", "revoke", "--token", "x"]]) {
      const { code, stderr } = await run([...words, "--url", at(plain)]);
      expect({ words, code }).toEqual({ words, code: 5 });
      expect(stderr).toContain("asks for a token: set EVENTDBX_TOKEN (unauthenticated)");
      expect(stderr).not.toContain("--token");
    }
  });

  test("is sent to nobody who does not answer as dbx does", async () => {
    const seen: string[] = [];
    using stranger = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request) => {
        seen.push(JSON.stringify([...request.headers]));
        return new Response("<h1>hello</h1>");
      },
    });
    const url = `http://127.0.0.1:${stranger.port}`;
    const asked = await run(["aggregate", "list", "--url", url, "--token", token]);
    expect(asked.code).toBe(4);
    expect(asked.stderr).toContain("answers GET /health with 200, and not as dbx does");
    expect(seen).toHaveLength(1);
    expect(seen.join()).not.toContain(token);
  });

  test("follows no redirect", async () => {
    let asked = 0;
    using elsewhere = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => Response.json({ status: "ok", asked: ++asked }),
    });
    const to = `http://127.0.0.1:${elsewhere.port}/`;
    using mover = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => Response.redirect(to),
    });
    const url = `http://127.0.0.1:${mover.port}`;
    expect((await run(["aggregate", "list", "--url", url, "--token", token])).code).toBe(4);
    expect(asked).toBe(0);
  });

  test("that is refused there is told as such", async () => {
    const none = `EVT-${"0".repeat(64)}`;
    const asked = await run(["token", "list", "--url", at(plain)], { EVENTDBX_TOKEN: none });
    expect(asked.code).toBe(5);
    expect(asked.stderr).toContain("(unauthenticated)");
    expect(asked.stderr).not.toContain(none);
  });
});

describe("a connection that cannot be made", () => {
  const env = () => ({ EVENTDBX_TOKEN: token });
  const list = async (url: string, ...flags: string[]) => {
    const { code, stderr } = await run(["aggregate", "list", "--url", url, ...flags], env());
    expect(stderr).not.toContain("hint:");
    return `${code} ${stderr}`;
  };

  test("is told as what is wrong with the certificate", async () => {
    const serve = async (made: MadePair) =>
      Bun.serve({
        ...{ port: 0, hostname: "127.0.0.1", fetch: () => new Response("no") },
        tls: { cert: await Bun.file(made.cert).text(), key: await Bun.file(made.key).text() },
      });
    const named = await makePair(dir.path, "named", { names: "DNS:db.example.com" });
    const expired = await makePair(dir.path, "expired", { expired: true });
    using other = await serve(named);
    using old = await serve(expired);
    expect(await list(`https://127.0.0.1:${other.port}`, "--ca-file", named.cert)).toMatch(
      /^4 error: https:\S+: its certificate is for other names; /,
    );
    expect(await list(`https://127.0.0.1:${old.port}`, "--ca-file", expired.cert)).toMatch(
      /^4 error: https:\S+: its certificate has expired/,
    );
  });

  test("is told as the scheme that the server speaks", async () => {
    expect(await list(at(plain, "https"))).toMatch(/^4 .*does not speak TLS there; try http:\/\//);
    expect(await list(at(secure))).toMatch(/^7 .*if it speaks TLS, ask https:\/\//);
  });

  test("is no matter of this machine's status", async () => {
    expect(await list("http://127.0.0.1:1")).toMatch(/^7 error: no answer from 127\.0\.0\.1:1 /);
  });
});

test("a proxy's path before dbx's own is kept", async () => {
  using proxy = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      const { pathname, search } = new URL(request.url);
      if (!pathname.startsWith("/db/")) return new Response("no", { status: 404 });
      const { method, headers } = request;
      return fetch(`${at(plain)}${pathname.slice(3)}${search}`, { method, headers });
    },
  });
  const url = `http://127.0.0.1:${proxy.port}/db/`;
  const listed = await run(["aggregate", "list", "--url", url, "--token", token]);
  expect({ code: listed.code, stderr: listed.stderr }).toEqual({ code: 0, stderr: "" });
});

test("where REST is off, that is said", async () => {
  const home = join(dir.path, "graphql-alone");
  mkdirSync(home);
  await using server = await startForeground({ home, args: ["--api", "graphql"] });
  const env = { EVENTDBX_TOKEN: await issue(home) };
  const asked = await run(["aggregate", "list", "--url", at(server)], env);
  expect(asked.code).toBe(4);
  expect(asked.stderr).toContain("does not serve this: its REST surface is off");
  expect((await run(["token", "list", "--url", at(server)], env)).code).toBe(0);
});

test("what the environment names is complained of by its variable", async () => {
  const file = "/none/x.pem";
  const faults: [Record<string, string>, string][] = [
    [{ EVENTDBX_URL: "db.example.com" }, "EVENTDBX_URL: "],
    [{ EVENTDBX_URL: "http://127.0.0.1/", EVENTDBX_CA_FILE: file }, "EVENTDBX_CA_FILE is for"],
    [{ EVENTDBX_URL: "https://127.0.0.1/", EVENTDBX_CA_FILE: file }, "EVENTDBX_CA_FILE: cannot"],
  ];
  for (const [env, problem] of faults) {
    const asked = await run(["aggregate", "list", "--token", "EVT-x"], env);
    expect({ problem, code: asked.code }).toEqual({ problem, code: 2 });
    expect(asked.stderr).toContain(`error: ${problem}`);
    expect(asked.stderr).not.toContain("--");
  }
});

const wrong: readonly (readonly [string, readonly string[]])[] = [
  ["no address such as", ["--url", "db.example.com"]],
  ["no address such as", ["--url", "ftp://127.0.0.1/"]],
  ["takes scheme, host, port and path", ["--url", "http://user:secret@127.0.0.1/"]],
  ["takes scheme, host, port and path", ["--url", "http://127.0.0.1/?token=x"]],
  ["--ca-file is for https:// addresses", ["--url", "http://127.0.0.1/", "--ca-file", "x.pem"]],
  ["--ca-file: cannot read", ["--url", "https://127.0.0.1/", "--ca-file", "/none/x.pem"]],
  ["--url is given twice", ["--url", "http://a", "--url", "http://b"]],
  ["--url needs the address of a server", ["--url"]],
  ["unknown flag --ulr; did you mean --url?", ["--ulr"]],
];
test.each(wrong)("refused: %s", async (problem, flags) => {
  const asked = await run(["aggregate", "list", "--token", "EVT-x", ...flags]);
  expect({ code: asked.code, stdout: asked.stdout }).toEqual({ code: 2, stdout: "" });
  expect(asked.stderr).toContain(problem);
  expect(asked.stderr).not.toContain("secret");
});
