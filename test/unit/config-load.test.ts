// Default < file < environment < flag, every accepted spelling, and complaints that say where.

import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { keepInFile, loadConfiguration, type Given } from "../../src/cli/configuration.ts";
import { root } from "../../scripts/root.ts";
import { configKeys, variablesOf } from "../../src/cli/keys.ts";
import { newConfigText } from "../../src/cli/template.ts";
import { readToml } from "../../src/cli/toml.ts";
import { restrictionOf } from "../../src/model/config.ts";
import { tempDir } from "../support/temp.ts";

interface Sources {
  readonly file?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: Given;
}

async function load({ file, env = {}, flags = {} }: Sources) {
  using dir = tempDir();
  const configPath = join(dir.path, "config.toml");
  if (file !== undefined) writeFileSync(configPath, file);
  const loaded = await loadConfiguration({ env, cwd: "/cwd", home: "/home/me", configPath }, flags);
  const relative = (text: string) => text.replaceAll(dir.path, "DIR");
  return {
    ...loaded.config,
    data_dir: relative(loaded.config.data_dir),
    warnings: loaded.warnings.map(relative),
  };
}

/** The message with the test's own directory taken out. */
async function complaint(sources: Sources): Promise<string> {
  try {
    await load(sources);
  } catch (error) {
    return error instanceof Error ? error.message.replace(/\S*dbx-test-\w+/, "DIR") : String(error);
  }
  throw new Error("nothing to complain about");
}

/** The tables of a file that sets nothing. */
const emptyTables = {
  ...{ api: {}, storage: {}, admin: {}, grpc: {}, cors: {}, tls: {} },
  ...{ rate_limit: {}, socket: {}, replication: {} },
};

test("nothing at all gives the defaults of the README", async () => {
  expect(await load({})).toMatchObject({
    port: 7070,
    bind_addr: "0.0.0.0",
    data_dir: "/home/me/.eventdbx",
    restrict: "default",
    list_page_size: 10,
    page_limit: 1000,
    plugin_max_attempts: 10,
    api: { rest: true, graphql: true, grpc: true },
    storage: { durability: "full" },
    grpc: {},
    cors: {},
    socket: { bind_addr: "0.0.0.0:6363" },
    warnings: [],
  });
});

describe("the stronger source wins", () => {
  const file = "port = 1\npage_limit = 11\n[api]\nrest = false\n[storage]\ndurability = 'normal'\n";
  const env = {
    EVENTDBX_PAGE_LIMIT: "22",
    EVENTDBX_API_REST: "yes",
    EVENTDBX_STORAGE_DURABILITY: "full",
  };
  const rows = [
    ["the file over the default", { file }, { port: 1, page_limit: 11, rest: false }],
    ["the environment over the file", { file, env }, { port: 1, page_limit: 22, rest: true }],
    [
      "a flag over everything",
      { file, env, flags: { port: 3, page_limit: 33, "api.rest": false } },
      { port: 3, page_limit: 33, rest: false },
    ],
  ] as const;
  test.each(rows)("%s", async (_name, sources, wanted) => {
    const { port, page_limit, api, storage } = await load(sources);
    expect({ port, page_limit, rest: api.rest }).toEqual(wanted);
    expect(storage.durability).toBe("env" in sources ? "full" : "normal");
  });

  test("a blank variable counts as absent", async () => {
    expect(await load({ file, env: { EVENTDBX_PORT: " " } })).toMatchObject({ port: 1 });
  });
});

