// The documents beside the database are sealed with the store: tokens and staged events.

import { expect, test } from "bun:test";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { openStore, root } from "../support/store.ts";
import { withDirectory } from "../support/storage.ts";

const config = { data_encryption_key: Buffer.alloc(32, 7).toString("base64") };
const auditor = { group: "planted-group", user: "planted-user" };
const staged = {
  aggregate_type: "patient",
  aggregate_id: "p-001",
  event_type: "noted",
  payload: canonicalOf({ planted: "planted-payload" }),
  note: "planted-note",
};

const planted = (directory: string): string[] =>
  readdirSync(directory).filter((name) =>
    readFileSync(join(directory, name), "latin1").includes("planted"),
  );

test("an encrypted store shows nothing of its tokens and staged events, and reads them again", () =>
  withDirectory(async (directory) => {
    const first = await openStore(directory, { config });
    const { token } = await first.dbx.issueToken(root, auditor);
    await first.dbx.stageEvent(root, staged);
    expect(planted(directory)).toEqual([]);
    expect((await first.dbx.serverStatus(root, {})).encrypted).toBe(true);
    await first.close();
    expect(readdirSync(directory)).toContain("tokens.json");
    expect(readdirSync(directory)).toContain("staged_events.json");
    expect(planted(directory)).toEqual([]);
    for (const name of readdirSync(directory)) {
      expect(readFileSync(join(directory, name), "latin1")).not.toContain(token);
    }

    await using again = await openStore(directory, { config });
    expect(again.authenticate(token)).toMatchObject(auditor);
    const events = await again.dbx.listStaged(root, {});
    expect(JSON.stringify(events)).toContain("planted-payload");
  }));

test("what is there in clear is read, and tokens are sealed at once", () =>
  withDirectory(async (directory) => {
    const plain = await openStore(directory);
    const { token } = await plain.dbx.issueToken(root, auditor);
    await plain.dbx.stageEvent(root, staged);
    expect((await plain.dbx.serverStatus(root, {})).encrypted).toBe(false);
    await plain.close();
    expect(planted(directory).toSorted()).toEqual(["staged_events.json", "tokens.json"]);

    await using sealed = await openStore(directory, { config });
    expect(planted(directory)).toEqual(["staged_events.json"]);
    expect(sealed.authenticate(token)).toMatchObject(auditor);
    await sealed.dbx.stageEvent(root, { ...staged, event_type: "changed" });
    expect(planted(directory)).toEqual([]);
  }));

test("a document in the place of another, or changed, is refused", () =>
  withDirectory(async (directory) => {
    const first = await openStore(directory, { config });
    await first.dbx.issueToken(root, auditor);
    await first.close();
    const path = join(directory, "tokens.json");
    copyFileSync(path, join(directory, "staged_events.json"));
    const second = await openStore(directory, { config });
    const listed = await second.dbx.listStaged(root, {}).catch((cause: unknown) => cause);
    expect(listed).toMatchObject({ code: "data_corrupted" });
    await second.close();

    const text = readFileSync(path, "utf8");
    const changed = text[40] === "A" ? "B" : "A";
    writeFileSync(path, `${text.slice(0, 40)}${changed}${text.slice(41)}`);
    const third = await openStore(directory, { config }).catch((cause: unknown) => cause);
    expect(third).toMatchObject({ code: "data_corrupted" });
  }));
