// The command as its users see it: words, flags, the record as JSON, and a signal in between.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { dbxCommand } from "../support/cli.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { zipOf } from "./archives.ts";
import { siteIn, target, type Site } from "./installing.ts";

let dir: TempDir;
let site: Site;
beforeEach(async () => {
  dir = tempDir();
  site = siteIn(dir.path);
  const path = join(dir.path, ".eventdbx/config.toml");
  await Bun.write(path, `data_dir = ${JSON.stringify(site.data_dir)}\n`);
});
afterEach(() => dir[Symbol.dispose]());

function start(args: readonly string[]) {
  const words = ["plugin", "install", ...args];
  const { command, options } = dbxCommand(words, { home: dir.path });
  const child = Bun.spawn(command, { ...options, stdout: "pipe", stderr: "pipe" });
  const result = (async () => {
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { code: await child.exited, signal: child.signalCode, stdout, stderr };
  })();
  return { child, result };
}
const run = (args: readonly string[]) => start(args).result;

const program = "#!/bin/sh\n";

test("it says what it installed, and where, by a path relative to the caller", async () => {
  site.put("search", program);
  const path = join(site.place(), "search");
  expect(await run(["search", "1.0.0", "--source", "search"])).toEqual({
    ...{ code: 0, signal: null, stderr: "" },
    stdout: `installed plugin 'search' v1.0.0 for ${target} at ${path}\n`,
  });
  const again = await run(["search", "1.0.0", "--source", "search"]);
  expect(again.stderr).toStartWith("error: plugin 'search' v1.0.0 for target");
  const forced = await run(["search", "1.0.0", "--source", "search", "--force", "--json"]);
  expect([JSON.parse(forced.stdout)]).toEqual(site.registry() as object[]);
});

test("--bin and --checksum hold", async () => {
  const bundle = zipOf(["one", "two"].map((name) => ({ name, content: name })));
  site.put("many.zip", bundle);
  const checksum = new Bun.CryptoHasher("sha256").update(bundle).digest("hex");
  const args = ["search", "1.0.0", "--source", "many.zip"];
  expect((await run(args)).stderr).toContain("specify --bin <filename>. candidates: one, two");
  const wrong = await run([...args, "--bin", "two", "--checksum", "0".repeat(64)]);
  expect(wrong.stderr).toContain("checksum mismatch");
  const right = await run([...args, "--bin", "two", "--checksum", checksum]);
  expect(right.stdout).toEndWith("/two\n");
});

test("a signal during the download leaves nothing, and ends it as signals do", async () => {
  let release = () => {};
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () =>
      new Response(
        new ReadableStream({
          start: async (controller) => {
            controller.enqueue(Buffer.from(program));
            await new Promise<void>((done) => (release = done));
            controller.close();
          },
        }),
      ),
  });
  const url = `http://127.0.0.1:${server.port}/search`;
  const args = ["search", "1.0.0", "--source", url, "--checksum", "0".repeat(64)];
  const { child, result } = start(args);
  const stages = join(site.plugins, ".staging");
  const isDownloading = () =>
    existsSync(stages) &&
    readdirSync(stages).some((name) => existsSync(join(stages, name, "bundle")));
  while (!isDownloading()) await new Promise(setImmediate);
  child.kill("SIGINT");
  expect(await result).toMatchObject({ code: 130, signal: "SIGINT" });
  release();
  expect(site.found()).toEqual({});
  expect(existsSync(join(site.plugins, "search"))).toBe(false);
});
