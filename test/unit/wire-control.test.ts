// Requests and answers of the control socket, byte for byte as the protocol has them.

import { describe, expect, test } from "bun:test";
import { Message } from "capnp-es";
import { decodeCommand, encodeResult, protocolOf } from "../../src/wire/control.ts";
import { CliRequest } from "../../src/wire/generated/control.ts";
import {
  decodeResponse,
  encodeRequest,
  far,
  frameOf,
  framed,
  hex,
  list,
  short,
  struct,
  words,
} from "../support/capnp.ts";

const bounds = { words_max: 8_192, pointers_max: 1_000, depth_max: 64, args_max: 10 };
const decode = (bytes: Uint8Array) => decodeCommand(frameOf(bytes), bounds);

const pluginList = hex(
  "0000000008000000 0000000000000100 010000001e000000 090000003a000000 090000002a000000 " +
    "090000003a000000 706c7567696e0000 6c69737400000000 2d2d6a736f6e0000",
);
const bad = hex(
  "0000000006000000 0000000001000200 0200000000000000 050000000a000000 0500000022000000 " +
    "0000000000000000 6261640000000000",
);
const hello = hex(
  "0000000007000000 0000000001000100 0100000000000000 0100000002010000 0001020304050607 " +
    "08090a0b0c0d0e0f 1011121314151617 18191a1b1c1d1e1f",
);

describe("a request", () => {
  test("of a client that knows no token is read as it was meant", () => {
    expect(decode(pluginList)).toEqual({ args: ["plugin", "list", "--json"], token: "" });
  });

  test("brings its token behind the words", () => {
    expect(decode(encodeRequest(["status"], "EVT-1"))).toEqual({
      args: ["status"],
      token: "EVT-1",
    });
  });

  test.each([
    ["a null root", words(0n)],
    ["a struct of nothing", words(struct(-1, 0, 0))],
    ["no list", words(struct(0, 0, 1), 0n)],
  ])("with %s has no words", (_, segment) => {
    expect(decode(framed(segment))).toEqual({ args: [], token: "" });
  });

  test("keeps every sign of its words", () => {
    const args = ["\ufeff{}", "é€😀", "", "\u0000", "a\nb"];
    expect(decode(encodeRequest(args, "\ufeff")).args).toEqual(args);
    expect(decode(encodeRequest([], "\ufeff")).token).toBe("\ufeff");
  });

  test("may lie in several segments, with far pointers between them", () => {
    const scattered = framed(
      words(far(1, 0)),
      words(struct(0, 0, 2), far(2, 0, "double"), far(3, 0)),
      words(far(3, 3), list(0, 6, 1)),
      words(list(0, 2, 6), short("token"), 0n, far(0, 9)),
    );
    expect(() => decode(scattered)).toThrow("broken");
    const whole = framed(
      words(far(1, 0)),
      words(struct(0, 0, 2), far(2, 0, "double"), far(3, 0)),
      words(far(3, 2), list(0, 6, 1)),
      words(list(0, 2, 6), short("token"), list(0, 2, 3), short("ls")),
    );
    expect(decode(whole)).toEqual({ args: ["ls"], token: "token" });
  });

  test("has as many words as the bound says, and not one more", () => {
    const args = Array.from({ length: 10 }, (_, index) => `${index}`);
    expect(decode(encodeRequest(args)).args).toEqual(args);
    expect(() => decode(encodeRequest([...args, "x"]))).toThrow("at most 10 arguments");
  });

  test.each([
    ["numbers for words", words(struct(0, 0, 1), list(0, 5, 1), 0n)],
    ["structs for words", words(struct(0, 0, 1), list(0, 7, 1), struct(1, 0, 1), 0n)],
    ["a word that is not UTF-8", words(struct(0, 0, 1), list(0, 6, 1), list(0, 2, 2), 0xffn)],
    ["a token that is not UTF-8", words(struct(0, 0, 2), 0n, list(0, 2, 2), 0xffn)],
    ["words in a circle", words(struct(0, 0, 1), list(-1, 6, 1))],
    ["a root that lies over its own pointer", words(struct(-1, 1, 0), 0n)],
    ["a root that lies over its own pointer and more", words(struct(-1, 2, 0), short("--json"))],
  ])("with %s is refused", (_, segment) => {
    expect(() => decode(framed(segment))).toThrow(
      expect.objectContaining({ code: "invalid_argument" }),
    );
  });
});

describe("an answer", () => {
  test("is read as it was meant", () => {
    expect(decodeResponse(frameOf(bad))).toEqual({ exit: 2, stdout: "", stderr: "bad" });
  });

  test.each([
    { exit: 2, stdout: "", stderr: "bad" },
    { exit: -1, stdout: "é€😀\ufeff", stderr: "\n" },
    { exit: 0, stdout: "x".repeat(100_000), stderr: "" },
  ])("comes back whole, in one segment", (result) => {
    const frame = frameOf(encodeResult(result));
    expect([decodeResponse(frame), frame.segments.length]).toEqual([result, 1]);
  });
});

test.each<[string, Uint8Array, string]>([
  ["a request", pluginList, "cli"],
  ["a request with a token", encodeRequest(["x"], "t"), "cli"],
  ["an empty list of words", encodeRequest([]), "cli"],
  ["a null root", framed(words(0n)), "cli"],
  ["structs for words", framed(words(struct(0, 0, 1), list(0, 7, 1), struct(1, 0, 1), 0n)), "cli"],
  ["a greeting", hello, "replication"],
  ["a greeting without key", framed(words(struct(0, 1, 1), 1n, 0n)), "replication"],
  [
    "a greeting with an empty key",
    framed(words(struct(0, 1, 1), 1n, list(0, 2, 0))),
    "replication",
  ],
  ["a request with a body", framed(words(struct(0, 2, 1), 1n, 0n, struct(-1, 0, 0))), "other"],
  ["a list of numbers", framed(words(struct(0, 0, 1), list(0, 4, 0))), "other"],
  ["two words of data alone", framed(words(struct(0, 2, 0), 0n, 0n)), "other"],
])("%s shows which protocol is spoken", (_, bytes, protocol) => {
  expect(protocolOf(frameOf(bytes), bounds)).toBe(protocol as "cli");
});

test("the message of many small segments is read, though its library would not", () => {
  const parts = framed(words(far(1, 0)), words(struct(-1, 0, 0)), words(), words(), words());
  expect(decode(parts)).toEqual({ args: [], token: "" });
  expect(() => new Message(parts, false).getRoot(CliRequest)).toThrow("invalid message frame");
});
