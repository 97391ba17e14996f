// What two nodes sign, and how they greet: against vectors that were made without this code (Python
// with `cryptography`), and against bytes that nobody meant.

import { describe, expect, test } from "bun:test";
import { createHash, X509Certificate } from "node:crypto";
import fc from "fast-check";
import { DbxError } from "../../src/model/error.ts";
import {
  exporterContext,
  knownPeer,
  proofOf,
  provedKey,
  type Role,
} from "../../src/replication/handshake.ts";
import { privateKeyOf } from "../../src/replication/keys.ts";
import { certificateOf } from "../../src/replication/session-certificate.ts";
import { createFrameReader } from "../../src/wire/frame.ts";
import {
  bytesOf,
  decodeHello,
  decodeHelloResponse,
  encodeHello,
  encodeHelloResponse,
  helloBounds,
} from "../../src/wire/hello.ts";
import { far, frameOf, framed, hex, list, struct, words } from "../support/capnp.ts";
import { nodeOf, remoteOf, type Node } from "../support/session.ts";
import { createPublicKey, sign } from "node:crypto";

const ofSeed = (byte: number): Node => {
  const key = privateKeyOf(new Uint8Array(32).fill(byte));
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  const publicBytes = new Uint8Array(spki.subarray(12));
  return { public_key: "", publicBytes, sign: (message) => sign(null, message, key) };
};

describe("a proof", () => {
  const listener = ofSeed(1);
  const caller = ofSeed(2);
  const exported = Uint8Array.from({ length: 32 }, (_, index) => 100 + index);
  const vectors: readonly (readonly [Role, Node, string])[] = [
    [
      "listener",
      listener,
      "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c" +
        "afa71da98c370550d709c0021890f6704078796ddcbe06ed6035009089d955a4" +
        "46a80c440db24d545cc644fbcbe5f944633d4368b671b7eb44db889afd95cf04",
    ],
    [
      "caller",
      caller,
      "8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394" +
        "11b577c0559f9033e7d4aa607ae12b7657ad6bce6ea67b512d02405d202850e0" +
        "dc14fefa1ddf499078656fcccf4184b8b130d78e7ffb3e889b238276425eb901",
    ],
  ];
  test.each(vectors)("of the %s is these 96 bytes", (role, node, expected) => {
    const bound = { exported, listener: listener.publicBytes };
    const proof = proofOf(node, { ...bound, role });
    expect(proof.toHex()).toBe(expected);
    expect(provedKey(proof, { ...bound, role })).toEqual(node.publicBytes);
  });

  test("of which any bit is another proves nothing", () => {
    const [[role, node, text]] = [vectors[1] ?? vectors[0]!];
    const bound = { exported, listener: listener.publicBytes, role };
    const proof = hex(text);
    const accepted: number[] = [];
    for (let bit = 0; bit < proof.length * 8; bit++) {
      const changed = proof.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      try {
        provedKey(changed, bound);
        accepted.push(bit);
      } catch (error) {
        if (!(error instanceof DbxError)) throw error;
      }
    }
    expect(accepted).toEqual([]);
    expect(provedKey(proof, bound)).toEqual(node.publicBytes);
  });

  test("covers every byte that was said in clear before", () => {
    const hello = encodeHello({ version: 2, expected_public_key: new Uint8Array(32) });
    const response = encodeHelloResponse({ accepted: true, message: "ok" });
    expect(exporterContext(hello, response).toString("hex")).toBe(
      "7d0821017c510b91d9fe2568d03f0569b079cb1c905bc1d7e80a319381bfd01c",
    );
  });
});

test("the certificate is the one that another library makes of the same seed", () => {
  const { cert } = certificateOf(Uint8Array.from({ length: 32 }, (_, index) => index));
  const { raw, publicKey, ...certificate } = new X509Certificate(cert);
  expect(createHash("sha256").update(raw).digest("hex")).toBe(
    "a252c7568d0fdc1c0ec66432acd8ec39e5e12525f28c9688b359f309d904e1fe",
  );
  expect(certificate).toBeDefined();
  expect(new X509Certificate(cert).verify(publicKey)).toBe(true);
});

