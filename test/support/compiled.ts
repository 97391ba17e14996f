/**
 * The compiled dbx for tests, built only when something it is made of has changed. Kept under
 * dist/ by the hash of its sources, so that a whole run, and the next one, share one build.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { compile } from "../../scripts/build.ts";
import { root } from "../../scripts/root.ts";

const sources = ["{src,proto,capnp}/**/*", "{package,tsconfig}.json", "bun.lock", "scripts/*.ts"];
/** Another run may still use an older build; an hour outlives any run. */
const old_ms = 3_600_000;

/** For a compiled dbx that serves from this home, beside others on the machine. */
export const compiledEnvironment = (home: string): Record<string, string> => ({
  ...{ HOME: home, USER: "tester", EVENTDBX_SOCKET_BIND_ADDR: "127.0.0.1:0" },
});

const building = new Map<string, Promise<string>>();

/**
 * The path of a dbx that is compiled from the present sources, and says another version where one
 * is given.
 */
export function compiledDbx(version = ""): Promise<string> {
  const known = building.get(version) ?? build(version);
  building.set(version, known);
  return known;
}

async function build(version: string): Promise<string> {
  const cache = join(root, "dist", "compiled");
  const name = sourceHash();
  const outfile = join(cache, name, `dbx${version}`);
  // Two test processes may build the same file at once; each moves a whole one into place.
  const told = version === "" ? {} : { version };
  if (!existsSync(outfile)) await compile({ outfile, ...told });
  // In use from now on, however long ago it was built.
  utimesSync(join(cache, name), new Date(), new Date());
  for (const other of readdirSync(cache)) {
    const folder = join(cache, other);
    const modified = statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
    if (other !== name && performance.timeOrigin - modified > old_ms) {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return outfile;
}

function sourceHash(): string {
  const hash = createHash("sha256").update(Bun.version);
  const files = sources.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(root)]).sort();
  for (const file of new Set(files)) {
    const content = readFileSync(join(root, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex").slice(0, 16);
}
