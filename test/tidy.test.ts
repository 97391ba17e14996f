/**
 * The architecture as data, and the tests that hold the tree to it. The rules themselves are in
 * test/tidy/, where each is shown a culprit. Changing a table here is a design decision: it needs
 * a paragraph in src/DESIGN.md.
 */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../package.json";
import { root } from "../scripts/root.ts";
import { importsOf } from "../scripts/sources.ts";
import * as graph from "./tidy/graph.ts";
import * as text from "./tidy/text.ts";

/** Root files that everybody may use: they import nothing but types. */
const everywhere = ["log.ts", "system.ts", "version.ts"];

const mayImport: graph.ImportTable = {
  model: [],
  api: ["model", ...everywhere],
  wire: ["model", "api"],
  storage: ["model", ...everywhere],
  engine: ["model", "api", "storage/storage.ts", "storage/documents.ts", ...everywhere],
  plugins: [
    ...["model", "api", "wire", "storage/storage.ts", "storage/deliveries.ts"],
    ...["storage/documents.ts"],
    ...everywhere,
  ],
  client: ["model", "api", "wire", ...everywhere],
  replication: ["model", "api", "wire", "client", "storage/documents.ts", ...everywhere],
  // Copies what a storage keeps on the disk, beneath any engine.
  backup: ["model", "api/decode.ts", "api/json.ts", "storage", ...everywhere],
  server: ["model", "api", "wire", ...everywhere],
  cli: [
    ...["model", "api", "client", "replication", "server", "plugins", "backup", "open.ts"],
    // config.toml is replaced as safely as every other small file.
    ...["storage/documents.ts", ...everywhere],
    // The secret file by which the command line proves that it is on the server's machine.
    "engine/machine-key.ts",
    // Whether the data directory is in use: the one fact that outlives no crash.
    "storage/sqlite/lock.ts",
    // Which format it is in, which an upgrade must know of a database that it does not open.
    "storage/sqlite/format.ts",
  ],
  "open.ts": [
    ...["model", "api", "wire", "storage", "engine", "plugins", "client", "replication", "server"],
    ...everywhere,
  ],
  "main.ts": ["cli", "open.ts", "model", "api", ...everywhere],
  "log.ts": [],
  "system.ts": [],
  "version.ts": [],
};

/** One home per package. `node:` and `bun:` modules have one too where that keeps a layer pure. */
const homeOf: Readonly<Record<string, readonly string[]>> = {
  // The language of shapes. Besides the nouns: flags, the documents of the engine, and the types by
  // which the client fills what the operation table names.
  "@sinclair/typebox": ["model", "api", "cli", "engine/token-file.ts", "client/http.ts"],
  citty: ["cli"],
  // Patterns of schemas, matched in linear time.
  re2js: ["model/schema"],
  elysia: ["server"],
  "@grpc/grpc-js": ["server/grpc", "plugins/emitters/grpc.ts"],
  // Messages of gRPC; who carries them is somebody else's business.
  protobufjs: ["wire"],
  // Messages of Cap'n Proto, once wire/pointers.ts has looked at them.
  "capnp-es": ["wire"],
  "@elysiajs/graphql-yoga": ["server/graphql"],
  "@graphql-yoga/render-graphiql": ["server/graphql"],
  graphql: ["server/graphql"],
  "graphql-yoga": ["server/graphql"],
  "smol-toml": ["cli"],
  yazl: ["cli/export"],
  // Zip archives of strangers: bundles of plugins.
  yauzl: ["plugins/install-zip.ts"],
  "bun:sqlite": ["storage/sqlite"],
  // For its online backup, which bun:sqlite lacks.
  "node:sqlite": ["storage/sqlite/snapshot.ts"],
  // Exchanges two directories at once, which no runtime offers.
  "bun:ffi": ["backup/swap.ts"],
  bun: ["storage", "engine", "plugins", "client", "replication", "server", "cli", "open.ts"],
  // Whether bytes are text, without making it.
  "node:buffer": ["wire"],
  "node:crypto": [
    ...["model", "api", "storage", "engine", "plugins", "replication", "backup", "server", "cli"],
  ],
  "node:fs": [
    ...[
      "storage",
      "plugins",
      "replication/keys.ts",
      "backup",
      "engine",
      "server",
      "cli",
      "open.ts",
    ],
  ],
  "node:http": ["client", "server", "plugins"],
  "node:https": ["client", "server", "plugins"],
  "node:net": ["server", "client", "plugins"],
  "node:os": ["cli", "server/places.ts"],
  "node:path": [
    ...[
      "storage",
      "plugins",
      "replication/keys.ts",
      "backup",
      "engine",
      "server",
      "cli",
      "open.ts",
    ],
  ],
  "node:stream": ["cli/export", "cli/output.ts", "backup/archive.ts"],
  "node:tls": ["client"],
  "node:timers": ["storage", "plugins", "engine", "server", "cli"],
  "node:tty": ["cli"],
  "node:readline": ["cli"],
  "node:util": ["cli"],
  "node:worker_threads": ["storage", "engine"],
  "node:zlib": ["plugins/install-bundle.ts", "cli/upgrade/archive.ts", "backup/archive.ts"],
};

