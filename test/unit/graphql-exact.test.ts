/**
 * What a GraphQL request is made of, by itself: JSON that is joined untouched, reads that take
 * turns, errors that tell what they may.
 */
import { describe, expect, test } from "bun:test";
import { GraphQLError } from "graphql";
import { createLog } from "../../src/log.ts";
import { DbxError, notFound, tooLarge } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { charsOf, exactly, givenOf, plain, writeJson } from "../../src/server/graphql/exact.ts";
import { createTurns } from "../../src/server/graphql/exchange.ts";
import { resultText } from "../../src/server/graphql/result.ts";

describe("exact JSON", () => {
  const text = '{"10":1,"9":9007199254740993}';
  test("is written as it is, within anything", () => {
    const data = { a: exactly(text), b: [exactly("1e400"), null, "x", 1.5, true], c: undefined };
    expect(writeJson(data)).toBe(`{"a":${text},"b":[1e400,null,"x",1.5,true],"c":null}`);
  });
  test("cannot be forged by what came from JSON", () => {
    const forged = JSON.parse('{"exact":"1e400","toJSON":"x","description":"exact JSON"}');
    expect(writeJson(forged)).toBe(JSON.stringify(forged));
  });
  test("goes to the gate as text, with what is null within an input", () => {
    const args = { payload: exactly("null"), note: null, list: [{ a: exactly("1"), b: null }] };
    const list = [{ a: "1", b: null }];
    expect(plain(args)).toEqual({ payload: "null", note: null, list });
    expect(plain(givenOf(args))).toEqual({ payload: "null", list });
    const named = plain(JSON.parse('{"__proto__":1}'));
    expect(Object.entries(named ?? {})).toEqual([["__proto__", 1]]);
  });
  test("counts with all other texts", () => {
    expect(charsOf({ a: exactly(text), b: ["xy", 1, null], c: { d: "z" } })).toBe(text.length + 3);
  });
});

describe("reads take turns", () => {
  test("one after the other, whatever becomes of the one before", async () => {
    const inTurn = createTurns();
    const order: string[] = [];
    const first = Promise.withResolvers<string>();
    const results = [
      inTurn(async () => {
        order.push("first");
        return first.promise;
      }),
      inTurn(async () => void order.push("second")),
    ];
    await Promise.resolve();
    expect(order).toEqual(["first"]);
    first.reject(notFound("not there"));
    const settled = await Promise.allSettled(results);
    expect(order).toEqual(["first", "second"]);
    expect(settled.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  });
  test("and read no more once there is too much", async () => {
    const inTurn = createTurns();
    const half = "x".repeat(limits.page_bytes_max / 2 + 1);
    let reads = 0;
    const read = async () => {
      reads++;
      return half;
    };
    const settled = await Promise.allSettled([inTurn(read), inTurn(read), inTurn(read)]);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(reads).toBe(2);
  });
});

describe("an error of a result", () => {
  const told = (error: GraphQLError) => {
    const lines: string[] = [];
    const log = createLog({
      least: "debug",
      now: () => "now",
      write: (line) => void lines.push(line),
    });
    const text = resultText({ errors: [error] }, { request_id: "r-1", log });
    return { error: JSON.parse(text).errors[0], logged: lines.join("") };
  };
  test("has its code and its values, however deep it lies", () => {
    const cause = tooLarge("too much", { limit: 1 });
    const inner = new GraphQLError("wrapped", { originalError: cause });
    const { error, logged } = told(new GraphQLError("again", { originalError: inner }));
    expect(error).toEqual({
      message: "too much",
      extensions: { code: "too_large", details: { limit: 1 } },
    });
    expect(logged).toBe("");
  });
  test("that is a defect tells nothing, but in the log", () => {
    const cause = new TypeError("secret");
    const { error, logged } = told(new GraphQLError("secret", { originalError: cause }));
    expect(JSON.stringify(error)).not.toContain("secret");
    expect(error.extensions.code).toBe("internal");
    expect(logged).toContain("secret");
    expect(logged).toContain("r-1");
  });
  test("that is ours to answer for is logged as well", () => {
    const cause = new DbxError("data_corrupted", "a digest is wrong");
    expect(told(new GraphQLError("", { originalError: cause })).logged).toContain("a digest");
  });
  test("that quotes the document is cut", () => {
    const { error } = told(new GraphQLError("😀".repeat(10_000)));
    expect(error.message.length).toBeLessThanOrEqual(limits.graphql_message_chars_max + 1);
    expect(error.message.isWellFormed()).toBe(true);
  });
});
