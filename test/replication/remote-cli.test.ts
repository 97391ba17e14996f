// `dbx remote`: what it prints, what it writes into the configuration file, that a running server
// follows at once, and that the audit trail tells it.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dbx, startForeground } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let home: string;
const [keyA, keyB] = [
  "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw",
];
const configPath = () => join(home, ".eventdbx/config.toml");
const configText = () => readFileSync(configPath(), "utf8");

beforeEach(() => {
  dir = tempDir();
  home = dir.path;
});
afterEach(() => dir[Symbol.dispose]());

const remote = (...args: string[]) => dbx(["remote", ...args], { home });
async function ok(...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await remote(...args);
  expect({ args, stderr, code }).toMatchObject({ args, code: 0 });
  return stdout;
}
/** Out: the exit code and what stands after `error: ` of a command that MUST fail. */
async function refused(...args: string[]): Promise<string> {
  const { stdout, stderr, code } = await remote(...args);
  expect(stdout).toBe("");
  return `${code} ${/error: (.*)/.exec(stderr)?.[1]}`;
}

test("add, ls, show, key and rm print what people and programs expect", async () => {
  expect(await ok("ls")).toBe("(no remotes configured)\n");
  expect(await ok("ls", "--json")).toBe("{}\n");
  expect(await ok("add", "b", "10.0.0.7", "--public-key", `${keyA}=`)).toBe(
    `Remote 'b' set to endpoint tcp://10.0.0.7:6363 with pinned key ${keyA}\n`,
  );
  await ok("add", "a", "db.example.com", "--public-key", keyB, "--port", "7000", "--allow", "read");
  expect(await ok("ls")).toBe("a tcp://db.example.com:7000\nb tcp://10.0.0.7:6363\n");
  expect(JSON.parse(await ok("ls", "--json"))).toEqual({
    a: { endpoint: "tcp://db.example.com:7000", public_key: keyB, allow: ["read"] },
    b: { endpoint: "tcp://10.0.0.7:6363", public_key: keyA },
  });
  expect(await ok("show", "b")).toBe(
    `name: b\nendpoint: tcp://10.0.0.7:6363\npublic_key: ${keyA}\n`,
  );
  expect(await ok("show", "a")).toEndWith(`public_key: ${keyB}\nallow: read\n`);
  expect(await ok("rm", "b")).toBe("Removed remote 'b'\n");
  expect(await ok("ls")).toBe("a tcp://db.example.com:7000\n");

  const key = await ok("key");
  expect(key).toMatch(/^[A-Za-z0-9+/]{43}\n$/);
  const pub = join(home, ".eventdbx/replication.pub");
  expect(await ok("key", "--show-path")).toBe(`${key}path: ${pub}\n`);
  expect(readFileSync(pub, "utf8")).toBe(key.trim());
  expect(statSync(join(home, ".eventdbx/replication.key")).mode & 0o777).toBe(0o600);
});

const endpoints: readonly (readonly [string, string])[] = [
  ["10.0.0.7", "tcp://10.0.0.7:6363"],
  ["tcp://10.0.0.7", "tcp://10.0.0.7:6363"],
  ["TCP://10.0.0.7:99", "tcp://10.0.0.7:99"],
  ["db.example.com:65535", "tcp://db.example.com:65535"],
  ["::1", "tcp://[::1]:6363"],
  ["[fe80::1%eth0]", "tcp://[fe80::1%eth0]:6363"],
  ["tcp://[::1]:99", "tcp://[::1]:99"],
];
test.each(endpoints)("the address %s becomes %s", async (address, endpoint) => {
  expect(await ok("add", "n", address, "--public-key", keyA)).toContain(` ${endpoint} `);
});

