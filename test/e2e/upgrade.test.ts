// `dbx upgrade` of the compiled file from a place of releases on loopback: what it takes, what it
// refuses, and that whatever happens a working executable is in its place.

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { version } from "../../src/version.ts";
import { startReleases, type Fault, type ReleasesOptions } from "../support/releases.ts";
import {
  asset,
  dataFormat,
  installed,
  releaseOf,
  scriptSaying,
  triple,
} from "../support/upgrades.ts";

const next = "9.9.9";
const appending = "aggregate apply person p-1 born --field at=home";
const releases = { [`v${next}`]: releaseOf({ version: next, program: scriptSaying(next) }) };

async function placed(options: Partial<ReleasesOptions> = {}) {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startReleases({ releases, ...options }));
  const dbx = stack.use(await installed());
  const env = { DBX_RELEASES_URL: server.url };
  const run = (line: string, more: Record<string, string> = {}) =>
    dbx.run(line.split(" "), { env: { ...env, ...more } });
  const said = async () => (await dbx.run(["--version"])).stdout.trim();
  return { server, dbx, env, run, said, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe("an upgrade", () => {
  test("puts the checked release in the place of the running file, and nothing else there", async () => {
    await using place = await placed();
    const { dbx, server, run, said } = place;
    expect(await said()).toBe(`dbx ${version}`);
    const ran = await run("upgrade");
    expect(ran).toEqual({
      stdout: `dbx ${version} is now dbx ${next} at ${dbx.path}\n`,
      stderr: "",
      code: 0,
    });
    expect(await said()).toBe(`dbx ${next}`);
    expect(readdirSync(dbx.bin)).toEqual(["dbx"]);
    expect(server.asked).toEqual([
      "/releases/latest",
      ...["dist-manifest.json", `${asset}.sha256`, "sha256.sum", asset].map(
        (name) => `/download/v${next}/${name}`,
      ),
    ]);
  });

  test.each([
    `upgrade ${next}`,
    `upgrade v${next}`,
    `upgrade@${next}`,
    "upgrade@",
    "upgrade LATEST",
    `upgrade @${next}`,
    `--json upgrade@v${next}`,
  ])("is asked for as %p", async (line) => {
    await using place = await placed();
    expect((await place.run(line)).code).toBe(0);
    expect(await place.said()).toBe(`dbx ${next}`);
  });

  test("says in JSON what it did", async () => {
    await using place = await placed();
    const { stdout } = await place.run("upgrade --json");
    expect(JSON.parse(stdout)).toEqual({
      ...{ upgraded: true, from: version, to: next, path: place.dbx.path, tag: `v${next}` },
      ...{ asset, sha256: expect.stringMatching(/^[0-9a-f]{64}$/), pid: null, restarted: false },
    });
  });

  test("from files elsewhere shows nobody there the token", async () => {
    await using other = await startReleases({ releases });
    const to = `${other.download}/v${next}/${asset}`;
    await using place = await placed({ faults: { [asset]: { kind: "redirect", to } } });
    const tokens = { GITHUB_TOKEN: "secret-token" };
    expect(await place.run("upgrade", tokens)).toMatchObject({ code: 0, stderr: "" });
    expect(await place.said()).toBe(`dbx ${next}`);
    expect(place.server.requests[0]?.headers.authorization).toBe("Bearer secret-token");
    expect(other.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  test("goes through a proxy where the environment names one", async () => {
    await using place = await placed();
    const proxied = { DBX_RELEASES_URL: "http://dbx.invalid/releases" };
    const proxy = { HTTP_PROXY: place.server.origin, http_proxy: place.server.origin };
    const { stdout } = await place.run("upgrade list -n 1", { ...proxied, ...proxy });
    expect(stdout).toStartWith(`v${next}  `);
    expect(place.server.asked).toEqual(["http://dbx.invalid/releases?per_page=1&page=1"]);
  });

  test("that another one does at the same time is done once or twice, and whole", async () => {
    await using place = await placed();
    const both = await Promise.all([place.run("upgrade"), place.run("upgrade")]);
    expect(both.map(({ code }) => code)).toContain(0);
    for (const { code, stderr } of both) {
      expect(code === 0 ? "" : stderr).toMatch(/^$|another executable has taken the place/);
    }
    expect(await place.said()).toBe(`dbx ${next}`);
    expect(readdirSync(place.dbx.bin)).toEqual(["dbx"]);
  });

  test("of a link changes the file behind it", async () => {
    await using place = await placed();
    const { dbx, env } = place;
    const link = join(dbx.home, "linked");
    symlinkSync(dbx.path, link);
    expect((await dbx.run(["upgrade"], { env, command: [link] })).code).toBe(0);
    expect(await place.said()).toBe(`dbx ${next}`);
    expect(readFileSync(link, "utf8")).toBe(scriptSaying(next));
  });

  test("to what is there already does nothing unless it is forced", async () => {
    const same = { [`v${version}`]: releaseOf({ version, program: scriptSaying(version) }) };
    await using place = await placed({ releases: same });
    const { stdout, code } = await place.run("upgrade");
    expect([stdout, code]).toEqual([
      `dbx ${version} is installed already; --force installs it again\n`,
      0,
    ]);
    expect(place.server.asked).toEqual(["/releases/latest"]);
    expect((await place.run("upgrade --force")).code).toBe(0);
    expect(readFileSync(place.dbx.path, "utf8")).toBe(scriptSaying(version));
  });
});

describe("nothing changes where", () => {
  const limited: Fault = {
    ...{ kind: "refused", status: 403 },
    headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000000" },
  };
  test.each<[string, Record<string, Fault>, number, string | RegExp]>([
    ["the checksum is wrong", { [asset]: { kind: "altered" } }, 4, "checksum mismatch"],
    [
      "the checksums disagree",
      { "sha256.sum": { kind: "altered" }, [`${asset}.sha256`]: { kind: "unlisted" } },
      ...([4, /contradicts itself|checksum mismatch/] as const),
    ],
    [
      "no checksum is there",
      Object.fromEntries(
        [`${asset}.sha256`, "sha256.sum", "dist-manifest.json"].map((name) => [
          name,
          { kind: "unlisted" } as const,
        ]),
      ),
      ...([4, "does not say what"] as const),
    ],
    ["the download is cut", { [asset]: { kind: "cut" } }, 7, asset],
    ["the download stops", { [asset]: { kind: "stalled" } }, 7, "nothing arrived for 1 s"],
    ["the file is missing", { [asset]: { kind: "missing" } }, 7, "status 404"],
    [
      "there is none for this machine",
      { [asset]: { kind: "unlisted" } },
      3,
      "no file for this platform",
    ],
    ["the rate limit is used up", { latest: limited }, 7, "until 2027-01-15T08:00:00Z"],
    ["the rate limit of its files is used up", { [asset]: limited }, 7, "until 2027-01-15T08"],
    ["nobody answers", { latest: { kind: "silent" } }, 7, "nothing arrived for 1 s"],
    ["there is no release", { latest: { kind: "missing" } }, 3, "no releases found for EventDBX"],
  ])("%s", async (_, faults, code, words) => {
    await using place = await placed({ faults });
    const ran = await place.run("upgrade --timeout 1");
    expect(ran.stderr).toMatch(words);
    expect([ran.code, ran.stdout]).toEqual([code, ""]);
    expect(await place.said()).toBe(`dbx ${version}`);
    expect(readdirSync(place.dbx.bin)).toEqual(["dbx"]);
  });

  test.each([
    ["does not run", "no program", /does not run here/],
    ["says another version", scriptSaying("9.9.8"), /said "dbx 9.9.8"/],
    ["fails", "#!/bin/sh\nexit 3\n", /ended with 3/],
  ])("what arrives %s", async (_, program, words) => {
    const broken = { [`v${next}`]: releaseOf({ version: next, program }) };
    await using place = await placed({ releases: broken });
    const { code, stderr } = await place.run("upgrade");
    expect(stderr).toMatch(words);
    expect(code).toBe(4);
    expect(await place.said()).toBe(`dbx ${version}`);
    expect(readdirSync(place.dbx.bin)).toEqual(["dbx"]);
  });

  test("the disk takes no more", async () => {
    const large = `${scriptSaying(next)}#${"x".repeat(2_000_000)}\n`;
    const one = { [`v${next}`]: releaseOf({ version: next, program: large }) };
    await using place = await placed({ releases: one });
    const { dbx, env } = place;
    const command = ["sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", dbx.path];
    const { code, stderr } = await dbx.run(["upgrade"], { env, command });
    expect(stderr).toContain(`cannot write in ${dbx.bin}: EFBIG`);
    expect(code).toBe(7);
    expect(await place.said()).toBe(`dbx ${version}`);
    expect(readdirSync(dbx.bin)).toEqual(["dbx"]);
  });

  test("the version is below the floor, or none", async () => {
    await using place = await placed();
    const old = await place.run("upgrade 1.13.1");
    expect([old.code, old.stderr]).toEqual([2, expect.stringContaining("minimum supported")]);
    const none = await place.run("upgrade now");
    expect([none.code, none.stderr]).toEqual([
      2,
      expect.stringContaining("invalid version tag 'vnow'"),
    ]);
    const extra = await place.run(`upgrade@${next} --print-only`);
    expect(extra.stderr).toContain(`unexpected arguments after 'upgrade@${next}'`);
    expect(place.server.asked).toEqual([]);
  });

  test("another user owns the folder", async () => {
    await using place = await placed();
    const { dbx, env } = place;
    const nobody = 65_534;
    const isRoot = process.getuid?.() === 0;
    chmodSync(dbx.home, 0o755);
    chmodSync(dbx.bin, isRoot ? 0o755 : 0o555);
    const home = join(dbx.home, "nobody");
    mkdirSync(home);
    chmodSync(home, 0o777);
    const words = isRoot ? ["setpriv", `--reuid=${nobody}`, "--clear-groups"] : [];
    const command = [...words, dbx.path];
    const ran = await dbx.run(["upgrade"], { env: { ...env, HOME: home }, command });
    chmodSync(dbx.bin, 0o755);
    expect(ran.stderr).toContain(`may not write to ${dbx.bin}, where dbx is (EACCES)`);
    expect(ran.code).toBe(5);
    expect(await place.said()).toBe(`dbx ${version}`);
  });

  test("somebody else looks after the file, unless it is forced", async () => {
    await using place = await placed();
    const docker = { DBX_INSTALLED_BY: "docker" };
    const { code, stderr } = await place.run("upgrade", docker);
    expect([code, stderr]).toEqual([4, expect.stringContaining("pull the new image")]);
    expect(place.server.asked).toEqual([]);
    expect((await place.run("upgrade --force", docker)).code).toBe(0);
  });

  test("a server elsewhere is named", async () => {
    await using place = await placed();
    const { code, stderr } = await place.run("upgrade --url http://127.0.0.1:1");
    expect([code, stderr]).toEqual([2, expect.stringContaining("takes no --url")]);
  });
});

describe("with a database that is here", () => {
  test.each([
    ["the next format is taken", { data_format: dataFormat + 1 }, 0, "is now dbx"],
    ["the same format is taken", { data_format: dataFormat }, 0, "is now dbx"],
    [
      "an older format is refused",
      { data_format: dataFormat - 1 },
      4,
      `is in format ${dataFormat}`,
    ],
  ])("%s", async (_, { data_format }, code, words) => {
    const one = releaseOf({ version: next, program: scriptSaying(next), data_format });
    await using place = await placed({ releases: { [`v${next}`]: one } });
    expect((await place.run(appending)).code).toBe(0);
    const ran = await place.run("upgrade");
    expect(ran.stdout + ran.stderr).toContain(words);
    expect(ran.code).toBe(code);
    expect(await place.said()).toBe(`dbx ${code === 0 ? next : version}`);
  });

  test("a newer release need not say what it opens, because it opens all before it", async () => {
    const { "dist-manifest.json": _, ...silent } = releaseOf({
      ...{ version: next, program: scriptSaying(next) },
    });
    await using place = await placed({ releases: { [`v${next}`]: silent } });
    expect((await place.run(appending)).code).toBe(0);
    expect(await place.run("upgrade")).toMatchObject({ code: 0, stderr: "" });
  });

  test("a release of EventDBX 1 is refused, and without one it is not", async () => {
    const tag = "v1.15.3";
    const { "dist-manifest.json": _, ...old } = releaseOf({
      version: "1.15.3",
      program: "#!/bin/sh\necho 'eventdbx 1.15.3'\n",
    });
    const theirs = { ...old, "dist-manifest.json": '{"dist_version":"0.30.0"}' };
    await using place = await placed({ releases: { [tag]: theirs } });
    const data_dir = join(place.dbx.home, ".eventdbx");
    expect((await place.run(appending)).code).toBe(0);
    const refused = await place.run(`upgrade ${tag}`);
    expect(refused.stderr).toContain(`open none of dbx 2; ${data_dir} is one, in format`);
    expect(refused.code).toBe(4);
    const elsewhere = { EVENTDBX_DATA_DIR: join(place.dbx.home, "empty") };
    expect((await place.run(`upgrade ${tag}`, elsewhere)).code).toBe(0);
    expect((await place.dbx.run(["--version"])).stdout).toBe("eventdbx 1.15.3\n");
  });
});

describe("without changing anything", () => {
  test("--print-only looks up and prints the line that installs the release", async () => {
    await using place = await placed();
    const url = `${place.server.download}/v${next}/eventdbx-installer.sh`;
    const command = `curl -LsSf ${url} | sh`;
    const { stdout, code } = await place.run(`upgrade v${next} --print-only`);
    expect(stdout).toBe(`Installing EventDBX CLI (v${next}) via: ${command}\n`);
    expect(code).toBe(0);
    expect(place.server.asked).toEqual([`/releases/tags/v${next}`]);
    expect(JSON.parse((await place.run("upgrade --print-only --json")).stdout)).toEqual({
      ...{ tag: `v${next}`, command },
    });
    const none = await place.run("upgrade v8.0.0 --print-only");
    expect(none.stderr).toContain("release 'v8.0.0' was not found on GitHub");
    expect(none.stderr).toContain("hint:  dbx upgrade list");
    place.server.faults.set("eventdbx-installer.sh", { kind: "unlisted" });
    expect((await place.run("upgrade --print-only")).stderr).toContain(
      `release v${next} has no eventdbx-installer.sh`,
    );
    expect(await place.said()).toBe(`dbx ${version}`);
  });

  test("the list is text or JSON, in every spelling", async () => {
    const tags = ["v2.2.0-rc.1", "v2.1.0", "v2.0.0"];
    const many = Object.fromEntries(tags.map((tag) => [tag, {}]));
    await using place = await placed({ releases: many, drafts: ["v2.1.0"] });
    const text =
      "v2.2.0-rc.1  2026-01-04T00:00:00Z  [prerelease]\n" +
      "v2.1.0  [draft]\n" +
      "v2.0.0  2026-01-02T00:00:00Z\n";
    for (const line of ["upgrade list", "upgrade@list", "upgrade@LIST", "upgrade list -n 50"]) {
      expect((await place.run(line)).stdout).toBe(text);
    }
    for (const line of ["upgrade list -n 1", "upgrade list --limit 0", "upgrade list -n1"]) {
      expect((await place.run(line)).stdout).toBe(text.slice(0, text.indexOf("\n") + 1));
    }
    const [first] = JSON.parse((await place.run("upgrade list --json")).stdout);
    expect(first).toEqual({
      ...{ tag: "v2.2.0-rc.1", name: "v2.2.0-rc.1", published_at: "2026-01-04T00:00:00Z" },
      ...{ draft: false, prerelease: true, html_url: `${place.server.origin}/tag/v2.2.0-rc.1` },
    });
    expect(place.server.asked[0]).toBe("/releases?per_page=20&page=1");
    place.server.faults.set("list", { kind: "missing" });
    expect((await place.run("upgrade list")).stdout).toBe("(no releases found)\n");
    expect(await place.run("upgrade list --json")).toMatchObject({ stdout: "[]\n", code: 0 });
  });
});

test(`what a killed upgrade left for ${triple} goes with the next one`, async () => {
  await using place = await placed({ faults: { [asset]: { kind: "stalled" } } });
  const { dbx, env, server } = place;
  const child = dbx.spawn(["upgrade"], { env });
  await server.until(`/${asset}`);
  child.kill("SIGKILL");
  await child.exited;
  expect(await place.said()).toBe(`dbx ${version}`);
  expect(readdirSync(dbx.bin)).toHaveLength(2);
  const foreign = join(dbx.bin, ".dbx-upgrade-notes");
  writeFileSync(foreign, "");
  server.faults.clear();
  expect((await place.run("upgrade")).code).toBe(0);
  expect(readdirSync(dbx.bin).sort()).toEqual([".dbx-upgrade-notes", "dbx"]);
});