describe("spellings", () => {
  const words: readonly (readonly [string, string])[] = [
    ...["false", '"off"', '"0"', '"No"', '"none"', '"unrestricted"', '"dev"'].map(
      (word) => [word, "off"] as const,
    ),
    ...["true", '"default"', '"yes"', '" ON "', '"prod"', '"restricted"', '"hybrid"', "1"].map(
      (word) => [word, "default"] as const,
    ),
    ...['"strict"', '"ALL"', '"enforced"'].map((word) => [word, "strict"] as const),
  ];
  test.each(words)("restrict = %s is %s", async (word, wanted) => {
    expect(await load({ file: `restrict = ${word}\n` })).toMatchObject({ restrict: wanted });
    const bare = word.replaceAll('"', "");
    expect(restrictionOf(bare)).toBe(restrictionOf(wanted));
    expect(await load({ env: { EVENTDBX_RESTRICT: bare } })).toMatchObject({ restrict: wanted });
    expect(await load({ flags: { restrict: bare } })).toMatchObject({ restrict: wanted });
  });

  const one = { rest: false, graphql: false, grpc: false };
  const apis = [
    ['api = "all"', { rest: true, graphql: true, grpc: true }],
    ['api = "REST"', { ...one, rest: true }],
    ['api_mode = "grpc"', { ...one, grpc: true }],
    ["[api]\ngrpc = false", { rest: true, graphql: true, grpc: false }],
    ["[api_mode]\nrest = false", { rest: false, graphql: true, grpc: true }],
    ["api = { graphql = false }", { rest: true, graphql: false, grpc: true }],
    ["[api]\ngrpc = false\n[grpc]\nenabled = true", { rest: true, graphql: true, grpc: false }],
  ] as const;
  test.each(apis)("%s", async (file, wanted) => {
    const { api, warnings } = await load({ file: `${file}\n` });
    expect({ api, warnings }).toEqual({ api: wanted, warnings: [] });
  });

  test("older names of a key", async () => {
    expect(await load({ file: "cache_threshold = 5\n" })).toMatchObject({ memory_threshold: 5 });
    const both = await load({ file: "memory_threshold = 6\ncache_threshold = 5\n" });
    expect(both).toMatchObject({ memory_threshold: 6, warnings: [] });
    expect(await load({ env: { EVENTDBX_CACHE_THRESHOLD: "7" } })).toMatchObject({
      memory_threshold: 7,
    });
    expect(await load({ env: { EVENTDBX_API: "graphql" } })).toMatchObject({
      api: { rest: false, graphql: true, grpc: false },
    });
  });

  test("a blank secret counts as absent", async () => {
    const config = await load({ file: 'data_encryption_key = " "\n' });
    expect("data_encryption_key" in config).toBe(false);
  });

  test("a path means the same from everywhere", async () => {
    expect((await load({ file: 'data_dir = "~/db"\n' })).data_dir).toBe("/home/me/db");
    expect((await load({ file: 'data_dir = "db"\n' })).data_dir).toBe("DIR/db");
    expect((await load({ env: { EVENTDBX_DATA_DIR: "db" } })).data_dir).toBe("/cwd/db");
    expect((await load({ flags: { data_dir: "/abs" } })).data_dir).toBe("/abs");
  });
});