describe("refused, and nothing is written", () => {
  const key = ["--public-key", keyA];
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["2 remote name cannot be empty (invalid_argument)", ["add", " ", "::1", ...key]],
    [
      "2 remote name must be 1 to 64 letters, digits, - or _ (invalid_argument)",
      ["add", "a.b", "::1", ...key],
    ],
    ["2 remote IP address cannot be empty (invalid_argument)", ["add", "n", "", ...key]],
    [
      "2 remote IP address must not include a protocol scheme, unless it is tcp (invalid_argument)",
      ["add", "n", "http://h", ...key],
    ],
    [
      "2 remote port must be greater than zero (invalid_argument)",
      ["add", "n", "h", "--port", "0", ...key],
    ],
    ["2 --port 7 contradicts h:8 (invalid_argument)", ["add", "n", "h:8", "--port", "7", ...key]],
    ["2 --public-key is missing (invalid_argument)", ["add", "n", "h"]],
    ["2 public key cannot be empty (invalid_argument)", ["add", "n", "h", "--public-key", " "]],
    [
      "2 public key must decode to 32 bytes (invalid_argument)",
      ["add", "n", "h", "--public-key", "AAAA"],
    ],
    [
      "2 a remote may be allowed read, append, schemas, not 'write' (invalid_argument)",
      ["add", "n", "h", ...key, "--allow", "read,write"],
    ],
    ["3 no remote named 'n' is configured (not_found)", ["rm", "n"]],
    ["3 no remote named 'n' is configured (not_found)", ["show", "n"]],
  ];
  test.each(cases)("%s", async (words, args) => {
    expect(await refused(...args)).toBe(words);
    expect(existsSync(configPath())).toBe(false);
  });

  test("a name that is taken, a key that another name has, this node's own key", async () => {
    await ok("add", "n", "h", ...key, "--allow", "read");
    const before = configText();
    expect(await refused("add", "n", "i", "--public-key", keyB)).toBe(
      "4 remote 'n' already exists (use --replace to overwrite) (already_exists)",
    );
    expect(await refused("add", "m", "i", ...key)).toBe(
      "4 remote 'n' has this public key already (already_exists)",
    );
    const own = (await ok("key")).trim();
    expect(await refused("add", "m", "i", "--public-key", own)).toBe(
      "2 this is the public key of this node itself; run dbx remote key on the other one (invalid_argument)",
    );
    expect(configText()).toBe(before);
    // Rights that were narrowed stay so, until somebody says otherwise.
    await ok("add", "n", "i", "--public-key", keyB, "--replace");
    expect(await ok("show", "n")).toEndWith(`public_key: ${keyB}\nallow: read\n`);
    await ok("add", "n", "i", "--public-key", keyB, "--replace", "--allow", "append,schemas,read");
    expect(await ok("show", "n")).toEndWith("allow: read,append,schemas\n");
  });
});

test("comments, order and unknown keys of the file survive an add, a replace and a removal", async () => {
  mkdirSync(join(home, ".eventdbx"));
  const text = [
    "# mine\nport = 7070 # here\n\n# the old one\n[remotes.old] # since May\n",
    `endpoint = "tcp://h:1"\n# pinned by hand\npublic_key = '${keyA}='\n\n`,
    "[api]\nrest = true\n",
  ].join("");
  writeFileSync(configPath(), text);
  await ok("add", "new", "h", "--public-key", keyB);
  const added = `\n[remotes.new]\nendpoint = "tcp://h:6363"\npublic_key = "${keyB}"\n`;
  expect(configText()).toBe(`${text}${added}`);
  await ok("add", "new", "::1", "--public-key", keyB, "--replace");
  expect(configText()).toBe(`${text}${added.replace("h:6363", "[::1]:6363")}`);
  await ok("rm", "new");
  expect(configText()).toBe(text);
  await ok("rm", "old");
  expect(configText()).toBe(
    "# mine\nport = 7070 # here\n\n# the old one\n# pinned by hand\n\n[api]\nrest = true\n",
  );
});

test("a running server follows at once, and the trail tells each node by itself", async () => {
  // Offline first: the key and the file exist before there is any store.
  await ok("add", "first", "h", "--public-key", keyA);
  await using server = await startForeground({ home });
  expect(existsSync(join(home, ".eventdbx/replication.key"))).toBe(true);
  const added = await remote("add", "second", "::1", "--public-key", keyB);
  expect(added.stderr).toBe("followed at once: remotes\n");
  await ok("rm", "first");
  server.kill("SIGTERM");
  await server.exited;
  await ok("add", "second", "h", "--public-key", keyB, "--replace", "--allow", "read");
  const { stdout } = await dbx(["audit", "--action", "config.change", "--json"], { home });
  const entries: { issued_by: object; details: { changed: Record<string, unknown> } }[] =
    JSON.parse(stdout);
  const changes = entries.map(({ details: { changed } }) =>
    Object.fromEntries(Object.entries(changed).filter(([name]) => name.startsWith("remotes"))),
  );
  const second = { endpoint: "tcp://[::1]:6363", public_key: keyB };
  expect(changes).toEqual([
    { "remotes.first": { endpoint: "tcp://h:6363", public_key: keyA } },
    { "remotes.second": second },
    { "remotes.first": null },
    { "remotes.second": { ...second, endpoint: "tcp://h:6363", allow: ["read"] } },
  ]);
});

test("a server does not start with a key that others may read, and says which file", async () => {
  await ok("key");
  const path = join(home, ".eventdbx/replication.key");
  expect((await Bun.$`chmod 644 ${path}`).exitCode).toBe(0);
  const { code, stderr } = await dbx(["start", "--foreground", "--port", "0"], { home });
  expect(code).toBe(4);
  expect(stderr).toContain(`error: ${path} is open to others (mode 0644)`);
});
