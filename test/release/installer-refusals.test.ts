// What scripts/eventdbx-installer.sh does when something is wrong: it says so, leaves what was
// there before as it was, and leaves nothing of its own.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stampInstaller } from "../../scripts/installer-stamp.ts";
import { run } from "../support/checkout.ts";
import {
  archiveName,
  install,
  installerCommand,
  installerText,
  packed,
  pathWith,
  releaseOf,
  standIn,
  triple,
  lacking,
} from "../support/installer.ts";
import { startReleases, withChecksums, type Fault, type Releases } from "../support/releases.ts";
import { tempDir, type TempDir } from "../support/temp.ts";

let dir: TempDir;
let releases: Releases;
let home: string;
const archive = archiveName("tar.gz");

beforeAll(async () => {
  dir = tempDir();
  chmodSync(dir.path, 0o755);
  releases = await startReleases({ releases: { "v2.1.0": releaseOf(dir.path, "2.1.0") } });
});
afterAll(async () => {
  await releases[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
});
/** An older dbx is there already; it must stay whatever happens. */
beforeEach(() => {
  home = join(dir.path, "person", "home");
  mkdirSync(join(home, ".local/bin"), { recursive: true });
  writeFileSync(installed(), standIn("2.0.0"), { mode: 0o755 });
});
afterEach(() => {
  releases.faults.clear();
  rmSync(join(dir.path, "person"), { recursive: true });
});

const installed = () => join(home, ".local/bin/dbx");
const versionAt = async (path: string) =>
  (await run([path, "--version"], { cwd: home, env: { HOME: home } })).stdout.trim();
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true }).map(String).sort();
const onlyTheOld = [".local", ".local/bin", ".local/bin/dbx"];

describe.skipIf(lacking)(
  "a download that is no good leaves the older dbx as it was [needs curl]",
  () => {
    const limited = { status: 429, headers: { "retry-after": "77" } };
    const faults: readonly (readonly [string, string, Fault, string])[] = [
      ["a byte is another one", archive, { kind: "altered" }, "checksum mismatch: eventdbx-"],
      ["it is cut", archive, { kind: "cut" }, "not all of it came, or had room: "],
      [
        "it is not there",
        archive,
        { kind: "missing" },
        `the release v2.1.0 has no file for ${triple}`,
      ],
      ["the list lacks it", archive, { kind: "unlisted" }, "the release v2.1.0 has no file for"],
      ["its server fails", archive, { kind: "refused", status: 503 }, "the server answered 503"],
      [
        "no checksum",
        `${archive}.sha256`,
        { kind: "missing" },
        "there is no checksum for eventdbx-",
      ],
      ["checksum cut", `${archive}.sha256`, { kind: "cut" }, "there is no checksum for eventdbx-"],
      ["checksum is a page", `${archive}.sha256`, { kind: "nonsense" }, "there is no checksum for"],
      [
        "the API is a page",
        "latest",
        { kind: "nonsense" },
        "does not answer as a releases API does",
      ],
      [
        ...(["too many requests", "latest", { kind: "refused", ...limited }] as const),
        "the releases API refuses to answer (429): too many requests; again in 77 s",
      ],
      [
        ...(["none allowed", "latest", { kind: "refused", status: 403 }] as const),
        "the releases API refuses to answer (403): too many requests, or none allowed",
      ],
    ];
    const loaders = ["curl", "wget"].filter((loader) => Bun.which(loader) !== null);
    for (const loader of loaders) {
      test.each(faults)(`${loader}: %s (%s)`, async (_, place, fault, message) => {
        releases.faults.set(place, fault);
        const env = { PATH: pathWith(dir.path, [loader, "sha256sum", "gzip"]) };

        const { code, stderr, stdout } = await install({ home, releases, env, shell: ["/bin/sh"] });

        expect(stderr).toContain("error: ");
        expect(stderr).toContain(message);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(filesIn(home)).toEqual(onlyTheOld);
        expect(await versionAt(installed())).toBe("dbx 2.0.0");
      });
    }

    test("when the limit ends is told where only the time of it is known", async () => {
      const reset = Math.floor(performance.timeOrigin / 1000) + 3600;
      const headers = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": String(reset) };
      releases.faults.set("latest", { kind: "refused", status: 403, headers });
      const { stderr } = await install({ home, releases });
      expect(stderr).toMatch(/too many requests; again in 3[0-6]\d\d s/);
      expect(stderr).toContain("EVENTDBX_GITHUB_TOKEN=<token> raises the limit");
    });

    test("an archive whose checksum was exchanged with it, against a script that knows better", async () => {
      const good = packed(dir.path, { executable: { text: standIn("2.1.0") }, ending: "tar.gz" });
      const bad = packed(dir.path, { executable: { text: standIn("6.6.6") }, ending: "tar.gz" });
      const sum = new Bun.CryptoHasher("sha256").update(good).digest("hex");
      const script = stampInstaller(installerText, {
        tag: "v2.1.0",
        checksums: { [archive]: sum },
      });
      const exchanged = { "v2.1.0": withChecksums({ [archive]: bad }) };
      await using evil = await startReleases({ releases: exchanged });
      await using honest = await startReleases({ releases: { "v2.1.0": { [archive]: good } } });

      const refused = await install({ home, releases: evil, script });
      const kept = await versionAt(installed());
      const taken = await install({ home, releases: honest, script });

      expect(refused.stderr).toContain("checksum mismatch");
      expect([refused.code, kept]).toEqual([1, "dbx 2.0.0"]);
      expect(taken).toMatchObject({ code: 0 });
      expect(await versionAt(installed())).toBe("dbx 2.1.0");
      expect([...evil.asked, ...honest.asked].filter((path) => path.endsWith(".sha256"))).toEqual(
        [],
      );
    });

    const broken: readonly (readonly [string, string, string])[] = [
      ["ends at once", "#!/bin/sh\nexit 9\n", "does not run on this machine: exit 9"],
      ["needs a newer processor", "#!/bin/sh\nkill -ILL $$\n", "its processor is older than those"],
      [
        "needs a library",
        "#!/bin/sh\necho libstdc++.so.6: not found >&2\nexit 127\n",
        "does not run on this machine: libstdc++.so.6: not found",
      ],
      [
        "is another program",
        "#!/bin/sh\necho tool 1.0\n",
        "the downloaded dbx does not run on this machine: ",
      ],
      [
        "is of another machine",
        "\u007fELF nothing",
        "the downloaded dbx does not run on this machine",
      ],
    ];
    test.each(broken)("a right checksum of a dbx that %s", async (_, text, message) => {
      const bytes = packed(dir.path, { executable: { text }, ending: "tar.gz" });
      await using place = await startReleases({
        releases: { "v2.1.0": withChecksums({ [archive]: bytes }) },
      });
      const { code, stderr } = await install({ home, releases: place });
      expect(stderr).toContain(message);
      expect({ code, left: filesIn(home) }).toEqual({ code: 1, left: onlyTheOld });
    });
  },
);

