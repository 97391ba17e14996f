/**
 * scripts/setup on a machine without Bun: every tool is real except the downloads, which are a
 * small program that answers like Bun. The real registry is asked by every fresh clone.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json";
import { makeCheckout, run, type Ran } from "../support/checkout.ts";
import { tempDir, type TempDir } from "../support/temp.ts";
import { zipOf } from "../support/zip.ts";

const version = manifest.engines.bun;
const archives = ["x64", "x64-baseline", "x64-musl", "x64-musl-baseline", "aarch64"]
  .flatMap((cpu) => [`bun-linux-${cpu}`, `bun-darwin-${cpu}`])
  .concat("bun-linux-aarch64-musl");
const tools = [
  ...["sh", "cat", "ls", "ln", "readlink", "mkdir", "mv", "cp", "rm", "sleep", "uname", "chmod"],
  ...["sha256sum", "shasum", "openssl", "dirname"],
];
const withCurl = Bun.which("curl") !== null && Bun.which("unzip") !== null;

/** Answers --version, and as `install` puts itself where Bun's package would; logs each install. */
const fakeBun = `#!/bin/sh
if [ "$1" = --version ]; then echo ${version}; exit; fi
echo installed >>install.count
[ ! -e fail.once ] || { rm fail.once; echo "no such package" >&2; exit 1; }
[ "$1 $2" = "install --frozen-lockfile" ] || exit 9
mkdir -p node_modules/.bin
cp "$0" fresh && mv fresh node_modules/.bin/bun
`;

let place: TempDir;
let count = 0;
beforeAll(() => {
  place = tempDir();
  const release = join(place.path, "release", `bun-v${version}`);
  mkdirSync(release, { recursive: true });
  const sums = archives.map((name) => {
    const zip = zipOf([{ name: `${name}/bun`, text: fakeBun }]);
    writeFileSync(join(release, `${name}.zip`), zip);
    return `${new Bun.CryptoHasher("sha256").update(zip).digest("hex")}  ${name}.zip\n`;
  });
  writeFileSync(join(release, "SHASUMS256.txt"), sums.join(""));
});
afterAll(() => place[Symbol.dispose]());

/** A machine that has only the named programs, and a fresh checkout on it. */
function machine(programs: readonly string[]): {
  folder: string;
  bin: string;
  setup: () => Promise<Ran>;
} {
  count += 1;
  const folder = join(place.path, `checkout-${count}`);
  const bin = join(place.path, `bin-${count}`);
  makeCheckout(folder, { packages: "none", files: {} });
  mkdirSync(bin);
  for (const name of [...tools, ...programs]) {
    const found = Bun.which(name);
    if (found !== null) symlinkSync(found, join(bin, name));
  }
  const env = { PATH: bin, HOME: "", DBX_BUN_RELEASES: `file://${join(place.path, "release")}` };
  const setup = () => run([join(folder, "scripts/setup")], { cwd: place.path, env });
  return { folder, bin, setup };
}

