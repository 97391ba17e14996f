// Backup and restore as their user meets them: what is in the file, what is refused, what is kept.

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { RunOptions } from "../support/cli.ts";
import { openHome, type Home } from "../support/homes.ts";

const passphrase = "correct horse battery staple";
const dek = Buffer.alloc(32, 7).toString("base64");
const planted = "planted-secret-8c41";

let home: Home;
let data: string;
const at = (name: string) => join(home.path, name);

beforeEach(async () => {
  home = await openHome();
  data = at(".eventdbx");
});
afterEach(() => home[Symbol.dispose]());

const verify = (data_dir: string, env: Record<string, string> = {}) =>
  home.run(["aggregate", "verify", "--all", "--json"], {
    env: { EVENTDBX_DATA_DIR: data_dir, ...env },
  });
const unpack = (file: string, into: string): string[] => {
  mkdirSync(into);
  const plain = Bun.zstdDecompressSync(readFileSync(file));
  writeFileSync(`${into}.tar`, plain);
  expect(Bun.spawnSync(["tar", "-xf", `${into}.tar`, "-C", into]).exitCode).toBe(0);
  return readdirSync(into, { recursive: true }).map(String).sort();
};
const hidden = (folder: string) => readdirSync(folder).filter((name) => name.startsWith(".dbx-"));

describe("a backup", () => {
  test("holds everything but what is of no use elsewhere, and names its secrets", async () => {
    await home.fill("person", 5);
    await home.ok("aggregate", "apply", "person", "staged", "made", "--stage", "--field", "a=1");
    await home.ok("token", "generate", "--group", "ops", "--user", "ann", "--expiration", "60");
    await home.ok("config", "--master-key", "correct horse battery", "--dek", dek);
    mkdirSync(join(data, "plugins/search/1.0.0"), { recursive: true });
    writeFileSync(join(data, "plugins/search/1.0.0/run"), "#!/bin/sh\n", { mode: 0o755 });
    mkdirSync(join(data, "logs"), { recursive: true });
    writeFileSync(join(data, "logs/dbx.log"), "x");
    writeFileSync(join(data, ".tokens.json.0123456789ab.tmp"), "half");

    const made = await home.run(["backup", "--output", at("b/one.dbx"), "--json"]);

    expect(made.stderr).toBe(
      "the backup holds secrets: machine.key, replication.key, data_encryption_key in config.toml; " +
        "keep it as safe as the data, encrypt it with --passphrase, or leave keys out with --exclude-keys\n",
    );
    expect(JSON.parse(made.stdout)).toMatchObject({
      ...{ output: at("b/one.dbx"), base: null, position: 5, encrypted: false, skipped: [] },
      secrets: ["machine.key", "replication.key", "data_encryption_key in config.toml"],
    });
    expect(statSync(at("b/one.dbx")).mode & 0o777).toBe(0o600);
    expect(readdirSync(at("b"))).toEqual(["one.dbx"]);
    const files = unpack(at("b/one.dbx"), at("u")).filter((name) => /\.|run/.test(name));
    expect(files).toEqual([
      ...["config.toml", "data/dbx.db", "data/machine.key", "data/plugins/search/1.0.0"],
      ...["data/plugins/search/1.0.0/run", "data/replication.key", "data/replication.pub"],
      ...[
        "data/staged_events.json",
        "data/tokens.json",
        "end.json",
        "index/dbx.db",
        "manifest.json",
      ],
    ]);
    expect(statSync(at("u/data/plugins/search/1.0.0/run")).mode & 0o100).toBe(0o100);
    expect((await verify(at("u/data"))).code).toBe(0);
  }, 60_000);

  test("leaves keys out on request, and nothing of them is in the file", async () => {
    await home.fill("person", 1);
    const key = readFileSync(join(data, "machine.key"), "utf8").trim();
    writeFileSync(join(data, "config.toml"), `# mine\ndata_encryption_key = "${dek}" # old\n`);
    chmodSync(join(data, "config.toml"), 0o600);
    writeFileSync(join(data, "server.key"), planted);
    const made = await home.run(["backup", "--output", at("one.dbx"), "--exclude-keys"]);
    expect(made).toMatchObject({ code: 0 });
    expect(made.stderr).toContain(
      "left out: machine.key, replication.key, server.key, data_encryption_key in config.toml",
    );
    const bytes = Buffer.from(Bun.zstdDecompressSync(readFileSync(at("one.dbx"))));
    for (const secret of [key, dek, planted]) expect(bytes.includes(secret)).toBe(false);
    expect(unpack(at("one.dbx"), at("u"))).not.toContain("data/machine.key");
    expect(readFileSync(at("u/config.toml"), "utf8")).toBe(
      '# mine\ndata_encryption_key = "" # old\n',
    );
    appendFileSync(join(data, "config.toml"), `# data_encryption_key = "${dek}"\n`);
    expect(await home.refused("backup", "--output", at("2.dbx"), "--exclude-keys")).toContain(
      "has the data encryption key a second time",
    );
  }, 60_000);

  test("is refused inside the data directory, over a file, and where there is nothing", async () => {
    const none = `3 nothing to back up: no dbx.db in ${data} (not_found)`;
    expect(await home.refused("backup", "--output", at("one.dbx"))).toBe(none);
    rmSync(data, { recursive: true });
    expect(await home.refused("backup", "--output", at("one.dbx"))).toBe(none);
    expect(existsSync(data)).toBe(false);
    await home.fill("person", 1);
    const inside = join(data, "x/one.dbx");
    expect(await home.refused("backup", "--output", inside)).toBe(
      `2 backup output path ${inside} resides inside the data directory ${data}; choose a different ` +
        "location (invalid_argument)",
    );
    const relative = await home.run(["backup", "--output", "../.eventdbx/one.dbx"], {
      cwd: data,
    });
    expect(relative.code).toBe(2);
    writeFileSync(at("one.dbx"), "older");
    expect(await home.refused("backup", "--output", at("one.dbx"))).toBe(
      `4 backup target ${at("one.dbx")} already exists (use --force to overwrite) (already_exists)`,
    );
    expect(readFileSync(at("one.dbx"), "utf8")).toBe("older");
    await home.ok("backup", "--output", at("one.dbx"), "--force");
    expect(readFileSync(at("one.dbx")).subarray(0, 4).toString("hex")).toBe("28b52ffd");
    expect(await home.refused("backup", "--output", home.path)).toContain("is no file");
    expect(await home.refused("backup")).toContain("--output");
    writeFileSync(at("junk"), "junk");
    expect(await home.refused("backup", "--output", at("2"), "--since", at("junk"))).toContain(
      "is no backup of dbx",
    );
    expect(hidden(home.path)).toEqual([]);
  }, 60_000);

  test("takes what a killed one has left out of its way", async () => {
    await home.fill("person", 1);
    mkdirSync(at("b/.dbx-backup-abcdef"), { recursive: true });
    writeFileSync(at("b/.dbx-backup-abcdef/lock.db"), "");
    writeFileSync(at("b/.dbx-backup-abcdef/dbx.db"), "half");
    await home.ok("backup", "--output", at("b/one.dbx"));
    expect(readdirSync(at("b"))).toEqual(["one.dbx"]);
  }, 30_000);
});