describe("whose key it is", () => {
  const [a, b] = [nodeOf("a"), nodeOf("b")];
  test("is told by the key alone, with the rights of its table", () => {
    const remotes = {
      one: { ...remoteOf(b), allow: ["read" as const] },
      two: { endpoint: "", public_key: ` ${a.public_key}=\n` },
    };
    expect(knownPeer(remotes, a.publicBytes)).toEqual({
      ...{ name: "two", public_key: a.public_key, allow: ["read", "append", "schemas"] },
    });
    expect(knownPeer(remotes, b.publicBytes)?.allow).toEqual(["read"]);
    expect(knownPeer(remotes, nodeOf("c").publicBytes)).toBeNull();
    expect(knownPeer({}, a.publicBytes)).toBeNull();
  });
  test("under two names is the first, with what both may do", () => {
    const remotes = {
      one: { ...remoteOf(a), allow: ["read" as const, "append" as const] },
      two: { ...remoteOf(a), allow: ["append" as const, "schemas" as const] },
    };
    expect(knownPeer(remotes, a.publicBytes)).toMatchObject({ name: "one", allow: ["append"] });
  });
  test("is nobody's where the file holds no key", () => {
    for (const public_key of ["", "=", "nonsense", a.public_key.slice(1), `${a.public_key}A`]) {
      expect(knownPeer({ one: { endpoint: "", public_key } }, a.publicBytes)).toBeNull();
    }
  });
});

describe("the greeting", () => {
  const key = Uint8Array.from({ length: 32 }, (_, index) => index);
  const helloBytes = hex(
    "0000000007000000 0000000001000100 0100000000000000 0100000002010000 0001020304050607 " +
      "08090a0b0c0d0e0f 1011121314151617 18191a1b1c1d1e1f",
  );
  const responseBytes = hex(
    "0000000004000000 0000000001000100 0100000000000000 010000001a000000 6f6b000000000000",
  );
  const { pointers } = helloBounds;

  test("of EventDBX 1, and its answer, are these bytes", () => {
    expect(encodeHello({ version: 1, expected_public_key: key })).toEqual(helloBytes);
    expect(decodeHello(frameOf(helloBytes), pointers)).toEqual({
      ...{ version: 1, expected_public_key: key },
    });
    const response = { accepted: true, message: "ok" };
    expect(encodeHelloResponse(response)).toEqual(responseBytes);
    expect(decodeHelloResponse(frameOf(responseBytes), pointers)).toEqual(response);
  });

  test("may be laid out in any way, and may have fields of later versions", () => {
    const apart = framed(
      words(far(1, 0)),
      words(struct(0, 1, 1), 2n, far(2, 0, "double")),
      words(far(3, 0), list(0, 2, 8)),
      words(0x0706050403020100n),
    );
    expect(decodeHello(frameOf(apart), pointers)).toEqual({
      ...{ version: 2, expected_public_key: key.slice(0, 8) },
    });
    const later = framed(words(struct(0, 2, 2), 3n, 99n, 0n, list(0, 2, 3), 0x030201n));
    expect(decodeHello(frameOf(later), pointers)).toEqual({
      ...{ version: 3, expected_public_key: new Uint8Array() },
    });
    expect(bytesOf(frameOf(apart))).toEqual(apart);
  });

  test("is refused where it is none, and nothing else happens", () => {
    const random = fc.uint8Array({ minLength: 0, maxLength: 200 });
    const mutated = fc
      .tuple(
        fc.constantFrom(helloBytes, responseBytes),
        fc.array(fc.tuple(fc.nat(63), fc.nat(255))),
      )
      .map(([bytes, changes]) => {
        const changed = bytes.slice();
        for (const [at, value] of changes) changed[at % changed.length] = value;
        return changed;
      });
    const outcomes = { whole: 0, refused: 0, waiting: 0 };
    fc.assert(
      fc.property(fc.oneof(random, mutated), (bytes) => {
        const reader = createFrameReader(helloBounds.frames);
        try {
          reader.push(bytes);
          const frame = reader.next();
          if (frame === null) return void outcomes.waiting++;
          decodeHello(frame, pointers);
          decodeHelloResponse(frame, pointers);
          outcomes.whole++;
        } catch (error) {
          if (!(error instanceof DbxError)) throw error;
          outcomes.refused++;
        }
      }),
      { numRuns: 3_000 },
    );
    for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(50);
  });
});