const sqlHomes = ["src/storage/sqlite", "src/storage/postgres"];

/** Places where a value of unknown shape becomes a typed one: only these may say `as`. */
const decoders = [
  ...["src/api/decode.ts", "src/api/json.ts", "src/storage/sqlite"],
  // Made by a compiler, which narrows numbers to those of a union.
  "src/wire/generated",
  // Canonical text is a branded string; these two make it.
  ...["src/model/canonical.ts", "src/model/aggregate.ts"],
];

const bansInSource: readonly text.Ban[] = [
  {
    pattern: /\bconsole\.\w+/g,
    instead: "print through cli/output.ts, log through log.ts",
    except: ["src/cli/output.ts", "src/log.ts"],
  },
  {
    pattern: /\bprocess\.stdout\b|\bBun\.stdout\b/g,
    instead: "cli/output.ts is the only writer to stdout",
    except: ["src/cli/output.ts", "src/main.ts"],
  },
  {
    pattern: /\bprocess\.(?:exit\b|exitCode\b|abort\b|reallyExit\b)/g,
    instead: "return an exit code to main.ts",
    except: ["src/main.ts"],
  },
  {
    pattern: /\bprocess\.env\b|\bBun\.env\b|\bimport\.meta\.env\b/g,
    instead: "the configuration is resolved once, in cli, and passed by value",
    except: ["src/cli/command.ts", "src/cli/config.ts", "src/main.ts"],
  },
  {
    pattern:
      /\bMath\.random\b|\brandomUUID(?:v7)?\b|\bgetRandomValues\b|\brandomBytes\b|\brandomInt\b/g,
    instead: "randomness and ids come from System",
    // The name of a temporary file, which no test needs to foresee.
    except: ["src/system.ts", "src/storage/documents.ts"],
  },
  {
    pattern: /\bDate\.now\b|\bnew Date\(\s*\)|\bTemporal\.Now\b/g,
    instead: "time comes from System",
    except: ["src/system.ts"],
  },
  {
    pattern: /\bJSON\.parse\b|\.json\(\)/g,
    instead: "it rounds numbers and forgets duplicate keys; use canonicalize and fromJson",
    // Text that dbx wrote itself and that holds no payload: documents, cursors, errors, sessions.
    except: [
      ...["src/model", "src/api/json.ts", "src/engine/token-file.ts", "src/engine/cursor.ts"],
      ...["src/cli/daemon.ts", "src/client", "src/server/rest.ts"],
      // The note of an archived event, a string.
      "src/storage/sqlite/blocks.ts",
      // Definitions of plugins, checked when they were put, and sentences.
      "src/storage/sqlite/deliveries-rows.ts",
    ],
  },
  {
    pattern: /\bcatch\s*(?:\([^)]*\)\s*)?\{\s*\}/g,
    instead: "say why nothing is lost",
    in: "text",
  },
  { pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/g, instead: "finish it or name the gap", in: "text" },
  {
    pattern: /^export default\b/gm,
    instead: "export by name",
  },
  {
    pattern: /\bas (?!const\b)[\w({[]/g,
    instead: "narrow or decode; only a decoder may cast",
    except: decoders,
  },
  { pattern: /[\w)\]]!(?=[.,;)\]([\s]|$)(?!\s*=)/gm, instead: "handle the missing value" },
  { pattern: /\bconstructor\(.*\bprivate\b|^@\w+/gm, instead: "functions over classes" },
  {
    pattern: /^export \* from/gm,
    instead: "import the file that owns the thing",
  },
];

/** Tests may look into an answer of unknown shape; what is shipped or decides may not. */
const bansOutsideTests: readonly text.Ban[] = [
  {
    pattern: /(?::|<|\bas|\||,)\s*any\b(?!\()|\bany\[\]/g,
    instead: "use unknown and decode",
  },
  { pattern: /\bas unknown as\b/g, instead: "decode" },
];

const bansEverywhere: readonly text.Ban[] = [
  {
    pattern: /@ts-(?:ignore|nocheck|expect-error)|(?:oxlint|eslint)-disable/g,
    instead: "fix the cause",
    in: "text",
    except: ["test/tidy.test.ts", "test/tidy"],
  },
];

const bansInTests: readonly text.Ban[] = [
  { pattern: /\b(?:test|it|describe)\.only\(/g, instead: "run all tests" },
  {
    pattern:
      /\bBun\.sleep(?:Sync)?\(|\bsetTimeout\(\s*(?:resolve|done|r|ok)\b|\bpromises\.setTimeout\b/g,
    instead: "await the condition; a sleep is either too short or too long",
  },
  { pattern: /\bmock\.module\(|\bjest\.mock\(/g, instead: "use the real thing" },
];

function read(pattern: string): graph.SourceFile[] {
  const paths = [...new Bun.Glob(pattern).scanSync({ cwd: root, dot: true })].sort();
  return paths.map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

const source = read("src/**/*.ts");
const tests = read("test/**/*.ts");
const scripts = read("scripts/**/*.ts");
const shell = read("{scripts,.ci}/**/*").filter((file) => file.text.startsWith("#!"));
const documents = [
  ...["*.md", "*.json", "*.toml", "src/**/*.md", "proto/**/*", "capnp/**/*"],
  ...["test/**/*.md", "test/**/*.json", "scripts/**/*.md"],
].flatMap(read);
const dotFiles = read(".{gitignore,gitattributes,npmrc,*rc.json}");
const written = [...source, ...tests, ...scripts];

test("the patterns above find files, so that no rule runs over nothing", () => {
  for (const files of [source, tests, scripts, shell, documents, dotFiles]) {
    expect(files.length).toBeGreaterThanOrEqual(4);
  }
});

describe("the tree", () => {
  test("imports follow the table", () => {
    expect(graph.checkImportTable(source, mayImport)).toEqual([]);
  });
  test("clock and randomness are taken where the parts are wired, elsewhere only their type", () => {
    const values_from = ["src/open.ts", "src/main.ts", "src/cli"];
    expect(graph.checkTypeOnly(source, { module: "src/system.ts", values_from })).toEqual([]);
  });
  test("the port knows no implementation", () => {
    const port = source.filter(({ path }) => /^src\/storage\/[^/]+\.ts$/.test(path));
    const outside = port.map(({ path, text: content }) => ({
      path: path.replace("src/storage/", "src/port/"),
      text: content,
    }));
    expect(graph.checkImportTable(outside, { port: ["model", ...everywhere] })).toEqual([]);
  });
  test("every package has one home", () => {
    expect(graph.checkHomes(source, homeOf)).toEqual([]);
  });
  test("there are no import cycles", () => {
    expect(graph.findCycles(source)).toEqual([]);
  });
  test("every file is reached from main.ts", () => {
    expect(graph.findDeadFiles(source, "src/main.ts")).toEqual([]);
  });
  test("every export is imported somewhere", () => {
    const byHand = source.filter(({ path }) => !path.startsWith("src/wire/generated/"));
    const others = source.filter((file) => !byHand.includes(file));
    expect(graph.findUnusedExports(byHand, [...others, ...tests, ...scripts])).toEqual([]);
  });
  test("names say what a file owns", () => {
    expect(text.checkNames(written.map(({ path }) => path))).toEqual([]);
  });
  test("a file with tests is one that bun test finds", () => {
    const strays = tests.filter(
      (file) => /from "bun:test"/.test(file.text) && /^(?:test|describe)\(/m.test(file.text),
    );
    expect(strays.filter(({ path }) => !path.endsWith(".test.ts"))).toEqual([]);
  });
});

describe("every file", () => {
  test("is at most 400 lines", () => {
    // Nobody reads or changes what a compiler wrote.
    const byHand = written.filter(({ path }) => !path.startsWith("src/wire/generated/"));
    expect(text.checkFileLengths(byHand, { lines_max: 400, ratchet: {} })).toEqual([]);
  });
  test("has functions of at most 70 lines", () => {
    expect(text.checkFunctionLengths(written, 70)).toEqual([]);
  });
  test("has lines of at most 100 columns", () => {
    expect(text.checkLineLengths([...written, ...shell], 100)).toEqual([]);
  });
  test("opens by saying what it is for", () => {
    expect(text.checkHeaders(written, 5)).toEqual([]);
  });
  test("imports Event when it says Event", () => {
    expect(text.checkUnimportedEvent(written)).toEqual([]);
  });
  test("says nothing about the machine it was written on", () => {
    expect(text.checkLeaks([...written, ...shell, ...documents, ...dotFiles])).toEqual([]);
  });
});

describe("banned calls", () => {
  test("in src", () => {
    expect(text.checkBans(source, bansInSource)).toEqual([]);
  });
  test("in tests", () => {
    expect(text.checkBans(tests, bansInTests)).toEqual([]);
  });
  test("in src and scripts", () => {
    expect(text.checkBans([...source, ...scripts], bansOutsideTests)).toEqual([]);
  });
  test("anywhere", () => {
    expect(text.checkBans(written, bansEverywhere)).toEqual([]);
  });
  test("SQL outside the storages", () => {
    expect(text.checkSql(source, sqlHomes)).toEqual([]);
  });
  test("a test that can be skipped says why", () => {
    const planted = "test/tidy/rules.test.ts";
    expect(text.checkSkipReasons(tests.filter(({ path }) => path !== planted))).toEqual([]);
  });
});

describe("package.json", () => {
  const { dependencies, devDependencies } = manifest;

  test("pins every version exactly, and one Bun", () => {
    const all = Object.entries({ ...dependencies, ...devDependencies });
    expect(all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
    const pins = [manifest.engines.bun, manifest.packageManager, devDependencies.bun];
    expect(new Set(pins.map((pin) => pin.replace("bun@", "")))).toEqual(new Set([Bun.version]));
  });
  test("names no dependency that src does not use", () => {
    const imported = new Set(source.flatMap((file) => importsOf(file.text)).map(graph.packageOf));
    expect(Object.keys(dependencies).filter((name) => !imported.has(name))).toEqual([]);
  });
  test("keeps test tools out of what is shipped", () => {
    const shipped = new Set(Object.keys(dependencies));
    const packages = source.flatMap((file) => importsOf(file.text)).map(graph.packageOf);
    const foreign = packages.filter((name) => !/^(?:\.|node:|bun)/.test(name));
    expect(foreign.filter((name) => !shipped.has(name))).toEqual([]);
  });
  test("brings one TypeBox, because two do not know each other's schemas", () => {
    const lock = readFileSync(join(root, "bun.lock"), "utf8");
    const copies = [...lock.matchAll(/^ {4}"([^"]*@sinclair\/typebox)":/gm)].map(([, key]) => key);
    expect(copies).toEqual(["@sinclair/typebox"]);
    expect(lock).not.toMatch(/https?:\/\//);
  });
  test("has the version at the top of the changelog", () => {
    const changelog = readFileSync(join(root, "CHANGELOG.md"), "utf8");
    expect(/^## (\d+\.\d+\.\d+)/m.exec(changelog)?.[1]).toBe(manifest.version);
  });
});
