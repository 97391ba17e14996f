// Which paths a backup may hold: none that leads out of where it is unpacked, on any system.

import { expect, test } from "bun:test";
import { backupPathPattern } from "../../src/model/backup.ts";

test("paths stay below where they are unpacked", () => {
  const good = [
    "config.toml",
    "data/dbx.db",
    "data/plugins/a-1/.x",
    "data/über",
    "data/a..b",
    "..a",
  ];
  const bad = [
    ...["", "/etc/passwd", "..", "../x", "data/..", "data/../../x", "data//x", "data/", "./x"],
    ...["data/.", "data\\..\\x", "a\u0000b", "a\n/../../x", "data/\u007f"],
  ];
  expect(good.filter((path) => !backupPathPattern.test(path))).toEqual([]);
  expect(bad.filter((path) => backupPathPattern.test(path))).toEqual([]);
});