describe("under a passphrase", () => {
  const env = { EVENTDBX_BACKUP_PASSPHRASE: passphrase };
  const run = (args: readonly string[], over: Partial<RunOptions> = {}) => home.run(args, over);

  test("nothing can be read, and nothing opens it but the passphrase", async () => {
    await home.apply(["person", "1", { name: planted }]);
    const made = await run(["backup", "--output", at("one.dbx")], { env });
    expect(made).toMatchObject({ code: 0, stderr: "" });
    const bytes = readFileSync(at("one.dbx"));
    expect(bytes.includes(planted)).toBe(false);
    expect(bytes.includes("manifest.json")).toBe(false);
    const restore = ["restore", "--input", at("one.dbx"), "--data-dir", at("r")];
    expect(await home.refused(...restore)).toContain("is encrypted; give --passphrase-file");
    const wrong = await run(restore, { env: { EVENTDBX_BACKUP_PASSPHRASE: "another one, wrong" } });
    expect(wrong.stderr).toContain("the passphrase does not open the backup");
    expect({ code: wrong.code, made: existsSync(at("r")) }).toEqual({ code: 4, made: false });
    writeFileSync(at("word"), `${passphrase}\n`, { mode: 0o644 });
    expect(await home.refused(...restore, "--passphrase-file", at("word"))).toContain("chmod 600");
    chmodSync(at("word"), 0o600);
    await home.ok(...restore, "--passphrase-file", at("word"));
    expect((await verify(at("r"))).code).toBe(0);
    const given = await run([
      "restore",
      "--input",
      at("one.dbx"),
      "--data-dir",
      at("r2"),
      "--passphrase",
      passphrase,
    ]);
    expect(given.code).toBe(0);
    expect(given.stderr).toContain("is seen in lists of processes");
  }, 60_000);

  test("is refused with a short one, two of them, or none", async () => {
    await home.fill("person", 1);
    const backup = ["backup", "--output", at("one.dbx")];
    expect(await home.refused(...backup, "--passphrase")).toContain("nobody is here to be asked");
    expect(await home.refused(...backup, "--passphrase", "short")).toContain("it needs 12");
    expect(
      await home.refused(...backup, "--passphrase", passphrase, "--passphrase-file", "x"),
    ).toContain("exclude each other");
    expect(readdirSync(home.path)).not.toContain("one.dbx");
    expect(hidden(data)).toEqual([]);
  }, 30_000);
});

