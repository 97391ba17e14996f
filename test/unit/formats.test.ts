// What is hashed, against the published vector. These formats can never change.

import { describe, expect, test } from "bun:test";
import { canonicalize } from "../../src/model/canonical.ts";
import { emptyRoot, leafHash, sha256 } from "../../src/model/merkle.ts";
import { contentDigest, eventHash } from "../../src/model/plan.ts";

const now = "2026-01-02T03:04:05.678901Z";
const id = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;

describe("formats that can never change", () => {
  const salt = Uint8Array.fromHex("000102030405060708090a0b0c0d0e0f");
  const payload = canonicalize('{"a":9007199254740993,"b":0.1,"é":"😀"}');
  const content_digest = contentDigest({ salt, note: null, payload });

  test("the content digest of the published vector", () => {
    expect(content_digest.toHex()).toBe(
      "d369ec6856cba094e39d5871c60604d387574732bf783f8b545048ed6a334931",
    );
  });

  test("the leaf hash of the published vector", () => {
    const hash = eventHash({
      aggregate_type: "patient",
      aggregate_id: "p-001",
      event_type: "patient-added",
      created_at: "2024-12-01T17:22:43.512345Z",
      event_id: "45c3013e-9b95-4ed0-9af9-1a465f81d3cf",
      issued_by: { group: "admin", user: "jane" },
      version: 1,
      content_digest,
      previous_root: emptyRoot,
    });
    expect(hash.toHex()).toBe("91db3bbe09ac39b92ba337733a4b7591eb23363a0d294216cf2b27e0fa94378a");
  });

  test("the leaf is hashed over exactly the nine members in canonical form", () => {
    const leaf = {
      aggregate_type: 'a"\u2028\\',
      aggregate_id: "i\u0001😀",
      event_type: "e\n",
      created_at: now,
      event_id: id(7),
      issued_by: null,
      version: 3,
      content_digest: sha256("x"),
      previous_root: sha256("y"),
    };
    const data = canonicalize(
      JSON.stringify({
        ...leaf,
        content_digest: leaf.content_digest.toHex(),
        previous_root: leaf.previous_root.toHex(),
      }),
    );
    expect(eventHash(leaf).toHex()).toBe(leafHash(data).toHex());
  });

  test("a note changes the digest, and so does the salt", () => {
    const digests = [
      contentDigest({ salt, note: null, payload }),
      contentDigest({ salt, note: "", payload }),
      contentDigest({ salt: new Uint8Array(16), note: null, payload }),
    ];
    expect(new Set(digests.map((digest) => digest.toHex())).size).toBe(3);
  });
});
