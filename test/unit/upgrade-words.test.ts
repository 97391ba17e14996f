// What somebody may write for an upgrade: the shortcuts, the tags, and which of them are refused.

import { describe, expect, test } from "bun:test";
import { versionOf, wantedTag } from "../../src/cli/upgrade/tag.ts";
import { upgradeWords } from "../../src/cli/upgrade/words.ts";

describe("words", () => {
  test.each([
    ["upgrade", "upgrade"],
    ["upgrade v2.1.0 --print-only", "upgrade v2.1.0 --print-only"],
    ["upgrade@2.1.0", "upgrade -- 2.1.0"],
    ["upgrade@v2.1.0", "upgrade -- v2.1.0"],
    ["upgrade@", "upgrade -- latest"],
    ["upgrade@LATEST", "upgrade -- LATEST"],
    ["upgrade@list", "upgrade list"],
    ["upgrade@LiSt", "upgrade list"],
    ["--json upgrade@list", "--json upgrade list"],
    ["upgrade@list --json", "upgrade --json list"],
    ["upgrade@--force", "upgrade -- --force"],
    ["upgrade list -n 5", "upgrade list --limit 5"],
    ["upgrade list -n5 --json", "upgrade list --limit=5 --json"],
    ["upgrade list -n=5", "upgrade list --limit=5"],
    ["upgrade --json list -n 5", "upgrade --json list --limit 5"],
    ["aggregate list -n 5", "aggregate list -n 5"],
    ["upgrades@1", "upgrades@1"],
    ["append upgrade@1", "append upgrade@1"],
    ["", ""],
  ])("%p are the words %p", (given, meant) => {
    const words = (text: string) => text.split(" ").filter((word) => word !== "");
    expect(upgradeWords(words(given)).join(" ")).toBe(meant);
  });

  test.each(["upgrade@2.1.0 --print-only", "upgrade@list --limit 5", "upgrade@ x"])(
    "%p is too much",
    (given) => {
      const [word = ""] = given.split(" ");
      expect(() => upgradeWords(given.split(" "))).toThrow(`unexpected arguments after '${word}'`);
    },
  );
});

describe("a tag", () => {
  test.each([
    ["", null],
    ["latest", null],
    ["Latest", null],
    ["@latest", null],
    ["@", null],
    ["2.1.0", "v2.1.0"],
    ["v2.1.0", "v2.1.0"],
    ["@2.1.0", "v2.1.0"],
    [" 2.1.0 ", "v2.1.0"],
    ["@@2.1.0", "v@2.1.0"],
  ])("%p is %p", (text, tag) => {
    expect(wantedTag(text)).toBe(tag);
  });

  test.each([
    ["v1.13.2", "1.13.2"],
    ["v1.13.3-rc.1", "1.13.3-rc.1"],
    ["v2.0.0+build.5", "2.0.0+build.5"],
    ["vv2.0.0", "2.0.0"],
    ["v10.0.0", "10.0.0"],
  ])("%p is of version %p", (tag, version) => {
    expect(versionOf(tag)).toBe(version);
  });

  test.each(["v1.13.1", "v1.9.9", "v0.1.0", "v1.13.2-rc.1"])("%p is below the floor", (tag) => {
    expect(() => versionOf(tag)).toThrow(
      `upgrading to '${tag}' is not supported; minimum supported version is v1.13.2`,
    );
  });

  test.each([
    "v2",
    "v2.1",
    "vlist",
    "v2.1.0/../x",
    "v2.1.0 x",
    "v",
    "v@2.1.0",
    `v2.0.0-${"a".repeat(80)}`,
  ])("%p is none", (tag) => {
    expect(() => versionOf(tag)).toThrow(`invalid version tag '${tag}'`);
  });
});