describe.skipIf(lacking)("tools [needs curl]", () => {
  const hashers = ["sha256sum", "shasum", "openssl", "busybox"];
  for (const hasher of hashers) {
    test.skipIf(Bun.which(hasher) === null)(
      `${hasher} alone checks [needs ${hasher}]`,
      async () => {
        const extra = hasher === "shasum" ? ["perl"] : [];
        const env = { PATH: pathWith(dir.path, ["curl", "gzip", hasher, ...extra]) };
        const good = await install({ home, releases, env, shell: ["/bin/sh"] });
        releases.faults.set(archive, { kind: "altered" });
        const bad = await install({ home, releases, env, shell: ["/bin/sh"] });

        expect(good).toMatchObject({ code: 0 });
        expect(bad.stderr).toContain("checksum mismatch");
        expect(bad.code).toBe(1);
      },
    );
  }

  const lacking: readonly (readonly [readonly string[], string])[] = [
    [["curl", "gzip"], "nothing is here to check a SHA-256 with, and unchecked files are not"],
    [["sha256sum", "gzip"], "neither curl nor wget is here to download with"],
    [["curl", "sha256sum"], "neither xz nor gzip is here to unpack with"],
  ];
  test.each(lacking)(
    "with nothing but %j it refuses, and asks for nothing",
    async (tools, message) => {
      const before = releases.asked.length;
      const env = { PATH: pathWith(dir.path, tools) };
      const { code, stderr } = await install({ home, releases, env, shell: ["/bin/sh"] });
      expect(stderr).toContain(message);
      expect({ code, asked: releases.asked.length - before }).toEqual({ code: 1, asked: 0 });
      expect(filesIn(home)).toEqual(onlyTheOld);
    },
  );
});

describe.skipIf(lacking)("killed while it downloads [needs curl]", () => {
  async function stalled(signal: NodeJS.Signals) {
    const faults = { [archive]: { kind: "stalled" } } as const;
    const tree = { "v2.1.0": releaseOf(dir.path, "2.1.0") };
    await using place = await startReleases({ releases: tree, faults });
    const { command, options } = installerCommand({ home, releases: place });
    const child = Bun.spawn(command, options);
    // Half of it has been sent, and the rest never comes.
    await place.until(archive);
    child.kill(signal);
    return { code: await child.exited, signal: child.signalCode };
  }

  test("it takes back what it has made, and the old one stays", async () => {
    expect(await stalled("SIGTERM")).toEqual({ code: 143, signal: null });
    expect(filesIn(home)).toEqual(onlyTheOld);
    expect(await versionAt(installed())).toBe("dbx 2.0.0");
  });

  test("without a chance to do so, the old one stays too, and the next run clears up", async () => {
    expect((await stalled("SIGKILL")).signal).toBe("SIGKILL");
    const left = filesIn(join(home, ".local/bin"));
    expect(left.filter((name) => name.startsWith(".dbx-install.")).length).toBeGreaterThan(0);
    expect(await versionAt(installed())).toBe("dbx 2.0.0");

    expect((await install({ home, releases })).code).toBe(0);
    expect(filesIn(join(home, ".local/bin"))).toEqual(["dbx"]);
    expect(await versionAt(installed())).toBe("dbx 2.1.0");
  });
});

