/**
 * Every shell block of README.md runs here, in order, as a reader would run it: one home directory,
 * one checkout, `dbx` from the PATH that the page itself sets. Only the port differs: every start
 * takes a free one (EVENTDBX_PORT=0), and 7070 is replaced by it in each block and its output.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { root } from "../../scripts/root.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { run, type Ran } from "../support/checkout.ts";
import { compiledDbx } from "../support/compiled.ts";
import { blocksOf, isShell, type Block } from "../support/readme.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");
const page = blocksOf(readme);
const runnable = page.filter((block) => isShell(block) && block.notRun === null);
const lacking = ["curl", "openssl", "sha256sum"].some((tool) => Bun.which(tool) === null);

/** What one block leaves for the next: its directory and its exported variables, and no more. */
const session = `set -eu
cd "$(cat "$README_STATE/directory")"
. "$README_STATE/variables"
. "$README_STATE/block"
pwd >"$README_STATE/directory"
export -p >"$README_STATE/variables"
`;

let place: TempDir;
let foreground: Bun.Subprocess<"ignore", "ignore", "pipe"> | undefined;
/** What the reader's shell starts with. */
let environment: Record<string, string>;

beforeAll(async () => {
  place = tempDir();
  for (const folder of ["home", "state", "checkout/scripts"]) {
    mkdirSync(join(place.path, folder), { recursive: true });
  }
  // In the place of the script that runs the source: what readers have installed.
  symlinkSync(await compiledDbx(), join(place.path, "checkout/scripts/dbx"));
  environment = {
    HOME: join(place.path, "home"),
    PATH: process.env["PATH"] ?? "",
    USER: "reader",
    LANG: "C.UTF-8",
    EVENTDBX_PORT: "0",
    EVENTDBX_BIND_ADDR: "127.0.0.1",
    EVENTDBX_SOCKET_BIND_ADDR: "127.0.0.1:0",
    README_STATE: join(place.path, "state"),
  };
  writeFileSync(join(place.path, "state/directory"), join(place.path, "checkout"));
  writeFileSync(join(place.path, "state/variables"), "");
});

afterAll(async () => {
  const stopped = await run([join(root, "scripts/dbx"), "stop"], {
    cwd: place.path,
    env: environment,
  });
  foreground?.kill("SIGKILL");
  place[Symbol.dispose]();
  expect(stopped.code).toBe(0);
});

/** The port of the running server, or of the last one; null before the first start. */
function portNow(): string | null {
  const record = join(place.path, "home/.eventdbx/eventdbx.pid");
  if (existsSync(record)) {
    const { port }: { port: number } = JSON.parse(readFileSync(record, "utf8"));
    lastPort = String(port);
  }
  return lastPort;
}
let lastPort: string | null = null;

const withPort = (text: string): string => text.replaceAll(/\b7070\b/g, portNow() ?? "7070");

async function runBlock({ text }: Block): Promise<Ran> {
  const before = portNow();
  writeFileSync(join(place.path, "state/block"), `${withPort(text)}\n`);
  const ran = await run(["sh", "-c", session], { cwd: place.path, env: environment });
  // A restart has moved the server; addresses that the reader has in variables move with it.
  const variables = join(place.path, "state/variables");
  const [old, fresh] = [before, portNow()].map((port) => `127.0.0.1:${port}`);
  const kept = readFileSync(variables, "utf8");
  writeFileSync(variables, kept.replaceAll(old ?? "", fresh ?? ""));
  return ran;
}