describe("increments", () => {
  test("restore with all that they stand on, whatever the names are by then", async () => {
    await home.fill("person", 400, { text: "x".repeat(500) });
    writeFileSync(join(data, "mine.txt"), "one");
    await home.ok("backup", "--output", at("one.dbx"));
    await home.fill("person", 10);
    await home.ok("backup", "--output", at("two.dbx"), "--since", at("one.dbx"));
    await home.apply(["pet", "1", { name: "Rex" }]);
    await home.ok("aggregate", "archive", "pet", "1");
    writeFileSync(join(data, "mine.txt"), "three");
    await home.ok("backup", "--output", at("three.dbx"), "--since", at("two.dbx"));
    expect(statSync(at("two.dbx")).size).toBeLessThan(statSync(at("one.dbx")).size / 2);
    const before = JSON.parse((await verify(data)).stdout);

    mkdirSync(at("elsewhere"));
    renameSync(at("one.dbx"), at("elsewhere/whole.dbx"));
    renameSync(at("two.dbx"), at("renamed.dbx"));
    const restore = ["restore", "--input", at("three.dbx"), "--data-dir", at("r")];
    expect(await home.refused(...restore)).toContain(
      "is incremental and needs the backup one.dbx (id",
    );
    const told = JSON.parse(
      await home.ok(...restore, "--json", "--base", at("elsewhere/whole.dbx")),
    );
    expect(told).toMatchObject({ verified: true, replaced: null, position: 411 });
    expect(told.links).toEqual([at("elsewhere/whole.dbx"), at("renamed.dbx"), at("three.dbx")]);
    expect(JSON.parse((await verify(at("r"))).stdout)).toEqual(before);
    expect(readFileSync(at("r/mine.txt"), "utf8")).toBe("three");
    const pet = await home.run(["aggregate", "replay", "pet", "1", "--json"], {
      env: { EVENTDBX_DATA_DIR: at("r") },
    });
    expect(pet.stdout).toContain("Rex");

    // Found where it should be, and of no use: that is another problem than not being there.
    const whole = readFileSync(at("elsewhere/whole.dbx"));
    writeFileSync(at("one.dbx"), whole.subarray(0, 40));
    expect(await home.refused(...restore.slice(0, 3), "--data-dir", at("r2"))).toMatch(
      /^8 .* needs the backup one\.dbx \(id .*\), and .*\/one\.dbx is of no use: the backup is damaged: it ends too early \(data_corrupted\)$/,
    );
    expect(existsSync(at("r2"))).toBe(false);
  }, 90_000);
});

