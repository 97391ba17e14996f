// What a release writes into its installers, and what it must not.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stampInstaller } from "../../scripts/installer-stamp.ts";
import { root } from "../../scripts/root.ts";

const sum = "0123456789abcdef".repeat(4);
const stamp = { tag: "v2.0.0-rc.1", checksums: { "a.tar.gz": sum, "b-1.zip": sum } };

describe.each(["sh", "ps1"])("eventdbx-installer.%s", (ending) => {
  const text = readFileSync(join(root, `scripts/eventdbx-installer.${ending}`), "utf8");

  test("has a place for the tag and one for the checksums", () => {
    const stamped = stampInstaller(text, stamp);
    expect(stamped).toContain("'v2.0.0-rc.1'\n");
    expect(stamped).toContain(`'\n${sum} *a.tar.gz\n${sum} *b-1.zip\n'\n`);
    expect(stamped.length).toBeLessThan(text.length + 250);
  });
  test("is not stamped twice", () => {
    expect(() => stampInstaller(stampInstaller(text, stamp), stamp)).toThrow("has not one line");
  });
});

describe("a stamp that a shell would run is refused:", () => {
  const text = "release_tag=''\nrelease_checksums=''\n";
  const odd: readonly (readonly [string, Parameters<typeof stampInstaller>[1], string])[] = [
    ["a tag with a quote", { ...stamp, tag: "v1.0.0'; id; '" }, "is no tag"],
    ["a tag without a version", { ...stamp, tag: "latest" }, "is no tag"],
    ["a name with a quote", { ...stamp, checksums: { "a'b": sum } }, "is no file name"],
    ["a name with a path", { ...stamp, checksums: { "../a": sum } }, "is no file name"],
    ["a short checksum", { ...stamp, checksums: { a: sum.slice(1) } }, "is no SHA-256"],
    ["no file at all", { ...stamp, checksums: {} }, "a release without files"],
  ];
  test.each(odd)("%s", (_, value, message) => {
    expect(() => stampInstaller(text, value)).toThrow(message);
  });
});