describe.skipIf(lacking)("killed at a step [needs curl]", () => {
  const steps = ["curl", "sha256sum", "gzip", "tar", "chmod", "sync", "mv"];
  const moments = steps.flatMap((step) => [[step, "before"] as const, [step, "after"] as const]);

  test.each(moments)(
    "%s, %s it is done: a whole dbx is there, and the next run clears up",
    async (step, moment) => {
      const path = pathWith(dir.path, ["curl", "gzip", "sha256sum"]);
      const real = Bun.which(step);
      const end = `kill -9 $(cat '${home}'/.local/bin/.dbx-install.*/owner)`;
      rmSync(join(path, step));
      const words = moment === "before" ? [end] : [`${real} "$@"`, end];
      writeFileSync(join(path, step), ["#!/bin/sh", ...words, ""].join("\n"), { mode: 0o755 });

      const ran = await install({ home, releases, env: { PATH: path }, shell: ["/bin/sh"] });
      const version = await versionAt(installed());
      const again = await install({ home, releases });

      expect([ran.code, again.code]).toEqual([137, 0]);
      expect(version).toBe(step === "mv" && moment === "after" ? "dbx 2.1.0" : "dbx 2.0.0");
      expect(await versionAt(installed())).toBe("dbx 2.1.0");
      expect(filesIn(join(home, ".local/bin"))).toEqual(["dbx"]);
    },
  );
});

describe.skipIf(lacking)("a script that was cut on its way does nothing [needs curl]", () => {
  const end = installerText.length;
  const last = installerText.lastIndexOf("{ main");
  const cuts = [
    ...Array.from({ length: 12 }, (_, part) => Math.floor((last * (part + 1)) / 12)),
    ...Array.from({ length: end - last - 2 }, (_, index) => last + index),
  ];
  test.each(["dash", "bash"].filter((shell) => Bun.which(shell) !== null))("%s", async (shell) => {
    const before = releases.asked.length;
    for (const cut of cuts) {
      const script = installerText.slice(0, cut);
      await install({ home, releases, script, shell: [shell], piped: true, args: ["--uninstall"] });
      expect({ cut, left: filesIn(home) }).toEqual({ cut, left: onlyTheOld });
    }
    expect(releases.asked.length).toBe(before);
  });
});

describe.skipIf(lacking)("the place [needs curl]", () => {
  test("a program of that name that is none of ours is kept, unless --force says otherwise", async () => {
    writeFileSync(installed(), "#!/bin/sh\necho 'other dbx, version 1'\n");
    const refused = await install({ home, releases });
    const removal = await install({ home, releases, args: ["--uninstall"] });
    const kept = await versionAt(installed());
    const forced = await install({ home, releases, args: ["--force"] });

    expect(refused.stderr).toContain(`${installed()} is something else than EventDBX`);
    expect(removal.stderr).toContain("--force removes it all the same");
    expect(kept).toBe("other dbx, version 1");
    expect([refused, removal, forced].map(({ code }) => code)).toEqual([1, 1, 0]);
    expect(await versionAt(installed())).toBe("dbx 2.1.0");
  });

  test("one that cannot be written is named before anything is downloaded", async () => {
    const closed = join(home, "closed");
    mkdirSync(closed, { mode: 0o555 });
    const asked = releases.asked.length;
    // Root writes everywhere, so it becomes somebody else.
    const isRoot = process.getuid?.() === 0;
    if (isRoot) chownSync(home, 65_534, 65_534);
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const shell = [...(isRoot ? nobody : []), "sh"];

    const ran = await install({ home, releases, shell, args: ["--to", closed] });
    const below = await install({ home, releases, args: ["--to", `${installed()}/bin`] });

    expect(ran.stderr).toContain(`${closed}/dbx cannot be written`);
    expect(below.stderr).toContain(`${installed()}/bin cannot be made`);
    expect([ran.code, below.code, releases.asked.length - asked]).toEqual([1, 1, 0]);
  });

  test("a link to dbx elsewhere is replaced, and not what it leads to", async () => {
    const other = join(home, "other");
    writeFileSync(other, standIn("1.15.3"), { mode: 0o755 });
    rmSync(installed());
    symlinkSync(other, installed());
    expect((await install({ home, releases })).code).toBe(0);
    expect(await versionAt(other)).toBe("dbx 1.15.3");
    expect(await versionAt(installed())).toBe("dbx 2.1.0");
  });

  test("what is said wrongly is a matter of usage", async () => {
    for (const args of [["--nope"], ["--to"], ["--version", ""], ["now"]]) {
      const { code, stderr } = await install({ home, releases, args });
      expect(stderr).toStartWith("error: ");
      expect(code).toBe(2);
    }
    const odd = await install({ home, releases, args: ["--version", "v2.0.0/../.."] });
    expect(odd.stderr).toContain("is no name of a release");
    expect(existsSync(installed())).toBe(true);
  });
});