describe("a restore", () => {
  test("puts what was there aside, and only with --force", async () => {
    await home.fill("person", 3);
    await home.ok("backup", "--output", at("one.dbx"));
    await home.fill("person", 2);
    const restore = ["restore", "--input", at("one.dbx")];
    expect(await home.refused(...restore)).toBe(
      `4 data directory ${data} is not empty (use --force to overwrite) (already_exists)`,
    );
    const told = JSON.parse(await home.ok(...restore, "--force", "--json"));
    expect(JSON.parse((await verify(data)).stdout)).toMatchObject({ position: 3 });
    expect(JSON.parse((await verify(told.replaced)).stdout)).toMatchObject({ position: 5 });
    const [noted, ...others] = JSON.parse(await home.ok("audit", "--action", "backup", "--json"));
    expect(others).toEqual([]);
    expect(noted).toMatchObject({ action: "backup.restore", subject: told.id });
    expect(noted.issued_by).toMatchObject({ group: "cli" });
    expect(noted.details).toMatchObject({ position: 3, log_root: told.log_root });
    expect(told.replaced).toMatch(/\.eventdbx\.replaced-\d{8}T\d{6}Z$/);
    expect(hidden(home.path)).toEqual([]);
    // Written to like any other: the keys and the log go on.
    await home.fill("person", 1);
    expect(JSON.parse((await verify(data)).stdout)).toMatchObject({ position: 4 });
  }, 60_000);

  test("refuses a directory in use, and changes nothing in it", async () => {
    await home.fill("person", 3);
    await home.ok("backup", "--output", at("one.dbx"));
    await using server = await home.start();
    await home.ok("backup", "--output", at("two.dbx"));
    expect(await home.refused("restore", "--input", at("two.dbx"), "--force")).toBe(
      `4 dbx server appears to be running (pid ${server.pid}); stop it before continuing ` +
        "(failed_precondition)",
    );
    expect(readdirSync(home.path).filter((name) => /replaced/.test(name))).toEqual([]);
  }, 60_000);

  test("leaves the configuration of another database alone", async () => {
    await home.ok(
      "config",
      "--master-key",
      "correct horse battery",
      "--dek",
      dek,
      "--port",
      "7171",
    );
    await home.apply(["person", "1", { name: planted }]);
    await home.ok("backup", "--output", at("one.dbx"));
    const before = readFileSync(join(data, "config.toml"), "utf8");
    const looked = await home.run(["restore", "--input", at("one.dbx"), "--data-dir", at("r")]);
    expect(looked.code).toBe(0);
    expect(looked.stderr).toContain(`use this one by dbx --config ${at("r/config.toml")}`);
    expect(readFileSync(join(data, "config.toml"), "utf8")).toBe(before);
    const config = ["--config", at("r/config.toml")];
    expect(await home.ok(...config, "aggregate", "replay", "person", "1")).toContain(planted);
    // On another machine it goes where commands look for it, with the directory it is in now.
    const elsewhere = await home.run(
      ["restore", "--input", at("one.dbx"), "--data-dir", at("h/db")],
      { env: { HOME: at("h") } },
    );
    expect(elsewhere.stdout).toContain(`(config written to ${at("h/.eventdbx/config.toml")})`);
    const status = await home.run(["aggregate", "list"], { env: { HOME: at("h") } });
    expect(status.stdout).toContain("person");
    const text = readFileSync(at("h/.eventdbx/config.toml"), "utf8");
    expect(text).toContain(`data_dir = "${at("h/db")}"`);
    expect(text).toContain("port = 7171");
  }, 60_000);

  test("says what it cannot verify without the key", async () => {
    await home.ok("config", "--master-key", "correct horse battery", "--dek", dek);
    await home.apply(["person", "1", { name: planted }]);
    const made = await home.run(["backup", "--output", at("one.dbx"), "--exclude-keys"]);
    expect(made.stderr).toContain("the data encryption key is not in the backup");
    const bytes = Buffer.from(Bun.zstdDecompressSync(readFileSync(at("one.dbx"))));
    expect(bytes.includes(planted)).toBe(false);
    const env = { HOME: at("h") };
    const restore = ["restore", "--input", at("one.dbx"), "--json", "--data-dir"];
    const without = await home.run([...restore, at("r")], { env });
    expect(JSON.parse(without.stdout)).toMatchObject({ verified: false });
    expect(without.stderr).toContain("not verified: payloads are encrypted");
    const other = { ...env, EVENTDBX_DEK: Buffer.alloc(32, 9).toString("base64") };
    const wrong = await home.run([...restore, at("r2")], { env: other });
    expect(JSON.parse(wrong.stdout)).toMatchObject({ verified: false });
    const known = await home.run([...restore, at("r3")], { env: { ...env, EVENTDBX_DEK: dek } });
    expect(JSON.parse(known.stdout)).toMatchObject({ verified: true });
  }, 60_000);

  test("refuses what is damaged, cut, of another kind or of another version", async () => {
    await home.fill("person", 200, { text: "some text" });
    await home.ok("backup", "--output", at("one.dbx"));
    const bytes = readFileSync(at("one.dbx"));
    const restore = async (content: Uint8Array): Promise<string> => {
      writeFileSync(at("bad.dbx"), content);
      return home.refused("restore", "--input", at("bad.dbx"), "--data-dir", at("r"));
    };
    const changed = Buffer.from(bytes);
    const place = Math.floor(bytes.length / 2);
    changed.writeUInt8(changed.readUInt8(place) ^ 4, place);
    const entries = Buffer.from(Bun.zstdDecompressSync(bytes));
    const packed = (text: string, other: string) =>
      Bun.zstdCompressSync(Buffer.from(entries.toString("latin1").replace(text, other), "latin1"));
    const swapped = entries.toString("latin1").indexOf("some text");
    expect(swapped).toBeGreaterThan(0);
    const cases: [Uint8Array, string][] = [
      [changed, "(data_corrupted)"],
      [bytes.subarray(0, bytes.length - 20), "(data_corrupted)"],
      [bytes.subarray(0, place), "(data_corrupted)"],
      [packed("some text", "same text"), "data/dbx.db is not what its manifest says"],
      [packed('"position": 200', '"position": 201'), "its end belongs to another manifest"],
      [
        packed('"version": 2', '"version": 3'),
        "is a backup of version 3; this dbx reads version 2",
      ],
      [packed("manifest.json", "manifesto.jso"), "(data_corrupted)"],
      [Bun.gzipSync(bytes), "is a backup of version 1, made by EventDBX"],
      [Buffer.from("nothing"), "is no backup of dbx"],
    ];
    for (const [content, words] of cases) expect(await restore(content)).toContain(words);
    const none = await home.refused("restore", "--input", at("none.dbx"));
    expect(none).toBe(`3 backup archive ${at("none.dbx")} does not exist (not_found)`);
    expect({ made: existsSync(at("r")), left: hidden(home.path) }).toEqual({
      made: false,
      left: [],
    });
  }, 60_000);
});