describe("complaints name the place", () => {
  const argon2 = `$argon2id$v=19$m=19456,t=2,p=1$${"c2Fs".repeat(10)}c2E$${"a".repeat(43)}`;
  const rows: readonly (readonly [Sources, string])[] = [
    [
      { file: "a = 1\nport = 'x'\n" },
      "DIR/config.toml, line 2: port must be an integer from 0 to 65535",
    ],
    [
      { file: "port = 70000\n" },
      "DIR/config.toml, line 1: port must be an integer from 0 to 65535",
    ],
    [{ file: "[api]\n\nrest = 1\n" }, "DIR/config.toml, line 3: api.rest must be a boolean"],
    [
      { file: 'restrict = "hard"\n' },
      "DIR/config.toml, line 1: restrict must be one of: off, default, strict",
    ],
    [{ env: { EVENTDBX_RESTRICT: "hard" } }, "EVENTDBX_RESTRICT must be one of: off, default, st"],
    [{ flags: { restrict: "hard" } }, "--restrict must be one of: off, default, strict"],
    [{ file: 'api = "soap"\n' }, "DIR/config.toml, line 1: invalid api value 'soap'"],
    [{ file: "page_limit = 9007199254740993\n" }, "DIR/config.toml, line 1, column 14: "],
    [{ file: "port 1\n" }, "DIR/config.toml, line 1, column 6: "],
    [{ env: { EVENTDBX_PORT: "x" } }, "EVENTDBX_PORT must be an integer from 0 to 65535"],
    [{ env: { EVENTDBX_API: "x" } }, "EVENTDBX_API: invalid api value 'x'"],
    [{ env: { EVENTDBX_API_REST: "maybe" } }, "EVENTDBX_API_REST must be a boolean"],
    [
      { file: 'dek = "c2VjcmV0"\n' },
      "DIR/config.toml, line 1: dek must be base64 of exactly 32 bytes",
    ],
    ...[
      ...["correct horse battery", "$2b$10$abcdefghijklmnopqrstuv", argon2.replace("id$", "i$")],
      ...[argon2.replace("v=19", "v=16"), argon2.replace("19456", "1000000")],
      ...[argon2.slice(0, -22), `${argon2} `, `${argon2}=`],
    ].map(
      (hash) =>
        [
          { file: `[admin]\nmaster_key_hash = "${hash}"\n` },
          "DIR/config.toml, line 2: admin.master_key_hash must be an Argon2id hash, as",
        ] as const,
    ),
    ...["007", "00", "07071", "65536"].map(
      (port) =>
        [
          { env: { EVENTDBX_GRPC_BIND_ADDR: `localhost:${port}` } },
          "EVENTDBX_GRPC_BIND_ADDR must be host:port",
        ] as const,
    ),
    [{ flags: { port: -1 } }, "--port must be an integer from 0 to 65535"],
  ];
  test.each(rows)("%j", async (sources, wanted) => {
    expect(await complaint(sources)).toStartWith(wanted);
  });

  test("what the installers take from the environment is known", async () => {
    const installers = ["sh", "ps1"].map((kind) =>
      readFileSync(join(root, `scripts/eventdbx-installer.${kind}`), "utf8"),
    );
    const names = new Set(installers.join("").match(/\bEVENTDBX_[A-Z_]+\b/g));
    expect(names.size).toBeGreaterThan(4);
    const env = Object.fromEntries([...names].map((name) => [name, " "]));
    expect((await load({ env })).warnings).toEqual([]);
  });

  test("what nobody knows is a warning with the nearest name", async () => {
    const file = "prot = 1\nplugins = []\n[api]\nsoap = true\nrst = true\n[tsl]\ncert = 'c'\n";
    const { warnings } = await load({ file, env: { EVENTDBX_PRT: "1", EVENTDBX_TOKEN: "t" } });
    expect(warnings).toEqual([
      "DIR/config.toml, line 1: unknown key prot; did you mean port?",
      "DIR/config.toml, line 4: unknown key api.soap",
      "DIR/config.toml, line 5: unknown key api.rst; did you mean api.rest?",
      "DIR/config.toml: unknown key tsl; did you mean tls?",
      "environment: unknown variable EVENTDBX_PRT; did you mean EVENTDBX_PORT?",
    ]);
  });
});

test("what is loaded cannot be changed", async () => {
  const config = await load({});
  expect(Object.isFrozen(config.api)).toBe(true);
});

describe("keepInFile", () => {
  test("makes a described file of mode 0600 where there is none", async () => {
    using dir = tempDir();
    const path = join(dir.path, "deep", "config.toml");
    expect(await keepInFile(path, {})).toBe(false);
    expect(await keepInFile(path, { port: 1, "api.grpc": false })).toBe(true);
    const text = readFileSync(path, "utf8");
    expect(text).toContain(
      "# Port of the HTTP listener; 0 takes a free one.\n# port = 7070\nport = 1\n",
    );
    expect(readToml(text, path)).toEqual({ ...emptyTables, port: 1, api: { grpc: false } });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await keepInFile(path, { port: 1 })).toBe(false);
  });

  test("spells a word for several surfaces out when one of them changes", async () => {
    using dir = tempDir();
    const path = join(dir.path, "config.toml");
    mkdirSync(dir.path, { recursive: true });
    writeFileSync(path, 'api = "rest" # only\n');
    await keepInFile(path, { "api.grpc": true });
    expect(readFileSync(path, "utf8")).toBe(
      "api = { rest = true, graphql = false, grpc = true } # only\n",
    );
  });

  test("the described file sets nothing and shows every default as it is", async () => {
    const text = newConfigText();
    expect(readToml(text, "new")).toEqual(emptyTables);
    const set = text.replaceAll(/^# (\w+ = .+)$/gm, "$1");
    expect(await load({ file: set })).toEqual(await load({}));
  });
});

test("every key is described and has variables of its own", () => {
  const variables = configKeys.flatMap(variablesOf);
  expect(new Set(variables).size).toBe(variables.length);
  for (const { name, schema } of configKeys) {
    expect({ name, text: schema["description"] }).toEqual({ name, text: expect.any(String) });
  }
});