function program(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

const installs = (folder: string) =>
  readFileSync(join(folder, "install.count"), "utf8").trim().split("\n").length;
const leftovers = (folder: string) => readdirSync(join(folder, ".bun"));

test.skipIf(!withCurl)(
  "curl and unzip are enough; stdout stays empty; the second run does nothing [needs curl, unzip]",
  async () => {
    const { folder, setup } = machine(["curl", "unzip"]);
    const first = await setup();
    expect(first.stdout).toBe("");
    expect(first.stderr).toContain(`ready: Bun ${version}`);
    expect(first.code).toBe(0);
    expect(leftovers(folder)).toEqual([]);

    const second = await setup();
    expect(second).toEqual({ code: 0, signal: null, stdout: "", stderr: "" });
    expect(installs(folder)).toBe(1);
  },
);

test.skipIf(!withCurl)(
  "a changed bun.lock is installed by the next run [needs curl, unzip]",
  async () => {
    const { folder, setup } = machine(["curl", "unzip"]);
    await setup();
    writeFileSync(join(folder, "bun.lock"), "{}\n");
    expect((await setup()).code).toBe(0);
    expect(installs(folder)).toBe(2);
  },
);

test.skipIf(!withCurl)(
  "an archive that is not the listed one is refused and leaves nothing [needs curl, unzip]",
  async () => {
    const { folder, bin, setup } = machine(["unzip"]);
    // The transfer is cut: the last byte of every archive is lost.
    program(
      join(bin, "curl"),
      `#!/bin/sh
${Bun.which("curl")} "$@" || exit 1
while [ "$1" != -o ]; do shift; done
case $2 in *.zip) printf x >>"$2" ;; esac
`,
    );
    const refused = await setup();
    expect(refused.stderr).toContain("not used");
    expect(refused.code).toBe(1);
    expect(leftovers(folder)).toEqual([]);
    expect(existsSync(join(folder, "node_modules"))).toBe(false);

    rmSync(join(bin, "curl"));
    symlinkSync(Bun.which("curl") ?? "", join(bin, "curl"));
    expect((await setup()).code).toBe(0);
  },
);

test.skipIf(!withCurl)(
  "a failed installation says why, and the next run recovers [needs curl, unzip]",
  async () => {
    const { folder, setup } = machine(["curl", "unzip"]);
    writeFileSync(join(folder, "fail.once"), "");
    const failed = await setup();
    expect(failed.stderr).toContain("no such package");
    expect(failed.stdout).toBe("");
    expect(failed.code).toBe(1);

    expect((await setup()).code).toBe(0);
    expect((await setup()).stderr).toBe("");
  },
);

test.skipIf(!withCurl)("four runs at once install once [needs curl, unzip]", async () => {
  const { folder, setup } = machine(["curl", "unzip"]);
  const runs = await Promise.all([setup(), setup(), setup(), setup()]);
  expect(runs.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  expect(installs(folder)).toBe(1);
  expect(leftovers(folder)).toEqual([]);
});

test.skipIf(!withCurl)(
  "the lock and the files of a killed run are cleared away [needs curl, unzip]",
  async () => {
    const { folder, setup } = machine(["curl", "unzip"]);
    const dead = Bun.spawn(["true"]);
    await dead.exited;
    mkdirSync(join(folder, ".bun", "setup.1"), { recursive: true });
    symlinkSync(String(dead.pid), join(folder, ".bun", "setup.lock"));
    expect((await setup()).code).toBe(0);
    expect(leftovers(folder)).toEqual([]);
  },
);

test("npm is enough, and a stub that it left behind is replaced", async () => {
  const { folder, bin, setup } = machine([]);
  // npm with blocked install scripts: the platform's package is there, the linked program fails.
  const installed = fakeBun.replace(
    'cp "$0" fresh && mv fresh node_modules/.bin/bun',
    `printf '#!/bin/sh\\nexit 1\\n' >node_modules/.bin/bun
chmod +x node_modules/.bin/bun
mkdir -p node_modules/@oven/bun-any/bin
cp "$0" node_modules/@oven/bun-any/bin/bun`,
  );
  program(join(place.path, "npm-bun"), installed);
  program(
    join(bin, "npm"),
    `#!/bin/sh
case "$*" in *"bun@${version}") ;; *) exit 8 ;; esac
case $npm_config_cache in /*) ;; *) exit 7 ;; esac
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/@oven/bun-any/bin"
cp "${join(place.path, "npm-bun")}" "$2/node_modules/@oven/bun-any/bin/bun"
`,
  );
  const ran = await setup();
  expect(ran.stderr).toContain("with npm");
  expect(ran.code).toBe(0);
  const bun = await run([join(folder, "node_modules/.bin/bun"), "--version"], { cwd: folder });
  expect(bun.stdout).toBe(`${version}\n`);
});

test("without npm and without curl it says what to install", async () => {
  const { setup } = machine([]);
  const ran = await setup();
  expect(ran.stdout).toBe("");
  expect(ran.stderr).toContain("install npm, or curl and unzip");
  expect(ran.code).toBe(1);
});