/** The server in the foreground never ends by itself, so it is started and awaited. */
async function startForeground({ text }: Block): Promise<void> {
  foreground = Bun.spawn(["sh", "-c", `exec ${text.trim()}`], {
    cwd: join(place.path, "checkout"),
    env: environment,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const seen: string[] = [];
  const decoder = new TextDecoder();
  for await (const bytes of foreground.stderr) {
    seen.push(decoder.decode(bytes));
    // The page promises this word as the sign that it is up.
    if (/\bready\b/.test(seen.join("").trimEnd().split("\n").at(-1) ?? "")) return;
  }
  throw new Error(`the server ended before it was ready:\n${seen.join("")}`);
}

/** What the page shows as output: `…` and `01ab23…` are what differs from run to run. */
function patternOf({ language, text }: Block): RegExp {
  const shown = language === "json" ? canonicalize(text) : text.trim();
  const parts = withoutTimes(withPort(shown)).split(/((?:\b[0-9a-f][0-9a-f-]{7,})?…)/);
  const patterns = parts.map((part) => {
    if (!part.endsWith("…")) return RegExp.escape(part);
    return part === "…" ? '[^"\\n]+' : "[0-9a-f][0-9a-f-]+";
  });
  return new RegExp(`^${patterns.join("")}$`);
}

const withoutTimes = (text: string) =>
  text.replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/g, "<time>");

const printed = (language: string, stdout: string) =>
  withoutTimes(language === "json" ? canonicalize(stdout) : stdout.trim());

test("the page has blocks to run, and says of each that is not run why", () => {
  expect(runnable.length).toBeGreaterThan(20);
  const marked = page.filter(({ notRun }) => notRun !== null);
  expect(marked.map(({ text, notRun }) => [text.split(" ")[0], notRun])).toEqual([
    ["curl", "it takes a release from the network; test/release/installer.test.ts does this"],
    ["grpcurl", "not every machine has grpcurl; test/e2e/grpc.test.ts does this"],
    ["grpcurl", "not every machine has grpcurl"],
    [
      "echo",
      "not every machine has capnp and nc; test/contract/capnp.test.ts speaks with the tool",
    ],
    ["dbx", "it takes another node; test/replication/push-pull.test.ts does this"],
    [
      "umask",
      "it is the first configuration of another database; test/e2e/key-file.test.ts does this",
    ],
    ["curl", "it takes a release from the network; test/release/installer-path.test.ts does this"],
    ["sha256sum", "it needs the files of a release"],
    ["docker", "it needs Docker, and the files of a release"],
    ["sudo", "it makes a user and a service of this machine"],
    ["cp", "it is for macOS"],
    ["dbx", "it would replace the reader's dbx; test/e2e/upgrade.test.ts does this"],
    ["scripts/test", "it runs every test, this one included"],
  ]);
});

test("every block that shows an output follows one that runs", () => {
  const strays = page.filter((block, index) => {
    const before = page[index - 1];
    return block.isOutput && !(before !== undefined && runnable.includes(before));
  });
  expect(strays.map(({ line }) => `README.md:${line}`)).toEqual([]);
});

describe("a reader of README.md", () => {
  for (const block of runnable) {
    const output = page[page.indexOf(block) + 1];
    const name = `line ${block.line}: ${block.text.split("\n")[0]}`;
    test.skipIf(lacking)(`${name} [needs curl, openssl, sha256sum]`, async () => {
      if (block.text.trim().endsWith("--foreground")) return startForeground(block);

      const { code, stdout, stderr } = await runBlock(block);

      expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
      // curl ends with 0 whatever the server said; an error that the page does not show is a fault.
      if (output?.isOutput !== true) expect(stdout).not.toContain('"code":"');
      else expect(printed(output.language, stdout)).toMatch(patternOf(output));
    });
  }

  test.skipIf(lacking)("has the files that the page lists, with their modes [needs curl]", () => {
    const row = /^\| ([^|]+) \| (0\d{3}) \|/gm;
    const listed = [...readme.matchAll(row)].flatMap(([, names = "", mode = ""]) =>
      [...names.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => `${mode} ${name}`),
    );
    const folder = join(place.path, "home/.eventdbx");
    const files = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name))
      .map((path) => `0${(statSync(path).mode & 0o777).toString(8)} ${relative(folder, path)}`);
    expect(files.length).toBeGreaterThan(7);
    expect(files.filter((file) => !listed.includes(file))).toEqual([]);
    expect(`0${(statSync(folder).mode & 0o777).toString(8)}`).toBe("0700");
  });

  test.skipIf(lacking)("finds in the log what the page appends [needs curl]", async () => {
    const asked = await run(
      [join(root, "scripts/dbx"), "aggregate", "replay", "patient", "p-001"],
      {
        cwd: place.path,
        env: environment,
      },
    );
    const types = [...asked.stdout.matchAll(/"event_type": "([^"]+)"/g)].map(([, type]) => type);
    expect(types).toEqual([
      ...["patient-added", "patient-updated", "patient-discharged"],
      // By GraphQL.
      "patient-updated",
    ]);
    expect(asked.stdout).toContain("9007199254740993");
  });
});
